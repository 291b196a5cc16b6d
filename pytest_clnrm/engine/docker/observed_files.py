"""Files of a container, looked at from outside: read, compared by what is told of them, and removed.

All is walked from an open folder, a component at a time, and no symbolic link is followed: an absolute one in
a container would lead to this host's files.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from hashlib import sha256

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.util.beneath import held

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_DEPTH = 100
_PIECE_BYTES = 1 << 20


class Budget:
    """How much may be looked at: past it a new container is cheaper."""

    def __init__(self, *, entries: int = 20_000, content_bytes: int = 16 << 20) -> None:
        self._entries = entries
        self._content_bytes = content_bytes

    def take_entry(self, depth: int) -> None:
        """Count an entry of a folder that is *depth* folders deep.

        :raises ContainerError: if there are too many, or it is too deep.
        """
        self._entries -= 1
        if self._entries < 0 or depth > _MAX_DEPTH:
            raise ContainerError("it has too many files to be looked at")

    def take_content(self, count: int) -> None:
        """Count bytes of files.

        :raises ContainerError: if there are too many.
        """
        self._content_bytes -= count
        if self._content_bytes < 0:
            raise ContainerError("its changed files are too large to be looked at")


# Both are asked for the same few hundred names and modes again and again.
@lru_cache(maxsize=1024)
def owned(mode: int, uid: int, gid: int) -> str:
    """Return mode and owner of a file as text."""
    return f"{mode:o} {uid}:{gid}"


@lru_cache(maxsize=1024)
def shown(name: bytes) -> str:
    """Return a name as text without control characters, another one for each name."""
    text = name.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return (
        text
        if text.isprintable()
        else "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)
    )


def entries_below(
    parent: int,
    name: bytes,
    path: bytes,
    budget: Budget,
    *,
    mounts: Collection[bytes] = (),
    closely: bool = True,
    depth: int = 0,
) -> Iterator[tuple[bytes, os.stat_result, str]]:
    """Yield a file or folder and all that is below it: its path, and all there is of it.

    The time of a file's last access is no state: the kernel keeps it as it likes. That of the last change of
    anything about it cannot be set by a container.

    :param parent: the open folder that holds it.
    :param path: by which it is called.
    :param mounts: paths below it that are left out: what is mounted is looked at by itself.
    :param closely: with extended attributes and content, not only times.
    """
    budget.take_entry(depth)
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    told = [
        owned(found.st_mode, found.st_uid, found.st_gid),
        f"{found.st_dev:x}/{found.st_ino} {found.st_rdev:x}",
        f"{found.st_nlink} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}",
    ]
    if stat.S_ISLNK(found.st_mode):
        told.append(shown(os.fsencode(os.readlink(name, dir_fd=parent))))
    if closely:
        told += attributes(parent, name)
        if stat.S_ISREG(found.st_mode):
            told.append(_digest(parent, name, budget))
    yield path, found, " ".join(told)
    if not stat.S_ISDIR(found.st_mode):
        return
    with held(os.open(name, _FOLDER, dir_fd=parent)) as folder:
        for below in sorted(map(os.fsencode, os.listdir(folder))):
            place = path.rstrip(b"/") + b"/" + below
            if place not in mounts:
                yield from entries_below(
                    folder, below, place, budget, mounts=mounts, closely=closely, depth=depth + 1
                )


def modes_below(
    folder: int, path: bytes, is_skipped: Callable[[bytes], bool] = lambda _: False
) -> list[tuple[bytes, str]]:
    """Return mode and owner of all entries of an open folder of the kernel's, and of those below.

    :param is_skipped: tells whether a path is not looked at.
    """
    # A list, as there are more than a hundred of them for each look, each several folders deep.
    told: list[tuple[bytes, str]] = []
    for name in os.listdir(folder):
        place = path + b"/" + os.fsencode(name)
        if is_skipped(place):
            continue
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        told.append((place, owned(found.st_mode, found.st_uid, found.st_gid)))
        if stat.S_ISDIR(found.st_mode):
            with held(os.open(name, _FOLDER, dir_fd=folder)) as below:
                told += modes_below(below, place, is_skipped)
    return told


def empty_folder(folder: int, budget: Budget, *, depth: int = 0) -> None:
    """Remove all that is in an open folder.

    :raises OSError: if something cannot be removed, as what is mounted there.
    """
    for each in os.listdir(folder):
        budget.take_entry(depth)
        if stat.S_ISDIR(os.stat(each, dir_fd=folder, follow_symlinks=False).st_mode):
            with held(os.open(each, _FOLDER, dir_fd=folder)) as below:
                empty_folder(below, budget, depth=depth + 1)
            os.rmdir(each, dir_fd=folder)
        else:
            os.unlink(each, dir_fd=folder)


def attributes(parent: int, name: bytes) -> Iterator[str]:
    """Yield the extended attributes of a file, among which are access control lists."""
    place = b"/proc/self/fd/%d/%s" % (parent, name)
    try:
        names = os.listxattr(place, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return
        raise
    for each in sorted(names):
        value = os.getxattr(place, each, follow_symlinks=False)
        yield f"{shown(os.fsencode(each))}={value.hex()}"


def _digest(parent: int, name: bytes, budget: Budget) -> str:
    """Return a hash of a file's content."""
    digest = sha256()
    with held(os.open(name, _FILE, dir_fd=parent)) as file:
        while piece := os.read(file, _PIECE_BYTES):
            budget.take_content(len(piece))
            digest.update(piece)
    return digest.hexdigest()
