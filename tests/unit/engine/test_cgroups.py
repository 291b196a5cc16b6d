"""What the kernel counts of a container, from the files in which it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_clnrm.engine.docker.cgroups import is_process_of, peak_memory_bytes

V1 = "9:cpu,cpuacct:/docker/abc\n8:memory:/docker/abc\n0::/system.slice/abc"
V2 = "0::/system.slice/docker-abc.scope\n"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (V1, {"memory/docker/abc/memory.max_usage_in_bytes": "4096\n"}, 4096),
        (V2, {"system.slice/docker-abc.scope/memory.peak": "8192\n"}, 8192),
        (V2, {}, None),
        (V1, {}, None),
        ("8:memory:/docker/other\n", {"memory/docker/other/memory.max_usage_in_bytes": "4096\n"}, None),
        ("nonsense", {}, None),
        (None, {}, None),
    ],
)
def test_peak_memory(
    tmp_path: Path, membership: str | None, files: dict[str, str], expected: int | None
) -> None:
    """Told by both versions of cgroups, of the container's own only, and None where nothing tells it."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "7").mkdir(parents=True)
    if membership is not None:
        (proc / "7" / "cgroup").write_text(membership)
    for name, content in files.items():
        (cgroups / name).parent.mkdir(parents=True)
        (cgroups / name).write_text(content)
    assert peak_memory_bytes(7, "abc", proc=proc, cgroups=cgroups) == expected


def test_whose_process(tmp_path: Path) -> None:
    """A process is a container's if its cgroup is."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(V2)
    assert is_process_of(7, "abc", proc=tmp_path)
    assert not is_process_of(7, "abd", proc=tmp_path)
    assert not is_process_of(8, "abc", proc=tmp_path)
