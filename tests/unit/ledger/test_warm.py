"""Shared containers that outlive their run: never nobody's, never two runs', and first to give way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from clnrm_testing.queueing import purge

from pytest_clnrm.ledger import shared, warm
from pytest_clnrm.ledger.ledger import Ledger
from pytest_clnrm.ledger.state import Lease, OwnerEntry, RunEntry, State
from pytest_clnrm.model.demand import Demand, Share

DB = Share(key="db1", name="db", memory_bytes=50)
USER = Demand(containers=1, memory_bytes=10, shares=(DB,))
Open = Callable[..., Ledger]
Kill = Callable[[Ledger], None]


def use(ledger: Ledger) -> Lease:
    """Use the shared container, and return its lease once nobody does."""
    user = ledger.try_reserve(USER, priority=1, index=0)
    assert user is not None
    (db,) = ledger.shared(user.id).values()
    ledger.release(user.id)
    return db


def keeper_of(ledger: Open, run: str = "a", project: str = "p") -> Ledger:
    """Return a keeper of what a run has left; that run is over."""
    keeper = ledger(run, containers=0)
    keeper.begin_keeping(project, 60.0)
    return keeper


def noting(removed: list[Lease]) -> Callable[[Lease], bool]:
    """Return what removes the containers of a dead lease, and notes it."""

    def remove(dead: Lease) -> bool:
        removed.append(dead)
        return True

    return remove


def kept(ledger: Ledger) -> list[Lease]:
    """Return all shared containers of whomever."""
    taken = ledger.snapshot()
    assert taken is not None
    return [each for each in taken.leases if each.key]


def take(ledger: Open, run: str, project: str = "p") -> tuple[Ledger, tuple[Lease, ...]]:
    """Return a run that takes over what is kept, and that."""
    one = ledger(run, containers=4)
    origins = warm.origins_of(one.kept_for(project))
    for each in origins:
        ledger(each, containers=0)
    return one, one.take_kept(project, origins)


def test_the_next_run_has_it(ledger: Open, kill: Kill) -> None:
    """It is the same lease, which counts for the next run; what dies with its keeper before does not."""
    first = ledger("a", containers=4)
    db = use(first)
    keeper = keeper_of(ledger)
    first.close()
    assert keeper.has_shared()
    assert [each.id for each in keeper.idle_shared()] == [db.id]
    second, taken = take(ledger, "b")
    assert [(each.id, each.run, each.owner) for each in taken] == [(db.id, "b", db.owner)]
    assert not keeper.has_shared()
    assert keeper.is_used(db.owner)
    kill(keeper)
    removed: list[Lease] = []
    other = ledger("c", containers=4)
    purge(other, noting(removed))
    assert removed == [], "the next run is an owner of the first one too"
    assert use(second).id == db.id


def test_one_run_takes_it(ledger: Open) -> None:
    """The other one starts its own; who comes after both has one, and the other is removed."""
    first = ledger("a", containers=4)
    db = use(first)
    keeper_of(ledger)
    first.close()
    second, taken = take(ledger, "b")
    third, nothing = take(ledger, "c")
    assert [each.id for each in taken] == [db.id]
    assert nothing == ()
    own = use(third)
    assert own.id != db.id
    keeper_of(ledger, "b")
    keeper_of(ledger, "c")
    second.close()
    third.close()
    _, both = take(ledger, "d")
    assert sorted(each.id for each in both) == sorted([db.id, own.id])
    assert sorted(each.key for each in both) == ["", "db1"]
    (double,) = (each for each in both if not each.key)
    assert [each.id for each in double.evicted] == [double.id]


def test_it_is_another_projects(ledger: Open) -> None:
    """Only the same project takes it; and nothing is kept by a run that is not over."""
    first = ledger("a", containers=4)
    use(first)
    assert first.kept_for() == ()
    keeper_of(ledger, project="p")
    assert take(ledger, "b", "q")[1] == ()


def test_a_dead_keeper_keeps_nothing(ledger: Open, kill: Kill) -> None:
    """Nobody takes over what it had: it is a dead owner's, and purged."""
    first = ledger("a", containers=4)
    db = use(first)
    keeper = keeper_of(ledger)
    first.close()
    kill(keeper)
    second, taken = take(ledger, "b")
    assert taken == ()
    removed: list[Lease] = []
    purge(second, noting(removed))
    assert [each.owner for each in removed] == [db.owner] == [shared.run_owner("a")]


def test_whoever_waits_takes_its_room(ledger: Open) -> None:
    """It counts in the budget of the host, gives way at once, and its run's budget is nobody's any more."""
    first = ledger("a", containers=4)
    db = use(first)
    keeper = keeper_of(ledger)
    first.close()
    other = ledger("b", containers=1)
    lease = other.try_reserve(Demand(containers=1), priority=1, index=0)
    assert lease is not None
    assert [each.containers for each in lease.evicted] == [db.containers]
    assert not keeper.has_shared()
    assert other.try_reserve(Demand(containers=1), priority=1, index=1) is None


