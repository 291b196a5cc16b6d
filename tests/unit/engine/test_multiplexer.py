"""Connections over a relay, which runs here as it is shipped."""

from __future__ import annotations

import errno
import http.client
import platform
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.engine.relay.frames import PIECE, WINDOW, Frame, Frames, Kind, number, opening
from pytest_clnrm.engine.relay.multiplexer import Multiplexer
from pytest_clnrm.engine.tool.program import program, relay_arguments

pytestmark = pytest.mark.skipif(
    program(platform.machine()) is None or sys.platform != "linux",
    reason="there is no program for this machine",
)
LARGE = bytes(range(256)) * 4096
PATIENCE_S = 20.0


class SocketWire:
    """A stream over a socket."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(0)
        self._end = end
        self._unsent = b""

    @property
    def fd(self) -> int:
        return self._end.fileno()

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def send(self, data: bytes) -> None:
        self._unsent += data
        try:
            self._unsent = self._unsent[self._end.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent = b""

    def receive_now(self) -> bytes | None:
        if self._unsent:
            self.send(b"")
        try:
            return self._end.recv(65536)
        except BlockingIOError:
            return None

    def why_ended(self) -> str:
        return ""

    def close(self) -> None:
        self._end.close()


class Running:
    """A relay on this machine, and what listens to it."""

    def __init__(self, folder: Path) -> None:
        path = folder / "clnrm"
        path.write_bytes(program(platform.machine()) or b"")
        path.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [str(path), *relay_arguments(self.port)], stdin=theirs.fileno(), stdout=theirs.fileno()
            )
        self.accepted: list[socket.socket] = []
        self.came = threading.Semaphore(0)
        self.refuses = False
        self.ended: list[str] = []
        self.has_ended = threading.Event()
        self.multiplexer = Multiplexer(SocketWire(ours), accept=self._accept, on_end=self._end)
        self.multiplexer.wait_ready(PATIENCE_S)

    def _accept(self) -> socket.socket | None:
        if self.refuses:
            return None
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE_S)
        self.accepted.append(ours)
        self.came.release()
        return theirs

    def _end(self, why: str) -> None:
        self.ended.append(why)
        self.has_ended.set()

    def dial(self, port: int) -> socket.socket:
        return self.multiplexer.dial("127.0.0.1", port, timeout_s=PATIENCE_S)

    def close(self) -> None:
        self.multiplexer.close()
        self.process.wait(PATIENCE_S)
        for each in self.accepted:
            each.close()


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Running]:
    """Return a relay that runs."""
    with closing(Running(tmp_path)) as running:
        yield running


@contextmanager
def serving(act: Callable[[socket.socket], object]) -> Iterator[int]:
    """Yield the port of a server that does something with each connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener, ExitStack() as ended:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                thread = threading.Thread(target=one, args=(connection,), daemon=True)
                thread.start()
                ended.callback(thread.join, PATIENCE_S)

        def one(connection: socket.socket) -> None:
            connection.settimeout(PATIENCE_S)
            with connection:
                act(connection)

        accepting = threading.Thread(target=serve, daemon=True)
        accepting.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(PATIENCE_S)


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the end."""
    found = bytearray()
    while piece := connection.recv(65536):
        found += piece
    return bytes(found)


def echo(connection: socket.socket) -> None:
    """Send back all that has come, once that has ended."""
    connection.sendall(read_all(connection))


def test_a_large_exchange_with_a_half_closed_connection(relay: Running) -> None:
    """All bytes arrive both ways, in order, and the end of one way is none of the other's."""
    with serving(echo) as port, relay.dial(port) as connection:
        assert connection.gettimeout() == PATIENCE_S
        connection.sendall(LARGE)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == LARGE


