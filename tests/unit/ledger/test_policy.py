"""Who is granted: a table of states, each with its answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_clnrm.errors import DemandTooLargeError
from pytest_clnrm.ledger import policy
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.ledger.state import Evicted, Lease, RunEntry, State, Waiter
from pytest_clnrm.model.demand import Demand, Group

EMPTY = State(engine="e", boot="b")


def run(name: str, started_s: float, containers: int, **limits: Any) -> RunEntry:
    """Return a run that may hold *containers*."""
    budget = Budget(containers=containers, memory_bytes=limits.pop("memory_bytes", 100), **limits)
    return RunEntry(run=name, started_s=started_s, budget=budget)


def lease(name: str, containers: int = 1, *, idle: float | None = None, **demand: Any) -> Lease:
    """Return a lease called ``<run><number>``."""
    return Lease(
        id=name,
        owner=f"owner-{name[0]}",
        run=name[0],
        demand=Demand(containers=containers, **demand),
        granted_s=0,
        idle_since_s=idle,
        containers=(name,),
    )


def waiter(name: str, containers: int = 1, *, priority: int = 1, index: int = 0, **demand: Any) -> Waiter:
    """Return a waiter called ``<run>...``."""
    return Waiter(
        id=name,
        owner=f"owner-{name[0]}",
        run=name[0],
        demand=Demand(containers=containers, **demand),
        priority=priority,
        index=index,
        since_s=0,
        wake="",
    )


A2, A5, B5 = run("a", 1, 2), run("a", 1, 5), run("b", 2, 5)
A2_B5 = (A2, B5)
A5_B5 = (A5, B5)
CASES = {
    "free room goes to all who fit": (A5_B5, [lease("a1", 3)], [waiter("a2"), waiter("b2")], ["a2", "b2"]),
    "no room, no grant": (A5_B5, [lease("a1", 5)], [waiter("a2")], []),
    "priority before start of run": (
        A5_B5,
        [lease("a1", 4)],
        [waiter("a2"), waiter("b2", priority=0)],
        ["b2"],
    ),
    "earlier run first among equals": (
        A5_B5,
        [lease("a1", 4)],
        [waiter("b2"), waiter("a2", index=9)],
        ["a2"],
    ),
    "earlier index first in a run": (
        A5_B5,
        [lease("a1", 4)],
        [waiter("a3", index=2), waiter("a2", index=1)],
        ["a2"],
    ),
    "head is not bypassed by a smaller one": (A5_B5, [lease("b1", 4)], [waiter("a2", 2), waiter("b2")], []),
    "head is not bypassed within its run": (
        A5_B5,
        [lease("b1", 4)],
        [waiter("a2", 2), waiter("a3", 1, priority=2)],
        [],
    ),
    "own cap alone does not hold others up": (A2_B5, [lease("a1", 2)], [waiter("a2"), waiter("b2")], ["b2"]),
    "own cap and a full host: the head": (
        A2_B5,
        [lease("a1", 2), lease("b1", 2)],
        [waiter("a2", 2), waiter("b2")],
        [],
    ),
    "a run does not pass its own cap": (A2_B5, [lease("a1", 1)], [waiter("a2", 2), waiter("a3")], ["a3"]),
    "two grants of a run end at its cap": (
        A2_B5,
        [],
        [waiter("a1"), waiter("a2"), waiter("a3")],
        ["a1", "a2"],
    ),
    "memory holds up too": (
        A5_B5,
        [lease("a1", memory_bytes=90)],
        [waiter("a2", memory_bytes=20), waiter("b2", memory_bytes=10)],
        [],
    ),
    "own memory alone does not": (
        (run("a", 1, 5, memory_bytes=50), B5),
        [lease("a1", memory_bytes=50)],
        [waiter("a2", memory_bytes=20), waiter("b2", memory_bytes=20)],
        ["b2"],
    ),
    "no GPU, no grant": (A5_B5, [], [waiter("a2", gpus=1)], []),
    "GPUs are counted": (
        (run("a", 1, 5, gpus=1),),
        [lease("a1", gpus=1)],
        [waiter("a2", gpus=1)],
        [],
    ),
    "CPUs are counted where there is a budget": (
        (run("a", 1, 5, cpus=1.0),),
        [lease("a1", cpus=0.75)],
        [waiter("a2", cpus=0.5)],
        [],
    ),
    "leases of ended runs count": ((B5,), [lease("a1", 5)], [waiter("b1")], []),
    "waiters of ended runs do not": ((B5,), [], [waiter("a1"), waiter("b1")], ["b1"]),
    "without a run nobody is granted": ((), [], [waiter("a1")], []),
}


@pytest.mark.parametrize(("runs", "leases", "waiters", "expected"), CASES.values(), ids=CASES.keys())
def test_grants(
    runs: tuple[RunEntry, ...], leases: list[Lease], waiters: list[Waiter], expected: list[str]
) -> None:
    """Each state of the table grants to exactly those named, in that order, wherever they stand in it."""
    for queue in (tuple(waiters), tuple(reversed(waiters))):
        state = replace(EMPTY, runs=runs, leases=tuple(leases), waiters=queue)
        assert [each.waiter.id for each in policy.grants(state)] == expected


def test_foreign_load_takes_room() -> None:
    """Containers of other ledgers leave less for ours."""
    state = replace(EMPTY, runs=(A5,), waiters=(waiter("a1", 2),), foreign=Demand(containers=4))
    assert policy.grants(state) == ()
    assert policy.used(state) == Demand(containers=4)
    assert policy.grants(replace(state, foreign=Demand(containers=3)))


IDLE = [lease("a1", idle=5.0), lease("b1", idle=3.0), lease("b2", 3)]
EVICTIONS = {
    "the one idle longest goes first": (A5_B5, IDLE, waiter("a9"), ["b1"]),
    "as many as it takes": (A5_B5, IDLE, waiter("a9", 2), ["b1", "a1"]),
    "busy ones never": (A5_B5, IDLE, waiter("a9", 3), None),
    "none while there is room": (A5_B5, IDLE[:2], waiter("a9"), []),
    "for the own cap only the run's own": (
        A2_B5,
        [lease("a1", idle=5.0), lease("a2"), lease("b1", idle=3.0)],
        waiter("a9"),
        ["a1"],
    ),
    "not those that would free nothing needed": (
        A5_B5,
        [lease("a1", 0, idle=1.0, cpus=1), lease("a2", 5, idle=2.0)],
        waiter("a9"),
        ["a2"],
    ),
}


@pytest.mark.parametrize(("runs", "leases", "who", "expected"), EVICTIONS.values(), ids=EVICTIONS.keys())
def test_evictions(
    runs: tuple[RunEntry, ...], leases: list[Lease], who: Waiter, expected: list[str] | None
) -> None:
    """A waiter takes the room of idle leases: of which ones, and never that of busy ones."""
    state = replace(EMPTY, runs=runs, leases=tuple(leases), waiters=(who,))
    given = policy.grant(state, who.id)
    assert (None if given is None else list(given.evict)) == expected


def test_no_idle_lease_is_taken_twice() -> None:
    """Two grants of one look take different idle leases; a third finds none."""
    leases = (lease("a1", 2, idle=1.0), lease("b1", 2, idle=2.0), lease("b2"))
    waiters = (waiter("a7", 2), waiter("a8", 2, index=1), waiter("a9", index=2))
    state = replace(EMPTY, runs=A5_B5, leases=leases, waiters=waiters)
    assert [(each.waiter.id, each.evict) for each in policy.grants(state)] == [
        ("a7", ("a1",)),
        ("a8", ("b1",)),
    ]


def test_what_was_taken_over_counts_until_it_is_gone() -> None:
    """Who takes over more than it needs leaves the rest to others when the containers are gone."""
    leases = (lease("a1", 3, idle=1.0), lease("b2", 2))
    waiters = (waiter("a8"), waiter("a9", index=1))
    state = replace(EMPTY, runs=A5_B5, leases=leases, waiters=waiters)
    assert [(each.waiter.id, each.evict) for each in policy.grants(state)] == [("a8", ("a1",))]
    (given,) = policy.grants(state)
    after = policy.with_grant(state, given, 7.0)
    assert policy.used(after).containers == 5
    assert policy.grants(after) == ()
    gone = tuple(replace(each, evicted=()) for each in after.leases)
    assert [each.waiter.id for each in policy.grants(replace(after, leases=gone))] == ["a9"]


def test_what_another_run_took_over_counts_for_its_own() -> None:
    """A run does not hold more than its own budget while others remove its idle containers."""
    leases = (lease("a1", 2, idle=1.0), lease("b2", 3))
    state = replace(EMPTY, runs=A2_B5, leases=leases, waiters=(waiter("b8", priority=0), waiter("a9")))
    assert [each.waiter.id for each in policy.grants(state)] == ["b8"]
    after = policy.with_grant(state, policy.grants(state)[0], 7.0)
    assert policy.holdup(after, "a9") == "host's budget"
    emptier = replace(after, leases=after.leases[1:])
    assert policy.holdup(emptier, "a9") == "own run's budget"


def test_what_was_not_removed_is_taken_over_in_turn() -> None:
    """A lease whose room was never cleared counts as what is still there, and is given away as that."""
    left = Evicted(
        id="b1", owner="owner-b", run="b", demand=Demand(containers=3), containers=("c1", "c2", "c3")
    )
    idle = replace(lease("a1", idle=0.0), evicted=(left,), containers=left.containers)
    state = replace(EMPTY, runs=A5_B5, leases=(idle, lease("b2", 2)), waiters=(waiter("a9"),))
    after = policy.with_grant(state, policy.grants(state)[0], 7.0)
    (taken,) = after.leases[1].evicted
    assert (taken.id, taken.demand.containers, taken.containers) == ("a1", 3, left.containers)
    assert policy.used(after).containers == 5


def test_applied_turns_a_waiter_into_a_lease() -> None:
    """The lease has the ticket's id and knows what it took over, with what is needed to remove it."""
    state = replace(EMPTY, runs=(A5,), leases=(lease("a1", 5, idle=1.0),), waiters=(waiter("a9", 5),))
    given = policy.grant(state, "a9")
    assert given is not None
    after = policy.with_grant(state, given, 7.0)
    assert after.waiters == ()
    (entry,) = after.leases
    assert (entry.id, entry.demand.containers, entry.granted_s) == ("a9", 5, 7.0)
    assert entry.evicted == (
        Evicted(id="a1", owner="owner-a", run="a", demand=Demand(containers=5), containers=("a1",)),
    )


