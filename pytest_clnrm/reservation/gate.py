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
from pytest_clnrm.model.demand import Demand, total
from pytest_clnrm.reservation.reserve import WITHOUT_LEASE, as_reservation_errors, usable_ledger
from pytest_clnrm.scheduling.tickets import Ticket

if TYPE_CHECKING:
    from pytest_clnrm.ledger.ledger import Ledger
    from pytest_clnrm.ledger.state import Waiter
    from pytest_clnrm.runtime.runtime import Runtime


class LedgerGate:
    """The controller's gate: reserves for the head of the queue without blocking.

    :param wake: called from a thread of this gate when the ledger may have room.
    """

    def __init__(self, runtime: Runtime, wake: Callable[[], None]) -> None:
        self._runtime = runtime
        self._wake = wake
        self._holdings = runtime.holdings
        self._idle = runtime.holdings.idle
        self._waiters: dict[int, Waiter] = {}
        self._positions: dict[int, int] = {}
        self._leases: set[str] = set()
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
            taken = self._idle.taken_by(lease, wanted)
            waited_s = time.monotonic() - waiter.since_s
            return Ticket(
                lease=lease.id,
                waited_s=waited_s,
                reuse=taken.reuse,
                remove=taken.remove,
                position=self._positions.pop(index, 0),
            )
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
        """Return what an item wants and fixtures hold, if that is more than the run may hold; else ""."""
        waiter, taken = self._waiters.get(index), None
        with suppress(ClnrmError):
            taken = self._runtime.ledger().snapshot()
        if waiter is None or taken is None:
            return ""
        run = self._runtime.session_id
        # What is kept or idle is no fixture's.
        theirs = [each for each in taken.leases if not each.kept and each.idle_since_s is None]
        held = total(each.demand for each in theirs if each.run == run and each.id not in self._leases)
        names = self._runtime.budget().exceeded_by(held + waiter.demand)
        if not names:
            return ""
        return (
            f"{waiter.demand.describe()} demanded, but fixtures of session scope hold {held.describe()}, "
            f"and {self._runtime.budget().describe(names)} allowed: allow more"
        )

    def give_up(self, index: int) -> None:
        """Take an item out of the ledger's queue, which nobody behind it could pass."""
        waiter = self._waiters.pop(index, None)
        self._positions.pop(index, None)
        if waiter is None:
            return
        self._holdings.try_release(lambda: self._runtime.ledger().withdraw(waiter))

    def release(self, ticket: Ticket) -> None:
        """Give a reservation back."""
        if ticket.lease in self._leases:
            self._leases.discard(ticket.lease)
            self._holdings.give_back(ticket.lease)

    def close(self) -> None:
        """Leave the queue and give everything back."""
        self._closed.set()
        self._asked.set()
        if self._watcher is not None and self._bell is not None:
            os.write(self._bell[1], b"!")
            # It uses the ledger, which is closed next.
            self._watcher.join()
            for fd in self._bell:
                os.close(fd)
            self._watcher = self._bell = None
        if not self._waiters and not self._leases:
            return
        ledger = self._runtime.ledger()
        # What cannot be given back is purged by whoever looks next.
        with suppress(LedgerError):
            for waiter in self._waiters.values():
                ledger.withdraw(waiter)
            for lease in self._leases:
                ledger.release(lease)
        self._waiters.clear()
        self._leases.clear()

    def _watch(self, ledger: Ledger) -> None:
        """Start the thread that wakes the queue, at the first wait."""
        if self._watcher is None:
            self._bell = os.pipe()
            self._watcher = threading.Thread(
                target=self._wait_for_room, args=(ledger, self._bell[0]), name="clnrm-gate", daemon=True
            )
            self._watcher.start()

    def _wait_for_room(self, ledger: Ledger, bell: int) -> None:
        """Wake the queue whenever the ledger may have room, until *bell* can be read."""
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
            # Asking takes the wake-up away; until then it would only be seen again and again.
            self._asked.wait(ledger.poll_s)
            if time.monotonic() >= unblocked_s + ledger.poll_s:
                # It may ask the engine: neither the controller's loop nor a hand-over should wait for that.
                with suppress(ClnrmError):
                    ledger.unblock()
                unblocked_s = time.monotonic()
