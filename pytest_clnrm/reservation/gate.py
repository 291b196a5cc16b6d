"""The controller's gate: what the scheduler asks before it sends an item, answered by the ledger."""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pytest_clnrm.errors import ClnrmError, LedgerError, ReservationError, SlotTimeoutError
from pytest_clnrm.model.demand import NOTHING, Demand, total
from pytest_clnrm.reservation.reserve import (
    ALONE,
    WITHOUT_LEASE,
    as_reservation_errors,
    ticket_for,
    usable_ledger,
)
from pytest_clnrm.scheduling.tickets import Ticket

if TYPE_CHECKING:
    from pytest_clnrm.ledger.ledger import Ledger
    from pytest_clnrm.ledger.state import Waiter
    from pytest_clnrm.runtime.runtime import Runtime


class LedgerGate:
    """The controller's gate: reserves for the head of the queue without blocking.

    :param wake: called when it is worth asking again, from a thread of this gate.
    """

    def __init__(self, runtime: Runtime, wake: Callable[[], None]) -> None:
        self._runtime = runtime
        self._wake = wake
        self._holdings = runtime.holdings
        self._idle = runtime.holdings.idle
        self._waiters: dict[int, Waiter] = {}
        self._positions: dict[int, int] = {}
        self._leases: set[str] = set()
        # There is none before the first reservation.
        self._ledger: Ledger | None = None
        self._asked = threading.Event()
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None
        self._bell: tuple[int, int] | None = None

    def serves(self, worker: str, specification: str | None) -> bool:
        """Tell whether *worker* has idle containers of *specification*."""
        return bool(self._idle.wanted(worker, specification))

    def try_reserve(
        self,
        index: int,
        priority: int,
        demand: Mapping[str, Any],
        *,
        worker: str = "",
        specification: str | None = None,
    ) -> Ticket | None:
        """Reserve for the item at *index*, or return None: it has to wait.

        :param worker: who would run it; its idle containers of the same *specification* are used again.

        :raises ReservationError: if it will never be granted.
        """
        try:
            with as_reservation_errors():
                return self._ask(index, priority, demand, self._idle.wanted(worker, specification))
        except ReservationError:
            self.give_up(index)
            raise
        finally:
            self._asked.set()

    def _ask(
        self, index: int, priority: int, demand: Mapping[str, Any], wanted: tuple[str, ...]
    ) -> Ticket | None:
        from pytest_clnrm.ledger.policy import item_label

        ledger = usable_ledger(self._runtime)
        if ledger is None:
            return Ticket(lease=WITHOUT_LEASE)
        self._ledger = ledger
        waiter = self._waiters.get(index)
        if waiter is None:
            waiter = ledger.new_waiter(
                Demand.from_data(demand),
                priority=priority,
                index=index,
                label=item_label(index),
                takes=wanted,
            )
            self._waiters[index] = waiter
        lease = ledger.claim(waiter)
        if lease is not None:
            del self._waiters[index]
            self._leases.add(lease.id)
            position = self._positions.pop(index, 0)
            return ticket_for(self._holdings, lease, wanted, waiter.since_s, position)
        self._watch(ledger)
        if index not in self._positions:
            self._positions[index] = ledger.waiting(waiter).position
        if self._left_s(waiter) <= 0:
            raise SlotTimeoutError(f"{ledger.waiting(waiter).describe()} (--clnrm-slot-timeout)")
        return None

    def _left_s(self, waiter: Waiter) -> float:
        """Return how long a waiter may still wait."""
        limit_s = self._runtime.settings.slot_timeout_s
        return math.inf if limit_s is None else waiter.since_s + limit_s - time.monotonic()

    def why_stuck(self, index: int) -> str:
        """Return why an item cannot start while fixtures of session scope hold what they do, "" if it can."""
        waiter, taken = self._waiters.get(index), None
        self.settle()
        with suppress(ClnrmError):
            taken = self._runtime.ledger().snapshot()
        if waiter is None or taken is None:
            return ""
        run = self._runtime.session_id
        # Leases that are kept or idle are not held by fixtures.
        theirs = [each for each in taken.leases if not each.kept and each.idle_since_s is None]
        theirs = [each for each in theirs if each.run == run and each.id not in self._leases]
        in_use = {used for each in theirs for used in each.uses}
        theirs = [each for each in theirs if not each.key or each.id in in_use]
        held = total(each.demand for each in theirs)
        if waiter.demand.exclusive and held != NOTHING:
            return f"it is exclusive, but fixtures of session scope hold {held.describe()}: {ALONE}"
        there = {each.key for each in theirs}
        demand = waiter.demand + total(each.demand for each in waiter.demand.shares if each.key not in there)
        names = self._runtime.budget().exceeded_by(held + demand)
        if not names:
            return ""
        return (
            f"{demand.describe()} demanded, but fixtures of session scope hold {held.describe()}, "
            f"and {self._runtime.budget().describe(names)} allowed: allow more"
        )

    def give_up(self, index: int) -> None:
        """Take an item out of the ledger's queue: while it stands there nobody passes it."""
        waiter = self._waiters.pop(index, None)
        self._positions.pop(index, None)
        if waiter is None:
            return
        self._holdings.try_release(lambda: self._runtime.ledger().withdraw(waiter))

    def release(self, ticket: Ticket) -> None:
        """Give a reservation back."""
        if self._ledger is not None and ticket.lease in self._leases:
            self._leases.discard(ticket.lease)
            with self._ledger.putting_off():
                self._holdings.give_back(ticket.lease)

    def settle(self) -> None:
        """Write what was given back since the last reservation: others may wait for it."""
        if self._ledger is not None:
            # What cannot be written now is written with the next change.
            with suppress(LedgerError):
                self._ledger.write_put_off()

    def close(self) -> None:
        """Leave the queue and give everything back."""
        self._closed.set()
        self._asked.set()
        if self._watcher is not None and self._bell is not None:
            os.write(self._bell[1], b"!")
            # The thread uses the ledger, which the caller closes next.
            self._watcher.join()
            for fd in self._bell:
                os.close(fd)
            self._watcher = self._bell = None
        self.settle()
        if not self._waiters and not self._leases:
            return
        ledger = self._runtime.ledger()
        # What cannot be given back now is purged by another process, or by the next run.
        with suppress(LedgerError):
            for waiter in self._waiters.values():
                ledger.withdraw(waiter)
            for lease in self._leases:
                ledger.release(lease)
        self._waiters.clear()
        self._leases.clear()

    def _watch(self, ledger: Ledger) -> None:
        """Start the thread that wakes the scheduler, at the first wait."""
        if self._watcher is None:
            self._bell = os.pipe()
            self._watcher = threading.Thread(
                target=self._watch_ledger, args=(ledger, self._bell[0]), name="clnrm-gate", daemon=True
            )
            self._watcher.start()

    def _watch_ledger(self, ledger: Ledger, bell: int) -> None:
        """Wake the scheduler whenever the ledger may grant something, until *bell* can be read."""
        unblocked_s = time.monotonic()
        while True:
            poll = select.poll()
            for fd in (bell, ledger.wakeup_fd):
                if fd is not None:
                    poll.register(fd, select.POLLIN)
            left_s = min([ledger.poll_s, *map(self._left_s, list(self._waiters.values()))])
            poll.poll(max(left_s, 0.0) * 1000)
            self._asked.clear()
            if self._closed.is_set():
                return
            self._wake()
            # Only asking takes the wake-up out of the FIFO: until then it would be seen again and again.
            self._asked.wait(ledger.poll_s)
            if time.monotonic() >= unblocked_s + ledger.poll_s:
                # Not in the scheduler's thread: it may ask the engine, and no hand-over should wait for that.
                with suppress(ClnrmError):
                    ledger.unblock()
                unblocked_s = time.monotonic()
