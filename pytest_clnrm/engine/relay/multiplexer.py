"""Many connections over the one stream that this process has with a relay: all in one thread.

Each has its window of bytes in each direction, so that one which nobody reads holds up no other one, and
memory is bounded. A connection's end here is a socket like any other.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Protocol

from pytest_clnrm.engine.relay.frames import (
    PIECE,
    VERSION,
    WINDOW,
    Frame,
    Frames,
    Kind,
    number,
    opening,
)

_UNSENT = 8 * WINDOW
"""Bytes that wait for the stream, beyond which no connection is read from."""
_LOOPBACK = "127.0.0.1"
_CLOSED = "it was closed"


class Wire(Protocol):
    """The stream to the relay, used from one thread."""

    @property
    def fd(self) -> int:
        """Return what is polled, for what comes and for room."""

    @property
    def unsent(self) -> int:
        """Return how many bytes wait to be sent."""

    def send(self, data: bytes) -> None:
        """Send as much as goes without waiting; the rest with the next call of either method."""

    def receive_now(self) -> bytes | None:
        """Return what has come, None if nothing has, b"" at the end."""

    def why_ended(self) -> str:
        """Return what the relay said of its end, "" if nothing."""

    def close(self) -> None:
        """Give it up."""


class _Local:
    """This process's end of one connection.

    :ivar room: bytes that the other side has room for.
    :ivar pending: what came and is not written yet.
    """

    def __init__(self, number: int, end: socket.socket, opened: Future[None] | None) -> None:
        end.settimeout(0)
        self.number = number
        self.end = end
        self.opened = opened
        self.is_open = opened is None
        self.room = WINDOW
        self.pending = bytearray()
        self.written = 0
        self.has_read_all = False
        self.has_come_all = False
        self.shut = False

    def wanted(self, *, congested: bool) -> int:
        """Return what of it is polled for; 0 if nothing."""
        reads = self.is_open and not self.has_read_all and self.room > 0 and not congested
        return (select.POLLIN if reads else 0) | (select.POLLOUT if self.pending else 0)


class ForwardedPort:
    """A port of this host's loopback address, whose connections lead to a port in the relay's networks."""

    def __init__(self, listener: socket.socket, close: Callable[[ForwardedPort], None]) -> None:
        self.listener = listener
        self.place: tuple[str, int] = listener.getsockname()[:2]
        self._close = close

    def close(self) -> None:
        """Listen no longer; connections that are there stay. Twice is no error."""
        self._close(self)


class Multiplexer:
    """Both ways over one stream.

    :param accept: returns the socket to which a container's connection to us is joined, None to refuse it.
    :param on_end: called once with the reason if the stream ends without :meth:`close`; connections are gone.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        accept: Callable[[], socket.socket | None],
        on_end: Callable[[str], None] = lambda _why: None,
    ) -> None:
        self._wire = wire
        self._accept = accept
        self._on_end = on_end
        self._frames = Frames()
        self._locals: dict[int, _Local] = {}
        self._forwards: dict[ForwardedPort, tuple[str, int]] = {}
        self._next = 2
        self._asked: deque[Callable[[], None]] = deque()
        self._guard = threading.Lock()
        self._woken, self._waking = socket.socketpair()
        self._woken.settimeout(0)
        self._waking.settimeout(0)
        self._greeted: Future[None] = Future()
        self._closing = False
        self.ended = ""
        self._thread = threading.Thread(target=self._run, name="clnrm-relay", daemon=True)
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> None:
        """Return once the relay has answered.

        :raises OSError: if it does not within *timeout_s*, or ends.
        """
        try:
            self._greeted.result(timeout_s)
        except FutureTimeoutError:
            raise TimeoutError(f"it did not answer within {timeout_s:g} s") from None

    def dial(self, address: str, port: int, *, timeout_s: float) -> socket.socket:
        """Return a connection to an IPv4 address in one of the relay's networks, its timeout set.

        :raises OSError: if there is none, as ``socket.create_connection`` does.
        """
        ours, theirs = socket.socketpair()
        opened: Future[None] = Future()
        try:
            self._ask(lambda: self._open(theirs, address, port, opened), otherwise=theirs.close)
            opened.result(timeout_s)
        except FutureTimeoutError:
            ours.close()
            raise TimeoutError("timed out") from None
        except BaseException:
            ours.close()
            raise
        ours.settimeout(timeout_s)
        return ours

    def forward(self, address: str, port: int) -> ForwardedPort:
        """Return a port of this host that leads to an address and port in one of the relay's networks.

        :raises OSError: if none can be had.
        """
        listener = socket.create_server((_LOOPBACK, 0), backlog=128)
        listener.settimeout(0)

        def stop(forward: ForwardedPort) -> None:
            with suppress(OSError):
                self._ask(lambda: self._stop(forward))

        forward = ForwardedPort(listener, stop)
        self._ask(lambda: self._forwards.update({forward: (address, port)}), otherwise=listener.close)
        return forward

    def close(self) -> None:
        """End all of it; twice is no error."""
        self._closing = True
        with suppress(OSError):
            self._ask(lambda: None)
        self._thread.join()

    # From any thread.

    def _ask(self, act: Callable[[], None], otherwise: Callable[[], None] = lambda: None) -> None:
        with self._guard:
            if not self.ended:
                self._asked.append(act)
                with suppress(BlockingIOError):
                    self._waking.send(b"\0")
                return
        otherwise()
        raise ConnectionAbortedError(f"the relay has ended: {self.ended}")

    # In its own thread.

    def _run(self) -> None:
        why = "it failed"
        try:
            why = self._serve()
        except (OSError, ValueError) as error:
            why = str(error)
        finally:
            self._end(why)
        if why != _CLOSED:
            self._on_end(why)

    def _serve(self) -> str:
        """Pass everything on until the end, and return why that was."""
        while not self._closing:
            while self._asked:
                self._asked.popleft()()
            while (data := self._wire.receive_now()) is not None:
                if not data:
                    return self._wire.why_ended() or "its connection broke off"
                for frame in self._frames.feed(data):
                    self._take(frame)
            self._poll()
        return _CLOSED

    def _end(self, why: str) -> None:
        with self._guard:
            self.ended = why
        for act in self._asked:
            with suppress(OSError):
                act()
        for local in self._locals.values():
            local.end.close()
            if local.opened is not None and not local.opened.done():
                local.opened.set_exception(ConnectionAbortedError(f"the relay has ended: {why}"))
        if not self._greeted.done():
            self._greeted.set_exception(ConnectionAbortedError(why))
        for forward in self._forwards:
            forward.listener.close()
        for each in (self._wire, self._woken, self._waking):
            each.close()

    def _poll(self) -> None:
        polled = select.poll()
        polled.register(self._woken, select.POLLIN)
        polled.register(self._wire.fd, select.POLLIN | select.POLLOUT if self._wire.unsent else select.POLLIN)
        congested = self._wire.unsent > _UNSENT
        found: dict[int, _Local] = {}
        for local in self._locals.values():
            wanted = local.wanted(congested=congested)
            # One that is not open yet tells when whoever asked for it has given up.
            if wanted or not local.is_open:
                polled.register(local.end, wanted)
                found[local.end.fileno()] = local
        listeners = {forward.listener.fileno(): forward for forward in self._forwards}
        for fd in listeners:
            polled.register(fd, select.POLLIN)
        for fd, events in polled.poll():
            if fd == self._woken.fileno():
                with suppress(BlockingIOError):
                    self._woken.recv(4096)
            elif fd in listeners:
                self._accept_local(listeners[fd])
            elif fd in found:
                self._serve_local(found[fd], events)

    def _send(self, frame: Frame) -> None:
        self._wire.send(frame.packed())

    def _add(self, number: int, end: socket.socket, opened: Future[None] | None) -> _Local:
        local = self._locals[number] = _Local(number, end, opened)
        return local

    def _open(self, end: socket.socket, address: str, port: int, opened: Future[None]) -> None:
        try:
            frame = opening(self._next, address, port)
        except OSError as error:
            end.close()
            opened.set_exception(error)
            return
        self._add(self._next, end, opened)
        self._next += 2
        self._send(frame)

    def _stop(self, forward: ForwardedPort) -> None:
        if self._forwards.pop(forward, None) is not None:
            forward.listener.close()

    def _accept_local(self, forward: ForwardedPort) -> None:
        try:
            end, _ = forward.listener.accept()
        except OSError:
            return
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open(end, *self._forwards[forward], Future())

    def _take(self, frame: Frame) -> None:
        if frame.kind == Kind.HELLO:
            if frame.number != VERSION:
                raise ValueError(f"it speaks version {frame.number}, not {VERSION}")
            self._greeted.set_result(None)
            return
        if frame.kind == Kind.ACCEPTED:
            end = self._accept()
            if end is None:
                self._send(Frame(frame.connection, Kind.RESET))
            else:
                self._add(frame.connection, end, None)
            return
        local = self._locals.get(frame.connection)
        # None: it was given up on this side while the frame was on its way.
        if local is not None:
            self._take_of(local, frame)

    def _take_of(self, local: _Local, frame: Frame) -> None:
        if frame.kind == Kind.OPENED:
            local.is_open = True
            if local.opened is not None:
                local.opened.set_result(None)
        elif frame.kind == Kind.FAILED:
            if local.opened is not None:
                local.opened.set_exception(OSError(frame.number, os.strerror(frame.number)))
            self._forget(local)
        elif frame.kind == Kind.DATA:
            if len(frame.payload) + len(local.pending) > WINDOW:
                raise ValueError("it sends more than it may")
            local.pending += frame.payload
            self._write(local)
        elif frame.kind == Kind.END:
            local.has_come_all = True
            self._finish_if_ended(local)
        elif frame.kind == Kind.CREDIT:
            local.room += frame.number
        else:
            self._forget(local)

    def _serve_local(self, local: _Local, events: int) -> None:
        gone = events & (select.POLLHUP | select.POLLERR)
        if not local.is_open:
            if gone:
                self._give_up(local)
            return
        if local.pending and (events & select.POLLOUT or gone):
            self._write(local)
        if self._locals.get(local.number) is local and (events & select.POLLIN or gone):
            self._read(local)

    def _read(self, local: _Local) -> None:
        if local.has_read_all or not local.room:
            return
        try:
            piece = local.end.recv(min(PIECE, local.room))
        except BlockingIOError:
            return
        except OSError:
            self._give_up(local)
            return
        if piece:
            local.room -= len(piece)
            self._send(Frame(local.number, Kind.DATA, piece))
        else:
            local.has_read_all = True
            self._send(Frame(local.number, Kind.END))
            self._finish_if_ended(local)

    def _write(self, local: _Local) -> None:
        while local.pending:
            try:
                sent = local.end.send(local.pending)
            except BlockingIOError:
                break
            except OSError:
                self._give_up(local)
                return
            del local.pending[:sent]
            local.written += sent
        if local.written >= WINDOW // 2 or (local.written and not local.pending):
            self._send(number(local.number, Kind.CREDIT, local.written))
            local.written = 0
        self._finish_if_ended(local)

    def _finish_if_ended(self, local: _Local) -> None:
        if local.has_come_all and not local.pending and not local.shut:
            local.shut = True
            with suppress(OSError):
                local.end.shutdown(socket.SHUT_WR)
        if local.shut and local.has_read_all:
            self._forget(local)

    def _give_up(self, local: _Local) -> None:
        self._send(Frame(local.number, Kind.RESET))
        self._forget(local)

    def _forget(self, local: _Local) -> None:
        del self._locals[local.number]
        local.end.close()
