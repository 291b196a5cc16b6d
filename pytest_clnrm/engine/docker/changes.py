"""Hearing from the engine when a container has ended, or its health is another, instead of asking for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_clnrm.engine.docker.following import Followed, follow

if TYPE_CHECKING:
    from docker import APIClient

# Docker says "die" and "health_status: healthy", Podman "died" and "health_status"; neither minds a name that
# it does not know.
_TOLD = ("die", "died", "health_status")
_BEGINS_S = 5.0
"""Its answer has to begin within this time, though there is nothing to be told yet; else it is of no use."""


class FollowedChanges:
    """Implements :class:`pytest_clnrm.engine.change_stream.ChangeStream`.

    :param events: of the container, of which no more is read than that there is one.
    """

    def __init__(self, events: Followed) -> None:
        self._events = events

    def wait(self, deadline_s: float) -> bool | None:
        """Wait till *deadline_s*; tell whether it has changed, None if nothing is told any more."""
        told = self._events.receive(deadline_s)
        return False if told is None else bool(told) or None

    def close(self) -> None:
        """Hear of it no longer."""
        self._events.close()


def follow_changes(client: APIClient, container: str) -> FollowedChanges:
    """Return what tells of a container's changes from now on.

    :raises ContainerError: if the engine does not tell of them.
    """
    filters = json.dumps({"type": ["container"], "container": [container], "event": list(_TOLD)})
    doing = "follow the container's changes"
    return FollowedChanges(follow(client, "/events", {"filters": filters}, doing, _BEGINS_S))
