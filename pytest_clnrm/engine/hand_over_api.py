"""How one process leaves a container at rest to another; an engine that says nothing of it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pytest_clnrm.errors import ContainerError


class HandOver(Protocol):
    """A part of :class:`pytest_clnrm.engine.api.Engine`."""

    def let_go(self, container: str) -> dict[str, Any]:  # noqa: ARG002
        """Give up the connections to a container at rest; it stays as it is.

        :return: plain data by which another process takes it up.
        :raises ContainerError: if no other process can.
        """
        raise ContainerError("no other process can go on with it")

    def take_up(self, container: str, told: Mapping[str, Any]) -> None:
        """Go on with a container that another process has let go.

        :param told: what :meth:`let_go` returned.
        :raises ContainerError: if that cannot be.
        """
        raise ContainerError(f"this process cannot go on with {container[:12]}, by {sorted(told)}")

    def is_connected_as(self, container: str, seen: Mapping[str, str]) -> bool:  # noqa: ARG002
        """Tell whether a container is on the networks yet on which it was when it was looked at.

        It is not asked: False where that cannot be seen from outside, and :meth:`has_network` has to tell.

        :param seen: what :meth:`observe` returned.
        """
        return False
