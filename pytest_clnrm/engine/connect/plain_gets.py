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
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple


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
        connection.wait_at_most(timeout_s)
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            answer = Answer(response.status, response.reason, dict(response.headers), response.read())
            closes = response.will_close
        except TimeoutError:
            connection.close()
            raise
        except (OSError, HTTPException):
            # The engine may have closed a connection that waited for long.
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


class _Connection(HTTPConnection):
    """A connection to a socket of this host."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._socket_path = path

    def wait_at_most(self, timeout_s: float) -> None:
        """Set how long the next bytes are waited for."""
        self.timeout = timeout_s
        if self.sock is not None:
            self.sock.settimeout(timeout_s)

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self._socket_path)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


def _close_all(connections: list[_Connection]) -> None:
    while connections:
        with suppress(OSError):
            connections.pop().close()
