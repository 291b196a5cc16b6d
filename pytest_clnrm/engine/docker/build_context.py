"""The context of a build as an archive, read by us and not by a program that follows links.

Each folder and file is opened beneath the one around it without following a link, so nothing outside of the
context is read, whatever takes the place of a folder meanwhile. Links stay links: the engine resolves them
within what it was sent.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

from pytest_clnrm.engine.docker.dockerignore import Ignored, State
from pytest_clnrm.errors import ImageError
from pytest_clnrm.util.beneath import Opened, held, open_beneath

DOCKERFILE = "Dockerfile"
_IGNORE = ".dockerignore"
_IGNORE_BYTES = 1 << 20
_MAX_DEPTH = 200
_KINDS = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a named pipe"}


def write_context(context: str, *, dockerfile: str | None, max_bytes: int, deadline_s: float) -> IO[bytes]:
    """Return an open file, at its start, with the archive (tar) of a folder without what is ignored.

    :param context: absolute, without a link on the way.
    :param dockerfile: below the context; None for its ``Dockerfile``.
    :param max_bytes: of the archive.
    :param deadline_s: a ``time.monotonic()`` moment.
    :raises ImageError: if it cannot be read, holds what no image can, is too large, or time is over.
    """
    name = os.path.normpath(dockerfile or DOCKERFILE)
    with ExitStack() as stack:
        try:
            # Where it lay when the file was read, there was no link on the way.
            folder = stack.enter_context(open_beneath("/", context))
            if not folder.is_folder:
                raise _problem(context, f"there is no folder {context}")
            _check_dockerfile(folder, context, name)
            file = TemporaryFile(prefix="clnrm-")  # noqa: SIM115 (it is returned)
            failed = stack.enter_context(ExitStack())
            failed.callback(file.close)
            with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
                ignored = Ignored(_ignore_text(folder), kept=(name, _IGNORE))
                _Writer(context, archive, ignored, max_bytes, deadline_s).add_all(folder)
            file.seek(0)
        except OSError as error:
            where = f": {error.filename}" if isinstance(error.filename, str) else ""
            raise _problem(
                context, f"its context cannot be read: {error.strerror or error}{where}"
            ) from error
        failed.pop_all()
        return file


def _problem(context: str, why: str) -> ImageError:
    return ImageError(f"cannot build the image of {context}: {why}")


def _check_dockerfile(folder: Opened, context: str, name: str) -> None:
    missing = _problem(context, f"there is no file {context}/{name}")
    try:
        with folder.beneath(name) as file:
            if not file.is_file:
                raise missing
    except OSError as error:
        # The engine follows a link, within what it was sent.
        if error.errno != errno.ELOOP:
            raise missing from None


def _ignore_text(folder: Opened) -> str:
    try:
        with folder.beneath(_IGNORE) as file:
            return file.read(_IGNORE_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


@dataclass
class _Writer:
    """Writes one context into its archive."""

    context: str
    archive: tarfile.TarFile
    ignored: Ignored
    max_bytes: int
    deadline_s: float
    written: int = 0

    def add_all(self, folder: Opened) -> None:
        """Add all that lies below the context."""
        self._folder(folder, "", self.ignored.outside)

    def _folder(self, folder: Opened, path: str, state: State) -> None:
        if path.count("/") >= _MAX_DEPTH:
            raise _problem(self.context, f"folders lie more than {_MAX_DEPTH} deep: {path[:100]}...")
        with held(folder.readable()) as fd:
            for name in sorted(os.listdir(fd)):  # noqa: PTH208 of a descriptor
                below = f"{path}/{name}" if path else name
                self._entry(folder, fd, name, below, self.ignored.state(below, state))

    def _entry(self, folder: Opened, fd: int, name: str, path: str, state: State) -> None:
        if time.monotonic() >= self.deadline_s:
            raise _problem(self.context, "the time for it was over before its context was read")
        out = self.ignored.leaves_out(path, state)
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            if out and not self.ignored.readmits:
                return
            with folder.beneath(name) as below:
                if not out:
                    self._add(self._info(path, below.status, tarfile.DIRTYPE))
                self._folder(below, path, state)
        elif out:
            return
        elif stat.S_ISLNK(status.st_mode):
            info = self._info(path, status, tarfile.SYMTYPE)
            info.linkname = os.readlink(name, dir_fd=fd)
            self._add(info)
        else:
            with folder.beneath(name) as file:
                self._file(file, path)

    def _file(self, file: Opened, path: str) -> None:
        if not file.is_file:
            what = _KINDS.get(stat.S_IFMT(file.status.st_mode), "a device")
            raise _problem(
                self.context,
                f"{path} is {what}, which no image can hold: remove it, or name it in {_IGNORE}",
            )
        info = self._info(path, file.status, tarfile.REGTYPE)
        info.size = file.status.st_size
        self._grow(info.size)
        with open(file.readable(), "rb") as content:  # noqa: PTH123 of a descriptor
            self._add(info, content)

    def _info(self, path: str, status: os.stat_result, kind: bytes) -> tarfile.TarInfo:
        info = tarfile.TarInfo(path)
        info.type = kind
        info.mode = stat.S_IMODE(status.st_mode)
        info.mtime = max(int(status.st_mtime), 0)
        return info

    def _add(self, info: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
        self._grow(tarfile.BLOCKSIZE)
        self.archive.addfile(info, content)

    def _grow(self, more: int) -> None:
        self.written += more
        if self.written > self.max_bytes:
            raise _problem(
                self.context,
                f"its context is larger than {self.max_bytes / 2**20:.10g} MB: leave out what the image "
                f"does not need in {_IGNORE}",
            )
