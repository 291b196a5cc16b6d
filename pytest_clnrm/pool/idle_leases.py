"""Idle leases, as the process that reserved them knows them: whose containers may be used again, and by whom.

The worker that has the containers says so in a report of its item; see :mod:`pytest_clnrm.pool.shelf`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_clnrm.errors import LedgerError
from pytest_clnrm.model.demand import NOTHING, total

if TYPE_CHECKING:
    from pytest_clnrm.ledger.ledger import Ledger
    from pytest_clnrm.ledger.state import Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What a scenario leaves under its lease.

    :param specification: which scenarios may use it, "" if all of it is being removed.
    :param containers: ids of all of its containers.
    """

    lease: str
    worker: str
    specification: str
    containers: tuple[str, ...]

    def to_data(self) -> dict[str, object]:
        """Return it as exact builtins."""
        return {
            "lease": str(self.lease),
            "worker": str(self.worker),
            "specification": str(self.specification),
            "containers": [str(each) for each in self.containers],
        }

    @classmethod
    def from_data(cls, data: Mapping[str, object]) -> Leftover:
        """Return what :meth:`to_data` gave."""
        containers = data["containers"]
        assert isinstance(containers, list)  # noqa: S101 (it is our own)
        return cls(
            lease=str(data["lease"]),
            worker=str(data["worker"]),
            specification=str(data["specification"]),
            containers=tuple(containers),
        )


class Taken(NamedTuple):
    """What is to be done with the containers of the idle leases that a new one took over.

    :param reuse: ids of the leases whose containers are to be used.
    :param remove: ids of containers to be removed first.
    """

    reuse: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class IdleLeases:
    """The idle leases of this process, which others may take over at any moment.

    :param ledger: returns the ledger that they are in.
    :ivar stays: tells of the id of a lease whether its container has been left for the next run: then it is
        not given back.
    """

    def __init__(self, ledger: Callable[[], Ledger]) -> None:
        self._ledger = ledger
        self.stays: Callable[[str], bool] = lambda _: False
        self._of_earlier_runs: dict[str, str] = {}
        self._leftovers: dict[str, Leftover] = {}
        self._uncleared: dict[str, Lease] = {}

    def add(self, leftover: Leftover) -> None:
        """Let others take over the lease of *leftover*, which was this process's to give back.

        :raises LedgerError: if the ledger cannot take it.
        """
        self._ledger().mark_idle(leftover.lease, leftover.containers, first=not leftover.specification)
        self._leftovers[leftover.lease] = leftover

    def add_of_earlier_run(self, lease_id: str, specification: str) -> None:
        """Take note of a container that an earlier run has left: any worker may use it."""
        self._of_earlier_runs[lease_id] = specification

    def wanted(self, worker: str, specification: str | None) -> tuple[str, ...]:
        """Return the lease of which a worker could use the containers, the last used of them; () if none."""
        found = [
            lease
            for lease, each in self._leftovers.items()
            if specification and (each.worker, each.specification) == (worker, specification)
        ]
        found = found or [
            lease for lease, each in self._of_earlier_runs.items() if specification and each == specification
        ]
        return tuple(found[-1:])

    def taken_by(self, lease: Lease, wanted: Iterable[str]) -> Taken:
        """Return what is to be done with the containers of what *lease* took over, and forget those leases.

        :param wanted: what it could use; what it did not get was taken over by another.
        """
        evicted = {each.id: each for each in lease.evicted}
        reuse = tuple(each for each in wanted if each in evicted)
        for taken in (*evicted, *wanted):
            self._leftovers.pop(taken, None)
            self._of_earlier_runs.pop(taken, None)
        remove = tuple(
            container for each in evicted.values() if each.id not in reuse for container in each.containers
        )
        if remove:
            self._uncleared[lease.id] = lease
        return Taken(reuse=reuse, remove=remove)

    def cleared(self, lease_id: str) -> None:
        """Take note that what a lease had to remove first is gone.

        :raises LedgerError: if the ledger cannot take it: it counts until the lease is given back.
        """
        lease = self._uncleared.pop(lease_id, None)
        if lease is not None and total(each.demand for each in lease.evicted).minus(lease.demand) != NOTHING:
            self._ledger().settle(lease_id)

    def leave(self, lease_id: str) -> bool:
        """Let others take over a lease whose containers to remove may still be there; False if they are gone.

        :raises LedgerError: if the ledger cannot take it.
        """
        if lease_id not in self._uncleared:
            return False
        self._ledger().leave_evicted(lease_id)
        del self._uncleared[lease_id]
        return True

    def forget_worker(self, worker: str) -> None:
        """Give back what a worker had: it has ended, and its containers are gone."""
        self._give_back([lease for lease, each in self._leftovers.items() if each.worker == worker])

    def close(self) -> None:
        """Give all back: the containers are gone."""
        self._give_back(list(self._leftovers))

    def _give_back(self, leases: Iterable[str]) -> None:
        for lease in leases:
            del self._leftovers[lease]
            if self.stays(lease):
                continue
            # What cannot be given back now is purged by another process, or by the next run.
            with suppress(LedgerError):
                self._ledger().release(lease)