def test_holdup_says_why() -> None:
    """Each waiter can be told what holds it back."""
    state = replace(
        EMPTY,
        runs=A2_B5,
        leases=(lease("a1", 2), lease("b1", 2)),
        waiters=(waiter("a2", priority=0), waiter("b2"), waiter("b3", index=1), waiter("b4", index=2)),
    )
    assert policy.holdup(state, "a2") == "own run's budget"
    assert policy.holdup(state, "b2") == ""
    assert policy.holdup(state, "b3") == "host's budget"
    assert policy.holdup(state, "b4") == "others before it"


def test_host_budget_is_the_largest_of_all_runs() -> None:
    """A small run does not shrink what others may hold."""
    state = replace(EMPTY, runs=(run("a", 1, 2, memory_bytes=50), run("b", 2, 5, memory_bytes=20)))
    assert policy.host_budget(state) == Budget(containers=5, memory_bytes=50)


def of(*names: str, limit: int = 1) -> tuple[Group, ...]:
    """Return groups of these names."""
    return tuple(Group(name=name, limit=limit) for name in names)


APART = {
    "never two of a group of one, over all runs": (
        [lease("a1", groups=of("db"))],
        [waiter("b1", groups=of("db"))],
        [],
    ),
    "who waits for its group is passed": (
        [lease("a1", groups=of("db"))],
        [waiter("a2", groups=of("db")), waiter("a3", index=1), waiter("b1", groups=of("other"))],
        ["a3", "b1"],
    ),
    "of two that wait the first": (
        [],
        [waiter("b1", groups=of("db")), waiter("a1", groups=of("db"))],
        ["a1"],
    ),
    "up to the limit": (
        [lease("a1", groups=of("db", limit=2))],
        [waiter("a2", groups=of("db", limit=2)), waiter("a3", index=1, groups=of("db", limit=2))],
        ["a2"],
    ),
    "the smallest limit counts, the holder's": (
        [lease("a1", groups=of("db"))],
        [waiter("b1", groups=of("db", limit=5))],
        [],
    ),
    "the smallest limit counts, the waiter's": (
        [lease("a1", groups=of("db", limit=5))],
        [waiter("b1", groups=of("db"))],
        [],
    ),
    "each of several groups": ([lease("a1", groups=of("x"))], [waiter("a2", groups=of("y", "x"))], []),
    "what is idle is of no group": (
        [lease("a1", idle=1.0, groups=of("db"))],
        [waiter("a2", groups=of("db"))],
        ["a2"],
    ),
    "what is exclusive waits for all, and nobody passes it": (
        [lease("b1")],
        [waiter("a1", exclusive=True), waiter("a2", index=1)],
        [],
    ),
    "nobody beside what is exclusive": ([lease("b1", exclusive=True)], [waiter("a1"), waiter("b2")], []),
    "nobody with it either": ([], [waiter("a1", exclusive=True), waiter("a2", index=1)], ["a1"]),
    "it comes in its turn": ([], [waiter("a1"), waiter("a2", index=1, exclusive=True)], ["a1"]),
    "what was kept is not waited for": (
        [replace(lease("b1"), kept=True)],
        [waiter("a1", exclusive=True)],
        ["a1"],
    ),
}