def test_it_is_taken_over_to_be_removed(ledger: Open, kill: Kill) -> None:
    """Only once nobody has used it for long enough; if who does that dies, it is removed by who purges."""
    first = ledger("a", containers=4)
    user = first.try_reserve(USER, priority=1, index=0)
    assert user is not None
    (db,) = first.shared(user.id).values()
    assert first.take_over(db.id) is None, "it is in use"
    first.release(user.id)
    keeper = keeper_of(ledger)
    assert keeper.take_over(db.id, unused_for_s=60.0) is None
    taken = keeper.take_over(db.id)
    assert taken is not None
    assert kept(keeper) == []
    assert [each.containers for each in taken.evicted] == [db.containers]
    kill(keeper)
    removed: list[Lease] = []
    purge(first, noting(removed))
    assert [each.containers for dead in removed for each in dead.evicted] == [db.containers]


def test_records(tmp_path: Path) -> None:
    """The ids of what a run has started; a damaged record is about nothing."""
    (tmp_path / "shared-a-k1.json").write_text('{"id": "c1", "network": ["n1", "net"]}', "utf-8")
    (tmp_path / "shared-a-k2.json").write_text("{", "utf-8")
    (tmp_path / "shared-a-k3.json").write_text('{"id": "c3", "network": []}', "utf-8")
    (tmp_path / "shared-ab-k4.json").write_text('{"id": "c4", "network": []}', "utf-8")
    assert warm.recorded_ids(tmp_path, "a") == {"c1", "n1", "c3"}


def test_records_of_nothing_are_removed(tmp_path: Path, ledger: Open) -> None:
    """What a killed keeper leaves written down goes once its lease has."""
    db = use(ledger("a", containers=4))
    (tmp_path / "shared-gone-k1.json").write_text("{}", "utf-8")
    warm.record_file(tmp_path, db.id).write_text("{}", "utf-8")
    warm.forget_records(tmp_path, [db])
    assert [each.name for each in tmp_path.glob("*.json")] == [f"{db.id}.json"]


def idle_container(ledger: Ledger) -> Lease:
    """Return the lease of an idle container that is the run's own from now on."""
    lease = ledger.try_reserve(Demand(containers=1), priority=1, index=0)
    assert lease is not None
    ledger.mark_idle(lease.id, ["c1"])
    ledger.hand_to_run(lease.id, "shared-a-1", owner=shared.run_owner("a"), label="idle container box")
    return next(each for each in kept(ledger) if each.id == "shared-a-1")


def test_an_idle_container_outlives_its_run(ledger: Open) -> None:
    """The next run has its lease, and an item of it that wants it takes it over."""
    first = ledger("a", containers=4)
    lease = idle_container(first)
    assert (lease.id, lease.owner, lease.containers) == ("shared-a-1", "shared-a", ("c1",))
    assert not shared.is_service(lease)
    keeper = keeper_of(ledger)
    first.close()
    assert [each.id for each in keeper.idle_shared()] == [lease.id]
    second, taken = take(ledger, "b")
    assert [(each.id, each.run) for each in taken] == [(lease.id, "b")]
    user = second.try_reserve(Demand(containers=1), priority=1, index=0, takes=(lease.id,))
    assert user is not None
    assert [(each.id, each.containers) for each in user.evicted] == [(lease.id, ("c1",))]


def test_a_lease_in_use_is_not_handed_to_its_run(ledger: Open) -> None:
    """Somebody has taken it over meanwhile."""
    first = ledger("a", containers=4)
    lease = first.try_reserve(Demand(containers=1), priority=1, index=0)
    assert lease is not None
    first.hand_to_run(lease.id, "shared-a-1", owner=shared.run_owner("a"), label="x")
    assert kept(first) == []


def test_idle_containers_give_way_before_services(ledger: Open) -> None:
    """A service takes longer to start."""
    first = ledger("a", containers=2)
    use(first)
    lease = idle_container(first)
    keeper_of(ledger)
    first.close()
    other = ledger("b", containers=2)
    assert [each.id for each in kept(other) if not shared.is_service(each)] == [lease.id]
    taken = other.try_reserve(Demand(containers=1), priority=1, index=0)
    assert taken is not None
    assert [each.id for each in taken.evicted] == [lease.id]


def test_what_a_run_has_left_is_used_while_another_one_goes_on_with_it() -> None:
    """Its keeper, which has nothing left to keep, must not sweep what that run has taken up."""
    owner = shared.run_owner("a")
    runs = (RunEntry(run="a", started_s=0.0, budget=warm.NO_BUDGET, keeper="k1"),)
    keeping = [OwnerEntry(owner=each, run=run, pid=1, boot="") for each, run in (("k1", "a"), ("k2", "b"))]
    member = OwnerEntry(owner="m", run="a", pid=2, boot="")
    alone = State(engine="e", boot="", runs=runs, owners=tuple(keeping))
    assert not warm.is_used(alone, owner, {"k1", "k2"})
    both = replace(alone, owners=(*keeping, member))
    assert warm.is_used(both, owner, {"k1", "k2", "m"})
    assert not warm.is_used(both, owner, {"k1", "k2"}), "it is dead"
    assert not warm.is_used(both, shared.run_owner("b"), {"k1", "k2", "m"})
