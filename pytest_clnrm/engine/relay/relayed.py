"""What relays of all engines have in common: connections over a multiplexer."""

from __future__ import annotations

import socket

from pytest_clnrm.engine.relay.multiplexer import ForwardedPort, Multiplexer


class MultiplexedRelay:
    """The part of :class:`pytest_clnrm.engine.api.Relay` that needs no engine.

    :param identity: of what relays.
    """

    def __init__(self, identity: str, multiplexer: Multiplexer) -> None:
        self.id = identity
        self._multiplexer = multiplexer

    @property
    def ended(self) -> str:
        """Return why it relays no longer, "" while it does."""
        return self._multiplexer.ended

    def dial(self, address: str, port: int, *, timeout_s: float) -> socket.socket:
        """Return a connection to an address that it reaches."""
        return self._multiplexer.dial(address, port, timeout_s=timeout_s)

    def forward(self, address: str, port: int) -> ForwardedPort:
        """Return a port of this host that leads there."""
        return self._multiplexer.forward(address, port)

    def close(self) -> None:
        """End it."""
        self._multiplexer.close()
