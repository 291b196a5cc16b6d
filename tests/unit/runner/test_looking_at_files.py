"""Which files of a container can be seen from outside, whatever links lead to them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.seen import FileSeen
from pytest_clnrm.runner.checks.files import Looking

LINKS = {"/app/proc": "/proc", "/app/more": "/app/proc", "/app/kept": "/scratch", "/run": "/var/run"}
FILES = ("/app/x", "/var/run/pid", "/scratch/below-the-mount")


def look(_: str, path: str, **__: Any) -> FileSeen | None:
    """Answer as engines do: links among the folders are followed, and nothing that is in memory is there."""
    folder, name = posixpath.split(path)
    for _round in range(3):
        folder = LINKS.get(folder, folder)
    real = posixpath.join(folder, name)
    if real in LINKS:
        return FileSeen(kind="symlink", mode=0o777, size_bytes=0, leads_to=LINKS[real])
    return FileSeen(kind="file", mode=0o644, size_bytes=1) if real in FILES else None


def exported(_: str, **__: Any) -> Iterator[tuple[str, FileSeen]]:
    """Tell of all files but those of volumes, whatever of them is asked."""
    yield "/app/kept", FileSeen(kind="symlink", mode=0o777, size_bytes=0, uid=1, gid=2, target="../scratch")
    yield "/var/run/pid", FileSeen(kind="file", mode=0o644, size_bytes=1, uid=3, gid=4)
    pytest.fail("more of the export was read than is needed")


def looking(*tmpfs: str) -> Looking:
    """Return what looks at the files of a container with such mounts."""
    container = SimpleNamespace(id="c", spec=SimpleNamespace(tmpfs=tmpfs))
    engine = SimpleNamespace(look_at_file=look, list_files=exported)
    runtime = SimpleNamespace(engine=lambda: engine)
    around: Any = SimpleNamespace(runtime=runtime, containers={"app": container})
    setting: Any = SimpleNamespace(around=around, deadline_s=0.0)
    return Looking(setting, "app")


@pytest.mark.parametrize("path", ["/proc/1/status", "/app/../sys/kernel", "/app/proc/1", "/app/more/self/x"])
@pytest.mark.parametrize("tmpfs", [(), ("/scratch",)])
def test_memory_is_no_absence(path: str, tmpfs: tuple[str, ...]) -> None:
    """What the engine cannot see must not pass as not there."""
    with pytest.raises(ContainerError, match="is in memory, which is not seen from outside: use a step"):
        looking(*tmpfs).at(path)


def test_a_path_that_is_not_absolute() -> None:
    """As a captured value may make it: of memory it would be told that nothing is there."""
    with pytest.raises(ContainerError, match="'proc/1' is no absolute path in the container"):
        looking().at("proc/1")


def test_what_a_mount_hides_is_not_told() -> None:
    """The engine shows what the image has at the place of a tmpfs."""
    assert looking().at("/scratch/below-the-mount") is not None
    for path in ("/scratch/below-the-mount", "/app/kept/below-the-mount"):
        with pytest.raises(ContainerError, match="/scratch is in memory"):
            looking("/scratch").at(path)


def test_what_is_seen() -> None:
    """Through links, too; and nothing is nothing where all of the way is the container's own."""
    assert looking().at("/run/pid") is not None
    assert looking("/scratch").at("/run/pid") is not None
    assert looking().at("/app/none") is None
    assert looking("/scratch").at("/app/none") is None
    assert looking().at("/none/below/x") is None


def test_what_only_a_look_at_all_files_tells() -> None:
    """Owner and link are found under the path without links, and of a volume's files nothing is."""

    def completed(path: str, seen: FileSeen | None = None) -> FileSeen:
        seen = seen or looking().at(path)
        assert seen is not None
        return looking().completed(path, seen)

    assert completed("/run/pid") == FileSeen(kind="file", mode=0o644, size_bytes=1, uid=3, gid=4)
    link = completed("/app/kept")
    assert (link.uid, link.gid, link.target, link.leads_to) == (1, 2, "../scratch", "/scratch")
    for told in (
        FileSeen(kind="file", mode=0o644, size_bytes=1, uid=0, gid=0),
        FileSeen(kind="socket", mode=0o644, size_bytes=0),
    ):
        assert completed("/run/pid", told) == told
