"""The controller's gate and reservations in a process, on a real ledger, without an engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import (
    DemandTooLargeError,
    EngineError,
    EngineUnavailableError,
    LedgerError,
    ReservationError,
    SlotTimeoutError,
)
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.ledger.folder import open_folder
from pytest_clnrm.ledger.ledger import Ledger
from pytest_clnrm.model.demand import Demand
from pytest_clnrm.pool.idle_leases import Leftover
from pytest_clnrm.reservation import reserve
from pytest_clnrm.reservation.gate import LedgerGate
from pytest_clnrm.reservation.reserve import WITHOUT_LEASE, reserving
from pytest_clnrm.runtime.holdings import Holdings
from pytest_clnrm.scheduling.tickets import Ticket

ONE = Demand(containers=1, memory_bytes=1, cpus=1.0)
DATA = ONE.to_data()


class Parts:
    """What is used of a runtime; ``fails`` is raised in place of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.fails: Exception | None = None
        self.worker = "gw0"
        self.holdings = Holdings(self.ledger)
        self.settings = SimpleNamespace(slot_timeout_s=None)
        self.board = SimpleNamespace(during=lambda _what: nullcontext(), at=lambda *_: None)

    def ledger(self) -> Ledger:
        if self.fails is not None:
            raise self.fails
        return self._ledger


def give_back(gate: LedgerGate, ticket: Ticket) -> None:
    """Give a reservation back as the scheduling does when it does not ask for another one."""
    gate.release(ticket)
    gate.settle()


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Any]:
    """Return the parts of a process whose run may hold one container."""
    ledger = Ledger(open_folder(tmp_path, {}), "engine", Budget(containers=1, memory_bytes=10))
    with ledger:
        ledger.open_run("run")
        yield Parts(ledger)


@pytest.fixture
def gate(parts: Any) -> Iterator[LedgerGate]:
    """Return a gate that wakes nobody."""
    gate = LedgerGate(parts, lambda: None)
    yield gate
    gate.close()


def break_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let a call of the ledger fail, the next time."""
    works = getattr(Ledger, name)
    failures = iter([LedgerError("no space left")])

    def fails(*args: Any) -> Any:
        for failure in failures:
            raise failure
        return works(*args)

    monkeypatch.setattr(Ledger, name, fails)


def waiters(parts: Any) -> int:
    """Return how many wait in the ledger."""
    snapshot = parts.ledger().snapshot()
    return 0 if snapshot is None else len(snapshot.waiters)


def test_one_at_a_time(gate: LedgerGate) -> None:
    """The second item waits until the first has given back."""
    first = gate.try_reserve(0, 1, DATA)
    assert first is not None
    assert gate.try_reserve(1, 1, DATA) is None
    give_back(gate, first)
    second = gate.try_reserve(1, 1, DATA)
    assert second is not None
    assert (first.position, second.position) == (0, 1)


def test_the_place_at_which_a_wait_begins(
    gate: LedgerGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reserves for itself learns its place among all waiters; who need not wait has none."""
    first = gate.try_reserve(0, 1, DATA)
    assert first is not None
    assert gate.try_reserve(1, 0, DATA) is None
    freed: list[object] = []

    def free(*_: object) -> None:
        if not freed:
            give_back(gate, first)
            freed.append(gate.try_reserve(1, 0, DATA))
            give_back(gate, freed[0])  # type: ignore[arg-type]

    monkeypatch.setattr(reserve, "_note_wait", free)
    with Ledger(open_folder(tmp_path, {}), "engine", Budget(containers=1, memory_bytes=10)) as ledger:
        ledger.open_run("run")
        parts: Any = Parts(ledger)
        with reserving(parts, ONE, priority=1, index=5, label="other") as ticket:
            assert ticket.position == 2
        with reserving(parts, ONE, priority=1, index=6, label="other") as ticket:
            assert ticket.position == 0


def test_wakes_the_queue_when_there_is_room(parts: Any) -> None:
    """A release by another part of the host wakes the queue."""
    woken = threading.Event()
    gate = LedgerGate(parts, woken.set)
    with reserving(parts, ONE, priority=1, index=5, label="other"):
        assert gate.try_reserve(0, 1, DATA) is None
    assert woken.wait(30)
    assert gate.try_reserve(0, 1, DATA) is not None
    gate.close()


def test_giving_back_and_reserving_are_one_change(parts: Any, gate: LedgerGate, tmp_path: Path) -> None:
    """Others see neither a moment between both, nor that nothing is given back before it is settled."""
    first = gate.try_reserve(0, 1, DATA)
    assert first is not None
    (state,) = tmp_path.glob("*.json")
    before = state.read_bytes()
    gate.release(first)
    assert state.read_bytes() == before
    second = gate.try_reserve(1, 1, DATA)
    assert second is not None
    assert [each.id for each in parts.ledger().snapshot().leases] == [second.lease]
    gate.release(second)
    gate.settle()
    assert parts.ledger().snapshot().leases == ()


