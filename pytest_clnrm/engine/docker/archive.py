"""Files of containers as the engine tells and hands them out: nothing of the container is run for that.

An engine shows the container's own file system and its volumes, running or not, but nothing that is in
memory: no tmpfs, no ``/proc``.

Podman's archives have root as owner of everything, and what a symbolic link leads to in its place. The
export of a whole container, which leaves out volumes, tells both.
"""

from __future__ import annotations

import base64
import contextlib
import json
import tarfile
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, cast

import docker.errors

from pytest_clnrm.engine.plain_errors import engine_text, plain_errors
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.seen import FileSeen

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.model.check import FileKind

_NOTHING = ("no such file or directory", "could not find the file", "not a directory", "no such path")
_HEADER = "X-Docker-Container-Path-Stat"
_CHUNK_BYTES = 64 * 1024
_MAX_LINKED = 10_000
# The engine tells a mode as Go's: the permissions as everywhere, all else in the highest bits.
# Source: https://pkg.go.dev/io/fs#FileMode
_KINDS: tuple[tuple[int, FileKind], ...] = (
    (1 << 31, "directory"),
    (1 << 27, "symlink"),
    (1 << 25, "fifo"),
    (1 << 24, "socket"),
    (1 << 26 | 1 << 21 | 1 << 19, "device"),
)
_SET_UID, _SET_GID, _STICKY = 1 << 23, 1 << 22, 1 << 20


def look_at_file(
    client: APIClient,
    container: str,
    path: str,
    *,
    deadline_s: float,
    feed: Callable[[bytes], None] | None = None,
    is_podman: bool = False,
) -> FileSeen | None:
    """Return what lies at an absolute path in a container; None if nothing does.

    :param deadline_s: a ``time.monotonic()`` moment, till which its content is read.
    :param feed: gets the content of a regular file, piece by piece.
    :param is_podman: owners, and what symbolic links say, are not told then: :func:`list_files` does.
    :raises ContainerError: if it cannot be told.
    """
    doing = f"look at {path} in the container"
    with _archive_of(client, container, path, doing) as found:
        if found is None:
            return None
        seen, pieces = found
        # Engines leave sockets out of archives.
        if seen.kind == "socket" or (is_podman and (feed is None or seen.kind != "file")):
            return seen
        with reading(pieces) as archive:
            entry = archive.next()
            if entry is None:
                raise ContainerError(f"cannot {doing}: the engine's archive of it is empty")
            content = archive.extractfile(entry) if feed is not None and entry.isreg() else None
            if feed is not None and content is not None:
                while piece := content.read(_CHUNK_BYTES):
                    feed(piece)
                    _check_time(deadline_s, doing)
    if is_podman:
        return seen
    return replace(seen, uid=entry.uid, gid=entry.gid, target=entry.linkname if entry.issym() else "")


def read_files(
    client: APIClient, container: str, path: str, *, deadline_s: float, follow: bool = True
) -> Generator[tuple[str, FileSeen, Iterator[bytes]]]:
    """Yield what lies at an absolute path in a container, and all below it; nothing if nothing lies there.

    Of each: its path below *path* ("" for what lies at *path* itself), its facts, and the content of a
    regular file, to be read before the next one is asked for.

    :param deadline_s: a ``time.monotonic()`` moment, till which they are read.
    :param follow: a link at *path* itself is followed, as the engine does within the container.
    :raises ContainerError: if they cannot be told.
    """
    doing = f"copy {path} from the container"
    linked: list[tuple[str, FileSeen]] = []
    leads_to = ""
    with _archive_of(client, container, path, doing) as found:
        if found is None:
            return
        seen, pieces = found
        leads_to = seen.leads_to if follow else ""
        if seen.kind == "socket" or (seen.kind == "symlink" and not leads_to):
            yield "", seen, iter(())
        elif not leads_to:
            with reading(_till(pieces, deadline_s, doing)) as archive:
                while (entry := archive.next()) is not None:
                    # Or it would remember all of them.
                    vars(archive)["members"].clear()
                    below = entry.name.partition("/")[2].rstrip("/")
                    if entry.islnk():
                        # Its content is only with the first of its names.
                        if len(linked) == _MAX_LINKED:
                            raise ContainerError(f"cannot {doing}: more than {_MAX_LINKED} hard links")
                        linked.append((below, _entry(entry)))
                        continue
                    content = archive.extractfile(entry) if entry.isreg() else None
                    yield below, _entry(entry), _pieces_of(content, doing)
    if leads_to:
        yield from read_files(client, container, leads_to, deadline_s=deadline_s, follow=False)
    for below, facts in linked:
        one = read_files(
            client, container, f"{path.rstrip('/')}/{below}", deadline_s=deadline_s, follow=False
        )
        yield below, facts, _content_of_first(one)


