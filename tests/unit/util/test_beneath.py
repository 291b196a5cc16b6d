"""Opening beneath a folder: what may be opened, and what may not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pytest_clnrm.util import beneath
from pytest_clnrm.util.beneath import open_beneath, open_in_root
from pytest_clnrm.util.walk import walk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with a file, and a file outside of it."""
    (tmp_path / "outside").write_text("secret")
    (tmp_path / "root/a/b").mkdir(parents=True)
    (tmp_path / "root/a/b/file").write_text("text")
    return tmp_path / "root"


def _open_descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def _refusal(root: Path, path: str) -> OSError:
    descriptors = _open_descriptors()
    with pytest.raises(OSError) as caught:  # noqa: PT011 (its number is compared by who asked)
        open_beneath(str(root), path).close()
    assert _open_descriptors() == descriptors
    return caught.value


@pytest.mark.parametrize("path", ["a/b/file", "./a//b/./file", "/absolute"])
def test_file(root: Path, path: str) -> None:
    """A file is held, is the one of that name, and can be read."""
    path = str(root / "a/b/file") if path == "/absolute" else path
    with open_beneath(str(root), path) as opened:
        status = (root / "a/b/file").stat()
        assert opened.identity == (status.st_dev, status.st_ino)
        assert (opened.is_file, opened.is_folder) == (True, False)
        assert opened.read(4) == b"text"
        with pytest.raises(OSError, match="longer than 3 bytes"):
            opened.read(3)


@pytest.mark.parametrize("path", ["", ".", "a", "a/b/"])
def test_folder(root: Path, path: str) -> None:
    """A folder is held, can be listed, and opened from."""
    with open_beneath(str(root), path) as opened:
        assert opened.is_folder
        fd = opened.readable()
        try:
            assert os.listdir(fd) == [each.name for each in (root / path).iterdir()]  # noqa: PTH208 of a descriptor
        finally:
            os.close(fd)
    with open_beneath(str(root), "a") as folder, folder.beneath("b/file") as file:
        assert file.read(10) == b"text"
        assert file.path == str(root / "a/b/file")


@pytest.mark.parametrize("target", ["/", "..", "b", "missing", "/proc/self/root"])
@pytest.mark.parametrize("path", ["a/link", "a/link/", "a/link/etc"])
def test_links(root: Path, target: str, path: str) -> None:
    """No link is followed, at the end or on the way, wherever it leads; it is named."""
    (root / "a/link").symlink_to(target)
    error = _refusal(root, path)
    assert (error.errno, error.filename) == (errno.ELOOP, str(root / "a/link"))


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("..", errno.EXDEV),
        ("a/../../outside", errno.EXDEV),
        ("a/..", errno.EXDEV),
        ("/etc", errno.EXDEV),
        ("/proc/self/root", errno.EXDEV),
        ("missing", errno.ENOENT),
        ("a/b/file/below", errno.ENOTDIR),
        ("a\0b", errno.EINVAL),
        ("x" * 300, errno.ENAMETOOLONG),
    ],
)
def test_refused(root: Path, path: str, number: int) -> None:
    """What lies outside, or is not there, is an error that closes what it had opened."""
    assert _refusal(root, path).errno == number


def test_absolute_beside(root: Path) -> None:
    """A folder whose name begins like the root's is not beneath it."""
    (root.parent / "root2").mkdir()
    assert _refusal(root, str(root.parent / "root2")).errno == errno.EXDEV


def test_link_above_the_root(root: Path) -> None:
    """The root itself is trusted; with "/" as the root nothing is."""
    link = root.parent / "link"
    link.symlink_to(root)
    open_beneath(str(link), "a/b").close()
    assert _refusal(Path("/"), str(link / "a/b")).filename == str(link)


def test_neither_waits_nor_reads(root: Path) -> None:
    """A pipe that nobody writes to, and a device, are held without touching them."""
    os.mkfifo(root / "pipe")
    with open_beneath(str(root), "pipe") as pipe:
        assert not pipe.is_file
        with pytest.raises(OSError, match="neither a file nor a folder"):
            pipe.readable()


def test_swapped_on_the_way(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that becomes a link after it was opened leads nowhere else."""
    step = beneath._step

    def swap(folder: int, name: str, shown: str) -> int:
        if name == "b":
            (root / "a").rename(root / "old")
            (root / "a").symlink_to("/")
        return step(folder, name, shown)

    monkeypatch.setattr(beneath, "_step", swap)
    with open_beneath(str(root), "a/b/file") as opened:
        assert opened.read(10) == b"text"
        assert opened.identity[1] == (root / "old/b/file").stat().st_ino


def test_removed_while_held(root: Path) -> None:
    """What is held can be read after its name is gone."""
    with open_beneath(str(root), "a/b/file") as opened:
        (root / "a/b/file").unlink()
        assert opened.read(10) == b"text"


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("", "/a/b/file"),
        ("", "/../../a/./b/../b/file"),
        ("/a/b", "/link/file"),
        ("../../../../a/b", "/link/file"),
        ("a/b/file", "/link"),
        ("/link2", "/link/b/file"),
    ],
)
def test_as_within_a_root(root: Path, link: str, path: str) -> None:
    """Links lead where they lead a process whose root that is, and never out of it."""
    if link:
        (root / "link").symlink_to(link)
    (root / "link2").symlink_to("a")
    before = _open_descriptors()
    with open_in_root(str(root), path) as opened:
        assert opened.read(10) == b"text"
    assert _open_descriptors() == before


def test_nothing_outside_of_a_root(root: Path) -> None:
    """What lies outside is not found, and a circle of links ends."""
    (root / "out").symlink_to(root.parent / "outside")
    (root / "loop").symlink_to("/loop")
    before = _open_descriptors()
    for path, number in (("/out", errno.ENOENT), ("/../outside", errno.ENOENT), ("/loop", errno.ELOOP)):
        with pytest.raises(OSError) as caught:  # noqa: PT011 (its number is compared)
            open_in_root(str(root), path)
        assert caught.value.errno == number
    assert _open_descriptors() == before


def test_without_proc(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without O_PATH, as on macOS, files are read, folders listed and links refused all the same."""
    monkeypatch.setattr(beneath, "_O_PATH", 0)
    monkeypatch.setattr(beneath, "_HOLD", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    monkeypatch.setattr(beneath, "_HOLD_FOLDER", os.O_DIRECTORY | os.O_CLOEXEC)
    os.mkfifo(root / "a/fifo")
    (root / "a/link").symlink_to("b")
    with open_beneath(str(root), "a") as folder:
        assert sorted(folder.names()) == ["b", "fifo", "link"]
        assert folder.reach == str(root / "a")
        assert {entry.reach for entry in walk(folder)} == {
            str(root / "a" / each) for each in ("b", "b/file", "fifo", "link")
        }
        with folder.beneath("b/file") as file:
            assert file.read(4) == b"text"
            assert file.read(4) == b"text"
        with folder.beneath("fifo") as fifo, pytest.raises(OSError, match="neither a file nor a folder"):
            fifo.readable()
    assert _refusal(root, "a/link/file").errno == errno.ELOOP
