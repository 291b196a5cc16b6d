"""The relay of a cluster: our program in the run's own pod, whose streams are those of an exec."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_clnrm.engine.relay.multiplexer import Multiplexer
from pytest_clnrm.engine.relay.relayed import MultiplexedRelay
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


class ClusterRelay(MultiplexedRelay):
    """Implements :class:`pytest_clnrm.engine.api.Relay`: all pods reach one another's addresses.

    The pod is the run's, and stays when this is closed.

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
        super().__init__(pod, Multiplexer(_PumpedWire(stream), accept=accept, on_end=on_end))
        self._address = address
        try:
            self._multiplexer.wait_ready(_READY_S)
        except OSError as error:
            self.close()
            raise EngineError(f"cannot start a relay: {error}") from error

    def join(self, network: str) -> str:  # noqa: ARG002 (all of them)
        """Return its address, which is the same for all networks."""
        return self._address
