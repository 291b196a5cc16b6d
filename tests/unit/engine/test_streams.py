"""The framed stream taken apart; sending and receiving on one connection."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clnrm.engine.api import StreamName
from pytest_clnrm.engine.docker.changes import FollowedChanges
from pytest_clnrm.engine.docker.following import Followed
from pytest_clnrm.engine.docker.logs import FollowedLog
from pytest_clnrm.engine.exec.streams import Chunks, Connection, Demultiplexer
from pytest_clnrm.errors import ContainerError, EngineUnavailableError


def frame(stream: int, payload: bytes) -> bytes:
    """Return one frame of the engine."""
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


@given(
    frames=st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_any_cut_of_the_stream_gives_the_same_output(
    frames: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    """Frames may arrive in pieces, several at once, and be empty."""
    data = b"".join(frame(*each) for each in frames)
    places = [0, *sorted(min(each, len(data)) for each in cuts), len(data)]
    demultiplexer = Demultiplexer()
    found = {"stdout": b"", "stderr": b""}
    for start, end in itertools.pairwise(places):
        for stream, piece in demultiplexer.feed(data[start:end]):
            assert piece
            found[stream] += piece
    assert found["stdout"] == b"".join(payload for number, payload in frames if number == 1)
    assert found["stderr"] == b"".join(payload for number, payload in frames if number == 2)


def test_a_piece_is_handed_on_before_its_frame_is_complete() -> None:
    """A frame of 4 GB does not have to fit into memory."""
    demultiplexer = Demultiplexer()
    header = bytes([1, 0, 0, 0, 255, 255, 255, 255])
    assert list(demultiplexer.feed(header + b"begin")) == [("stdout", b"begin")]
    assert list(demultiplexer.feed(b"more")) == [("stdout", b"more")]


class Response:
    """As much of a response as a connection looks at."""

    def __init__(self, reader: Any) -> None:
        self.raw = SimpleNamespace(_fp=SimpleNamespace(fp=reader))
        self.closed = False

    def close(self) -> None:
        """Remember it."""
        self.raw._fp.fp.close()
        self.closed = True


@pytest.fixture
def pair() -> Iterator[tuple[Any, socket.socket]]:
    """Return what docker-py would return of a socket, and the engine's end of it."""
    ours, theirs = socket.socketpair()
    reader = ours.makefile("rb")
    raw: Any = reader.raw
    raw._response = Response(reader)
    yield raw, theirs
    theirs.close()
    ours.close()


def test_what_came_with_the_headers_is_not_lost(pair: tuple[Any, socket.socket]) -> None:
    """The reader of the headers may have taken more than these."""
    raw, theirs = pair
    theirs.sendall(b"headers\r\nearly")
    reader = raw._response.raw._fp.fp
    assert reader.readline() == b"headers\r\n"
    connection = Connection(raw)
    theirs.sendall(b"late")
    assert connection.receive(None) == b"early"
    assert connection.receive(None) == b"late"
    connection.close()
    assert raw._response.closed


def test_a_deadline_is_told_from_the_end(pair: tuple[Any, socket.socket]) -> None:
    """None for the one, no bytes for the other."""
    raw, theirs = pair
    connection = Connection(raw)
    assert connection.receive(time.monotonic() + 0.01) is None
    assert connection.receive(time.monotonic() - 1) is None
    theirs.close()
    assert connection.receive(time.monotonic() + 60) == b""
    connection.close()


def test_sending_and_receiving_do_not_block_each_other(pair: tuple[Any, socket.socket]) -> None:
    """An echo of more than any buffer holds comes back whole; the input has an end."""
    raw, theirs = pair
    data = os.urandom(1_000_000)

    def echo() -> None:
        while piece := theirs.recv(4096):
            theirs.sendall(piece)
        theirs.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=echo)
    thread.start()
    connection = Connection(raw, data)
    found = bytearray()
    while piece := connection.receive(None):
        found += piece
    thread.join()
    connection.close()
    assert bytes(found) == data


def test_input_that_is_not_wanted_is_dropped(pair: tuple[Any, socket.socket]) -> None:
    """The other side has gone: that is an end, not an error."""
    raw, theirs = pair
    theirs.close()
    connection = Connection(raw, b"x" * 1_000_000)
    assert connection.receive(None) == b""
    connection.close()


