"""How an engine whose room others want too asks for the room of one scenario's containers.

The Docker engine never asks: there the ledger has reserved all room before.
"""

from __future__ import annotations

from typing import Protocol

from pytest_clnrm.model.priority import Priority


class Admission(Protocol):
    """A scenario whose containers need room; called from several threads at once.

    :ivar name: of its containers together, another one each time that they are begun.
    :ivar containers: how many they are.
    :ivar waited_s: how long it has waited for room so far, which is not its time.
    """

    name: str
    containers: int
    priority: Priority
    waited_s: float

    def lacks(self, container: str, why: str, *, is_made: bool) -> None:
        """Note that a container has no room; to be called again, a few times a second, until it has.

        :param is_made: it is there, and waits; else it was refused.
        :raises NoRoomError: if it is not to be waited for any more.
        :raises SlotTimeoutError: if all of that has taken too long.
        """

    def has_room(self, container: str) -> None:
        """Note that a container has room."""
