"""Files of containers, as an engine tells and hands them out."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError

from pytest_clnrm.engine.docker import archive as archive_module
from pytest_clnrm.engine.docker.archive import look_at_file, read_files
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.seen import FileSeen


class Answer:
    """An answer of an engine, which says why where it refuses."""

    def __init__(self, refusal: str = "", headers: Any = None, content: bytes = b"") -> None:
        self.refusal = refusal
        self.headers = headers or {}
        self._content = content

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def iter_content(self, size: int) -> Iterator[bytes]:
        """Yield it in pieces that fit no block."""
        yield from (self._content[at : at + 700] for at in range(0, len(self._content), 700))


def raise_for(answer: Answer) -> None:
    """Raise what docker-py raises of a refusal."""
    if answer.refusal:
        raise APIError(answer.refusal)


def client(mode: int, entry: tarfile.TarInfo | None, content: bytes = b"", link: str = "") -> Any:
    """Return a client of an engine where there is such a file."""
    told = json.dumps({"name": "x", "size": len(content), "mode": mode, "linkTarget": link})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        if entry is not None:
            archive.addfile(entry, io.BytesIO(content))
    headers = {"X-Docker-Container-Path-Stat": base64.b64encode(told.encode()).decode()}
    return answering(Answer(headers=headers, content=packed.getvalue()))


def answering(answer: Answer) -> Any:
    """Return a client of an engine that answers so."""
    return SimpleNamespace(
        base_url="b",
        api_version="1.41",
        timeout=1,
        get=lambda *_, **__: closing(answer),
        _raise_for_status=raise_for,
    )


def member(kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    """Return the header of a file in an archive."""
    entry = tarfile.TarInfo("x")
    entry.type, entry.size, entry.linkname, entry.uid, entry.gid = kind, size, link, 1000, 1001
    return entry


@pytest.mark.parametrize(
    ("mode", "kind", "shown"),
    [
        (0o644, "file", 0o644),
        (1 << 23 | 1 << 22 | 0o755, "file", 0o6755),
        (1 << 31 | 1 << 20 | 0o777, "directory", 0o1777),
        (1 << 25 | 0o600, "fifo", 0o600),
        (1 << 26 | 0o660, "device", 0o660),
        (1 << 26 | 1 << 21 | 0o666, "device", 0o666),
    ],
)
def test_modes_are_gos(mode: int, kind: Any, shown: int) -> None:
    """The kind is in the highest bits, and so are set-uid, set-gid and sticky bit."""
    found = look_at_file(client(mode, member()), "c", "/x", deadline_s=time.monotonic() + 9)
    assert found == FileSeen(kind=kind, mode=shown, size_bytes=0, uid=1000, gid=1001)


def test_content_is_handed_on_in_pieces() -> None:
    """All of it, once; of a link none, but where it leads; of a socket the engine tells no owner."""
    content = bytes(range(256)) * 1000
    got: list[bytes] = []
    engine = client(0o644, member(size=len(content)), content)
    seen = look_at_file(engine, "c", "/x", deadline_s=time.monotonic() + 9, feed=got.append)
    assert seen is not None
    assert (b"".join(got), seen.size_bytes) == (content, len(content))
    link = client(1 << 27 | 0o777, member(tarfile.SYMTYPE, link="../y"), link="/y")
    assert look_at_file(link, "c", "/x", deadline_s=time.monotonic() + 9, feed=got.append) == FileSeen(
        kind="symlink", mode=0o777, size_bytes=0, uid=1000, gid=1001, target="../y", leads_to="/y"
    )
    socket = look_at_file(client(1 << 24 | 0o755, None), "c", "/x", deadline_s=0)
    assert socket == FileSeen(kind="socket", mode=0o755, size_bytes=0)
    with pytest.raises(ContainerError, match="cannot look at /x in the container: the time for it is over"):
        look_at_file(client(0o644, member(size=9), b"123456789"), "c", "/x", deadline_s=0, feed=got.append)


def test_what_podman_tells() -> None:
    """Its archives have root as owner, and hold what a link leads to: neither is taken for the file's own."""
    got: list[bytes] = []

    def look(engine: Any) -> FileSeen | None:
        deadline_s = time.monotonic() + 9
        return look_at_file(engine, "c", "/x", deadline_s=deadline_s, feed=got.append, is_podman=True)

    link = client(1 << 27 | 0o777, member(size=2), b"hi", link="/y")
    leads = FileSeen(kind="symlink", mode=0o777, size_bytes=2, leads_to="/y")
    assert look(link) == leads
    assert got == []
    # That of a broken link is empty, and refused beside the facts.
    broken = client(1 << 27 | 0o777, None, link="/y").get().thing
    broken.refusal = "no such file or directory"
    assert look(answering(broken)) == replace(leads, size_bytes=0)
    assert look(client(1 << 31 | 0o755, None)) == FileSeen(kind="directory", mode=0o755, size_bytes=0)
    assert look(client(0o644, member(size=2), b"hi", link="/x")) == FileSeen(
        kind="file", mode=0o644, size_bytes=2
    )
    assert got == [b"hi"]


