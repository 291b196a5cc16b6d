"""What :meth:`pytest_clnrm.engine.api.Engine.follow_log` returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol


class LogStream(Protocol):
    """The output of a container's main process as it comes, read from one thread."""

    def receive(self, deadline_s: float) -> Sequence[tuple[Literal["stdout", "stderr"], bytes]] | None:
        """Return what has arrived; nothing at its end, None if *deadline_s* (monotonic) passed before.

        :raises EngineUnavailableError: if its end was not reached, as where a connection breaks.
        :raises ContainerError: if the engine cannot read it.
        """

    def may_lack(self) -> str:
        """Return why the beginning of what has been told may be missing, in words; "" if it is all there.

        Asked at its end.
        """

    def close(self) -> None:
        """Follow it no longer."""
