"""Files that a Python test copies into a container and out of it.

What comes out is a program's, which may be hostile: only regular files are made on this host, below the
folder that the test names, and no link on the way there is followed.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.engine.api import CopiedFile
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.runner.artifacts import harmless
from pytest_clnrm.util.path_globs import components

if TYPE_CHECKING:
    from pytest_clnrm.runtime.runtime import Runtime

_SETTING = "max_artifacts_bytes"
_PROGRAM, _PLAIN = 0o755, 0o644
MAX_FILES = 10_000
"""How many files and folders are copied out at once."""


class _Room:
    """How much may be copied at once.

    :param what: the copy, in words.
    """

    def __init__(self, runtime: Runtime, what: str) -> None:
        self._limit_bytes = runtime.settings.max_artifacts_bytes
        self._from = runtime.settings.origin(_SETTING)
        self._what = what
        self._used_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Count bytes.

        :raises ContainerError: if they are too many.
        """
        self._used_bytes += size_bytes
        if self._used_bytes > self._limit_bytes:
            raise ContainerError(
                f"cannot {self._what}: it has more than {self._limit_bytes / 2**20:.10g} MB "
                f"(clnrm_max_artifacts: {self._from})"
            )


def copied_in(runtime: Runtime, source: Path | bytes, target: str, mode: int | None) -> list[CopiedFile]:
    """Return what is copied into a container.

    :param source: a file, a folder with all that is in it, or the content of a file.
    :param target: an absolute path; one that ends with a slash is a folder into which a file is put.
    :param mode: of the files; None: 0755 for those that may be executed, else 0644.
    :raises ValueError: if *target* is none.
    :raises ContainerError: if they cannot be read, or are too many.
    """
    if not target.startswith("/") or "\0" in target or ".." in target.split("/"):
        raise ValueError(f'dest={target!r}: it is an absolute path in the container: write "/data/file"')
    if isinstance(source, bytes):
        if target.endswith("/"):
            raise ValueError(f"dest={target!r}: it is the path of a file: write {target + 'file'!r}")
        _Room(runtime, f"copy {target} into the container").take(len(source))
        return [CopiedFile(target=target, content=source, mode=_PLAIN if mode is None else mode)]
    room = _Room(runtime, f"copy {source} into the container")
    try:
        found = list(_files_of(source, room))
    except OSError as error:
        raise ContainerError(f"cannot copy {source} into the container: {error.strerror}") from None
    if source.is_file():
        ((_, content, own_mode),) = found
        named = posixpath.join(target, source.name) if target.endswith("/") else target
        return [CopiedFile(target=named, content=content, mode=own_mode if mode is None else mode)]
    return [
        CopiedFile(
            target=posixpath.join(target, below), content=content, mode=own_mode if mode is None else mode
        )
        for below, content, own_mode in found
    ]


def _files_of(source: Path, room: _Room) -> Iterator[tuple[str, bytes, int]]:
    """Yield each file: its path below *source*, its content and its mode."""
    if not source.is_dir():
        yield "", *_content(source, room)
        return
    for folder, folders, names in os.walk(source):
        folders.sort()
        for name in sorted([*names, *(each for each in folders if Path(folder, each).is_symlink())]):
            path = Path(folder, name)
            if not stat.S_ISREG(path.lstat().st_mode):
                raise ContainerError(f"cannot copy {source} into the container: {path} is no regular file")
            yield path.relative_to(source).as_posix(), *_content(path, room)


def _content(path: Path, room: _Room) -> tuple[bytes, int]:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ContainerError(f"cannot copy {path} into the container: it is no regular file")
    room.take(status.st_size)
    return path.read_bytes(), _PROGRAM if status.st_mode & stat.S_IXUSR else _PLAIN


def read_file(runtime: Runtime, container: str, path: str) -> bytes:
    """Return the content of a file of a container.

    :raises ContainerError: if there is none, or it is too large.
    """
    doing = f"read {path} of the container"
    room, content = _Room(runtime, doing), bytearray()
    deadline_s = time.monotonic() + runtime.settings.timeout_s
    with closing(runtime.engine().read_files(container, path, deadline_s=deadline_s)) as found:
        _, seen, pieces = next(found, ("", None, iter(())))
        if seen is None:
            raise ContainerError(
                f"cannot {doing}: nothing lies there (what is in memory, as in a scratch folder, is read by "
                f'run(["cat", ...], text=False))'
            )
        if seen.kind != "file":
            raise ContainerError(f"cannot {doing}: it is a {seen.kind}")
        for piece in pieces:
            room.take(len(piece))
            content += piece
    return bytes(content)


def copy_out(runtime: Runtime, container: str, path: str, place: Path, *, into: bool) -> tuple[Path, int]:
    """Copy a file, or a folder with all that is in it, out of a container.

    :param place: where it is put; what is in a folder is put below it.
    :param into: *place* is a folder, into which a file is put under its own name.
    :return: the file's or folder's path, and how many links, devices and the like were left out.
    :raises ContainerError: if it cannot be read or written, or is too large.
    """
    doing = f"copy {path} from the container"
    room = _Room(runtime, doing)
    deadline_s = time.monotonic() + runtime.settings.timeout_s
    left_out = number = 0
    made = place
    try:
        with closing(runtime.engine().read_files(container, path, deadline_s=deadline_s)) as found:
            for below, seen, pieces in found:
                number += 1
                if number > MAX_FILES:
                    raise ContainerError(f"cannot {doing}: there are more than {MAX_FILES} files and folders")
                names = [harmless(each) for each in components(below)]
                if not names and seen.kind != "directory":
                    if into or place.is_dir():
                        names = [harmless(posixpath.basename(path.rstrip("/")))]
                        made = place / names[0]
                    else:
                        # By its folder, so that a link there is not followed either.
                        names, place = [place.name], place.parent
                if seen.kind == "directory":
                    with _folder(place, names):
                        pass
                elif seen.kind == "file":
                    _write(place, names, pieces, room.take)
                else:
                    left_out += 1
    except OSError as error:
        raise ContainerError(f"cannot {doing}: {error.filename or place}: {error.strerror}") from None
    if not number:
        raise ContainerError(f"cannot {doing}: nothing lies there")
    return made, left_out


@contextmanager
def _folder(root: Path, names: Sequence[str]) -> Iterator[int]:
    """Make a folder below *root*, and yield its descriptor; a link below *root* is none.

    :raises OSError: if it cannot be made.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=folder)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(name, flags, dir_fd=folder)
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


def _write(root: Path, names: Sequence[str], pieces: Iterator[bytes], take: Callable[[int], None]) -> None:
    """Write a file below *root*, in the place of one that is there.

    :param take: called with the size of each piece before it is written.
    :raises OSError: if it cannot be written; a link, a pipe or the like in its place is not.
    """
    *around, name = names
    # A pipe with nobody at its other end would be waited for.
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with _folder(root, around) as folder, open(os.open(name, flags, 0o644, dir_fd=folder), "wb") as file:  # noqa: PTH123 of a descriptor
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", name)
        file.truncate()
        for piece in pieces:
            take(len(piece))
            file.write(piece)
