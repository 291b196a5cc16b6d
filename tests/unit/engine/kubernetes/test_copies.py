"""Files and read-only volumes of this host as a pod gets them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.engine.api import ContainerSpec, CopiedFile, Mount
from pytest_clnrm.engine.kubernetes.copies import MAX_BYTES, Copies, copies_of
from pytest_clnrm.errors import ContainerError


def spec(*sources: Path, files: tuple[CopiedFile, ...] = ()) -> ContainerSpec:
    """Return a container with each source as a volume, /v0 and so on."""
    mounts = tuple(
        Mount(source=str(each), target=f"/v{count}", read_only=True) for count, each in enumerate(sources)
    )
    return ContainerSpec(name="c", image="i", memory_bytes=1, cpus=1, pids=1, files=files, mounts=mounts)


def shown(copies: Copies) -> tuple[dict[str, tuple[bytes, int]], dict[str, str]]:
    """Return the files of the Secret, path -> content and mode, and what is mounted of it."""
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    copies.add_to(volumes, mounts)
    data = {key: base64.b64decode(each) for key, each in copies.data().items()}
    items = [item for each in volumes if "secret" in each for item in each["secret"]["items"]]
    assert all(each["readOnly"] for each in mounts)
    return (
        {item["path"]: (data[item["key"]], item["mode"]) for item in items},
        {each["mountPath"]: each.get("subPath", each["name"]) for each in mounts},
    )


def test_files_and_volumes(tmp_path: Path) -> None:
    """A folder is one mount, with all that is in it; programs may be executed; an empty one is there."""
    top = tmp_path.resolve() / "top"
    (top / "deep").mkdir(parents=True)
    (top / "deep" / "run").write_text("run")
    (top / "deep" / "run").chmod(0o700)
    (top / "a").write_text("a")
    (empty := tmp_path.resolve() / "empty").mkdir()
    file = CopiedFile(target="/etc/x", content=b"x", mode=0o600)
    files, mounts = shown(copies_of(spec(top, top / "a", empty, files=(file,))))
    assert files == {
        "f0": (b"x", 0o600),
        "v0/deep/run": (b"run", 0o755),
        "v0/a": (b"a", 0o644),
        "v1": (b"a", 0o644),
    }
    assert mounts == {"/etc/x": "f0", "/v0": "v0", "/v1": "v1", "/v2": "empty-0"}
    assert not copies_of(spec(empty)), "no Secret is needed"


def test_what_cannot_be_copied(tmp_path: Path) -> None:
    """Links, what is gone, and what is too much for a Secret, each told with the volume."""
    top = tmp_path.resolve() / "top"
    top.mkdir()
    with pytest.raises(ContainerError, match=r"^cannot copy the volume /v0: .*/none: No such file"):
        copies_of(spec(tmp_path.resolve() / "none"))
    (top / "link").symlink_to("/etc")
    with pytest.raises(ContainerError, match=r"^cannot copy the volume /v0: .*/top/link is no regular file"):
        copies_of(spec(top))
    (top / "link").unlink()
    (top / "large").write_bytes(b"x" * (MAX_BYTES - 1))
    fits = CopiedFile(target="/x", content=b"x")
    assert copies_of(spec(top, files=(fits,)))
    with pytest.raises(
        ContainerError, match=f"more than {MAX_BYTES} bytes are to be copied in: put them into"
    ):
        copies_of(spec(top, files=(CopiedFile(target="/x", content=b"xx"),)))
    with pytest.raises(ContainerError, match=r"^more than"):
        copies_of(spec(files=(CopiedFile(target="/x", content=b"x" * (MAX_BYTES + 1)),)))