def test_a_connection_that_breaks_has_ended(pair: tuple[Any, socket.socket]) -> None:
    """Why it broke, the engine tells."""
    raw, _ = pair
    connection = Connection(raw)
    raw._sock.close()
    raw._response.raw._fp.fp.detach()
    raw._sock.detach()
    assert connection.receive(None) == b""


def chunk(payload: bytes) -> bytes:
    """Return one chunk of HTTP/1.1."""
    return f"{len(payload):x};a=b\r\n".encode() + payload + b"\r\n"


@given(
    payloads=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    cuts=st.lists(st.integers(0, 500), max_size=12),
)
def test_any_cut_of_a_chunked_body_gives_the_same(payloads: list[bytes], cuts: list[int]) -> None:
    """Its end is known, and what comes after it is none of it."""
    data = b"".join(map(chunk, payloads)) + chunk(b"")
    places = [0, *sorted(min(each, len(data)) for each in cuts), len(data)]
    chunks = Chunks()
    assert not chunks.ended
    found = b"".join(chunks.feed(data[start:end]) for start, end in itertools.pairwise(places))
    assert (found, chunks.ended) == (b"".join(payloads), True)
    assert chunks.feed(b"HTTP/1.1 200 OK") == b""


@pytest.mark.parametrize("chunked", [True, False])
def test_following_a_log(pair: tuple[Any, socket.socket], *, chunked: bool) -> None:
    """What has arrived is handed on at once, nothing where nothing comes, and its end is told for good."""
    raw, engine = pair
    coded = chunk if chunked else bytes
    log = FollowedLog(Followed(Connection(raw), chunked=chunked))
    engine.sendall(coded(frame(1, b"on\n")) + coded(frame(2, b"oh")))
    assert log.receive(time.monotonic() + 60) == [("stdout", b"on\n"), ("stderr", b"oh")]
    assert log.receive(time.monotonic()) is None
    # Of a chunked body the engine tells the end, and keeps the connection.
    engine.sendall(coded(frame(1, b"bye")) + (chunk(b"") if chunked else b""))
    if not chunked:
        engine.shutdown(socket.SHUT_WR)
    assert log.receive(time.monotonic() + 60) == [("stdout", b"bye")]
    assert log.receive(time.monotonic() + 60) == []
    assert log.receive(time.monotonic() + 60) == []
    log.close()


WHOLE = frame(1, b"on\n")


def pieces_of(log: FollowedLog) -> Iterator[tuple[StreamName, bytes]]:
    """Yield what a log tells until its end."""
    while pieces := log.receive(time.monotonic() + 60):
        yield from pieces


@pytest.mark.parametrize(
    ("sent", "chunked", "reset"),
    [
        pytest.param(chunk(WHOLE), True, False, id="no-last-chunk"),
        pytest.param(chunk(WHOLE)[:-3], True, False, id="half-a-chunk"),
        pytest.param(chunk(WHOLE), True, True, id="reset"),
        pytest.param(WHOLE + frame(2, b"error")[:-1], False, False, id="half-a-frame"),
        pytest.param(WHOLE + frame(2, b"error")[:3], False, False, id="half-a-header"),
        pytest.param(
            chunk(WHOLE + frame(2, b"error")[:-1]) + chunk(b""), True, False, id="half-a-frame-in-all"
        ),
        pytest.param(WHOLE, False, True, id="reset-between-frames"),
    ],
)
def test_a_log_whose_connection_breaks(
    pair: tuple[Any, socket.socket], sent: bytes, *, chunked: bool, reset: bool
) -> None:
    """What has come is handed on; its end is not, however often it is asked for."""
    raw, engine = pair
    log = FollowedLog(Followed(Connection(raw), chunked=chunked))
    engine.sendall(sent)
    if reset:
        # What it has not read when it closes becomes a reset.
        raw._sock.sendall(b"unread")
    engine.close()
    found: list[bytes] = []
    broken = "^the connection to the container engine ended in the middle of the container's output$"
    with pytest.raises(EngineUnavailableError, match=broken):
        found += (data for _, data in pieces_of(log))
    assert b"".join(found).startswith(b"on")
    with pytest.raises(EngineUnavailableError, match=broken):
        log.receive(time.monotonic() + 60)
    log.close()


