"""Talking to an engine over ssh://: each connection is an ssh process that is used again.

docker-py starts one for each request and lets it end with the answer; each costs a key exchange, and a server
refuses some of many that come at once (MaxStartups of sshd_config(5)). A process has a session of its own, so
MaxSessions limits nothing.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any, cast

from docker.transport import sshconn

# What is described of them does not fit what they are given.
_docker: Any = sshconn

KEEP_ALIVE = ("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4")
"""An idle connection stays open through firewalls, and is given up a minute after it broke."""
# Nobody is there to answer a question. The user's own ssh_config holds for all else.
_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", *KEEP_ALIVE)


class _Socket(_docker.SSHSocket):  # type: ignore[misc]
    """The standard input and output of an ssh process."""

    def connect(self, **_: object) -> None:
        """Start it."""
        argv = ["ssh", *_OPTIONS]
        if self.user:
            argv += ["-l", self.user]
        if self.port:
            argv += ["-p", self.port]
        self.proc = subprocess.Popen(
            [*argv, "--", self.host, "docker system dial-stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # What the terminal sends the run is not for it.
            start_new_session=True,
        )

    def makefile(self, mode: str) -> IO[bytes]:
        """Return a reader of the next answer; closing it leaves the process to the answer after that."""
        process: Any = self.proc
        reader: Any = os.fdopen(os.dup(process.stdout.fileno()), mode)
        reader.channel = self
        return cast("IO[bytes]", reader)

    @property
    def has_ended(self) -> bool:
        """Tell whether the process has."""
        return self.proc is None or self.proc.poll() is not None

    def close(self) -> None:
        """End the process."""
        super(_docker.SSHSocket, self).close()
        if self.proc is not None:
            self.proc.kill()
            self.proc.wait()
            pipes: Any = (self.proc.stdin, self.proc.stdout)
            for pipe in pipes:
                with suppress(OSError):  # what was not sent yet is of no use any more
                    pipe.close()


class _Connection(_docker.SSHConnection):  # type: ignore[misc]
    def connect(self) -> None:
        self.sock = _Socket(self.ssh_host)
        self.sock.connect()


class _Pool(_docker.SSHConnectionPool):  # type: ignore[misc]
    def _new_conn(self) -> _Connection:
        return _Connection(None, self.timeout, self.ssh_host)

    def _get_conn(self, timeout: float | None = None) -> _Connection:
        connection: _Connection = super()._get_conn(timeout)
        if connection.sock is not None and connection.sock.has_ended:
            connection.close()
        return connection


class KeptConnections(_docker.SSHHTTPAdapter):  # type: ignore[misc]
    """Gives all requests connections of one pool."""

    def __init__(self, url: str, timeout_s: float, size: int) -> None:
        super().__init__(url, timeout_s, max_pool_size=size, shell_out=True)
        self._pool = _Pool(timeout=timeout_s, maxsize=size, host=self.ssh_host)

    def get_connection(self, _url: str | bytes, proxies: Mapping[str, str] | None = None) -> Any:  # noqa: ARG002
        """Return the pool."""
        return self._pool

    def close(self) -> None:
        """End all processes."""
        super().close()
        self._pool.close()