@contextlib.contextmanager
def _archive_of(
    client: APIClient, container: str, path: str, doing: str
) -> Iterator[tuple[FileSeen, Iterator[bytes]] | None]:
    """Ask for what the engine says of a path, and for its archive; None if nothing lies there.

    :raises ContainerError: if the engine does not tell.
    """
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/archive"
    with (
        plain_errors(doing, ContainerError),
        # What is not read of an archive is not sent: that of a folder has all that is in it.
        client.get(url, params={"path": path}, timeout=client.timeout, stream=True) as answer,
    ):
        try:
            # Its types leave it out; it raises what other calls of it raise.
            client._raise_for_status(answer)  # type: ignore[attr-defined]  # noqa: SLF001
        except docker.errors.APIError as error:
            if not _means_nothing(engine_text(error).lower(), path):
                raise
            # Podman tells of a symbolic link also where what it leads to is not there.
            if _HEADER not in answer.headers:
                yield None
                return
        told = _told(json.loads(base64.b64decode(answer.headers[_HEADER])))
        yield told, answer.iter_content(_CHUNK_BYTES)


def _till(pieces: Iterator[bytes], deadline_s: float, doing: str) -> Iterator[bytes]:
    for piece in pieces:
        _check_time(deadline_s, doing)
        yield piece


def _pieces_of(content: IO[bytes] | None, doing: str) -> Iterator[bytes]:
    # Whoever reads them gets what goes wrong, and not the one who walks through the archive.
    with plain_errors(doing, ContainerError), _unbroken():
        while content is not None and (piece := content.read(_CHUNK_BYTES)):
            yield piece


def _content_of_first(found: Iterator[tuple[str, FileSeen, Iterator[bytes]]]) -> Iterator[bytes]:
    for _, seen, pieces in found:
        if seen.kind == "file":
            yield from pieces
        return


def _check_time(deadline_s: float, doing: str) -> None:
    """Refuse to read on: a file of a few bytes on the disk may be one of terabytes.

    :raises ContainerError: if the time is over.
    """
    if time.monotonic() >= deadline_s:
        raise ContainerError(f"cannot {doing}: the time for it is over")


def _means_nothing(said: str, path: str) -> bool:
    """Tell whether an engine's refusal means that nothing lies at a path, below a file for example.

    :param said: its own words, in small letters.
    :raises ContainerError: if it means that the path leads nowhere, ever.
    """
    if "too many links" in said or "too many levels of symbolic links" in said:
        raise ContainerError(f"{path} is a circle of symbolic links")
    return "no such container" not in said and any(each in said for each in _NOTHING)


def _told(facts: dict[str, Any]) -> FileSeen:
    """Return what the engine says of a path beside its archive."""
    mode, kind = int(facts["mode"]), _kind(int(facts["mode"]))
    bits = ((_SET_UID, 0o4000), (_SET_GID, 0o2000), (_STICKY, 0o1000))
    return FileSeen(
        kind=kind,
        mode=mode & 0o777 | sum(bit for flag, bit in bits if mode & flag),
        size_bytes=int(facts["size"]),
        leads_to=str(facts.get("linkTarget") or "") if kind == "symlink" else "",
    )


def list_files(client: APIClient, container: str, *, deadline_s: float) -> Generator[tuple[str, FileSeen]]:
    """Yield path and facts of each file of a container, which need not run; volumes are left out.

    :param deadline_s: a ``time.monotonic()`` moment, till which they are read.
    :raises ContainerError: if they cannot be told.
    """
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/export"
    doing = "list the files of the container"
    with (
        plain_errors(doing, ContainerError),
        client.get(url, timeout=client.timeout, stream=True) as answer,
    ):
        client._raise_for_status(answer)  # type: ignore[attr-defined]  # noqa: SLF001
        with reading(answer.iter_content(_CHUNK_BYTES)) as archive:
            while (entry := archive.next()) is not None:
                # Or it would remember all of them.
                vars(archive)["members"].clear()
                _check_time(deadline_s, doing)
                yield f"/{entry.name}", _entry(entry)


def _entry(entry: tarfile.TarInfo) -> FileSeen:
    kind: FileKind = "device" if entry.isdev() else "file"
    kind = "fifo" if entry.isfifo() else "directory" if entry.isdir() else kind
    return FileSeen(
        kind="symlink" if entry.issym() else kind,
        mode=entry.mode & 0o7777,
        size_bytes=entry.size,
        uid=entry.uid,
        gid=entry.gid,
        target=entry.linkname if entry.issym() else "",
    )


def _kind(mode: int) -> FileKind:
    return next((kind for bits, kind in _KINDS if mode & bits), "file")


@contextlib.contextmanager
def reading(pieces: Iterator[bytes]) -> Iterator[tarfile.TarFile]:
    """Open an archive that arrives in pieces, for reading it once from its start.

    :raises ContainerError: if it is none, or breaks off.
    """
    with _unbroken(), tarfile.open(fileobj=cast("IO[bytes]", _Pieces(pieces)), mode="r|") as archive:
        yield archive


@contextlib.contextmanager
def _unbroken() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ContainerError(f"the engine's archive cannot be read: {error}") from error


class _Pieces:
    """What arrives in pieces, as a file that is read from its start to its end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return *size* bytes, less only at the end."""
        parts, missing = [], size
        while missing:
            part = self._rest or next(self._pieces, b"")
            if not part:
                break
            parts.append(part[:missing])
            self._rest = part[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)
