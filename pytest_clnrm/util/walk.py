"""Looking through a folder that is held open: nothing outside of it is reached, and the work is bounded."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_clnrm.util.beneath import Opened

MAX_ENTRIES = 100_000
MAX_DEPTH = 100


class TooMuchError(Exception):
    """A folder holds more than is looked through; its message says how much that is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies in a folder.

    :ivar path: relative to where the walk began; "" for a single file.
    :ivar status: of itself, also where it is a link.
    :ivar reach: a path by which this process reaches it, as long as the walk stands there.
    """

    path: str
    status: os.stat_result
    reach: str

    @property
    def name(self) -> str:
        """Return the last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def shown(self) -> str:
        """Return its path as it may be shown: a name may hold anything but a slash."""
        return self.path if self.path.isprintable() else repr(self.path)[1:-1]

    @property
    def why_dangerous(self) -> str:
        """Return what it gives to whoever uses it on this host, "" if nothing."""
        mode = self.status.st_mode
        if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
            return "a device node"
        if not stat.S_ISREG(mode):
            return ""
        if mode & stat.S_ISUID:
            return "a set-uid file"
        if mode & stat.S_ISGID:
            return "a set-gid file"
        return "a file with capabilities" if _has_capabilities(self.reach) else ""


def walk(opened: Opened, *, max_entries: int = MAX_ENTRIES, max_depth: int = MAX_DEPTH) -> Iterator[Entry]:
    """Yield all that lies beneath what is held, or the file that is held; links are not followed.

    What vanishes meanwhile is left out.

    :raises TooMuchError: where there is more than that.
    :raises OSError: if a folder cannot be read.
    """
    if not opened.is_folder:
        yield Entry("", opened.status, opened.reach)
        return
    left = max_entries
    # Each folder is opened from the one above, so at most one descriptor a level is open.
    top = opened.readable()
    levels = [(top, _entries(opened, top, ""))]
    try:
        while levels:
            fd, entries = levels[-1]
            entry = next(entries, None)
            if entry is None:
                levels.pop()
                os.close(fd)
                continue
            left -= 1
            if left < 0:
                raise TooMuchError(f"more than {max_entries} files and folders")
            yield entry
            if stat.S_ISDIR(entry.status.st_mode):
                if len(levels) >= max_depth:
                    raise TooMuchError(f"more than {max_depth} folders in one another")
                below = _opened(fd, entry.name)
                if below is not None:
                    levels.append((below, _entries(opened, below, f"{entry.path}/")))
    finally:
        for fd, _ in levels:
            os.close(fd)


def _entries(top: Opened, fd: int, prefix: str) -> Iterator[Entry]:
    with os.scandir(fd) as found:
        for each in found:
            try:
                status = each.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            path = f"{prefix}{each.name}"
            yield Entry(path, status, top.reach_beneath(fd, path))


def _opened(above: int, name: str) -> int | None:
    """Return a descriptor of a folder; None if it is none any more."""
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None


def _has_capabilities(reach: str) -> bool:
    """Tell whether a file gives its process capabilities (capabilities(7))."""
    try:
        # A single file is reached by its descriptor, which is a link to follow; others by their folder's.
        followed = reach.rpartition("/")[0] == "/proc/self/fd"
        return bool(os.getxattr(reach, "security.capability", follow_symlinks=followed))
    except (OSError, AttributeError):  # only Linux has them
        return False
