"""Files of a folder, looked at closely and without following links."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clnrm.engine.docker.observed_files import Budget, empty_folder, entries_below, modes_below, shown
from pytest_clnrm.errors import ContainerError


def look(folder: Path, **options: object) -> dict[bytes, str]:
    """Return what is told of a folder."""
    at = os.open(folder, os.O_RDONLY)
    try:
        found = entries_below(at, b".", b"/", options.pop("budget", Budget()), **options)  # type: ignore[arg-type]
        return {path: told for path, _, told in found}
    finally:
        os.close(at)


@given(st.lists(st.binary(max_size=8), unique=True, min_size=2, max_size=2))
def test_no_two_names_are_shown_alike(names: list[bytes]) -> None:
    """Control characters, broken letters and backslashes are escaped, each in its own way."""
    one, other = map(shown, names)
    assert one != other
    assert one.isprintable()


def set_back(path: Path, content: bytes) -> None:
    """Change a file's content, and set its times back."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: set_back(folder / "file", b"other"),
        lambda folder: (folder / "file").chmod(0o600),
        lambda folder: os.utime(folder / "file", (1, 1)),
        lambda folder: os.setxattr(folder / "file", "user.left", b"x"),
        lambda folder: (folder / "link").unlink() or (folder / "link").symlink_to("/elsewhere"),
        lambda folder: (folder / "below" / "new").touch(),
        lambda folder: (folder / "a\nb").mkdir(),
        lambda folder: (folder / "file").rename(folder / "renamed"),
        lambda folder: os.mkfifo(folder / "pipe"),
    ],
)
def test_each_change_is_seen(tmp_path: Path, change: Callable[[Path], object]) -> None:
    """Of content, owner, mode, times, attributes, links and names."""
    (tmp_path / "file").write_bytes(b"first")
    (tmp_path / "link").symlink_to("/nowhere")
    (tmp_path / "below").mkdir()
    before = look(tmp_path)
    assert look(tmp_path) == before
    change(tmp_path)
    assert look(tmp_path) != before


def test_times_tell_of_content_where_it_is_not_read(tmp_path: Path) -> None:
    """That of the last change of anything cannot be set back."""
    (tmp_path / "file").write_bytes(b"first")
    before = look(tmp_path, closely=False)
    set_back(tmp_path / "file", b"other")
    assert look(tmp_path, closely=False) != before


def test_what_is_mounted_below_is_left_out(tmp_path: Path) -> None:
    """It is looked at by itself."""
    (tmp_path / "mounted" / "x").mkdir(parents=True)
    assert set(look(tmp_path)) == {b"/", b"/mounted", b"/mounted/x"}
    assert set(look(tmp_path, mounts={b"/mounted"})) == {b"/"}


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither when folders are looked at, nor when they are emptied."""
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    (outside / "kept").mkdir(parents=True)
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "link").symlink_to(outside)
    (folder / "a" / "b" / "link").symlink_to(outside / "kept")
    os.mkfifo(folder / "pipe")
    assert b"/link/kept" not in look(folder)
    at = os.open(folder, os.O_RDONLY)
    empty_folder(at, Budget())
    os.close(at)
    assert list(folder.iterdir()) == []
    assert (outside / "kept").is_dir()


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(entries=3), "too many files"),
        (Budget(content_bytes=9), "too large"),
    ],
)
def test_what_is_too_much(tmp_path: Path, budget: Budget, message: str) -> None:
    """A limit that is reached is an error: what was not read is not proven."""
    for number in range(5):
        (tmp_path / str(number)).write_bytes(b"12345")
    with pytest.raises(ContainerError, match=message):
        look(tmp_path, budget=budget)


def test_what_is_too_deep(tmp_path: Path) -> None:
    """Neither Python's stack nor open files run out."""
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    with pytest.raises(ContainerError, match="too many files"):
        look(tmp_path)
    at = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(ContainerError, match="too many files"):
        empty_folder(at, Budget())
    os.close(at)


def test_modes_of_the_kernels_files(tmp_path: Path) -> None:
    """Each entry but those that are left out, and nothing below these."""
    (tmp_path / "net").mkdir(mode=0o555)
    (tmp_path / "sys" / "x").mkdir(parents=True)
    at = os.open(tmp_path, os.O_RDONLY)
    found = dict(modes_below(at, b"/proc", b"/proc/sys".__eq__))
    os.close(at)
    assert found == {b"/proc/net": f"40555 {os.getuid()}:{os.getgid()}"}
