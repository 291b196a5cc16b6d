"""Questions to an engine at a socket of this host, which need none of what an HTTP library is made for.

Each scenario asks some, and the library takes longer for one than the engine: sessions, cookies, proxies,
redirects, retries. What is not answered as a plain question is asked again through the library, which then
also says what is wrong.
"""

from __future__ import annotations

import socket
import threading
import weakref
from contextlib import suppress
from typing import NamedTuple

_HEAD_BYTES = 1 << 16
_PIECE_BYTES = 1 << 16
_CLOSING = "HTTP/1.0"
_PROTOCOLS = frozenset({"HTTP/1.1", _CLOSING})
_WITHOUT_BODY = frozenset({204, 304})


class Answer(NamedTuple):
    """What an engine has answered.

    :param reason: the words behind the status code.
    """

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


class PlainGets:
    """Connections to one socket, used again by all threads.

    :param size: how many are kept at most.
    """

    def __init__(self, path: str, size: int) -> None:
        self._path = path
        self._size = size
        self._idle: list[_Connection] = []
        # Whoever forgets to close a client leaves no open socket, as with the library's connections.
        weakref.finalize(self, _close_all, self._idle)
        self._guard = threading.Lock()
        self._closed = False

    def get(self, target: str, timeout_s: float) -> Answer | None:
        """Return the answer to a GET, None if there is none: what was asked changes nothing, so ask again.

        :param target: path and query.
        :param timeout_s: how long to wait for the next bytes.
        :raises TimeoutError: if they do not come.
        """
        with self._guard:
            connection = self._idle.pop() if self._idle else _Connection(self._path)
        try:
            answer, closes = connection.ask(target, timeout_s)
        except TimeoutError:
            connection.close()
            raise
        except (OSError, ValueError, KeyError):
            # The engine may have closed a connection that waited for long, or answers in another way.
            connection.close()
            return None
        with self._guard:
            keeps = not (closes or self._closed) and len(self._idle) < self._size
            if keeps:
                self._idle.append(connection)
        if not keeps:
            connection.close()
        return answer

    def close(self) -> None:
        """Close the connections; those that are in use close when they are given back."""
        with self._guard:
            self._closed = True
            _close_all(self._idle)


class _Connection:
    """A connection to a socket of this host."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def ask(self, target: str, timeout_s: float) -> tuple[Answer, bool]:
        """Return the answer to a GET, and whether the engine closes the connection after it.

        :param timeout_s: how long to wait for the next bytes.
        :raises TimeoutError: if they do not come.
        :raises OSError: if there is no answer.
        :raises ValueError: if it is none of HTTP/1 that says where it ends.
        """
        sock = self._socket or self._connected(timeout_s)
        sock.settimeout(timeout_s)
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("ascii"))
        answer = _Reader(sock)
        status_line, *lines = answer.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        protocol, status, reason = status_line.split(" ", 2)
        if protocol not in _PROTOCOLS or int(status) in _WITHOUT_BODY:
            raise ValueError("not an answer with a body")
        pairs = [line.partition(":") for line in lines]
        headers = {name: value.strip() for name, _, value in pairs}
        told = {name.lower(): value.lower() for name, value in headers.items()}
        body = answer.chunks() if "transfer-encoding" in told else answer.exactly(int(told["content-length"]))
        if answer.rest:
            raise ValueError("more than an answer")
        closes = protocol == _CLOSING or told.get("connection") == "close"
        return Answer(int(status), reason, headers, body), closes

    def close(self) -> None:
        """Close it."""
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def _connected(self, timeout_s: float) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout_s)
            sock.connect(self._path)
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        return sock


class _Reader:
    """Reads an answer in parts.

    :ivar rest: what was received and belongs to no part yet.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.rest = b""

    def until(self, end: bytes) -> bytes:
        """Return what comes before the next *end*.

        :raises ValueError: if that is not soon.
        """
        while (at := self.rest.find(end)) < 0:
            if len(self.rest) > _HEAD_BYTES:
                raise ValueError("its head does not end")
            self._receive()
        found, self.rest = self.rest[:at], self.rest[at + len(end) :]
        return found

    def exactly(self, count: int) -> bytes:
        """Return so many bytes."""
        while len(self.rest) < count:
            self._receive()
        found, self.rest = self.rest[:count], self.rest[count:]
        return found

    def chunks(self) -> bytes:
        """Return a body in chunked coding (RFC 9112, 7.1).

        :raises ValueError: if it is none, or fields follow it.
        """
        found = []
        while size := int(self.until(b"\r\n").partition(b";")[0], 16):
            found.append(self.exactly(size))
            self._line_ends()
        self._line_ends()
        return b"".join(found)

    def _line_ends(self) -> None:
        if self.exactly(2) != b"\r\n":
            raise ValueError("a line that does not end")

    def _receive(self) -> None:
        data = self._socket.recv(_PIECE_BYTES)
        if not data:
            raise ConnectionError("the engine has closed the connection")
        self.rest += data


def _close_all(connections: list[_Connection]) -> None:
    while connections:
        with suppress(OSError):
            connections.pop().close()