def test_a_failed_release_is_made_up_for(
    parts: Any, gate: LedgerGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be given back is given back before the next question."""
    first = gate.try_reserve(0, 1, DATA)
    assert first is not None
    break_once(monkeypatch, "release")
    give_back(gate, first)
    assert len(parts.holdings._owed) == 1
    assert gate.try_reserve(1, 1, DATA) is not None
    assert parts.holdings._owed == []


def test_a_refused_item_leaves_the_queue(
    parts: Any, gate: LedgerGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An item that was refused for a fault of the ledger is nobody's head; if need be that is made up for."""
    first = gate.try_reserve(0, 1, DATA)
    assert gate.try_reserve(1, 1, DATA) is None
    assert waiters(parts) == 1
    break_once(monkeypatch, "claim")
    break_once(monkeypatch, "withdraw")
    with pytest.raises(LedgerError, match="no space left"):
        gate.try_reserve(1, 1, DATA)
    assert waiters(parts) == 1
    assert first is not None
    give_back(gate, first)
    assert gate.try_reserve(2, 1, DATA) is not None
    assert waiters(parts) == 0


def test_too_much_is_refused_at_once(gate: LedgerGate) -> None:
    """More than the budget is an error of the item."""
    with pytest.raises(DemandTooLargeError, match="2 containers demanded, 1 container allowed"):
        gate.try_reserve(0, 1, {**DATA, "containers": 2})


def test_the_slot_timeout_says_what_holds_it_up(parts: Any, gate: LedgerGate) -> None:
    """A wait that takes too long is refused, with what it waited for, and leaves the queue."""
    assert gate.try_reserve(0, 1, DATA) is not None
    parts.settings.slot_timeout_s = 0.0
    with pytest.raises(
        SlotTimeoutError, match=r"1 container.*held up by host's budget, position 1.*slot-timeout"
    ):
        gate.try_reserve(1, 1, DATA)
    assert waiters(parts) == 0


def test_the_queue_is_woken_when_time_is_over(parts: Any) -> None:
    """The gate has itself asked again as soon as the slot timeout is over."""
    woken = threading.Event()
    gate = LedgerGate(parts, woken.set)
    parts.settings.slot_timeout_s = 0.05
    assert gate.try_reserve(0, 1, DATA) is not None
    refused = False
    while not refused:
        try:
            assert gate.try_reserve(1, 1, DATA) is None
        except SlotTimeoutError:
            refused = True
        else:
            assert woken.wait(30)
            woken.clear()
    gate.close()


def test_without_an_engine_items_go_through(parts: Any, gate: LedgerGate) -> None:
    """Without an engine an item is let through, to fail with the engine's own message."""
    parts.fails = EngineUnavailableError("no engine")
    ticket = gate.try_reserve(0, 1, DATA)
    assert ticket is not None
    assert ticket.lease == WITHOUT_LEASE
    give_back(gate, ticket)
    with reserving(parts, ONE, priority=1, index=0, label="x") as ticket:
        assert ticket.lease == WITHOUT_LEASE


def test_an_engine_that_fails_is_an_error_of_the_item(parts: Any, gate: LedgerGate) -> None:
    """An engine that does not tell what runs on it is an error of each item, in both places."""
    parts.fails = EngineError("it does not answer")
    with pytest.raises(ReservationError, match="it does not answer"):
        gate.try_reserve(0, 1, DATA)
    with (
        pytest.raises(ReservationError, match="it does not answer"),
        reserving(parts, ONE, priority=1, index=0, label="x"),
    ):
        pytest.fail("it was let through")


def test_an_engines_error_of_the_item_itself_stays(parts: Any) -> None:
    """What goes wrong while the reservation is held is not made an error of the reservation."""
    with pytest.raises(EngineError, match="own"), reserving(parts, ONE, priority=1, index=0, label="x"):
        raise EngineError("own")


def test_a_reservation_that_could_not_be_given_back(parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process gives back what it owes before it waits again: else it would wait for itself."""
    with reserving(parts, ONE, priority=1, index=0, label="x"):
        break_once(monkeypatch, "release")
    with reserving(parts, ONE, priority=1, index=1, label="y") as ticket:
        assert ticket.lease


def test_kept_reservations_count_on(parts: Any, gate: LedgerGate) -> None:
    """The reservation of kept containers is not given back, and who finds no room beside it fails."""
    first = gate.try_reserve(0, 1, DATA)
    assert first is not None
    parts.holdings.keep(first.lease)
    give_back(gate, first)
    with pytest.raises(DemandTooLargeError, match="1 container held by what --clnrm-keep left"):
        gate.try_reserve(1, 1, DATA)
    assert waiters(parts) == 0


def test_closing_gives_everything_back(parts: Any) -> None:
    """At the end nothing is held, and nothing waits."""
    gate = LedgerGate(parts, lambda: None)
    assert gate.try_reserve(0, 1, DATA) is not None
    assert gate.try_reserve(1, 1, DATA) is None
    gate.close()
    snapshot = parts.ledger().snapshot()
    assert (snapshot.waiters, snapshot.leases) == ((), ())


def leave(parts: Any, lease: str, specification: str = "spec", worker: str = "gw0") -> None:
    """Let an item's report say that its container c1 is left."""
    leftover = Leftover(lease=lease, worker=worker, specification=specification, containers=("c1",))
    parts.holdings.leave(Leftover.from_data(leftover.to_data()))


def test_idle_containers_go_to_the_next_of_the_same_specification(parts: Any, gate: LedgerGate) -> None:
    """The next item on that worker takes the room and is told to use the containers."""
    first = gate.try_reserve(0, 1, DATA, worker="gw0", specification="spec")
    assert first is not None
    assert (first.reuse, first.remove) == ((), ())
    leave(parts, first.lease)
    give_back(gate, first)
    assert gate.serves("gw0", "spec")
    assert not gate.serves("gw1", "spec")
    assert not gate.serves("gw0", "other")
    assert not gate.serves("gw0", None)
    second = gate.try_reserve(1, 1, DATA, worker="gw0", specification="spec")
    assert second is not None
    assert (second.reuse, second.remove) == ((first.lease,), ())
    assert not gate.serves("gw0", "spec")


@pytest.mark.parametrize(("worker", "specification"), [("gw1", "spec"), ("gw0", "other"), ("gw0", None)])
def test_idle_containers_give_way(
    parts: Any, gate: LedgerGate, worker: str, specification: str | None
) -> None:
    """An item that cannot use them takes their room at once, and is told to remove them first."""
    first = gate.try_reserve(0, 1, DATA, worker="gw0", specification="spec")
    assert first is not None
    leave(parts, first.lease)
    give_back(gate, first)
    second = gate.try_reserve(1, 1, DATA, worker=worker, specification=specification)
    assert second is not None
    assert (second.reuse, second.remove) == ((), ("c1",))


def test_room_that_was_never_cleared_counts_on(parts: Any, gate: LedgerGate) -> None:
    """An item whose reservation took idle containers' room, and that died before it removed them."""
    first = gate.try_reserve(0, 1, DATA)
    assert first is not None
    leave(parts, first.lease)
    give_back(gate, first)
    second = gate.try_reserve(1, 1, DATA)
    assert second is not None
    give_back(gate, second)
    third = gate.try_reserve(2, 1, DATA)
    assert third is not None
    assert (second.remove, third.remove) == (("c1",), ("c1",))
    parts.holdings.idle.cleared(third.lease)
    give_back(gate, third)
    fourth = gate.try_reserve(3, 1, DATA)
    assert fourth is not None
    assert fourth.remove == ()


def test_containers_that_are_being_removed_serve_nobody(parts: Any, gate: LedgerGate) -> None:
    """Their room can be taken before they are gone, by one who sees to that."""
    first = gate.try_reserve(0, 1, DATA, worker="gw0", specification="spec")
    assert first is not None
    leave(parts, first.lease, specification="")
    give_back(gate, first)
    assert not gate.serves("gw0", "spec")
    assert not gate.serves("gw0", "")
    second = gate.try_reserve(1, 1, DATA, worker="gw0", specification="spec")
    assert second is not None
    assert (second.reuse, second.remove) == ((), ("c1",))


def test_idle_containers_that_another_run_took(parts: Any, gate: LedgerGate, tmp_path: Path) -> None:
    """They are not used, and the item waits for its turn as any other."""
    first = gate.try_reserve(0, 1, DATA, worker="gw0", specification="spec")
    assert first is not None
    leave(parts, first.lease)
    give_back(gate, first)
    with Ledger(open_folder(tmp_path, {}), "engine", Budget(containers=1, memory_bytes=10)) as other:
        other.open_run("other")
        lease = other.try_reserve(Demand(containers=1), priority=0, index=0)
        assert lease is not None
        assert [each.containers for each in lease.evicted] == [("c1",)]
        assert gate.try_reserve(1, 1, DATA, worker="gw0", specification="spec") is None
        other.release(lease.id)
    second = gate.try_reserve(1, 1, DATA, worker="gw0", specification="spec")
    assert second is not None
    assert (second.reuse, second.remove) == ((), ())
    assert not gate.serves("gw0", "spec")


def test_idle_leases_of_a_worker_that_ended_are_given_back(parts: Any, gate: LedgerGate) -> None:
    """Its containers are gone with it."""
    first = gate.try_reserve(0, 1, DATA, worker="gw0", specification="spec")
    assert first is not None
    leave(parts, first.lease)
    give_back(gate, first)
    parts.holdings.idle.forget_worker("gw1")
    assert gate.serves("gw0", "spec")
    parts.holdings.idle.forget_worker("gw0")
    snapshot = parts.ledger().snapshot()
    assert snapshot is not None
    assert snapshot.leases == ()


def test_a_process_uses_its_own_idle_containers(parts: Any) -> None:
    """Without a controller the same process leaves them and takes them."""
    with reserving(parts, ONE, priority=1, index=0, label="a", specification="spec") as first:
        leave(parts, first.lease)
    with reserving(parts, ONE, priority=1, index=1, label="b", specification="spec") as second:
        assert second.reuse == (first.lease,)
    parts.holdings.idle.close()
    with reserving(parts, ONE, priority=1, index=2, label="c", specification="spec") as third:
        assert (third.reuse, third.remove) == ((), ())
