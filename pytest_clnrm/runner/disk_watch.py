"""Watching how much a scenario's containers write into their own layers.

Only some engines can limit that (Docker's overlay2 on xfs with project quotas), but all of them tell it.
"""

from __future__ import annotations

import threading
import time
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

_TICK_S = 0.5
"""How much later than that a scenario may be looked at."""


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
        # Held while it is looked at: nothing is stopped once the scenario is over.
        self._looking = threading.Lock()
        self._due_s = float("inf")
        self.problem = ""

    def __enter__(self) -> DiskWatch:  # noqa: PYI034 (no Self before Python 3.11)
        self._due_s = time.monotonic() + EVERY_S
        _WATCHER.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _WATCHER.remove(self)
        with self._looking:
            self._due_s = float("inf")

    def look(self) -> None:
        """Look at the containers if that is due."""
        with self._looking:
            if time.monotonic() < self._due_s:
                return
            for whose, container in [*self._own(), *_named(self._shared)]:
                # A container that is gone writes nothing any more.
                with suppress(ClnrmError):
                    self.problem = self._look(whose, container)
                if self.problem:
                    self._stop(dict.fromkeys([*(each for _, each in self._own()), container]))
                    self._due_s = float("inf")
                    return
            self._due_s = time.monotonic() + EVERY_S

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


class _Watcher:
    """The thread that looks for all scenarios of this process: one for each takes longer than short ones."""

    def __init__(self) -> None:
        self._watches: list[DiskWatch] = []
        self._thread: threading.Thread | None = None

    def add(self, watch: DiskWatch) -> None:
        """Look at what *watch* names when that is due."""
        self._watches.append(watch)
        # A forked child has none.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="clnrm-disk", daemon=True)
            self._thread.start()

    def remove(self, watch: DiskWatch) -> None:
        """Look at it no more."""
        self._watches.remove(watch)

    def _run(self) -> None:
        while True:
            time.sleep(min(_TICK_S, EVERY_S))
            for watch in list(self._watches):
                watch.look()


_WATCHER = _Watcher()


def _named(containers: Mapping[str, RunningContainer]) -> list[tuple[str, str]]:
    """Return whose each container is, in words, and its id; the mapping may grow meanwhile."""
    return [(f"service {name!r}", each.id) for name, each in list(containers.items())]
