"""A connection to a process in a container: its output in frames one way, its standard input the other."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from docker.types.daemon import CancellableStream

    from pytest_clnrm.engine.api import StreamName

T = TypeVar("T")

_HEADER = 8
_LINE_END = 2
_STDERR = 2
_ENGINES_OWN = 3
_PIECE = 65536
_SEND = 32768


@contextmanager
def streaming(stream: CancellableStream[T]) -> Iterator[CancellableStream[T]]:
    """Close *stream* and its connection at the end; its own ``close`` only interrupts who reads from it."""
    try:
        yield stream
    finally:
        # Nothing else closes it, and docker-py keeps it to itself.
        response: Any = vars(stream)["_response"]
        response.close()


class Demultiplexer:
    """Takes the engine's framed stream in any pieces, gives back stdout and stderr as they arrive.

    A frame is one byte for the stream (1 stdout, 2 stderr), three zeros, the length as 4 bytes big endian,
    and the payload. Nothing is held back but an incomplete header: memory stays bounded whatever a frame's
    length. Its ``exit_code`` is of a process that tells its end on the stream; others leave it None. Its
    ``is_engines_own`` tells of what is given back that the engine itself says it, in place of the output;
    ``frames`` is how many have begun.
    Source: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
    """

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        self._stream: StreamName = "stdout"
        self.exit_code: int | None = None
        self.is_engines_own = False
        self.frames = 0

    @property
    def is_between_frames(self) -> bool:
        """Tell whether all of the last frame has been there."""
        return not self._left and not self._header

    def feed(self, data: bytes) -> Iterator[tuple[StreamName, bytes]]:
        """Yield what *data* holds, each piece not empty."""
        at = 0
        while at < len(data):
            if not self._left:
                take = _HEADER - len(self._header)
                self._header += data[at : at + take]
                at += take
                if len(self._header) < _HEADER:
                    return
                self._stream = "stderr" if self._header[0] == _STDERR else "stdout"
                self.frames += 1
                self.is_engines_own = self._header[0] == _ENGINES_OWN
                self._left = int.from_bytes(self._header[4:], "big")
                self._header = b""
                continue
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            yield self._stream, piece


class Chunks:
    """Takes a body in HTTP/1.1's chunked coding in any pieces, gives back what it holds (RFC 9112, 7.1).

    Its ``ended`` tells that the last chunk has been there.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._left = 0
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """Return the payload that *data* brings."""
        data, at = self._rest + data, 0
        found: list[bytes] = []
        while not self.ended and at < len(data):
            if self._left > _LINE_END:
                piece = data[at : at + self._left - _LINE_END]
                found.append(piece)
                self._left -= len(piece)
                at += len(piece)
            elif self._left:
                skipped = min(self._left, len(data) - at)
                self._left -= skipped
                at += skipped
            else:
                end = data.find(b"\r\n", at)
                if end < 0:
                    break
                size = int(data[at:end].partition(b";")[0], 16)
                self._left = size + _LINE_END
                self.ended = size == 0
                at = end + _LINE_END
        self._rest = data[at:]
        return b"".join(found)


class Connection:
    """A byte stream both ways, read and written from one thread, so that neither side can block the other.

    :param raw: what docker-py's ``exec_start(socket=True)`` returned.
    :param outgoing: bytes to send; the sending half is closed after them. None leaves it open.
    """

    def __init__(self, raw: Any, outgoing: bytes | None = None) -> None:
        # docker-py gives no other way to the socket, nor to what its buffered reader has already taken from
        # it together with the response's headers.
        self._response = raw._response  # noqa: SLF001
        reader = self._response.raw._fp.fp  # noqa: SLF001
        self._socket: socket.socket = getattr(raw, "_sock", raw)
        self._fd: int = self._socket.fileno()
        self._socket.settimeout(0)
        try:
            self._early = reader.read(len(reader.peek(1)))
        except ssl.SSLWantReadError:
            self._early = b""
        self._outgoing = memoryview(outgoing) if outgoing is not None else None
        self._closes = True
        self.is_broken = False

    @property
    def fd(self) -> int:
        """Return what is polled, for what comes and for room; some of what comes may be here already."""
        return self._fd

    @property
    def unsent(self) -> int:
        """Return how many bytes wait to be sent."""
        return len(self._outgoing or b"")

    def send(self, data: bytes) -> None:
        """Send *data* while output is received; the sending half stays open."""
        self._closes = False
        self._outgoing = memoryview(bytes(self._outgoing or b"") + data)
        self._send()

    def receive(self, deadline_s: float | None) -> bytes | None:
        """Return the next bytes, b"" at the end of the stream, None if *deadline_s* passed before.

        A connection that breaks has ended too; :attr:`is_broken` tells it from one that was closed.

        :param deadline_s: a ``time.monotonic()`` moment; None waits for ever.
        """
        if self._early:
            early, self._early = self._early, b""
            return bytes(early)
        while True:
            self._send()
            try:
                return self._socket.recv(_PIECE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            except OSError:
                # Why, the engine tells better than the socket.
                self.is_broken = True
                return b""
            left_ms = None if deadline_s is None else (deadline_s - time.monotonic()) * 1000
            if left_ms is not None and left_ms <= 0:
                return None
            # Rounded up, or the last millisecond would be spent spinning.
            self._wait(None if left_ms is None else int(left_ms) + 1)

    def close(self) -> None:
        """Give it up; the engine does not end the command for that."""
        self._response.close()
        self._socket.close()

    def _wait(self, timeout_ms: int | None) -> None:
        waiting = select.poll()
        waiting.register(
            self._fd, select.POLLIN if self._outgoing is None else select.POLLIN | select.POLLOUT
        )
        waiting.poll(timeout_ms)

    def _send(self) -> None:
        """Send as much as goes without waiting; then close the sending half, if that was all there is."""
        while self._outgoing is not None:
            piece = self._outgoing[:_SEND]
            try:
                if piece:
                    self._outgoing = self._outgoing[self._socket.send(piece) :]
                    continue
                if self._closes:
                    # Not SSLSocket.shutdown, which gives up the encryption of what is still to be read.
                    socket.socket.shutdown(self._socket, socket.SHUT_WR)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                # The command has ended, or closed its input: the rest is not wanted.
                pass
            self._outgoing = None
