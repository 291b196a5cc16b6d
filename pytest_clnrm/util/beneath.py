"""Opening a file or folder beneath a folder without following any link on the way.

Each component is opened relative to the one before, so what was opened is what was looked at, whatever
others rename or link meanwhile. openat2(2) with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS does the same in one
call; the walk needs no kernel of a certain age, and no call that a sandbox may forbid.

Where the kernel has no O_PATH, or shows no descriptors in /proc, as on macOS, what is held is opened for
reading: so it must be readable, and opening a device may do something.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

_MAX_STEPS = 1000
_DESCRIPTORS = "/proc/self/fd"
_O_PATH = getattr(os, "O_PATH", 0) if Path(_DESCRIPTORS).exists() else 0
_HOLD = (_O_PATH or os.O_RDONLY | os.O_NONBLOCK) | os.O_NOFOLLOW | os.O_CLOEXEC
_HOLD_FOLDER = _O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file or folder; to be closed, or used in a ``with``.

    :ivar fd: descriptor by which it is held (O_PATH): a device or pipe is not touched.
    :ivar status: of what is held.
    :ivar path: by which it was opened, for messages.
    """

    fd: int
    status: os.stat_result
    path: str

    @property
    def identity(self) -> tuple[int, int]:
        """Return device and inode, which no other file or folder has while this one is held."""
        return self.status.st_dev, self.status.st_ino

    @property
    def is_folder(self) -> bool:
        """Tell whether it is a folder."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Tell whether it is a regular file."""
        return stat.S_ISREG(self.status.st_mode)

    def readable(self) -> int:
        """Return a new descriptor that reads what is held; the caller closes it.

        :raises OSError: if it may not be read, or is neither a file nor a folder (EINVAL).
        """
        if not (self.is_file or self.is_folder):
            raise OSError(errno.EINVAL, "is neither a file nor a folder", self.path)
        if self.is_folder:
            return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
        if _O_PATH:
            return os.open(self.reach, os.O_RDONLY | os.O_CLOEXEC)
        os.lseek(self.fd, 0, os.SEEK_SET)
        return os.dup(self.fd)

    @property
    def reach(self) -> str:
        """Return a path that leads to what is held; without a /proc the one it was opened by."""
        return f"{_DESCRIPTORS}/{self.fd}" if _O_PATH else self.path

    def reach_beneath(self, folder: int, path: str) -> str:
        """Return a path that leads to what is at *path* beneath this one, in the open folder *folder*."""
        return f"{_DESCRIPTORS}/{folder}/{PurePosixPath(path).name}" if _O_PATH else f"{self.path}/{path}"

    def names(self) -> list[str]:
        """Return what is in this folder.

        :raises OSError: if it cannot be read.
        """
        with held(self.readable()) as fd:
            return os.listdir(fd)  # noqa: PTH208 of a descriptor

    def read(self, limit: int) -> bytes:
        """Return the content of a file of up to *limit* bytes.

        :raises OSError: if it cannot be read, or is longer (EFBIG).
        """
        with open(self.readable(), "rb") as file:  # noqa: PTH123 of a descriptor
            data = file.read(limit + 1)
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"is longer than {limit} bytes", self.path)
        return data

    def beneath(self, path: str) -> Opened:
        """Open what lies at the relative *path* beneath this folder, as :func:`open_beneath` does."""
        held = os.dup(self.fd)
        so_far = self.path
        try:
            status = os.fstat(held)
            for name in _components(path):
                so_far = f"{so_far.rstrip('/')}/{name}"
                above, held = held, _step(held, name, so_far)
                os.close(above)
                status = _followed(held, so_far)
        except BaseException:
            with suppress(OSError):
                os.close(held)
            raise
        return Opened(held, status, so_far)

    def close(self) -> None:
        """Let it go."""
        os.close(self.fd)

    def __enter__(self) -> Opened:  # noqa: PYI034 (no Self before Python 3.11)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class held:  # noqa: N801 -- used as a function; one of contextlib's takes several times as long
    """Yields an open descriptor, and closes it when the block ends."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def open_beneath(root: str, path: str) -> Opened:
    """Open what lies at *path* beneath the folder *root*, following no link below *root*.

    With the root "/" no component at all may be a link.

    :param root: absolute and trusted: links in it are followed.
    :param path: relative, without "..", or absolute and beneath *root* as it is written.
    :raises OSError: with the path so far as its filename: ELOOP for a link, EXDEV for a path that would leave
        *root*, what the kernel says otherwise.
    """
    if path.startswith("/"):
        try:
            path = str(PurePosixPath(path).relative_to(PurePosixPath(root)))
        except ValueError:
            raise OSError(errno.EXDEV, f"lies outside of {root}", path) from None
    fd = os.open(root, _HOLD_FOLDER)
    with Opened(fd, os.fstat(fd), root) as top:
        return top.beneath(path)


def open_in_root(root: str, path: str) -> Opened:
    """Open what a process whose root folder is *root* would open at the absolute *path*.

    Its links are followed as it would follow them, so none leads out of *root* (openat2(2) with
    RESOLVE_IN_ROOT).

    :raises OSError: as the process would get it.
    """
    names = path.split("/")[::-1]
    with ExitStack() as rest:
        held = [os.open(root, _HOLD_FOLDER)]
        rest.callback(lambda: _close(held))
        for _ in range(_MAX_STEPS):
            if not names:
                fd = os.dup(held[-1])
                return Opened(fd, os.fstat(fd), path)
            name = names.pop()
            if name == ".." and len(held) > 1:
                os.close(held.pop())
            if name in {"", ".", ".."}:
                continue
            fd = _step(held[-1], name, path)
            held.append(fd)
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                target = os.readlink("", dir_fd=fd)
                left = 1 if target.startswith("/") else len(held) - 1
                _close(held[left:])
                del held[left:]
                names += target.split("/")[::-1]
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _close(descriptors: list[int]) -> None:
    for each in descriptors:
        os.close(each)


def _components(path: str) -> list[str]:
    names = [each for each in path.split("/") if each not in {"", "."}]
    if ".." in names or path.startswith("/"):
        raise OSError(errno.EXDEV, "would leave the folder it is looked for in", path)
    return names


def _followed(fd: int, shown: str) -> os.stat_result:
    """Return the status of a step of the walk, which is no link."""
    status = os.fstat(fd)
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "is a symbolic link", shown)
    return status


def _step(folder: int, name: str, shown: str) -> int:
    try:
        return os.open(name, _HOLD, dir_fd=folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, shown) from None
    except ValueError:
        raise OSError(errno.EINVAL, "holds a NUL character", shown) from None