def test_http_over_it(relay: Running) -> None:
    """A client of the standard library takes the connection as any other."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with serving(serve) as port:
        client = http.client.HTTPConnection("api", port)
        client.sock = relay.dial(port)
        client.request("GET", "/")
        response = client.getresponse()
        assert (response.status, response.read()) == (200, b"hi")
        client.close()


def test_nobody_listens(relay: Running) -> None:
    """The error is that of a connection without a relay; one that is no address is told, too."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        relay.dial(port)
    with pytest.raises(OSError, match="illegal IP address"):
        relay.multiplexer.dial("api", 80, timeout_s=PATIENCE_S)


def test_no_answer_in_time() -> None:
    """Who waits for a connection is told when its time is over, and the relay that it is not wanted."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE_S)
    multiplexer = Multiplexer(SocketWire(ours), accept=lambda: None)
    with closing(multiplexer), theirs:
        with pytest.raises(TimeoutError, match=r"^it did not answer within 0\.01 s$"):
            multiplexer.wait_ready(0.01)
        with pytest.raises(TimeoutError, match="timed out"):
            multiplexer.dial("127.0.0.1", 80, timeout_s=0.01)
        expected = opening(2, "127.0.0.1", 80).packed() + Frame(2, Kind.RESET).packed()
        assert theirs.makefile("rb").read(len(expected)) == expected


def test_one_that_nobody_reads_holds_up_no_other(relay: Running) -> None:
    """Each has its window: a connection with much to say waits, others go on."""
    with (
        serving(lambda connection: connection.sendall(LARGE)) as much,
        serving(echo) as port,
        relay.dial(much) as unread,
        relay.dial(port) as other,
    ):
        other.sendall(b"x" * WINDOW * 3)
        other.shutdown(socket.SHUT_WR)
        assert len(read_all(other)) == WINDOW * 3
        assert read_all(unread) == LARGE


def test_many_at_once(relay: Running) -> None:
    """As many as the relay takes work side by side; one more is refused, until one has ended."""
    with serving(echo) as port, ExitStack() as opened:
        every = [opened.enter_context(relay.dial(port)) for _ in range(128)]
        with pytest.raises(OSError, match="Too many open files") as refused:
            relay.dial(port)
        assert refused.value.errno == errno.EMFILE
        for at, each in enumerate(every):
            each.sendall(b"%d" % at)
            each.shutdown(socket.SHUT_WR)
        assert [int(read_all(each)) for each in every] == list(range(128))
        with relay.dial(port) as one_more:
            one_more.shutdown(socket.SHUT_WR)
            assert read_all(one_more) == b""


def test_connections_of_containers(relay: Running) -> None:
    """Who connects to the relay is joined to what `accept` returns."""
    with socket.create_connection(("127.0.0.1", relay.port), PATIENCE_S) as connection:
        connection.sendall(LARGE[:100000])
        connection.shutdown(socket.SHUT_WR)
        assert relay.came.acquire(timeout=PATIENCE_S)
        (accepted,) = relay.accepted
        assert read_all(accepted) == LARGE[:100000]
        accepted.sendall(b"thanks")
        accepted.close()
        assert read_all(connection) == b"thanks"


def test_connections_of_containers_that_are_refused(relay: Running) -> None:
    """They are closed."""
    relay.refuses = True
    with socket.create_connection(("127.0.0.1", relay.port), PATIENCE_S) as connection:
        assert connection.recv(1) == b""


def test_what_is_sent_right_before_the_end_arrives(relay: Running) -> None:
    """Who closes a connection without waiting for an answer has sent what it has sent."""
    arrived: Future[bytes] = Future()
    with serving(lambda connection: arrived.set_result(read_all(connection))) as port:
        with relay.dial(port) as connection:
            connection.sendall(b"fire and forget")
        assert arrived.result(PATIENCE_S) == b"fire and forget"


def test_a_connection_that_breaks(relay: Running) -> None:
    """One that the other side resets ends; the others, and the relay, go on."""

    def reset(connection: socket.socket) -> None:
        assert connection.recv(1) == b"x"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with serving(reset) as port, relay.dial(port) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b""
    with serving(echo) as port, relay.dial(port) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""


def test_a_port_of_this_host(relay: Running) -> None:
    """Its connections lead to the other port until it is closed; one to nobody is closed."""
    with serving(echo) as port:
        forward = relay.multiplexer.forward("127.0.0.1", port)
        with socket.create_connection(forward.place, PATIENCE_S) as connection:
            connection.sendall(LARGE)
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == LARGE
    with socket.create_connection(forward.place, PATIENCE_S) as connection:
        assert connection.recv(1) == b""
    forward.close()
    forward.close()
    # What is asked for is done in its order.
    with pytest.raises(ConnectionRefusedError):
        relay.dial(port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(forward.place, PATIENCE_S)


def test_a_relay_that_ends(relay: Running) -> None:
    """Its connections end, whoever waits is told, and so is whoever wanted to know."""
    with serving(lambda connection: connection.recv(1)) as port, relay.dial(port) as connection:
        relay.process.kill()
        assert connection.recv(1) == b""
        assert relay.has_ended.wait(PATIENCE_S)
    assert relay.ended == ["its connection broke off"]
    assert relay.multiplexer.ended == "its connection broke off"
    for ask in (relay.dial, lambda port: relay.multiplexer.forward("127.0.0.1", port)):
        with pytest.raises(ConnectionAbortedError, match="the relay has ended: its connection broke off"):
            ask(80)


def test_it_ends_with_its_input(relay: Running) -> None:
    """Once nobody is there to relay for it ends by itself; that was no accident."""
    relay.multiplexer.close()
    assert relay.process.wait(PATIENCE_S) == 0
    assert (relay.ended, relay.multiplexer.ended) == ([], "it was closed")


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (number(0, Kind.HELLO, 7).packed(), "it speaks version 7, not 1"),
        (b"exec format error", "what it sends is no frame"),
        (Frame(0, Kind.DATA, b"").packed()[:-2] + b"\xff\xff", "what it sends is no frame"),
    ],
)
def test_nonsense(sent: bytes, why: str) -> None:
    """What does not speak as a relay does is given up, with the reason."""
    ours, theirs = socket.socketpair()
    with theirs, closing(Multiplexer(SocketWire(ours), accept=lambda: None)) as multiplexer:
        theirs.sendall(sent)
        with pytest.raises(ConnectionAbortedError, match=why):
            multiplexer.wait_ready(PATIENCE_S)


def test_one_that_sends_more_than_it_may() -> None:
    """Memory is bounded whatever the other side does."""
    ours, theirs = socket.socketpair()
    ended: list[str] = []
    accepted, unread = socket.socketpair()
    with (
        theirs,
        accepted,
        closing(Multiplexer(SocketWire(ours), accept=lambda: unread, on_end=ended.append)) as multiplexer,
    ):
        theirs.sendall(number(0, Kind.HELLO, 1).packed() + Frame(1, Kind.ACCEPTED, b"\0" * 6).packed())
        # Its last frames may come when it is given up already.
        with suppress(BrokenPipeError):
            theirs.sendall(Frame(1, Kind.DATA, b"x" * PIECE).packed() * 100)
        with pytest.raises(ConnectionAbortedError, match="it sends more than it may"):
            multiplexer.dial("127.0.0.1", 80, timeout_s=PATIENCE_S)
    assert ended == ["it sends more than it may"]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_frames_in_any_pieces(size: int) -> None:
    """They are the same however they come."""
    frames = [Frame(1, Kind.DATA, b"abc"), Frame(2, Kind.END), number(3, Kind.CREDIT, 70000)]
    sent = b"".join(each.packed() for each in frames)
    taken: list[Any] = []
    reader = Frames()
    for at in range(0, len(sent), size):
        taken += reader.feed(sent[at : at + size])
    assert taken == frames
    assert taken[-1].number == 70000
