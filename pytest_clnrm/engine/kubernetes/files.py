"""Files of pods: asked for inside, by the image's own stat and tar, as a cluster hands none out.

So the container has to run, and to have these programs.
"""

from __future__ import annotations

import io
import posixpath
import stat
import tarfile
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import IO, TYPE_CHECKING

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.seen import FileSeen, PathFacts

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import CopiedFile, ExecOutcome
    from pytest_clnrm.model.check import FileKind

    Run = Callable[..., ExecOutcome]

_LOOK_S = 20.0
_SPOOLED_BYTES = 8 << 20
_PIECE = 65536
_FIELDS = 5
_MISSING = ("no such file", "not a directory")
_KINDS: tuple[tuple[int, FileKind], ...] = (
    (stat.S_IFDIR, "directory"),
    (stat.S_IFLNK, "symlink"),
    (stat.S_IFIFO, "fifo"),
    (stat.S_IFSOCK, "socket"),
    (stat.S_IFCHR, "device"),
    (stat.S_IFBLK, "device"),
    (stat.S_IFREG, "file"),
)


def look_at_path(run: Run, path: str) -> PathFacts | None:
    """Return what lies at a path; see :meth:`pytest_clnrm.engine.api.Engine.look_at_path`."""
    found = _stat(run, path, follow=True, deadline_s=time.monotonic() + _LOOK_S)
    if found is None:
        return None
    mode, size, _, _, modified_s = found
    kind = _kind(mode)
    return PathFacts(
        kind="folder" if kind == "directory" else "file" if kind == "file" else "other",
        size_bytes=size,
        modified_s=modified_s,
    )


def look_at_file(
    run: Run, path: str, *, deadline_s: float, feed: Callable[[bytes], None] | None = None
) -> FileSeen | None:
    """Return what lies at a path; see :meth:`pytest_clnrm.engine.api.Engine.look_at_file`."""
    found = _stat(run, path, follow=False, deadline_s=deadline_s)
    if found is None:
        return None
    mode, size, uid, gid, _ = found
    kind = _kind(mode)
    target = leads_to = ""
    if kind == "symlink":
        target = _readlink(run, path, deadline_s)
        try:
            leads_to = _readlink(run, path, deadline_s, "-f")
        except ContainerError:
            # A folder on the way is not there, or links go round in circles.
            leads_to = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if kind == "file" and feed is not None:
        with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as content:
            _read(run, ("cat", "--", path), path, deadline_s, content)
            content.seek(0)
            while piece := content.read(_PIECE):
                feed(piece)
    return FileSeen(
        kind=kind,
        mode=stat.S_IMODE(mode),
        size_bytes=size,
        uid=uid,
        gid=gid,
        target=target,
        leads_to=leads_to,
    )


def _readlink(run: Run, path: str, deadline_s: float, *options: str) -> str:
    told, _ = _ask(run, ("readlink", *options, "--", path), path, deadline_s)
    return told.removesuffix(b"\n").decode("utf-8", "replace")


def read_files(run: Run, path: str, *, deadline_s: float) -> Generator[tuple[str, FileSeen, Iterator[bytes]]]:
    """Yield what lies at a path and below; see :meth:`pytest_clnrm.engine.api.Engine.read_files`."""
    found = _stat(run, path, follow=True, deadline_s=deadline_s)
    if found is None:
        return
    mode, size, uid, gid, _ = found
    if _kind(mode) == "file":
        with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as content:
            _read(run, ("cat", "--", path), path, deadline_s, content)
            content.seek(0)
            seen = FileSeen(kind="file", mode=stat.S_IMODE(mode), size_bytes=size, uid=uid, gid=gid)
            yield "", seen, iter(partial(content.read, _PIECE), b"")
        return
    if _kind(mode) != "directory":
        seen = FileSeen(kind=_kind(mode), mode=stat.S_IMODE(mode), size_bytes=size, uid=uid, gid=gid)
        yield "", seen, iter(())
        return
    with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as packed:
        _read(run, ("tar", "-C", path, "-cf", "-", "."), path, deadline_s, packed)
        packed.seek(0)
        try:
            with tarfile.open(fileobj=packed, mode="r|") as archive:
                for entry in archive:
                    # A member's own stream ends with the next one, as theirs who ask.
                    member = archive.extractfile(entry) if entry.isreg() else None
                    pieces = iter(()) if member is None else iter(partial(member.read, _PIECE), b"")
                    yield entry.name.removeprefix("./").removeprefix(".").rstrip("/"), _entry(entry), pieces
        except tarfile.TarError as error:
            raise ContainerError(f"cannot copy {path} from the container: {error}") from None


