"""What this process holds in the ledger: for the item that runs, for its fixtures, and what it still owes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pytest_clnrm.errors import LedgerError
from pytest_clnrm.model.demand import total
from pytest_clnrm.pool.idle_leases import IdleLeases

if TYPE_CHECKING:
    from pytest_clnrm.ledger.ledger import Ledger
    from pytest_clnrm.model.demand import Demand
    from pytest_clnrm.pool.idle_leases import Leftover


class Allowance(Protocol):
    """What a Python test has reserved, some of which may be lent to a fixture."""

    def used(self) -> Demand:
        """Return what is held for good while the test runs."""

    def unused(self) -> Demand:
        """Return what may be lent."""

    def lend(self, demand: Demand) -> None:
        """Take note that so much of it is no longer the test's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """The item that runs now.

    :param lease: id of its reservation, "" if it has none.
    :param allowance: None for any item but a Python test that has reserved something.
    """

    priority: int
    index: int
    lease: str = ""
    allowance: Allowance | None = None


class Holdings:
    """What this process holds in the ledger.

    ``idle`` are the idle leases that it has reserved.

    :param ledger: returns the ledger.
    """

    def __init__(self, ledger: Callable[[], Ledger]) -> None:
        self.idle = IdleLeases(ledger)
        self._ledger = ledger
        self._current: Callable[[], Current] | None = None
        self._of_fixtures: list[tuple[str, Demand]] = []
        self._kept: set[str] = set()
        self._leftovers: dict[str, Leftover] = {}
        self._owed: list[Callable[[], None]] = []

    # the item that runs, and fixtures

    def begin(self, current: Callable[[], Current]) -> None:
        """Take note that an item begins.

        :param current: returns what is known of it. It is asked when needed: most items never need it.
        """
        self._current = current

    def current(self) -> Current | None:
        """Return what is known of the item that runs, None before the first one."""
        return None if self._current is None else self._current()

    def lease(self) -> str:
        """Return the id of the lease of the item that runs, "" if it has none."""
        current = self.current()
        return current.lease if current else ""

    def of_fixtures(self) -> Demand:
        """Return what fixtures hold beside the reservations of items."""
        return total(demand for _, demand in self._of_fixtures)

    def groups(self) -> set[str]:
        """Return the names of the groups of which it is what this process holds beside the item's own."""
        return {group.name for _, demand in self._of_fixtures for group in demand.groups}

    def fixtures_containers(self) -> list[str]:
        """Return the names of the containers for which fixtures hold it."""
        return [name for name, _ in self._of_fixtures]

    @contextmanager
    def holding(self, name: str, demand: Demand) -> Iterator[None]:
        """Count what a fixture holds for the container *name* while the block runs."""
        held = (name, demand)
        self._of_fixtures.append(held)
        try:
            yield
        finally:
            self._of_fixtures.remove(held)

    # what stays under a lease that is about to be given back

    def keep(self, lease_id: str) -> None:
        """Take note that containers are kept under a lease: it counts on when it is given back."""
        self._kept.add(lease_id)

    def leave(self, leftover: Leftover) -> None:
        """Take note that containers are left under a lease: when it is given back others may take it over."""
        self._leftovers[leftover.lease] = leftover

    def take_leftover(self, lease_id: str) -> Leftover | None:
        """Return what is left under a lease, for the process that has reserved it, and forget it here."""
        return self._leftovers.pop(lease_id, None)

    # giving back

    def give_back(self, lease_id: str) -> None:
        """Give a lease back, or let it count on for the containers that stay under it."""
        leftover = self.take_leftover(lease_id)

        def release() -> None:
            if lease_id in self._kept:
                self._ledger().keep(lease_id)
            elif leftover is not None:
                self.idle.add(leftover)
            elif not self.idle.leave(lease_id):
                self._ledger().release(lease_id)

        self.try_release(release)

    def try_release(self, release: Callable[[], None]) -> None:
        """Call *release*, and if the ledger is unavailable, owe it: :meth:`pay` calls it again."""
        try:
            release()
        except LedgerError:
            self._owed.append(release)

    def pay(self) -> None:
        """Release what is owed. Otherwise the next reservation of this process could wait for it for ever.

        :raises LedgerError: if the ledger is still unavailable.
        """
        while self._owed:
            self._owed[-1]()
            self._owed.pop()
