"""Containers of one process that outlive their scenario: kept for the next one, or being removed.

A scenario that has passed gives its reservation back as an idle lease, which names its containers. Those that
were proven to be unchanged are kept here; the others are removed while the next scenario runs. Whoever needs
what the lease holds takes it over and removes the containers itself, without waiting for this process. So
this process uses a kept container only once it has taken its lease over again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError

if TYPE_CHECKING:
    from pytest_clnrm.pool.running import RunningContainer

_REMOVERS = 2


Stays = Callable[["RunningContainer"], bool]
"""Leaves an idle container to the next run, and tells whether it could."""


@dataclass(slots=True)
class _Left:
    """What is left under one lease: containers that are kept, and ids of those that are being removed."""

    shelved: dict[str, RunningContainer] = field(default_factory=dict)
    stays: Stays | None = None
    removed: tuple[str, ...] = ()
    removal: Future[bool] | None = None


class Shelf:
    """The shelf of one process, and the removals that are under way.

    :param remove: removes containers; raises EngineError if one stays.
    :param release: gives back a lease whose containers are gone.
    :param size: of how many scenarios containers are kept at most.
    """

    def __init__(
        self, remove: Callable[[Sequence[str]], None], release: Callable[[str], None], *, size: int
    ) -> None:
        self._remove_all = remove
        self._release = release
        self._size = size
        self._left: OrderedDict[str, _Left] = OrderedDict()
        self._threads = ThreadPoolExecutor(_REMOVERS, "clnrm-removal")
        self._guard = threading.Lock()

    def put(
        self,
        lease: str,
        kept: Mapping[str, RunningContainer],
        removed: Sequence[str],
        *,
        stays: Stays | None = None,
    ) -> None:
        """Keep and remove what a scenario leaves; beyond the shelf's size the oldest are removed.

        :param kept: containers that may be reused, by the names of their services.
        :param removed: ids of the other containers.
        :param stays: called at the end of the run where one container is all that there is under the lease.
        """
        with self._guard:
            self._left[lease] = left = _Left(dict(kept), stays)
            if removed or not kept:
                left.removed = tuple(removed)
                left.removal = self._threads.submit(self._remove, lease, left.removed)
            surplus = [each for each, left in self._left.items() if left.shelved][: -self._size or None]
        for each in surplus:
            self._discard(each)

    def take(self, leases: Iterable[str]) -> tuple[dict[str, RunningContainer], tuple[str, ...]]:
        """Return the kept containers of these leases by service, once the others have been removed.

        :return: also the ids of those that could not be removed.
        """
        taken: dict[str, RunningContainer] = {}
        stuck: tuple[str, ...] = ()
        for lease in leases:
            with self._guard:
                left = self._left.pop(lease, None)
            if left is not None:
                taken |= left.shelved
                if left.removal is not None and not left.removal.result():
                    stuck += left.removed
        return taken, stuck

    def remove(self, containers: Sequence[str]) -> None:
        """Remove containers whose lease was taken over, whichever process left them.

        :raises EngineError: if one stays.
        """
        gone = set(containers)
        with self._guard:
            for lease, left in list(self._left.items()):
                if any(each.id in gone for each in left.shelved.values()):
                    del self._left[lease]
        self._remove_all(list(containers))

    def close(self) -> None:
        """Wait for the removals and remove what is kept but what stays for the next run.

        Whoever reserved it gives the leases back.
        """
        self._threads.shutdown()
        with self._guard:
            left, self._left = self._left, OrderedDict()
        containers = [
            each.id
            for one in left.values()
            for each in one.shelved.values()
            if not (one.stays is not None and len(one.shelved) == 1 and not one.removed and one.stays(each))
        ]
        if containers:
            # What stays is swept by the controller, its watchdog, or the next run.
            with suppress(ClnrmError):
                self._remove_all(containers)

    def _discard(self, lease: str) -> None:
        """Remove what is kept under a lease, and give it back."""
        with self._guard:
            left = self._left.get(lease)
            if left is None or not left.shelved:
                return
            containers = tuple(each.id for each in left.shelved.values())
            left.shelved, left.removed = {}, containers
            left.removal = self._threads.submit(self._remove, lease, containers)

    def _remove(self, lease: str, containers: Sequence[str]) -> bool:
        """Remove containers, give their lease back unless some of it is kept, and tell whether they are gone.

        If not, the lease goes on counting: whoever takes it over tries again, and so does the end of the run.
        """
        try:
            if containers:
                self._remove_all(containers)
        except ClnrmError:
            return False
        with self._guard:
            left = self._left.get(lease)
            if left is None or left.shelved:
                return True
            del self._left[lease]
        # Another process may have taken it over meanwhile.
        with suppress(ClnrmError):
            self._release(lease)
        return True
