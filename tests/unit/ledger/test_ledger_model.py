"""The ledger against a model, over random histories of several runs whose owners die at random."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import hypothesis.strategies as st
from clnrm_testing.queueing import enqueue, purge
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pytest_clnrm.errors import DemandTooLargeError
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.ledger.folder import open_folder
from pytest_clnrm.ledger.ledger import Ledger
from pytest_clnrm.ledger.state import Lease, Waiter
from pytest_clnrm.model.demand import NOTHING, Demand, Share, total

HOST = Budget(containers=4, memory_bytes=400, gpus=1)
CAPS = {"a": 4, "b": 2, "c": 2}
DEMANDS = st.builds(
    Demand,
    containers=st.integers(1, 2),
    memory_bytes=st.sampled_from([0, 0, 50, 250]),
    gpus=st.sampled_from([0, 0, 0, 1]),
)


SHARES = [Share(key="d", name="db", memory_bytes=50), Share(key="c", name="cache")]
NUMBERS = st.integers(0, 99)
Item = TypeVar("Item")


def pick(items: Sequence[Item], which: int) -> Item:
    """Return one of *items*."""
    return items[which % len(items)]


class Clock:
    """Time that goes on by one second at each look."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        """Return the next second."""
        self.now_s += 1
        return self.now_s

    def wait(self, fd: int | None, timeout_s: float) -> bool:
        """Nobody waits in this model."""
        raise AssertionError


@dataclass
class Owner:
    """What the model knows of one owner."""

    run: str
    started: int
    ledger: Ledger
    alive: bool = True
    busy: list[Lease] = field(default_factory=list)
    idle: list[Lease] = field(default_factory=list)
    waiting: list[Waiter] = field(default_factory=list)

    def key(self, waiter: Waiter) -> tuple[int, int, int]:
        """Return the place of *waiter* in the one queue."""
        return waiter.priority, self.started, waiter.index


class LedgerMachine(RuleBasedStateMachine):
    """Owners of three runs reserve, release, idle, share, adopt, withdraw and die."""

    @initialize(runs=st.lists(st.sampled_from(sorted(CAPS)), min_size=2, max_size=4))
    def begin(self, runs: list[str]) -> None:
        """Begin with an empty folder and a few processes."""
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = open_folder(Path(self.temporary.name), {})
        self.clock = Clock()
        self.all: list[Owner] = []
        self.index = 0
        self.runs: dict[str, int] = {}
        self.shared: dict[tuple[str, str], Lease] = {}
        self.reports: list[str] = []
        for run in runs:
            self.open(run)

    def teardown(self) -> None:
        """Let everybody go: in the end each demand is granted, in order."""
        self.drain()
        for owner in self.all:
            owner.ledger.close()
        self.temporary.cleanup()

    def living(self) -> list[Owner]:
        """Return the owners that are alive."""
        return [owner for owner in self.all if owner.alive]

    def in_use_shared(self) -> list[Lease]:
        """Return the leases of shared containers that somebody uses, dead or alive."""
        used = {each for owner in self.all for lease in owner.busy for each in lease.uses}
        return [each for each in self.shared.values() if each.id in used]

    def leases(self, owner: Owner) -> list[Lease]:
        """Return what the model says *owner* holds."""
        return [*owner.busy, *owner.idle]

    def waiting(self) -> list[tuple[Owner, Waiter]]:
        """Return all that wait, in the order of their keys."""
        waiting = [(owner, waiter) for owner in self.living() for waiter in owner.waiting]
        return sorted(waiting, key=lambda each: each[0].key(each[1]))

    def busy(self) -> list[tuple[Owner, Lease]]:
        """Return all leases in use by the living."""
        return [(owner, lease) for owner in self.living() for lease in owner.busy]

    def idle(self) -> list[tuple[Owner, Lease]]:
        """Return all idle leases of the living."""
        return [(owner, lease) for owner in self.living() for lease in owner.idle]

    @precondition(lambda self: len(self.living()) < 5)
    @rule(run=st.sampled_from(sorted(CAPS)))
    def open(self, run: str) -> None:
        """Let another process join a run."""
        ledger = Ledger(
            self.folder,
            "engine",
            self.budget_of(run),
            clock=self.clock,
            boot="boot",
            report=self.reports.append,
        )
        ledger.open_run(run)
        if not any(owner.run == run for owner in self.living()):
            self.runs[run] = len(self.all)
        self.all.append(Owner(run=run, started=self.runs[run], ledger=ledger))

    def granted(self, owner: Owner, waiter: Waiter, lease: Lease, host: Budget) -> None:
        """Check that a grant under the budget *host* was in order; note it and what it evicted."""
        before = [each for each in self.waiting() if each[0].key(each[1]) < owner.key(waiter)]
        self.check_room(before, waiter.demand, host)
        evicted = {each.id for each in lease.evicted}
        idle = {each.id for other in self.all if other.run == owner.run for each in other.idle}
        assert idle.intersection(waiter.takes) <= evicted, "it did not get the room that it wanted"
        for other in self.all:
            other.idle = [each for each in other.idle if each.id not in evicted]
        self.shared = {key: each for key, each in self.shared.items() if each.id not in evicted}
        owner.busy.append(lease)

    def check_room(self, before: list[tuple[Owner, Waiter]], demand: Demand, host: Budget) -> None:
        """Check that *demand* has room beside all that are *before* it, and bypasses none of them."""
        held, held_by = self.in_use(), {run: self.in_use(run) for run in CAPS}
        for other, each in before:
            assert not host.exceeded_by(held + each.demand), f"{each} is the head, and was bypassed"
            if not self.budget_of(other.run).exceeded_by(held_by[other.run] + each.demand):
                held += each.demand
                held_by[other.run] += each.demand
        assert not host.exceeded_by(held + demand), "room was taken that is another's turn"

    def in_use(self, run: str = "") -> Demand:
        """Return what nobody can take, of one run or of all, of dead owners too."""
        own = total(lease.demand for owner in self.all if run in {"", owner.run} for lease in owner.busy)
        return own + total(each.demand for each in self.in_use_shared() if run in {"", each.run})

    def host(self) -> Budget:
        """Return the host's budget as the ledger knows it now."""
        taken = self.all[0].ledger.snapshot()
        assert taken is not None
        assert taken.budget is not None
        return taken.budget

    def held(self) -> Demand:
        """Return what all hold, dead ones too."""
        own = total(lease.demand for owner in self.all for lease in self.leases(owner))
        return own + total(each.demand for each in self.shared.values())

    def held_by(self, run: str) -> Demand:
        """Return what a run holds, its dead owners too."""
        own = total(lease.demand for owner in self.all if owner.run == run for lease in self.leases(owner))
        return own + total(each.demand for each in self.shared.values() if each.run == run)

    def budget_of(self, run: str) -> Budget:
        """Return the budget of a run."""
        return Budget(containers=CAPS[run], memory_bytes=HOST.memory_bytes, gpus=HOST.gpus)

    @rule(which=NUMBERS, demands=st.lists(st.tuples(DEMANDS, st.integers(0, 2)), min_size=1, max_size=3))
    def enqueue(self, which: int, demands: list[tuple[Demand, int]]) -> None:
        """Queue up."""
        owner = pick(self.living(), which)
        for demand, priority in demands:
            self.index += 1
            owner.waiting.append(enqueue(owner.ledger, demand, priority=priority, index=self.index))

    @rule(which=NUMBERS, demand=DEMANDS, priority=st.integers(0, 2))
    def try_reserve(self, which: int, demand: Demand, priority: int) -> None:
        """Ask without queueing up."""
        owner, host = pick(self.living(), which), self.host()
        self.index += 1
        lease = owner.ledger.try_reserve(demand, priority=priority, index=self.index)
        if lease is not None:
            waiter = owner.ledger.new_waiter(demand, priority=priority, index=self.index)
            self.granted(owner, waiter, lease, host)

    @rule(which=NUMBERS, own=st.one_of(st.just(NOTHING), DEMANDS), shares=st.sets(st.sampled_from([0, 1])))
    def share(self, which: int, own: Demand, shares: set[int]) -> None:
        """Ask, without queueing up, for what may use shared containers of the run."""
        owner, host = pick(self.living(), which), self.host()
        demand = replace(own, shares=tuple(SHARES[each] for each in sorted(shares)))
        new = [each for each in demand.shares if (owner.run, each.key) not in self.shared]
        mine = {each.key: self.shared[owner.run, each.key] for each in demand.shares if each not in new}
        self.index += 1
        try:
            lease = owner.ledger.try_reserve(demand, priority=1, index=self.index)
        except DemandTooLargeError:
            assert self.budget_of(owner.run).exceeded_by(demand.whole)
            return
        if lease is None:
            return
        used = owner.ledger.shared(lease.id)
        assert {each.id for each in mine.values()}.isdisjoint(each.id for each in lease.evicted)
        assert used == {**used, **{key: replace(each, idle_since_s=None) for key, each in mine.items()}}
        assert used.keys() == {each.key for each in demand.shares}
        waiter = owner.ledger.new_waiter(demand, priority=1, index=self.index)
        # What it has found idle is its own now, and has to fit too.
        idle = total(each.demand for each in mine.values() if each not in self.in_use_shared())
        before = [each for each in self.waiting() if each[0].key(each[1]) < owner.key(waiter)]
        self.check_room(before, own + total(each.demand for each in new) + idle, host)
        self.granted_shared(owner, lease, used)

    def granted_shared(self, owner: Owner, lease: Lease, used: dict[str, Lease]) -> None:
        """Note a grant; what was taken over for it is removed at once, as its process does."""
        evicted = {each.id for each in lease.evicted}
        for other in self.all:
            other.idle = [each for each in other.idle if each.id not in evicted]
        self.shared = {key: each for key, each in self.shared.items() if each.id not in evicted}
        self.shared |= {(owner.run, key): replace(each, idle_since_s=None) for key, each in used.items()}
        owner.ledger.settle(lease.id)
        owner.busy.append(replace(lease, evicted=()))

    @precondition(lambda self: self.waiting())
    @rule(which=NUMBERS)
    def claim(self, which: int) -> None:
        """Ask for one of the waiters."""
        self.claim_for(*pick(self.waiting(), which))

    @precondition(lambda self: self.waiting())
    @rule(backwards=st.booleans())
    def claim_all(self, backwards: bool) -> None:  # noqa: FBT001 (drawn by hypothesis)
        """Ask for all waiters, in order or the other way round."""
        for owner, waiter in self.waiting()[:: -1 if backwards else 1]:
            self.claim_for(owner, waiter)

    def claim_for(self, owner: Owner, waiter: Waiter) -> bool:
        """Claim *waiter* and return whether it was granted."""
        host = self.host()
        lease = owner.ledger.claim(waiter)
        if lease is None:
            return False
        assert lease.demand == waiter.demand
        owner.waiting.remove(waiter)
        self.granted(owner, waiter, lease, host)
        return True

    @precondition(lambda self: self.waiting())
    @rule(which=NUMBERS)
    def withdraw(self, which: int) -> None:
        """Leave the queue."""
        owner, waiter = pick(self.waiting(), which)
        owner.ledger.withdraw(waiter)
        owner.waiting.remove(waiter)

    @precondition(lambda self: self.busy())
    @rule(which=NUMBERS)
    def release(self, which: int) -> None:
        """Give room back."""
        owner, lease = pick(self.busy(), which)
        owner.ledger.release(lease.id)
        owner.busy.remove(lease)

    @precondition(lambda self: self.busy())
    @rule(which=NUMBERS, demand=DEMANDS, idles=st.booleans())
    def give_back_and_enqueue(self, which: int, demand: Demand, idles: bool) -> None:  # noqa: FBT001
        """Give room back and queue up for more in one change, as controllers do between two items."""
        owner, lease = pick(self.busy(), which)
        with owner.ledger.putting_off():
            if idles:
                owner.ledger.mark_idle(lease.id, [lease.id])
            else:
                owner.ledger.release(lease.id)
        owner.busy.remove(lease)
        owner.idle += [lease] if idles else []
        self.index += 1
        waiter = owner.ledger.new_waiter(demand, priority=1, index=self.index)
        owner.waiting.append(waiter)
        self.claim_for(owner, waiter)

    @precondition(lambda self: self.busy())
    @rule(which=NUMBERS)
    def mark_idle(self, which: int) -> None:
        """Offer a lease's room."""
        owner, lease = pick(self.busy(), which)
        owner.ledger.mark_idle(lease.id, [lease.id])
        owner.busy.remove(lease)
        owner.idle.append(lease)

    @precondition(lambda self: self.idle())
    @rule(which=NUMBERS, taker=NUMBERS, demand=DEMANDS)
    def enqueue_for_idle(self, which: int, taker: int, demand: Demand) -> None:
        """Queue up for the containers of an idle lease of the run."""
        giver, lease = pick(self.idle(), which)
        owner = pick([each for each in self.living() if each.run == giver.run], taker)
        self.index += 1
        waiter = owner.ledger.new_waiter(demand, priority=1, index=self.index, takes=(lease.id,))
        owner.waiting.append(waiter)
        self.claim_for(owner, waiter)

    @precondition(lambda self: any(owner.busy for owner in self.all))
    @rule(which=NUMBERS, taker=NUMBERS)
    def adopt(self, which: int, taker: int) -> None:
        """Take over a lease of another process of the run, dead or alive."""
        giver, lease = pick([(each, lease) for each in self.all for lease in each.busy], which)
        takers = [each for each in self.living() if each.run == giver.run]
        if takers:
            giver.busy.remove(lease)
            new_owner = pick(takers, taker)
            new_owner.ledger.adopt(lease.id)
            new_owner.busy.append(lease)

    @precondition(lambda self: self.busy())
    @rule(which=NUMBERS, taker=NUMBERS, unused=DEMANDS, demand=DEMANDS)
    def lend(self, which: int, taker: int, unused: Demand, demand: Demand) -> None:
        """Lend what a lease of the run does not use, whoever of the living holds it."""
        giver, lease = pick(self.busy(), which)
        owner = pick([each for each in self.living() if each.run == giver.run], taker)
        free = unused.smaller(lease.demand)
        try:
            given = owner.ledger.lend(lease.id, unused, demand)
        except DemandTooLargeError:
            assert self.budget_of(owner.run).exceeded_by(demand)
            return
        assert (given is not None) == free.covers(demand)
        rest = lease.demand.minus(free if given is None else demand)
        giver.busy[giver.busy.index(lease)] = replace(lease, demand=rest, evicted=())
        if given is not None:
            owner.busy.append(given)

    @precondition(lambda self: len(self.living()) > 1)
    @rule(which=NUMBERS)
    def die(self, which: int) -> None:
        """Kill a process: its lock is free, its listener is gone, its files stay."""
        owner = pick(self.living(), which)
        owner.ledger._me._let_go()
        owner.alive = False
        owner.waiting.clear()

    @rule(which=NUMBERS, gone=st.booleans())
    def purge(self, which: int, gone: bool) -> None:  # noqa: FBT001 (drawn by hypothesis)
        """Purge what dead owners left, which may or may not be gone."""
        asked: set[str] = set()

        def remove(dead: Lease) -> bool:
            asked.add(dead.id)
            return gone

        purge(pick(self.living(), which).ledger, remove)
        running = {each.run for each in self.living()}
        over = {each.id for each in self.shared.values() if each.run not in running}
        assert asked == over | {
            lease.id for each in self.all if not each.alive for lease in self.leases(each)
        }
        if gone:
            self.shared = {key: each for key, each in self.shared.items() if each.id not in over}
            for each in self.all:
                if not each.alive:
                    each.busy.clear()
                    each.idle.clear()

    @rule(which=NUMBERS, content=st.sampled_from([b"", b"{", None]))
    def tear(self, which: int, content: bytes | None) -> None:
        """Damage or lose the state file."""
        file = self.folder.state_file("engine")
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        purge(pick(self.living(), which).ledger, lambda _: False)

    @invariant()
    def ledger_and_model_agree(self) -> None:
        """Check that what is held is what the model says, and within each budget."""
        taken = self.all[0].ledger.snapshot()
        assert taken is not None
        expected = {lease.id: lease.demand for owner in self.all for lease in self.leases(owner)}
        expected |= {lease.id: lease.demand for lease in self.shared.values()}
        assert {lease.id: lease.demand for lease in taken.leases} == expected
        in_use = {each.id for each in self.in_use_shared()}
        assert {each.id for each in taken.leases if each.key and each.idle_since_s is None} == in_use
        assert HOST.exceeded_by(self.held()) == ()
        for run in CAPS:
            assert self.budget_of(run).exceeded_by(self.held_by(run)) == ()

    def drain(self) -> None:
        """Purge, release everything that is held and claim, until nobody waits; each round must get on."""
        for owner in self.living():
            purge(owner.ledger, lambda _: True)
        for owner in self.all:
            if not owner.alive:
                owner.busy.clear()
                owner.idle.clear()
        running = {each.run for each in self.living()}
        self.shared = {key: each for key, each in self.shared.items() if each.run in running}
        while any(owner.waiting for owner in self.living()):
            for owner in self.living():
                for lease in owner.busy:
                    owner.ledger.release(lease.id)
                owner.busy.clear()
            granted = [
                self.claim_for(owner, waiter) for owner in self.living() for waiter in list(owner.waiting)
            ]
            assert any(granted), "a deadlock: all is released, and nobody may start"


def test_ledger_agrees_with_its_model() -> None:
    """Budget kept, order kept, no demand lost, no deadlock, whoever dies and whatever is damaged."""
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            derandomize=True, max_examples=60, stateful_step_count=40, deadline=None, database=None
        ),
    )
