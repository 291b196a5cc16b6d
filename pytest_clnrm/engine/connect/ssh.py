"""Talking to an engine over ssh://: each connection is an ssh process that is used again.

The process reads and writes a socket of ours, so that all else is as with an engine of this machine: time
limits, half-closed streams, connections that are found to have gone and are made anew. docker-py starts a
process for each request and lets it end with the answer; each costs a key exchange, and a server refuses some
of many that come at once (MaxStartups of sshd_config(5)). A process has a session of its own, so MaxSessions
limits nothing.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from tempfile import TemporaryFile
from typing import IO, Any

from docker.transport import UnixHTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from pytest_clnrm.errors import EngineUnavailableError

KEEP_ALIVE = ("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4")
"""An idle connection stays open through firewalls, and is given up a minute after it broke."""
# Nobody is there to answer a question. No process is the one over which others go, as it is ended when it is
# not needed any more. The user's own ssh_config holds for all else.
_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ControlMaster=no", *KEEP_ALIVE)
_ENDS_S = 5.0
_SAID_BYTES = 2000
_SAID_CHARS = 500
_SAFE = frozenset({"GET", "HEAD"})
"""What may be asked a second time, whether or not it was heard the first time."""


class SshEndedError(EngineUnavailableError):
    """A connection has ended although the engine has not closed it, or could not be begun.

    :param stale: it had been used before, and nothing has come since it was used again.
    """

    def __init__(self, summary: str, details: tuple[str, ...] = (), *, stale: bool = False) -> None:
        super().__init__(summary, details)
        self.stale = stale


class _Socket(socket.socket):
    """Our end of the socket that is the standard input and output of an ssh process.

    :param said: the file that is its standard error.
    """

    def __init__(
        self, ours: socket.socket, url: str, process: subprocess.Popen[bytes], said: IO[bytes]
    ) -> None:
        super().__init__(fileno=ours.detach())
        self._url = url
        self._process = process
        self._said = said
        self._given_up = False
        self.stale = False

    @classmethod
    def start(cls, url: str) -> _Socket:
        """Start a process that leads to the engine at *url*.

        :raises SshEndedError: if there is no such command.
        """
        ours, theirs = socket.socketpair()
        # A pipe that nobody reads would be full at some time.
        said = TemporaryFile()  # noqa: SIM115 -- it is closed with the socket
        argv = ["ssh", *_OPTIONS, "--", url, "docker system dial-stdio"]
        try:
            with theirs:
                stream = theirs.fileno()
                # What the terminal sends the run is not for it.
                process = subprocess.Popen(
                    argv, stdin=stream, stdout=stream, stderr=said, start_new_session=True
                )
        except OSError as error:
            said.close()
            ours.close()
            raise SshEndedError(
                f"the command ssh cannot be started: {error.strerror}; install OpenSSH's client"
            ) from None
        return cls(ours, url, process, said)

    def recv(self, *args: Any) -> bytes:
        """Receive as a socket does.

        :raises SshEndedError: at an end that is not the engine's.
        """
        try:
            data = super().recv(*args)
        except ConnectionResetError:
            data = b""
        if not data:
            self._check_end()
        return data

    def recv_into(self, *args: Any) -> int:
        """Receive as a socket does.

        :raises SshEndedError: at an end that is not the engine's.
        """
        try:
            size = super().recv_into(*args)
        except ConnectionResetError:
            size = 0
        if size:
            self.stale = False
        else:
            self._check_end()
        return size

    def shutdown(self, how: int) -> None:
        """Close a half of it, or both."""
        self._given_up |= how != socket.SHUT_WR
        super().shutdown(how)

    def _check_end(self) -> None:
        if self._given_up:
            return
        try:
            code = self._process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            code = 0
        if code:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            raise SshEndedError(
                f"the connection over ssh to {self._url.partition('://')[2]} has ended: "
                f"{self._last_words() or f'ssh {how}'}; "
                f"see what `ssh -o BatchMode=yes {self._url} docker version` says",
                stale=self.stale,
            )

    def _last_words(self) -> str:
        descriptor = self._said.fileno()
        # Its place in the file is that of the process, too.
        start = max(0, os.fstat(descriptor).st_size - _SAID_BYTES)
        said = os.pread(descriptor, _SAID_BYTES, start).decode("utf-8", "replace")
        return " ".join(said.split())[-_SAID_CHARS:].rstrip(".")

    def _real_close(self) -> None:
        """End the process, once neither the connection nor an answer needs it, as SSLSocket learns of it."""
        super()._real_close()  # type: ignore[misc]
        self._process.kill()
        self._process.wait()
        self._said.close()


class _Connection(HTTPConnection):
    """A connection over an ssh process."""

    def __init__(self, url: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._url = url

    def connect(self) -> None:
        """Start the process."""
        self.sock = _Socket.start(self._url)

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request, over the process that there is already or over a new one."""
        if isinstance(self.sock, _Socket):
            self.sock.stale = True
        super().request(*args, **kwargs)


class _Pool(HTTPConnectionPool):
    """Connections to one engine."""

    def __init__(self, url: str, timeout_s: float, size: int) -> None:
        super().__init__("localhost", timeout=timeout_s, maxsize=size)
        self._url = url
        self._timeout_s = timeout_s

    def _new_conn(self) -> _Connection:
        return _Connection(self._url, self._timeout_s)

    def urlopen(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Send a request; one that changes nothing once more, if it met a connection that had gone."""
        try:
            return super().urlopen(method, *args, **kwargs)
        except SshEndedError as error:
            if not error.stale or method not in _SAFE:
                raise
        return super().urlopen(method, *args, **kwargs)


class KeptConnections(UnixHTTPAdapter):
    """Gives all requests connections of one pool.

    :param url: the engine's.
    :param size: how many connections are kept.
    """

    def __init__(self, url: str, timeout_s: float, size: int) -> None:
        # What it needs besides is the same over any stream.
        super().__init__("http+unix:///ssh", max_pool_size=size)
        self._pool = _Pool(url, timeout_s, size)

    def get_connection(self, _url: str | bytes, proxies: Mapping[str, str] | None = None) -> Any:  # noqa: ARG002
        """Return the pool."""
        return self._pool

    def close(self) -> None:
        """End all processes."""
        super().close()
        self._pool.close()
