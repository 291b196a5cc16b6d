"""What belongs to a whole run, whichever of its processes has made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class RunKeeping(Protocol):
    """A part of :class:`pytest_clnrm.engine.api.Engine`.

    On most engines what was created stays until it is removed: there is nothing to be done.
    """

    def keep_run(self, name: str, labels: Mapping[str, str]) -> None:  # noqa: ARG002
        """Keep what has these labels, as long as any process of the run that has called this lives.

        :param name: with which the names of what belongs to the run begin, the same in all its processes.
        :param labels: with which that is created; only what has all of them belongs to the run.
        """
        return
