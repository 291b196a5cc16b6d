"""Watching how much a scenario's containers write into their own layers.

Only some engines can limit that (Docker's overlay2 on xfs with project quotas), but all of them tell it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runtime.runtime import Runtime

EVERY_S = 2.0
"""A shorter scenario is never looked at: what it has written goes with its containers."""


class DiskWatch:
    """Stops the containers of a scenario once one of them has written too much; used in a ``with``.

    :param containers: by the names of their services; the mapping grows while they are started.
    :param run_once: ids of those that steps run at the moment, by the names of the steps.
    :param shared: those that others use too: one is stopped only if it has itself written too much.
    :ivar problem: which container has written too much, "" if none has.
    """

    def __init__(
        self,
        runtime: Runtime,
        containers: Mapping[str, RunningContainer],
        run_once: Mapping[str, str] = MappingProxyType({}),
        shared: Mapping[str, RunningContainer] = MappingProxyType({}),
    ) -> None:
        self._runtime = runtime
        self._run_once = run_once
        self._containers = containers
        self._shared = shared
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="clnrm-disk", daemon=True)
        self.problem = ""

    def __enter__(self) -> DiskWatch:  # noqa: PYI034 (no Self before Python 3.11)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(EVERY_S):
            for whose, container in [*self._own(), *_named(self._shared)]:
                # A container that is gone writes nothing any more.
                with suppress(ClnrmError):
                    self.problem = self._look(whose, container)
                if self.problem:
                    self._stop(dict.fromkeys([*(each for _, each in self._own()), container]))
                    return

    def _stop(self, containers: Iterable[str]) -> None:
        for container in containers:
            with suppress(ClnrmError):
                self._runtime.engine().stop(container, grace_s=0)

    def _own(self) -> list[tuple[str, str]]:
        """Return whose each container of the scenario's own is, in words, and its id."""
        steps = [(f"step {name!r}", each) for name, each in list(self._run_once.items())]
        return _named(self._containers) + steps

    def _look(self, whose: str, container: str) -> str:
        """Return that a container has written too much, "" if it has not."""
        settings = self._runtime.settings
        written = self._runtime.engine().written_bytes(container)
        if written <= settings.max_disk_bytes:
            return ""
        return (
            f"{whose} has written {written / 2**20:.0f} MB into its container: at most "
            f"{settings.max_disk_bytes / 2**20:.10g} MB (clnrm_max_disk: {settings.origin('max_disk_bytes')})"
        )


def _named(containers: Mapping[str, RunningContainer]) -> list[tuple[str, str]]:
    """Return whose each container is, in words, and its id; the mapping may grow meanwhile."""
    return [(f"service {name!r}", each.id) for name, each in list(containers.items())]
