"""The relay of a cluster: our program in the run's own pod, whose streams are those of an exec."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_clnrm.engine.relay.multiplexer import ForwardedPort, Multiplexer
from pytest_clnrm.errors import EngineError

if TYPE_CHECKING:
    from pytest_clnrm.engine.kubernetes.sockets import ExecStream

_READY_S = 30.0
_PIECE = 32768


class _PumpedWire:
    """A websocket as a stream that can be polled: a thread for each direction."""

    def __init__(self, stream: ExecStream) -> None:
        self._stream = stream
        self._own, self._other = socket.socketpair()
        self._own.settimeout(0)
        self._unsent = bytearray()
        self._in = threading.Thread(target=self._pump_in, name="clnrm-relay-in", daemon=True)
        self._in.start()
        threading.Thread(target=self._pump_out, name="clnrm-relay-out", daemon=True).start()

    @property
    def fd(self) -> int:
        return self._own.fileno()

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def send(self, data: bytes) -> None:
        self._unsent += data
        self._send()

    def receive_now(self) -> bytes | None:
        self._send()
        try:
            return self._own.recv(_PIECE)
        except BlockingIOError:
            return None

    def why_ended(self) -> str:
        return self._stream.said.strip()

    def close(self) -> None:
        self._stream.close()
        for each in (self._own, self._other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._own.close()

    def _send(self) -> None:
        with suppress(BlockingIOError):
            while self._unsent:
                del self._unsent[: self._own.send(self._unsent[:_PIECE])]

    def _pump_in(self) -> None:
        with suppress(OSError):
            while data := self._stream.receive(deadline_s=None):
                self._other.sendall(data)
        with suppress(OSError):
            self._other.shutdown(socket.SHUT_WR)

    def _pump_out(self) -> None:
        with suppress(OSError, ValueError):
            while data := self._other.recv(_PIECE):
                self._stream.send(data)
        self._stream.close()
        self._in.join()
        self._other.close()


class ClusterRelay:
    """Implements :class:`pytest_clnrm.engine.api.Relay`: all pods reach one another's addresses.

    :param address: of the pod that relays.
    """

    def __init__(
        self,
        pod: str,
        address: str,
        stream: ExecStream,
        *,
        accept: Callable[[], socket.socket | None],
        on_end: Callable[[str], None],
    ) -> None:
        self.id = pod
        self._address = address
        self._multiplexer = Multiplexer(_PumpedWire(stream), accept=accept, on_end=on_end)
        try:
            self._multiplexer.wait_ready(_READY_S)
        except OSError as error:
            self._multiplexer.close()
            raise EngineError(f"cannot start a relay: {error}") from error

    @property
    def ended(self) -> str:
        """Return why it relays no longer, "" while it does."""
        return self._multiplexer.ended

    def join(self, network: str) -> str:  # noqa: ARG002 (all of them)
        """Return its address, which is the same for all networks."""
        return self._address

    def dial(self, address: str, port: int, *, timeout_s: float) -> socket.socket:
        """Return a connection to an address of a pod."""
        return self._multiplexer.dial(address, port, timeout_s=timeout_s)

    def forward(self, address: str, port: int) -> ForwardedPort:
        """Return a port of this host that leads there."""
        return self._multiplexer.forward(address, port)

    def close(self) -> None:
        """End it; its pod is the run's."""
        self._multiplexer.close()