@pytest.mark.parametrize(("leases", "waiters", "granted"), APART.values(), ids=APART)
def test_kept_apart(leases: list[Lease], waiters: list[Waiter], granted: list[str]) -> None:
    """Members of a full group, and what is exclusive, run beside nothing that they must not."""
    state = replace(EMPTY, runs=A5_B5, leases=tuple(leases), waiters=tuple(waiters))
    assert [each.waiter.id for each in policy.grants(state)] == granted


def test_what_is_exclusive_takes_all_idle_containers_over() -> None:
    """They are removed before it starts."""
    idle = (lease("a1", idle=1.0), lease("b1", idle=2.0))
    (given,) = policy.grants(replace(EMPTY, runs=A5_B5, leases=idle, waiters=(waiter("a2", exclusive=True),)))
    assert given.evict == ("a1", "b1")


def test_holdup_of_those_that_are_kept_apart() -> None:
    """Who watches is told what they wait for."""
    held = replace(EMPTY, runs=A5_B5, leases=(lease("b1", groups=of("db")),))
    state = replace(held, waiters=(waiter("a1", groups=of("db")), waiter("a2", index=1, exclusive=True)))
    assert policy.holdup(state, "a1") == "others of its group"
    assert policy.holdup(state, "a2") == "others, as it is exclusive"
    alone = replace(held, leases=(lease("b1", exclusive=True),), waiters=(waiter("a1"),))
    assert policy.holdup(alone, "a1") == "an exclusive scenario"


def test_fixtures_that_wait_for_one_another_with_what_is_exclusive() -> None:
    """A process that waits to be alone beside its own fixture's container would wait for ever: it is told."""
    alone = replace(waiter("a2", exclusive=True), owner="owner-a", wake="own.fifo")
    state = replace(EMPTY, runs=A5_B5, leases=(lease("a1"),), waiters=(alone,))
    with pytest.raises(DemandTooLargeError, match="nothing else beside it demanded, but tests and fixtures"):
        policy.check_can_be_granted(state, alone, "sweep")
