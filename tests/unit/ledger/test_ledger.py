"""Reserving, queueing, adopting, idling and purging, with several owners in one process."""

from __future__ import annotations

import os
import re
import select
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.queueing import enqueue, purge

from pytest_clnrm.errors import DemandTooLargeError, LedgerError, SlotTimeoutError
from pytest_clnrm.ledger import locks
from pytest_clnrm.ledger.folder import Folder
from pytest_clnrm.ledger.ledger import Ledger
from pytest_clnrm.ledger.snapshots import Waiting, snapshots
from pytest_clnrm.ledger.state import EngineLoad, Evicted, Lease
from pytest_clnrm.model.demand import Demand
from pytest_clnrm.util.files import write_whole

ONE = Demand(containers=1, memory_bytes=100)
TWO = Demand(containers=2, memory_bytes=200)
Open = Callable[..., Ledger]
Kill = Callable[[Ledger], None]


def held(ledger: Ledger) -> list[str]:
    """Return the ids of all leases."""
    taken = ledger.snapshot()
    assert taken is not None
    return [lease.id for lease in taken.leases]


def queue(ledger: Ledger) -> list[str]:
    """Return the labels of all waiters, in order."""
    taken = ledger.snapshot()
    assert taken is not None
    return [waiter.label for waiter in taken.waiters]


def readable(fd: int | None) -> bool:
    """Return True if a wake-up has arrived."""
    return fd is not None and bool(select.select([fd], [], [], 0)[0])


def test_free_room_is_granted_at_once(ledger: Open, clock: Any) -> None:
    """A reservation that fits does not wait, is seen by all, and leaves nothing when released."""
    one, other = ledger("a"), ledger("b")
    lease = one.reserve(TWO, priority=1, index=0, label="t::x")
    taken = other.snapshot()
    assert taken is not None
    assert [(each.id, each.label, each.owner) for each in taken.leases] == [(lease.id, "t::x", one.owner_id)]
    assert taken.used == TWO
    assert taken.budget is not None
    assert taken.budget.containers == 2
    assert other.try_reserve(ONE, priority=0, index=0) is None
    one.release(lease.id)
    assert held(other) == []
    assert clock.waits == []


def test_too_large_demand_fails_at_once(ledger: Open, clock: Any) -> None:
    """What the run's budget can never hold is an error with both numbers, in every way to ask."""
    one = ledger("a", containers=2)
    for ask in (one.reserve, one.try_reserve, one.new_waiter):
        with pytest.raises(DemandTooLargeError, match=r"3 containers demanded, 2 containers allowed"):
            ask(Demand(containers=3), priority=1, index=0)
    assert clock.waits == []


def test_waiter_is_woken_by_a_release(ledger: Open, clock: Any) -> None:
    """The release wakes the waiter: it does not wait a second time."""
    one, other = ledger("a"), ledger("b")
    lease = one.reserve(TWO, priority=1, index=0)
    clock.events.append(lambda: one.release(lease.id))
    told: list[Waiting] = []
    other.reserve(ONE, priority=1, index=0, on_wait=told.append)
    assert len(clock.waits) == 1
    assert clock.now_s == 1000.0
    assert told == [Waiting(demand=ONE, position=1, waiting_s=0.0, holdup="host's budget", used=TWO)]
    assert queue(one) == []


def test_waiting_ends_at_the_timeout(ledger: Open, clock: Any) -> None:
    """The error says how long, for what, why, and the option; the waiter is gone."""
    one, other = ledger("a"), ledger("b")
    one.reserve(TWO, priority=1, index=0)
    text = (
        "waited 2.5 s for 1 container, 100 B memory; held up by host's budget, position 1 in the queue, "
        "in use: 2 containers, 200 B memory (--clnrm-slot-timeout)"
    )
    with pytest.raises(SlotTimeoutError, match=f"^{re.escape(text)}$"):
        other.reserve(ONE, priority=1, index=0, timeout_s=2.5)
    assert queue(one) == []
    assert clock.waits == [1.0, 1.0, 0.5]
    assert not list(one._store.owners.glob(f"{other.owner_id}.*-*.fifo"))