def copy_in(run: Run, files: Sequence[CopiedFile]) -> None:
    """Copy files into a container that runs.

    :raises ContainerError: if they cannot be.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for each in files:
            entry = tarfile.TarInfo(each.target.lstrip("/"))
            entry.size, entry.mode, entry.mtime = len(each.content), each.mode, int(time.time())
            archive.addfile(entry, io.BytesIO(each.content))
    _ask(run, ("tar", "-C", "/", "-xf", "-"), "files", time.monotonic() + 60, stdin=packed.getvalue())


def _stat(run: Run, path: str, *, follow: bool, deadline_s: float) -> tuple[int, int, int, int, int] | None:
    argv = ("stat", *(("-L",) if follow else ()), "-c", "%f %s %u %g %Y", "--", path)
    said, problem = _ask(run, argv, path, deadline_s, may_miss=True)
    if problem:
        return None
    fields = said.decode("ascii", "replace").split()
    if len(fields) != _FIELDS:
        raise ContainerError(f"cannot look at {path} in the container: its stat said {said[:200]!r}")
    return int(fields[0], 16), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[4])


def _ask(
    run: Run,
    argv: tuple[str, ...],
    path: str,
    deadline_s: float,
    *,
    stdin: bytes | None = None,
    may_miss: bool = False,
) -> tuple[bytes, str]:
    """Return what a command says, and that nothing lies there, in its words."""
    said = io.BytesIO()
    problem = _read(run, argv, path, deadline_s, said, stdin=stdin, may_miss=may_miss)
    return said.getvalue(), problem


def _read(
    run: Run,
    argv: tuple[str, ...],
    path: str,
    deadline_s: float,
    into: IO[bytes],
    *,
    stdin: bytes | None = None,
    may_miss: bool = False,
) -> str:
    problem = bytearray()

    def hear(stream: str, data: bytes) -> None:
        if stream == "stdout":
            into.write(data)
        else:
            problem.extend(data[:2000])

    outcome = run(argv, stdin=stdin, on_output=hear, deadline_s=deadline_s)
    said = " ".join(problem.decode("utf-8", "replace").split())
    doing = f"cannot look at {path} in the container"
    if outcome.container_lost:
        raise ContainerError(f"{doing}: it has ended, and a cluster hands out files of running ones only")
    if not outcome.started:
        raise ContainerError(
            f"{doing}: a cluster needs the image's own {argv[0]} for that, and there: {said}"
        )
    if outcome.timed_out:
        raise ContainerError(f"{doing} in time")
    if outcome.exit_code == 0:
        return ""
    if may_miss and any(each in said.lower() for each in _MISSING):
        return said
    raise ContainerError(f"{doing}: {said or f'exit code {outcome.exit_code}'}")


def _kind(mode: int) -> FileKind:
    return next((kind for bits, kind in _KINDS if stat.S_IFMT(mode) == bits), "file")


def _entry(entry: tarfile.TarInfo) -> FileSeen:
    kind: FileKind = "file"
    if entry.isdir():
        kind = "directory"
    elif entry.issym():
        kind = "symlink"
    elif entry.isfifo():
        kind = "fifo"
    elif entry.ischr() or entry.isblk():
        kind = "device"
    return FileSeen(
        kind=kind,
        mode=entry.mode & 0o7777,
        size_bytes=entry.size,
        uid=entry.uid,
        gid=entry.gid,
        target=entry.linkname if entry.issym() else "",
    )
