"""Containers that a run shares: counted once, alive with their run, idle without users."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from clnrm_testing.queueing import purge

from pytest_clnrm.cleanup.labels import OWNER, SESSION, WORKER, is_made_here
from pytest_clnrm.engine.api import OwnedObject
from pytest_clnrm.errors import DemandTooLargeError
from pytest_clnrm.ledger import shared
from pytest_clnrm.ledger.folder import Folder
from pytest_clnrm.ledger.ledger import Ledger
from pytest_clnrm.ledger.state import Lease
from pytest_clnrm.model.demand import NOTHING, Demand, Share

DB = Share(key="db1", name="db", memory_bytes=50)
USER = Demand(containers=1, memory_bytes=10, shares=(DB,))
ONE = Demand(containers=1)
Open = Callable[..., Ledger]
Kill = Callable[[Ledger], None]


def reserve(ledger: Ledger, demand: Demand) -> Lease:
    """Return a lease that must be had at once."""
    lease = ledger.try_reserve(demand, priority=1, index=0)
    assert lease is not None
    return lease


def leases(ledger: Ledger, key: str = "db1") -> list[Lease]:
    """Return the leases of a shared container."""
    taken = ledger.snapshot()
    assert taken is not None
    return [each for each in taken.leases if each.key == key]


def test_it_is_counted_once(ledger: Open) -> None:
    """The first user makes the lease; others of the run use it, those of another run have another."""
    one, two, other = ledger(containers=4), ledger(containers=4), ledger("b", containers=4)
    first, second = reserve(one, USER), reserve(two, USER)
    (db,) = leases(one)
    taken = one.snapshot()
    assert taken is not None
    assert taken.used == Demand(containers=3, memory_bytes=70)
    assert one.shared(first.id) == two.shared(second.id) == {"db1": db}
    assert db.demand == DB.demand
    assert other.try_reserve(USER, priority=1, index=0) is None, "its own one has no room"


def test_it_is_taken_to_be_ended(ledger: Open) -> None:
    """Only while nobody uses it whose item goes on; nobody joins it then, and it counts until released."""
    one, two = ledger(containers=3), ledger(containers=3)
    first, second = reserve(one, USER), reserve(two, USER)
    assert one.shared_keys() == ("db1",)
    assert one.take_shared("db1", {first.id}) is None
    assert one.take_shared("db2", {first.id}) is None
    two.release(second.id)
    (db,) = leases(one)
    taken = one.take_shared("db1", {first.id})
    assert taken is not None
    assert (taken.id, taken.containers) == (db.id, db.containers)
    assert one.shared_keys() == ()
    assert two.try_reserve(Demand(containers=2), priority=1, index=0) is None
    one.release(taken.id)
    assert two.try_reserve(Demand(containers=2), priority=1, index=0) is not None


def test_it_is_idle_without_users(ledger: Open) -> None:
    """Its next user gets it as it is; whoever else has no room takes it over, and it is made anew then."""
    one = ledger(containers=2)
    first = reserve(one, USER)
    (db,) = leases(one)
    assert db.idle_since_s is None
    one.release(first.id)
    assert leases(one)[0].idle_since_s is not None
    again = reserve(one, USER)
    assert one.shared(again.id)["db1"].id == db.id
    assert leases(one)[0].idle_since_s is None
    one.release(again.id)
    both = reserve(one, Demand(containers=2))
    assert [each.containers for each in both.evicted] == [db.containers]
    one.release(both.id)
    assert one.shared(reserve(one, USER).id)["db1"].id != db.id


@pytest.mark.parametrize("end", ["release", "keep", "mark_idle"])
def test_what_stays_of_a_user_is_none(ledger: Open, end: str) -> None:
    """A lease that is kept, or idle, uses nothing that is shared."""
    one = ledger()
    user = reserve(one, USER)
    if end == "mark_idle":
        one.mark_idle(user.id, ["c"])
    else:
        getattr(one, end)(user.id)
    assert leases(one)[0].idle_since_s is not None


def test_a_user_never_takes_it_over(ledger: Open) -> None:
    """With room for one beside it, users take turns, and it stays."""
    one = ledger(containers=2)
    first = reserve(one, USER)
    (db,) = leases(one)
    assert one.try_reserve(USER, priority=1, index=1) is None
    one.release(first.id)
    taken = reserve(one, ONE)
    assert not taken.evicted, "there is room beside it"
    assert one.try_reserve(USER, priority=1, index=1) is None, "it would have to take over what it shares"
    one.release(taken.id)
    assert not reserve(one, USER).evicted
    assert leases(one)[0].id == db.id


def test_it_lives_as_long_as_its_run(ledger: Open, kill: Kill) -> None:
    """Whoever made it may die; it is purged once nobody of its run lives."""
    one, two, other = ledger(containers=4), ledger(containers=4), ledger("b", containers=4)
    reserve(one, USER)
    (db,) = leases(one)
    kill(one)
    removed: list[str] = []

    def remove(dead: Lease) -> bool:
        removed.append(dead.owner)
        return True

    purge(other, remove)
    assert db.owner not in removed
    assert len(removed) == 1
    assert [each.id for each in leases(two)] == [db.id]
    assert leases(two)[0].idle_since_s is not None, "its only user is dead"
    kill(two)
    purge(other, remove)
    assert removed[1:] == [shared.run_owner("a")]
    assert leases(other) == []


def test_it_is_rebuilt(ledger: Open, kill: Kill, folder: Folder) -> None:
    """A lost state has it again, also when the one who made it is dead and forgotten."""
    one, two = ledger(containers=4), ledger(containers=4)
    reserve(one, USER)
    user = reserve(two, USER)
    (db,) = leases(one)
    kill(one)
    purge(two, lambda _: True)
    folder.state_file("engine-1").unlink()
    two.release("nothing of this name")
    assert leases(two) == [db]
    assert two.shared(user.id) == {"db1": db}


def test_too_much_with_what_is_shared(ledger: Open) -> None:
    """What never fits beside the shared containers is refused at once."""
    with pytest.raises(DemandTooLargeError, match="3 containers demanded, 2 containers allowed"):
        ledger(containers=2).try_reserve(Demand(containers=2, shares=(DB,)), priority=1, index=0)


def test_one_that_only_uses_it(ledger: Open) -> None:
    """A use without containers of its own counts nothing beside it."""
    one = ledger(containers=1)
    user = reserve(one, Demand(shares=(DB,)))
    taken = one.snapshot()
    assert taken is not None
    assert taken.used == DB.demand
    assert one.try_reserve(ONE, priority=1, index=0) is None
    one.release(user.id)
    assert reserve(one, ONE).evicted


def test_a_part_is_given_back(ledger: Open) -> None:
    """What a lease does not use is given to whoever waits."""
    one = ledger(containers=2)
    lease = reserve(one, Demand(containers=2))
    one.give_up(lease.id, ONE)
    reserve(one, ONE)
    one.give_up(lease.id, ONE)
    taken = one.snapshot()
    assert taken is not None
    assert {each.id: each.demand for each in taken.leases}[lease.id] == NOTHING


def test_the_place_of_an_idle_one_is_given_back_too(ledger: Open) -> None:
    """Who took it over has removed it before he gives back what he does not use: nothing is held any more."""
    one = ledger(containers=1)
    one.release(reserve(one, Demand(shares=(DB,))).id)
    lease = reserve(one, ONE)
    assert lease.evicted
    one.give_up(lease.id, ONE)
    reserve(one, ONE)


def test_releasing_all_ends_the_runs_own(ledger: Open) -> None:
    """At the end of a run its shared containers are given back with all else."""
    one = ledger()
    reserve(one, USER)
    one.release_all()
    assert leases(one) == []


def test_its_name_is_ours() -> None:
    """Cleaning up knows a shared container by its name and labels."""
    lease_id = shared.lease_id("0a1b", DB, "77-aabb-0123")
    labels = {
        "pytest-clnrm.ledger": "l",
        SESSION: "0a1b",
        OWNER: shared.run_owner("0a1b"),
        WORKER: shared.SHARED,
    }
    name = shared.container_name(lease_id, "db")
    assert name == "clnrm-0a1b-shared-db10123-db"
    assert is_made_here(OwnedObject(kind="container", id="x", name=name, labels=labels))
