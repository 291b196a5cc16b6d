"""Idle leases, as the process that reserved them knows them: whose containers may be used again, and by whom.

The worker that has the containers says so in a report of its item; see :mod:`pytest_clnrm.pool.shelf`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_clnrm.errors import LedgerError
from pytest_clnrm.ledger.budget import NOTHING, total

if TYPE_CHECKING:
    from pytest_clnrm.ledger.lease import Lease


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
    """What became of idle leases whose room a new one took.

    :param reuse: ids of the leases whose containers are to be used.
    :param remove: ids of containers to be removed first.
    """

    reuse: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class IdleLeases:
    """The idle leases of this process, which others may take at any moment."""

    def __init__(self) -> None:
        self._leases: dict[str, tuple[Lease, Leftover]] = {}
        self._uncleared: dict[str, Lease] = {}

    def add(self, lease: Lease, leftover: Leftover) -> None:
        """Offer a lease's room; it was this process's to give back.

        :raises LedgerError: if the ledger cannot take it.
        """
        lease.ledger.mark_idle(lease.id, leftover.containers, first=not leftover.specification)
        self._leases[lease.id] = (lease, leftover)

    def wanted(self, worker: str, specification: str | None) -> tuple[str, ...]:
        """Return the lease of which a worker could use the containers, the last used of them; () if none."""
        found = [
            lease
            for lease, (_, leftover) in self._leases.items()
            if specification and (leftover.worker, leftover.specification) == (worker, specification)
        ]
        return tuple(found[-1:])

    def taken_by(self, lease: Lease, wanted: Iterable[str]) -> Taken:
        """Return what is to be done with the containers whose room *lease* took, and forget their leases.

        :param wanted: what it could use; what is not among what it took was taken by somebody else.
        """
        evicted = {each.lease: each for each in lease.evicted}
        reuse = tuple(each for each in wanted if each in evicted)
        for each in (*evicted, *wanted):
            self._leases.pop(each, None)
        remove = tuple(
            container for each in evicted.values() if each.lease not in reuse for container in each.containers
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
            lease.ledger.settle(lease_id)

    def leave(self, lease: Lease) -> bool:
        """Leave a lease whose room was never cleared to whoever needs it; return False if it was.

        :raises LedgerError: if the ledger cannot take it.
        """
        if lease.id not in self._uncleared:
            return False
        lease.ledger.leave_evicted(lease.id)
        del self._uncleared[lease.id]
        return True

    def forget_worker(self, worker: str) -> None:
        """Give back what a worker had: it has ended, and its containers are gone."""
        self._give_back([lease for lease, found in self._leases.values() if found.worker == worker])

    def close(self) -> None:
        """Give all back: the containers are gone."""
        self._give_back([lease for lease, _ in self._leases.values()])

    def _give_back(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            del self._leases[lease.id]
            # What cannot be given back is purged by whoever looks next.
            with suppress(LedgerError):
                lease.release()