@pytest.mark.parametrize(
    ("frames", "most_bytes"),
    [
        ([], 0),
        (["on\n"], 80 + len(r"on\n")),
        (["on\n", '{"a": "\\"}\r\n'], 80 + len(r"on\n") + 80 + len(r"{\"a\": \"\\\"}\r\n")),
        (["\0\t\x1b[<&>\x7f"], 80 + len(r"\u0000\u0009\u001b[\u003c\u0026\u003e?")),
        (["Заказ\n"], 80 + 2 * len("Заказ") + len(r"\n")),
        (["€\u2028\u2029\ufffd😀"], 80 + len("€".encode()) + len(r"\u2028\u2029\ufffd") + len("😀".encode())),
        (["x" * 100_000], 80 + 100_000),
    ],
)
def test_a_log_that_may_have_lost_its_beginning(
    pair: tuple[Any, socket.socket], frames: list[str], most_bytes: int
) -> None:
    """It is as large, as the engine writes it, as what is kept at least once something was dropped."""
    raw, engine = pair
    least: list[int | None] = [most_bytes, most_bytes + 1, None]
    log = FollowedLog(Followed(Connection(raw), chunked=True), lambda: least.pop(0))
    sent = b"".join([*(chunk(frame(1, each.encode())) for each in frames), chunk(b"")])
    sending = threading.Thread(target=engine.sendall, args=(sent,))
    sending.start()
    told = b"".join(data for _, data in pieces_of(log))
    sending.join()
    assert told.decode() == "".join(frames)
    assert log.may_lack() == (
        "the engine keeps the end of a log, as much as clnrm_max_log says, and may have dropped the "
        "beginning of this one"
    )
    assert (log.may_lack(), log.may_lack(), least) == ("", "", [])
    log.close()


def test_a_log_that_comes_byte_by_byte(pair: tuple[Any, socket.socket]) -> None:
    """It is as large as one that comes at once."""
    raw, engine = pair
    told, written = "a\u2028\ufffd\n".encode(), r"a\u2028\ufffd\n"
    least = [80 + len(written), 80 + len(written) + 1]
    log = FollowedLog(Followed(Connection(raw), chunked=True), lambda: least.pop(0))
    engine.sendall(chunk(frame(1, told)[: -len(told)]))
    for each in told:
        engine.sendall(chunk(bytes([each])))
        assert log.receive(time.monotonic() + 60) == [("stdout", bytes([each]))]
    engine.sendall(chunk(b""))
    assert log.receive(time.monotonic() + 60) == []
    assert (log.may_lack() == "", log.may_lack() == "") == (False, True)
    log.close()


def test_a_log_that_the_engine_cannot_read(pair: tuple[Any, socket.socket]) -> None:
    """What it says in place of the output is not taken for that."""
    raw, engine = pair
    log = FollowedLog(Followed(Connection(raw), chunked=True))
    engine.sendall(chunk(WHOLE))
    assert log.receive(time.monotonic() + 60) == [("stdout", b"on\n")]
    engine.sendall(chunk(frame(3, b"Error grabbing logs: invalid character\n\n")) + chunk(b""))
    said = "^the engine cannot read the container's output: Error grabbing logs: invalid character$"
    with pytest.raises(ContainerError, match=said):
        log.receive(time.monotonic() + 60)
    log.close()


@pytest.mark.parametrize("chunked", [True, False])
def test_following_changes(pair: tuple[Any, socket.socket], *, chunked: bool) -> None:
    """Any event is a change; nothing is none, and at the end it is told that no more will come."""
    raw, engine = pair
    coded = chunk if chunked else bytes
    changes = FollowedChanges(Followed(Connection(raw), chunked=chunked))
    assert changes.wait(time.monotonic()) is False
    engine.sendall(coded(b'{"status":"die"}\n'))
    assert changes.wait(time.monotonic() + 60) is True
    assert changes.wait(time.monotonic()) is False
    if chunked:
        engine.sendall(chunk(b""))
    else:
        engine.shutdown(socket.SHUT_WR)
    assert changes.wait(time.monotonic() + 60) is None
    assert changes.wait(time.monotonic() + 60) is None
    changes.close()
