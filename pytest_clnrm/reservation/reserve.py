"""Reserving in the process that runs the item, and for containers of fixtures.

Under our scheduler the controller reserves before it sends an item (:mod:`pytest_clnrm.reservation.gate`);
elsewhere the process that runs the item does (:func:`reserving`). An engine that cannot be used is no reason
to wait: the item is let through and fails with the engine's own message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_clnrm.errors import (
    DemandTooLargeError,
    EngineError,
    EngineUnavailableError,
    ReservationError,
)
from pytest_clnrm.model.demand import NOTHING, Demand, Group, Share
from pytest_clnrm.model.priority import Priority
from pytest_clnrm.scheduling.tickets import Ticket

if TYPE_CHECKING:
    from pytest_clnrm.ledger.ledger import Ledger
    from pytest_clnrm.ledger.snapshots import Waiting
    from pytest_clnrm.ledger.state import Lease
    from pytest_clnrm.model.limits import Limits
    from pytest_clnrm.runtime.holdings import Current, Holdings
    from pytest_clnrm.runtime.runtime import Runtime

ALONE = "give these fixtures a narrower scope, or run it apart from their tests"
"""What to do about containers of fixtures that stay, beside which an exclusive scenario never runs."""

WITHOUT_LEASE = ""
"""The lease of an item that is let through without one."""


@contextmanager
def reserving(
    runtime: Runtime,
    demand: Demand,
    *,
    priority: int,
    index: int,
    label: str,
    specification: str | None = None,
    free: Callable[[], None] = lambda: None,
) -> Iterator[Ticket]:
    """Wait for a reservation in this process, and give it back at the end.

    :param specification: of its containers; idle ones of the same are used again.
    :param free: called when it has to wait while fixtures of this process hold something; ends those that may
        be ended.
    :raises ReservationError: if it will never be granted.
    """
    asked_s = time.monotonic()
    with as_reservation_errors():
        ledger = usable_ledger(runtime)
        if ledger is not None:
            wanted = runtime.holdings.idle.wanted(runtime.worker, specification)
            lease, position = _reserve(
                runtime,
                ledger,
                demand,
                priority=priority,
                index=index,
                label=label,
                takes=wanted,
                free=free,
            )
    if ledger is None:
        yield Ticket(lease=WITHOUT_LEASE)
        return
    try:
        yield ticket_for(runtime.holdings, lease, wanted, asked_s, position)
    finally:
        runtime.holdings.give_back(lease.id)


def ticket_for(
    holdings: Holdings, lease: Lease, wanted: tuple[str, ...], asked_s: float, position: int
) -> Ticket:
    """Return what the process that runs an item has to know of its lease.

    :param wanted: ids of the idle leases whose containers it could use.
    :param asked_s: when it was asked for, by the monotonic clock.
    :param position: the place in the queue where it began to wait, 0 if it did not.
    """
    taken = holdings.idle.taken_by(lease, wanted)
    waited_s = time.monotonic() - asked_s
    return Ticket(lease.id, waited_s, reuse=taken.reuse, remove=taken.remove, position=position)


@contextmanager
def as_reservation_errors() -> Iterator[None]:
    """Turn an error of the engine into one of the reservation, which fails this item alone."""
    try:
        yield
    except EngineError as error:
        raise ReservationError(str(error)) from error


def usable_ledger(runtime: Runtime) -> Ledger | None:
    """Return the ledger, None if no engine can be used, after giving back what is owed.

    :raises EngineError: if the engine does not tell what runs on it.
    :raises LedgerError: if the ledger cannot be used.
    """
    try:
        ledger = runtime.ledger()
    except EngineUnavailableError:
        return None
    runtime.holdings.pay()
    return ledger


def _reserve(
    runtime: Runtime,
    ledger: Ledger,
    demand: Demand,
    *,
    priority: int,
    index: int,
    label: str,
    takes: tuple[str, ...] = (),
    free: Callable[[], None] | None = None,
) -> tuple[Lease, int]:
    """Wait for a reservation, show that, and return it with the place in the queue where it began to wait.

    :param free: ends fixtures of this process that hold something, if the reservation does not come at once.
    :raises DemandTooLargeError: if what those hold that stay leaves too little for it.
    """
    places: list[int] = []

    def note(waiting: Waiting) -> None:
        places.append(waiting.position)
        _note_wait(runtime, waiting)

    with runtime.board.during("slot"):
        if free is not None and runtime.holdings.of_fixtures() != NOTHING:
            at_once = ledger.try_reserve(demand, priority=priority, index=index, label=label, takes=takes)
            if at_once is not None:
                return at_once, 0
            free()
            _check_beside(runtime, NOTHING, demand)
        lease = ledger.reserve(
            demand,
            priority=priority,
            index=index,
            label=label,
            takes=takes,
            timeout_s=runtime.settings.slot_timeout_s,
            on_wait=note,
        )
    return lease, places[0] if places else 0


def _check_beside(runtime: Runtime, own: Demand, demand: Demand) -> None:
    """Check that *demand* fits beside what fixtures of this process hold, and a test.

    :param own: what the test that runs holds for good.
    :raises DemandTooLargeError: if it does not, with who holds the rest and what to do.
    """
    from pytest_clnrm.ledger.budget import check_possible

    used = runtime.holdings.of_fixtures() + own
    if not runtime.holdings.groups().isdisjoint(each.name for each in demand.groups):
        raise DemandTooLargeError(
            "it uses what this test uses already, and whose users take turns: end that first, or leave one "
            "of the two uses out"
        )
    if demand.exclusive and used != NOTHING:
        names = ", ".join(map(repr, runtime.holdings.fixtures_containers()))
        raise DemandTooLargeError(f"it is exclusive, but fixtures hold containers ({names}): {ALONE}")
    try:
        check_possible(used + demand, runtime.budget(), runtime.engine().facts.cap)
    except DemandTooLargeError as error:
        if used == NOTHING:
            raise
        names = ", ".join(map(repr, runtime.holdings.fixtures_containers()))
        holders = [
            *(["this test"] if own != NOTHING else []),
            *([f"containers of fixtures ({names})"] if names else []),
        ]
        remedy = "allow more" + (", or give these fixtures a narrower scope" if names else "")
        raise DemandTooLargeError(
            f"{error}; {used.describe()} of it is held by {' and '.join(holders)} until they end: {remedy}"
        ) from None


def _note_wait(runtime: Runtime, waiting: Waiting) -> None:
    why = f"held up by {waiting.holdup}" if waiting.holdup else "next"
    runtime.board.at("slot", f"{waiting.demand.describe()} (place {waiting.position}, {why})")


def demand_of_one(runtime: Runtime, limits: Limits) -> Demand:
    """Return what one container of a Python test demands."""
    settings = runtime.settings
    return Demand(
        containers=1,
        memory_bytes=settings.memory_bytes if limits.memory_bytes is None else limits.memory_bytes,
        cpus=settings.cpus if limits.cpus is None else limits.cpus,
        gpus=limits.gpus or 0,
    )


@contextmanager
def _held(
    runtime: Runtime, lease: Lease, noted: AbstractContextManager[None] | None = None
) -> Iterator[None]:
    """Remove the idle containers that a lease has taken over, and give it back at the end.

    :param noted: within which what it is for is known to others of this process.
    """
    try:
        with noted or nullcontext():
            taken = runtime.holdings.idle.taken_by(lease, ())
            if taken.remove:
                runtime.shelf().remove(taken.remove)
                runtime.holdings.idle.cleared(lease.id)
            yield
    finally:
        runtime.holdings.give_back(lease.id)


def reserving_for_fixture(runtime: Runtime, limits: Limits, name: str) -> AbstractContextManager[str]:
    """Wait for a reservation of one container, as :func:`reserving_beside` does."""
    return reserving_beside(runtime, demand_of_one(runtime, limits), name)


@contextmanager
def reserving_beside(runtime: Runtime, demand: Demand, name: str) -> Iterator[str]:
    """Wait for a reservation beside that of the item that runs, and give it back.

    Yields the lease's id.

    This process gives nothing back that it uses while it waits, so both have to fit into the budget. What the
    item has reserved and does not use is lent: otherwise two processes could wait for what each of them holds
    and neither uses.

    :param name: of what is to run, for messages.
    :raises ReservationError: if it will never be granted.
    :raises EngineError: if no engine can be used, or it does not tell what runs on it.
    """
    ledger = usable_ledger(runtime) or runtime.ledger()
    current = runtime.holdings.current()
    allowance = current.allowance if current else None
    _check_beside(runtime, allowance.used() if allowance else NOTHING, demand.whole)
    lease = _reserve_more(runtime, ledger, demand, current)
    with _held(runtime, lease, runtime.holdings.holding(name, demand)):
        yield lease.id


@contextmanager
def using_shared(runtime: Runtime, share: Share, turn: Group | None = None) -> Iterator[str]:
    """Use a shared container; wait for its room if the run does not have it yet. Yields the lease's id.

    As for a fixture's container, what the item that runs has reserved and does not use is given back first.

    :param turn: of those who use it one at a time.
    :raises ReservationError: if it will never be granted.
    :raises EngineError: if no engine can be used, or it does not tell what runs on it.
    """
    from pytest_clnrm.ledger.policy import OF_FIXTURE

    ledger = usable_ledger(runtime) or runtime.ledger()
    current = runtime.holdings.current()
    priority = current.priority if current else Priority.parse(runtime.settings.priority)
    index = current.index if current else 0
    demand = Demand(shares=(share,), groups=(turn,) if turn else ())
    if turn and current and current.allowance and current.allowance.used() != NOTHING:
        # Who has the turn may wait for the room of what this one holds.
        raise ReservationError(
            f"its tests use the shared container {share.name!r} one at a time, as it is reset between them: "
            "ask for it before this test begins containers of its own"
        )
    lease = ledger.try_reserve(demand, priority=priority, index=index, label=OF_FIXTURE)
    if lease is None:
        allowance = current.allowance if current else None
        _give_up_unused(ledger, current)
        _check_beside(runtime, allowance.used() if allowance else NOTHING, demand.whole)
        lease, _ = _reserve(runtime, ledger, demand, priority=priority, index=index, label=OF_FIXTURE)
    held = replace(share.demand, groups=demand.groups)
    with _held(runtime, lease, runtime.holdings.holding(share.name, held)):
        yield lease.id


@contextmanager
def reserving_instead(runtime: Runtime, own: Demand, demand: Demand) -> Iterator[str]:
    """Wait for a reservation in place of that of the item that runs, and give it back; yields the lease's id.

    All amounts of the item's own are given up first: nothing is held that others may wait for.

    :param own: the amounts of the item's own reservation, of which no container is left.
    :raises ReservationError: if it will never be granted.
    """
    current = runtime.holdings.current()
    ledger = usable_ledger(runtime)
    if ledger is None or current is None or not current.lease:
        yield WITHOUT_LEASE
        return
    _check_beside(runtime, NOTHING, demand)
    lease = ledger.lend(current.lease, own, demand)
    if lease is None:
        with as_reservation_errors():
            lease, _ = _reserve(
                runtime, ledger, demand, priority=current.priority, index=current.index, label=""
            )
    with _held(runtime, lease):
        yield lease.id


def _give_up_unused(ledger: Ledger, current: Current | None) -> None:
    """Give back what the item that runs has reserved and does not use."""
    allowance = current.allowance if current else None
    if current is not None and allowance is not None and (unused := allowance.unused()) != NOTHING:
        ledger.give_up(current.lease, unused)
        allowance.lend(unused)


def _reserve_more(runtime: Runtime, ledger: Ledger, demand: Demand, current: Current | None) -> Lease:
    """Return a lease: at once if there is one, or out of what the item that runs does not use; else wait."""
    from pytest_clnrm.ledger.policy import OF_FIXTURE

    priority = current.priority if current else Priority.parse(runtime.settings.priority)
    index = current.index if current else 0
    lease = ledger.try_reserve(demand, priority=priority, index=index, label=OF_FIXTURE)
    if lease is None and demand.shares:
        # What it shares belongs to the run: that is no part of what the item has.
        _give_up_unused(ledger, current)
    elif lease is None and current is not None and current.lease and current.allowance is not None:
        unused = current.allowance.unused()
        if unused != NOTHING:
            lease = ledger.lend(current.lease, unused, demand, label=OF_FIXTURE)
            current.allowance.lend(unused if lease is None else demand)
    if lease is None:
        lease, _ = _reserve(runtime, ledger, demand, priority=priority, index=index, label=OF_FIXTURE)
    return lease
