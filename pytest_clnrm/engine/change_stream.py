"""What :meth:`pytest_clnrm.engine.api.Engine.follow_changes` returns."""

from __future__ import annotations

from typing import Protocol


class ChangeStream(Protocol):
    """What the engine tells, unasked, of a container: that it has ended, or its health is another."""

    def wait(self, deadline_s: float) -> bool | None:
        """Wait till *deadline_s* (monotonic): whether it has changed, None if no more is told."""

    def close(self) -> None:
        """Hear of it no longer."""
