"""What the rest of the package asks of a relay, see :mod:`pytest_clnrm.engine.api`."""

from __future__ import annotations

import socket
from typing import Protocol


class ForwardedPort(Protocol):
    """A port of this host's loopback address whose connections lead to a port of a container.

    :ivar place: host and port.
    """

    place: tuple[str, int]

    def close(self) -> None:
        """Listen no longer; twice is no error."""


class Relay(Protocol):
    """A small container of ours, which passes connections into networks and out of them.

    It is for engines whose networks are out of reach: in a virtual machine, on another host, rootless.

    :ivar id: of its container.
    """

    id: str

    @property
    def ended(self) -> str:
        """Return why it relays no longer, "" while it does."""

    def join(self, network: str) -> str:
        """Connect it to a network, and return the address under which containers reach it there.

        They reach it on :data:`RELAY_PORT`.

        :raises EngineError: with the engine's reason.
        """

    def dial(self, address: str, port: int, *, timeout_s: float) -> socket.socket:
        """Return a connection to an IPv4 address on one of its networks; its timeout is *timeout_s*.

        It is no TCP socket of this host, but can be read, written, shut down and wrapped in TLS like one.

        :raises OSError: if there is none, as ``socket.create_connection`` does.
        """

    def forward(self, address: str, port: int) -> ForwardedPort:
        """Return a port of this host that leads to an address and port on one of its networks.

        :raises OSError: if none can be had.
        """

    def close(self) -> None:
        """End it, and remove its container.

        :raises EngineError: if that stays.
        """
