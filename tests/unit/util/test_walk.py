"""Looking through a folder: what is found, what is dangerous, and how much is looked at."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pytest_clnrm.util.beneath import open_beneath
from pytest_clnrm.util.walk import TooMuchError, walk


def test_walk(tmp_path: Path) -> None:
    """All that lies beneath is told, links as themselves, and no descriptor stays open."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").touch()
    (tmp_path / "a/link").symlink_to("/etc")
    before = len([*Path("/proc/self/fd").iterdir()])
    with open_beneath("/", str(tmp_path.resolve())) as opened:
        found = {each.path: stat.S_IFMT(each.status.st_mode) for each in walk(opened)}
    assert found == {"a": stat.S_IFDIR, "a/b": stat.S_IFDIR, "a/b/file": stat.S_IFREG, "a/link": stat.S_IFLNK}
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_a_file_alone(tmp_path: Path) -> None:
    """What is held may be a file."""
    (tmp_path / "file").touch(mode=0o600)
    (tmp_path / "file").chmod(0o4755)
    with open_beneath("/", str(tmp_path.resolve() / "file")) as opened:
        assert [(each.path, each.why_dangerous) for each in walk(opened)] == [("", "a set-uid file")]


@pytest.mark.parametrize(
    ("mode", "why"), [(0o4755, "a set-uid file"), (0o2644, "a set-gid file"), (0o755, "")]
)
def test_dangerous_files(tmp_path: Path, mode: int, why: str) -> None:
    """A program that runs as its owner is dangerous; a folder that hands its group on is not."""
    (tmp_path / "x").touch()
    (tmp_path / "x").chmod(mode)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder").chmod(0o2777)
    with open_beneath("/", str(tmp_path.resolve())) as opened:
        assert {each.name: each.why_dangerous for each in walk(opened)} == {"x": why, "folder": ""}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_only_root_can_leave(tmp_path: Path) -> None:
    """Device nodes and files with capabilities are dangerous; pipes are not."""
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "program").touch()
    # VFS_CAP_REVISION_2, CAP_NET_RAW permitted: capabilities(7).
    os.setxattr(tmp_path / "program", "security.capability", bytes.fromhex("0100000200200000" + "00" * 12))
    with open_beneath("/", str(tmp_path.resolve())) as opened:
        found = {each.name: each.why_dangerous for each in walk(opened)}
    assert found == {"null": "a device node", "pipe": "", "program": "a file with capabilities"}
    with open_beneath("/", str(tmp_path.resolve() / "program")) as opened:
        assert [each.why_dangerous for each in walk(opened)] == ["a file with capabilities"]


def test_bounds(tmp_path: Path) -> None:
    """More than is looked at is told, and is not taken for nothing."""
    for name in "abc":
        (tmp_path / name).touch()
    (tmp_path / "d/d/d").mkdir(parents=True)
    with open_beneath("/", str(tmp_path.resolve())) as opened:
        assert len([*walk(opened, max_entries=6, max_depth=4)]) == 6
        with pytest.raises(TooMuchError, match="more than 5 files and folders"):
            list(walk(opened, max_entries=5))
        with pytest.raises(TooMuchError, match="more than 2 folders in one another"):
            list(walk(opened, max_depth=2))


def test_names_are_shown_in_one_line(tmp_path: Path) -> None:
    """A name that would change what a terminal shows, or is no text, is escaped."""
    (tmp_path / "a\n::error").touch()
    (tmp_path / "é").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).touch()
    with open_beneath("/", str(tmp_path.resolve())) as opened:
        assert {each.shown for each in walk(opened)} == {"a\\n::error", "é", "\\udcff"}