def test_interrupt_withdraws(ledger: Open, clock: Any) -> None:
    """Ctrl-C while waiting leaves no waiter, and the next one is woken."""
    one, other, third = ledger("a", 2), ledger("b", 2), ledger("c", 2)
    one.reserve(ONE, priority=1, index=0)
    third_ticket: list[Any] = []

    def interrupt() -> None:
        third_ticket.append(enqueue(third, ONE, priority=1, index=0))
        raise KeyboardInterrupt

    clock.events.append(interrupt)
    with pytest.raises(KeyboardInterrupt):
        other.reserve(TWO, priority=1, index=0)
    assert readable(third.wakeup_fd)
    assert third.claim(third_ticket[0]) is not None


def test_interrupt_right_after_the_grant_releases(ledger: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grant that an interrupt keeps from the caller is given back."""
    one = ledger("a")
    claim = one._claim

    def interrupted(*args: Any) -> None:
        assert claim(*args) is not None
        raise KeyboardInterrupt

    monkeypatch.setattr(one, "_claim", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.reserve(ONE, priority=1, index=0)
    assert held(one) == []


def test_queued_tickets_are_claimed_in_order(ledger: Open) -> None:
    """The non-blocking way: queue up, get a wake-up, claim; the order is that of priority."""
    one, other = ledger("a"), ledger("b")
    lease = one.reserve(TWO, priority=1, index=0)
    low = enqueue(other, TWO, priority=2, index=0, label="low")
    high = enqueue(one, TWO, priority=0, index=5, label="high")
    assert queue(one) == ["high", "low"]
    assert one.claim(high) is None
    assert not readable(one.wakeup_fd)
    one.release(lease.id)
    assert readable(one.wakeup_fd)
    assert not readable(other.wakeup_fd)
    assert other.claim(low) is None
    granted = one.claim(high)
    assert granted is not None
    assert granted.id == high.id
    assert not readable(one.wakeup_fd)
    one.release(granted.id)
    assert readable(other.wakeup_fd)
    assert other.claim(low) is not None
    assert other.poll_s == 1.0


def test_withdrawn_head_wakes_the_next(ledger: Open) -> None:
    """Who leaves the queue lets the others move up."""
    one, other = ledger("a"), ledger("b")
    one.reserve(ONE, priority=1, index=0)
    head = enqueue(one, TWO, priority=0, index=0)
    next_one = enqueue(other, ONE, priority=1, index=0)
    assert other.claim(next_one) is None
    one.withdraw(head)
    assert readable(other.wakeup_fd)
    assert other.claim(next_one) is not None


def test_run_holds_no_more_than_its_own_cap(ledger: Open) -> None:
    """The cap of a run counts its processes together, and leaves the rest to others."""
    one, same_run, other = ledger("a", 1), ledger("a", 1), ledger("b", 3)
    assert one.try_reserve(ONE, priority=1, index=0) is not None
    assert enqueue(same_run, ONE, priority=0, index=0)
    assert same_run.try_reserve(ONE, priority=0, index=0) is None
    assert other.try_reserve(TWO, priority=2, index=0) is not None


def test_earlier_run_goes_first(ledger: Open) -> None:
    """The first process of a run says when it began; later ones do not change that."""
    late, early = ledger("late", started_s=50.0), ledger("early", started_s=20.0)
    again = ledger("late", started_s=10.0)
    lease = late.reserve(TWO, priority=1, index=0)
    enqueue(again, ONE, priority=1, index=0, label="late")
    enqueue(early, ONE, priority=1, index=9, label="early")
    assert queue(late) == ["early", "late"]
    late.release(lease.id)


def test_worker_adopts_the_controllers_lease(ledger: Open, kill: Kill) -> None:
    """An adopted lease is the worker's: the controller can neither release it nor take it along."""
    controller, worker = ledger("a"), ledger("a")
    granted = controller.try_reserve(TWO, priority=1, index=0)
    assert granted is not None
    worker.adopt(granted.id)
    controller.release(granted.id)
    kill(controller)
    assert purge(worker, lambda _: True) == 0
    assert held(worker) == [granted.id]
    worker.release(granted.id)
    assert held(worker) == []


def test_only_leases_of_the_run_are_adopted(ledger: Open) -> None:
    """A lease of another run, or one that is gone, is refused by its id."""
    one, other = ledger("a"), ledger("b")
    lease = one.reserve(ONE, priority=1, index=0)
    with pytest.raises(LedgerError, match=f"^the ledger holds no lease {lease.id} of this run$"):
        other.adopt(lease.id)
    with pytest.raises(LedgerError, match="the ledger holds no lease nothing of this run"):
        one.adopt("nothing")


def test_dead_owners_lease_counts_until_its_containers_are_gone(ledger: Open, kill: Kill) -> None:
    """A purge frees a dead owner's room only when told that nothing of it is left."""
    dead, living = ledger("a"), ledger("b")
    lease = dead.reserve(TWO, priority=1, index=0, label="t::x")
    owner = dead.owner_id
    kill(dead)
    waiter = enqueue(living, ONE, priority=1, index=0)
    assert purge(living, lambda _: False) == 0
    assert living.claim(waiter) is None
    asked: list[Lease] = []

    def remove(dead_lease: Lease) -> bool:
        asked.append(dead_lease)
        return True

    assert purge(living, remove) == 1
    assert asked == [lease]
    assert (lease.owner, lease.run, lease.label, lease.evicted) == (owner, "a", "t::x", ())
    assert readable(living.wakeup_fd)
    assert living.claim(waiter) is not None
    assert not list(living._store.owners.glob(f"{owner}*"))


def test_waiter_purges_what_is_in_its_way(ledger: Open, kill: Kill, clock: Any) -> None:
    """A blocked waiter looks for dead owners by itself, in bounded time."""
    removed: list[Lease] = []

    def remove(dead_lease: Lease) -> bool:
        removed.append(dead_lease)
        return True

    dead, living = ledger("a"), ledger("b", remove=remove)
    dead.reserve(TWO, priority=1, index=0)
    clock.events.append(lambda: kill(dead))
    living.reserve(TWO, priority=1, index=0)
    assert len(removed) == 1
    assert clock.waits == [1.0]


def test_next_run_purges(ledger: Open, kill: Kill) -> None:
    """Who opens a run purges what dead owners left; nothing is left of a run without owners."""
    dead = ledger("a")
    dead.reserve(TWO, priority=1, index=0)
    kill(dead)
    living = ledger("b", remove=lambda _: True)
    taken = living.snapshot()
    assert taken is not None
    assert taken.leases == ()
    assert [run.run for run in taken.runs] == ["b"]
    assert [owner.owner for owner in taken.owners] == [living.owner_id]


def test_dead_head_does_not_hold_others_up(ledger: Open, kill: Kill) -> None:
    """A waiter whose process died is dropped by whoever it would hold up."""
    dead, holder, living = ledger("a"), ledger("b"), ledger("c")
    holder.reserve(ONE, priority=1, index=0)
    enqueue(dead, TWO, priority=0, index=0)
    waiter = enqueue(living, ONE, priority=1, index=0)
    assert living.claim(waiter) is None
    kill(dead)
    assert living.claim(waiter) is not None


def test_dead_waiter_does_not_use_up_its_runs_cap(ledger: Open, kill: Kill) -> None:
    """A dead waiter is not counted before others: the next of its run is not passed over for it."""
    dead, same_run, other = ledger("a", 2), ledger("a", 2), ledger("b", 3)
    enqueue(dead, ONE, priority=0, index=0)
    second = enqueue(same_run, TWO, priority=0, index=1)
    later = enqueue(other, TWO, priority=1, index=0)
    kill(dead)
    assert other.claim(later) is None
    assert same_run.claim(second) is not None


def test_wake_up_that_nobody_hears_goes_on_to_the_next(ledger: Open, kill: Kill) -> None:
    """A release that finds the head dead wakes the one behind it, without a poll."""
    dead, holder, living = ledger("a"), ledger("b"), ledger("c")
    lease = holder.reserve(TWO, priority=1, index=0)
    enqueue(dead, TWO, priority=0, index=0)
    enqueue(living, TWO, priority=1, index=0)
    kill(dead)
    holder.release(lease.id)
    assert readable(living.wakeup_fd)
    assert len(queue(living)) == 1


def test_adopted_while_purged_is_not_freed(ledger: Open, kill: Kill) -> None:
    """A lease that a living worker adopts while a purge is at work stays."""
    controller, worker, purger = ledger("a"), ledger("a"), ledger("b")
    lease = controller.reserve(ONE, priority=1, index=0)
    kill(controller)

    def remove(_: Lease) -> bool:
        worker.adopt(lease.id)
        return True

    purge(purger, remove)
    assert held(purger) == [lease.id]


def test_close_gives_up_waiters_and_leaves_leases_to_a_purge(ledger: Open) -> None:
    """Closing with a lease in hand does not lose it: it counts as a dead owner's."""
    one, other = ledger("a"), ledger("b")
    one.reserve(TWO, priority=1, index=0)
    enqueue(one, ONE, priority=0, index=0)
    with one:
        pass
    one.close()
    assert queue(other) == []
    assert len(held(other)) == 1
    assert purge(other, lambda _: True) == 1
    with pytest.raises(LedgerError, match=r"^no run is open in the ledger$"):
        one.try_reserve(ONE, priority=1, index=0)
    with pytest.raises(LedgerError, match=r"^no run is open in the ledger$"):
        _ = one.wakeup_fd


def test_close_leaves_no_files(ledger: Open) -> None:
    """The last owner's files go with it; its run too."""
    one = ledger("a")
    one.release(one.reserve(ONE, priority=1, index=0).id)
    one.close()
    assert list(one._store.owners.iterdir()) == []
    taken = one.snapshot()
    assert taken is not None
    assert (taken.runs, taken.owners, taken.budget) == ((), (), None)


def test_second_open_is_refused(ledger: Open) -> None:
    """One ledger object is one owner."""
    one = ledger("a")
    with pytest.raises(LedgerError, match=r"^the run a is open already$"):
        one.open_run("b")


def test_what_a_lease_does_not_use_is_lent(ledger: Open) -> None:
    """A process of the run gets it as a lease of its own, past all who wait, and nothing more is held."""
    controller, worker, other = ledger("a"), ledger("a"), ledger("b")
    lease = controller.reserve(TWO, priority=1, index=0)
    enqueue(other, ONE, priority=0, index=0)
    lent = worker.lend(lease.id, TWO, ONE, label="clnrm_factory")
    assert lent is not None
    taken = worker.snapshot()
    assert taken is not None
    assert taken.used == TWO
    assert {each.id: (each.owner, each.demand) for each in taken.leases} == {
        lease.id: (controller.owner_id, ONE),
        lent.id: (worker.owner_id, ONE),
    }
    controller.release(lease.id)
    assert held(controller) == [lent.id]
    worker.release(lent.id)
    assert held(controller) == []


def test_what_is_not_enough_to_be_lent_is_given_back(ledger: Open) -> None:
    """Nobody holds what is not used while more is waited for; others are woken by it."""
    controller, worker, other = ledger("a"), ledger("a"), ledger("b")
    lease = controller.reserve(TWO, priority=1, index=0)
    waiter = enqueue(other, ONE, priority=0, index=0)
    assert worker.lend(lease.id, ONE, TWO) is None
    assert readable(other.wakeup_fd)
    assert other.claim(waiter) is not None
    assert worker.lend("unknown", TWO, ONE) is None
    stranger = other.reserve(Demand(), priority=1, index=0)
    assert worker.lend(stranger.id, TWO, ONE) is None


def test_idle_lease_is_taken_by_a_waiter(ledger: Open) -> None:
    """Marking idle wakes the waiter, who learns what it has to remove; the owner's lease is gone."""
    one, other = ledger("a"), ledger("b")
    lease = one.reserve(TWO, priority=1, index=0)
    waiter = enqueue(other, TWO, priority=1, index=0)
    one.mark_idle(lease.id, ["c1", "c2"])
    assert readable(other.wakeup_fd)
    granted = other.claim(waiter)
    assert granted is not None
    assert granted.evicted == (
        Evicted(id=lease.id, owner=one.owner_id, run="a", demand=TWO, containers=("c1", "c2")),
    )
    one.release(lease.id)
    assert held(one) == [granted.id]
    one.mark_idle(lease.id, [])
    one.keep(lease.id)
    assert held(one) == [granted.id]


def test_room_that_was_cleared_is_for_others(ledger: Open) -> None:
    """What a lease took over and does not need wakes the next waiter once it is gone, not before."""
    one = ledger("a")
    lease = one.reserve(TWO, priority=1, index=0)
    one.mark_idle(lease.id, ["c1", "c2"])
    granted = one.reserve(ONE, priority=1, index=1)
    waiter = enqueue(one, ONE, priority=1, index=2)
    assert one.claim(waiter) is None
    one.settle(granted.id)
    assert readable(one.wakeup_fd)
    assert one.claim(waiter) is not None
    one.settle(granted.id)
    one.settle("of nobody")


def test_room_that_was_never_cleared(ledger: Open) -> None:
    """The next one takes it over with the containers that are still there."""
    one = ledger("a")
    lease = one.reserve(TWO, priority=1, index=0)
    one.mark_idle(lease.id, ["c1", "c2"])
    failed = one.reserve(ONE, priority=1, index=1)
    one.leave_evicted(failed.id)
    one.leave_evicted("of nobody")
    granted = one.reserve(ONE, priority=1, index=2)
    assert [(each.id, each.demand, each.containers) for each in granted.evicted] == [
        (failed.id, TWO, ("c1", "c2"))
    ]


def test_wanted_idle_lease_is_taken_first(ledger: Open) -> None:
    """Who wants the containers of an idle lease takes its room, also where there is other room."""
    one = ledger("a")
    wanted = one.reserve(ONE, priority=1, index=0)
    one.mark_idle(wanted.id, ["c1"])
    granted = one.reserve(ONE, priority=1, index=1, takes=(wanted.id,))
    assert [each.id for each in granted.evicted] == [wanted.id]
    assert held(one) == [granted.id]


def test_wanted_lease_that_is_gone_is_not_waited_for(ledger: Open) -> None:
    """Room is room, whoever had the containers; a lease in use is nobody else's to take."""
    one = ledger("a")
    busy = one.reserve(ONE, priority=1, index=0)
    granted = one.reserve(ONE, priority=1, index=1, takes=("gone", busy.id))
    assert granted.evicted == ()
    assert sorted(held(one)) == sorted([busy.id, granted.id])


def test_idle_lease_of_another_run_is_not_wanted(ledger: Open) -> None:
    """Its containers are another run's; while there is other room nobody takes it."""
    one, other = ledger("a"), ledger("b")
    lease = one.reserve(ONE, priority=1, index=0)
    one.mark_idle(lease.id, ["c1"])
    assert other.reserve(ONE, priority=1, index=0, takes=(lease.id,)).evicted == ()


def test_what_is_being_removed_goes_first(ledger: Open) -> None:
    """A waiter takes the room of containers that go anyway before that of one that may be used again."""
    one, other = ledger("a"), ledger("b")
    kept, going = (one.reserve(ONE, priority=1, index=index) for index in range(2))
    one.mark_idle(kept.id, ["c1"])
    one.mark_idle(going.id, ["c2"], first=True)
    granted = other.reserve(ONE, priority=1, index=0)
    assert [each.id for each in granted.evicted] == [going.id]


def test_dead_evictors_lease_names_what_it_took(ledger: Open, kill: Kill) -> None:
    """If the evictor dies before it removed the containers, the purge learns of them."""
    one, other = ledger("a"), ledger("b")
    lease = one.reserve(TWO, priority=1, index=0)
    one.mark_idle(lease.id, ["c1"])
    assert other.try_reserve(TWO, priority=1, index=0) is not None
    kill(other)
    asked: list[Lease] = []
    purge(one, lambda each: asked.append(each) or True)  # type: ignore[func-returns-value]
    assert [each.evicted[0].containers for each in asked] == [("c1",)]


def test_interrupt_does_not_release_what_was_evicted(
    ledger: Open, kill: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an interrupted grant evicted is removed by the purge of that grant, not forgotten."""
    one, other = ledger("a"), ledger("b")
    one.mark_idle(one.reserve(TWO, priority=1, index=0).id, ["c1"])
    claim = other._claim

    def interrupted(*args: Any) -> None:
        assert claim(*args) is not None
        raise KeyboardInterrupt

    monkeypatch.setattr(other, "_claim", interrupted)
    with pytest.raises(KeyboardInterrupt):
        other.reserve(TWO, priority=1, index=0)
    assert len(held(one)) == 1
    kill(other)
    assert purge(one, lambda each: each.evicted[0].containers == ("c1",)) == 1


def test_foreign_containers_count_until_they_are_gone(ledger: Open, clock: Any) -> None:
    """Load of other ledgers holds a waiter up, and the waiter looks again by itself."""
    found = [EngineLoad(ledger="other", owner="x", demand=TWO)]
    one = ledger("a", engine_load=lambda: found)
    taken = one.snapshot()
    assert taken is not None
    assert (taken.foreign, taken.used) == (TWO, TWO)
    assert one.try_reserve(ONE, priority=1, index=0) is None
    clock.events.append(found.clear)
    one.reserve(TWO, priority=1, index=0)
    assert clock.waits == [1.0]


def test_unknown_owners_containers_count_and_are_purged(ledger: Open) -> None:
    """Containers with our label whose owner is not known hold room until a purge has removed them."""
    found = [EngineLoad(ledger="?", owner="gone-1", demand=TWO)]
    one = ledger("a")
    found[0] = replace(found[0], ledger=one.id)
    one._engine_load = lambda: found
    one.reconcile()
    one.reconcile()
    assert held(one) == ["stray-gone-1"]
    asked: list[str] = []
    assert purge(one, lambda each: asked.append(each.owner) or True) == 1  # type: ignore[func-returns-value]
    assert asked == ["gone-1"]
    assert held(one) == []


def test_stray_lease_goes_when_the_engine_shows_nothing(ledger: Open) -> None:
    """Strays that somebody else removed are forgotten at the next look."""
    one = ledger("a")
    one._engine_load = lambda: [EngineLoad(ledger=one.id, owner="gone-1", demand=ONE)]
    one.reconcile()
    one._engine_load = list
    one.reconcile()
    assert held(one) == []


def test_known_owners_are_not_reconciled(ledger: Open) -> None:
    """What a living owner holds is in its leases; the engine's view of it may be old."""
    one = ledger("a")
    one._engine_load = lambda: [EngineLoad(ledger=one.id, owner=one.owner_id, demand=TWO)]
    one.reconcile()
    assert held(one) == []


def test_kept_lease_outlives_its_owner(ledger: Open, kill: Kill) -> None:
    """Kept containers count, no purge asks for them, and they leave when the engine shows them no more."""
    keeper, other = ledger("a"), ledger("b")
    lease = keeper.reserve(ONE, priority=1, index=0)
    keeper.keep(lease.id)
    owner = keeper.owner_id
    kill(keeper)
    assert purge(other, lambda _: True) == 0
    other._engine_load = lambda: [EngineLoad(ledger=other.id, owner=owner, demand=ONE, kept=True)]
    other.reconcile()
    assert held(other) == [lease.id]
    other._engine_load = list
    other.reconcile()
    assert held(other) == []


def test_kept_and_other_containers_of_an_unknown_owner(ledger: Open) -> None:
    """They are two leases: the purge asks for the one, the kept one stays until its containers are gone."""
    one = ledger("a")
    kept = EngineLoad(ledger=one.id, owner="gone-1", demand=TWO, kept=True)
    one._engine_load = lambda: [EngineLoad(ledger=one.id, owner="gone-1", demand=ONE), kept]
    one.reconcile()
    one.reconcile()
    assert sorted(held(one)) == ["stray-gone-1", "stray-kept-gone-1"]
    assert purge(one, lambda dead: dead.owner == "gone-1") == 1
    one._engine_load = lambda: [kept]
    one.reconcile()
    assert held(one) == ["stray-kept-gone-1"]
    one._engine_load = list
    one.reconcile()
    assert held(one) == []


def test_living_owners_are_told(ledger: Open, kill: Kill) -> None:
    """Those of all runs that live, with their runs; not the dead, even if they still hold something."""
    one, other = ledger("a"), ledger("b")
    other.reserve(ONE, priority=1, index=0)
    assert {(each.owner, each.run) for each in one.living_owners()} == {
        (one.owner_id, "a"),
        (other.owner_id, "b"),
    }
    kill(other)
    assert [each.owner for each in one.living_owners()] == [one.owner_id]


def test_nothing_to_tend_without_waiters(ledger: Open, folder: Folder) -> None:
    """Without a waiter, or without a state, nobody is asked anything."""
    one = ledger("a")
    one._engine_load = lambda: pytest.fail("asked")
    one.unblock()
    folder.state_file("engine-1").unlink()
    one.unblock()
    assert one.snapshot() is None
    assert snapshots(folder) == ()


def test_status_reads_all_ledgers_without_owning_one(ledger: Open, folder: Folder) -> None:
    """A view from another process needs no run."""
    one = ledger("a")
    one.reserve(ONE, priority=1, index=0, label="t::x")
    (taken,) = snapshots(folder)
    assert (taken.engine, taken.ledger_id, taken.used) == ("engine-1", folder.ledger_id, ONE)


def test_forked_child_owns_nothing(ledger: Open) -> None:
    """A forked child cannot touch its parent's leases, nor does it keep its parent's lock."""
    one, other = ledger("a"), ledger("b")
    lease = one.reserve(ONE, priority=1, index=0)
    pid = os.fork()
    if pid == 0:
        try:
            one.release(lease.id)
        except LedgerError as error:
            one.close()
            os._exit(0 if f"was forked from {os.getppid()}" in str(error) else 2)
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert purge(other, lambda _: True) == 0
    assert held(other) == [lease.id]
    assert one._me.wakeup._path.exists()
    one.release(lease.id)
    assert held(other) == []


def test_what_is_put_off_is_written_with_the_next_change(
    ledger: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Giving back and reserving are one change: others see both or nothing, and whose turn it is is woken."""
    one, other = ledger("a"), ledger("b")
    lease = one.reserve(TWO, priority=1, index=0)
    waiter = enqueue(other, ONE, priority=1, index=1)
    written: list[bytes] = []

    def write(path: Path, raw: bytes, **given: Any) -> None:
        written.append(raw)
        write_whole(path, raw, **given)

    monkeypatch.setattr("pytest_clnrm.ledger.store.write_whole", write)
    with one.putting_off():
        one.mark_idle(lease.id, ["c1", "c2"])
    assert (held(other), written) == ([lease.id], [])
    granted = one.try_reserve(ONE, priority=0, index=0)
    assert granted is not None
    assert (held(other), len(written)) == ([granted.id], 1)
    assert [each.id for each in granted.evicted] == [lease.id]
    with one.putting_off():
        one.release(granted.id)
    assert not readable(other.wakeup_fd)
    one.write_put_off()
    one.write_put_off()
    assert (held(other), len(written)) == ([], 2)
    assert readable(other.wakeup_fd)
    assert other.claim(waiter) is not None


def test_who_reserves_wakes_those_for_whom_it_gave_back(ledger: Open) -> None:
    """What is left of what was put off is others', when it is written with a reservation."""
    one, other = ledger("a"), ledger("b")
    lease = one.reserve(TWO, priority=1, index=0)
    waiter = enqueue(other, ONE, priority=1, index=1)
    with one.putting_off():
        one.release(lease.id)
    assert not readable(other.wakeup_fd)
    granted = one.try_reserve(ONE, priority=0, index=0)
    assert granted is not None
    assert readable(other.wakeup_fd)
    assert other.claim(waiter) is not None


def test_what_was_put_off_is_not_lost_with_a_change_that_fails(ledger: Open) -> None:
    """It is written with one that does not; what is done outside the block is not put off."""
    one = ledger("a")
    lease = one.reserve(ONE, priority=1, index=0)
    last = one.reserve(ONE, priority=1, index=1)
    with one.putting_off():
        one.release(lease.id)
    with pytest.raises(LedgerError, match="no lease nowhere"):
        one.adopt("nowhere")
    assert held(one) == [lease.id, last.id]
    one.release(last.id)
    assert held(one) == []


def test_a_child_forked_while_the_lock_is_held_does_not_hold_it(ledger: Open, folder: Folder) -> None:
    """Not even if its parent is killed before it could give the lock back."""
    ledger("a")
    lock = folder.lock_file("engine-1")
    lives, ends = os.pipe()
    holder = os.fork()
    if holder == 0:
        with locks.hold(lock, "the ledger", report=print, report_s=5, limit_s=60):
            if os.fork() == 0:
                os.close(ends)
                os.read(lives, 1)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(holder, 0)[1]) == -signal.SIGKILL
    with locks.hold(lock, "the ledger", report=print, report_s=5, limit_s=5):
        assert lock.read_bytes().split() == [str(os.getpid()).encode()]
    os.close(ends)
    os.close(lives)