@pytest.mark.parametrize(
    "said",
    [
        "Could not find the file /x in container c",
        "lstat /var/lib/docker/x: no such file or directory",
        "evalSymlinksInScope: lstat /d/f/x: not a directory",
    ],
)
def test_nothing_lies_there(said: str) -> None:
    """Engines have several words for it; nothing lies below a file either."""
    assert look_at_file(answering(Answer(said)), "c", "/x", deadline_s=0) is None


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("No such container: c", "cannot look at /x in the container: No such container: c"),
        ("driver failed", "cannot look at /x in the container: driver failed"),
        ("evalSymlinksInScope: too many links in /x", "/x is a circle of symbolic links"),
    ],
)
def test_what_cannot_be_told_is_an_error(said: str, message: str) -> None:
    """A container that is gone must not pass as one without the file."""
    with pytest.raises(ContainerError, match=message):
        look_at_file(answering(Answer(said)), "c", "/x", deadline_s=0)


def test_an_archive_that_breaks_off() -> None:
    """It is an error in plain words."""
    headers = client(0o644, member()).get().thing.headers
    with pytest.raises(ContainerError, match="the engine's archive cannot be read"):
        look_at_file(answering(Answer(headers=headers, content=b"1" * 100)), "c", "/x", deadline_s=0)


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return an archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """Return the header of a file of that name."""
    entry = member(kind, link=link)
    entry.name = name
    return entry


def told(mode: int, link: str = "") -> dict[str, str]:
    """Return the header in which an engine tells of a path."""
    facts = json.dumps({"name": "x", "size": 1, "mode": mode, "linkTarget": link})
    return {"X-Docker-Container-Path-Stat": base64.b64encode(facts.encode()).decode()}


def test_all_below_a_path() -> None:
    """A link at the path is followed by the engine, of several names of one file each has the content."""
    folder = packed(
        (named("logs", tarfile.DIRTYPE), b""),
        (named("logs/a"), b"1" * 1500),
        (named("logs/b", tarfile.LNKTYPE, "logs/a"), b""),
        (named("logs/c", tarfile.SYMTYPE, "/etc/shadow"), b""),
        (named("logs/d", tarfile.CHRTYPE), b""),
        (named("logs/e"), b""),
    )
    answers = {
        "/var/logs": Answer(headers=told(1 << 27 | 0o777, "/data/logs")),
        "/data/logs": Answer(headers=told(1 << 31 | 0o755), content=folder),
        "/data/logs/b": Answer(headers=told(0o644), content=packed((named("b"), b"1" * 1500))),
    }
    asked: list[str] = []

    def get(_: str, *, params: dict[str, str], **__: Any) -> Any:
        asked.append(params["path"])
        return closing(answers[params["path"]])

    engine = answering(Answer())
    engine.get = get
    found = read_files(engine, "c", "/var/logs", deadline_s=time.monotonic() + 9)
    assert [(below, seen.kind, sum(map(len, pieces))) for below, seen, pieces in found] == [
        ("", "directory", 0),
        ("a", "file", 1500),
        ("c", "symlink", 0),
        ("d", "device", 0),
        ("e", "file", 0),
        ("b", "file", 1500),
    ]
    assert asked == ["/var/logs", "/data/logs", "/data/logs/b"]


def test_nothing_below_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is there, a socket is there, the archive breaks off, is too much, the time is over."""
    gone = answering(Answer("Could not find the file /x in container c"))
    assert list(read_files(gone, "c", "/x", deadline_s=0)) == []
    socket = answering(Answer(headers=told(1 << 24)))
    assert [seen.kind for _, seen, _ in read_files(socket, "c", "/x", deadline_s=0)] == ["socket"]
    cut = answering(Answer(headers=told(0o644), content=packed((named("x"), b"1" * 5000))[:3000]))
    with pytest.raises(ContainerError, match="the engine's archive cannot be read"):
        [sum(map(len, pieces)) for *_, pieces in read_files(cut, "c", "/x", deadline_s=time.monotonic() + 9)]
    name = named("x/b", tarfile.LNKTYPE, "x/a"), b""
    links = answering(Answer(headers=told(1 << 31), content=packed(name, name)))
    monkeypatch.setattr(archive_module, "_MAX_LINKED", 1)
    with pytest.raises(ContainerError, match="cannot copy /x from the container: more than 1 hard links"):
        list(read_files(links, "c", "/x", deadline_s=time.monotonic() + 9))
    late = answering(Answer(headers=told(0o644), content=packed((named("x"), b""))))
    with pytest.raises(ContainerError, match="cannot copy /x from the container: the time for it is over"):
        list(read_files(late, "c", "/x", deadline_s=0))
