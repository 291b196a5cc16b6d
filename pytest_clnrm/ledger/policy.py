"""Who may be granted what, and what a change makes of the ledger's state: pure functions.

The order: waiters stand in one queue, by (priority, start of the run, place in the collection). Fixtures of
tests that have started come first, as these tests hold what others wait for. The first waiter for which too
little of the host's budget is left is the head, and nobody behind it is granted anything. A waiter that only
its own run's budget holds back is passed over: it is not the head for others.

A waiter whose group is full is passed over as well, however it came so. One that wants to be alone waits at
the head until nothing is held, and nobody is granted anything beside it. What was kept on purpose, and what
other ledgers hold, is not waited for.

The host's budget is, for each resource, the largest budget among the runs that live. Idle leases that a lease
has taken over count until their containers are gone.

A waiter that uses shared containers demands those too that its run does not have yet, and takes over none of
those that it uses (:mod:`pytest_clnrm.ledger.shared`).

A waiter that would wait for ever is told so: what was kept on purpose leaves too little for it, or everybody
who could give something back waits, too (a test that waits for the container of a fixture keeps its own).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

from pytest_clnrm.errors import DemandTooLargeError
from pytest_clnrm.ledger import shared
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.ledger.state import EngineLoad, Evicted, Lease, RunEntry, State, Waiter
from pytest_clnrm.model.demand import NOTHING, Demand, Share, total

OF_FIXTURE = "clnrm_factory"
"""The label of a reservation for a fixture, whose test keeps its own meanwhile."""

SHARED_WAKEUP = ".all.fifo"
"""How the name of the FIFO of a process ends that does other things while it waits."""

Holdup = Literal[
    "", "own run's budget", "host's budget", "others before it", "others of its group",
    "an exclusive scenario", "others, as it is exclusive",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A waiter that may have what it demands now.

    :param evict: ids of the idle leases that it takes over.
    """

    waiter: Waiter
    evict: tuple[str, ...] = ()


def in_order(state: State) -> tuple[Waiter, ...]:
    """Return the waiters, first one first."""
    started = {run.run: run.started_s for run in state.runs}

    def key(waiter: Waiter) -> tuple[bool, int, float, str, int, float, str]:
        return (
            waiter.label != OF_FIXTURE,
            waiter.priority,
            started.get(waiter.run, waiter.since_s),
            waiter.run,
            waiter.index,
            waiter.since_s,
            waiter.id,
        )

    return tuple(sorted(state.waiters, key=key))


def host_budget(state: State) -> Budget | None:
    """Return what all runs together may hold, None without a run."""
    if not state.runs:
        return None
    return reduce(Budget.larger, (run.budget for run in state.runs))


def used(state: State) -> Demand:
    """Return what is held by all leases, those that are idle or of dead owners too, and by other ledgers."""
    return total(held(lease) for lease in state.leases) + state.foreign


def held(lease: Lease) -> Demand:
    """Return what *lease* counts as: its containers are created when those that it took over are gone."""
    if not lease.evicted:
        return lease.demand
    return lease.demand.larger(total(each.demand for each in lease.evicted))


def held_of(lease: Lease, run: str) -> Demand:
    """Return what *lease* counts as within the budget of *run*."""
    own = lease.demand if lease.run == run else NOTHING
    if not lease.evicted:
        return own
    return own.larger(total(each.demand for each in lease.evicted if each.run == run))


def grants(state: State) -> tuple[Grant, ...]:
    """Return all that may be granted now, in order."""
    return _decide(state)[0]


def grant(state: State, waiter_id: str) -> Grant | None:
    """Return what the waiter *waiter_id* may have now, None if it has to wait."""
    return next((each for each in grants(state) if each.waiter.id == waiter_id), None)


def holdup(state: State, waiter_id: str) -> Holdup:
    """Return why the waiter *waiter_id* has to wait, "" if nothing holds it back."""
    return _decide(state)[1].get(waiter_id, "others before it")


def with_grant(state: State, given: Grant, now_s: float) -> State:
    """Return *state* with the waiter of *given* turned into a lease of the same id.

    Leases for the shared containers that it is the first to use are made with it.
    """
    taken = [each for each in state.leases if each.id in given.evict]
    evicted = tuple(
        Evicted(id=each.id, owner=each.owner, run=each.run, demand=held(each), containers=each.containers)
        for each in taken
    )
    begun = tuple(shared_lease(share, given.waiter, now_s) for share in _missing_shares(state, given.waiter))
    left = without_waiter(state, given.waiter.id)
    left = replace(left, leases=(*(each for each in state.leases if each not in taken), *begun))
    lease = replace(lease_of(given.waiter, now_s), evicted=evicted, uses=uses_of(left, given.waiter))
    return replace(left, leases=(*left.leases, lease))


def _missing_shares(state: State, waiter: Waiter) -> list[Share]:
    """Return what *waiter* shares and its run does not have."""
    return [each for each in waiter.demand.shares if shared.of_run(state, waiter.run, each.key) is None]


def uses_of(state: State, waiter: Waiter) -> tuple[str, ...]:
    """Return the ids of the leases of what *waiter* shares, as far as its run has it."""
    found = (shared.of_run(state, waiter.run, each.key) for each in waiter.demand.shares)
    return tuple(each.id for each in found if each is not None)


def shared_lease(share: Share, waiter: Waiter, now_s: float) -> Lease:
    """Return the lease of a shared container that *waiter* is the first to use."""
    lease_id = shared.lease_id(waiter.run, share, waiter.id)
    return Lease(
        id=lease_id,
        owner=shared.run_owner(waiter.run),
        run=waiter.run,
        demand=share.demand,
        granted_s=now_s,
        label=f"shared service {share.name}",
        containers=(shared.container_name(lease_id, share.name),),
        key=share.key,
    )


def lease_of(waiter: Waiter, now_s: float) -> Lease:
    """Return the lease for what *waiter* demands."""
    return Lease(
        id=waiter.id,
        owner=waiter.owner,
        run=waiter.run,
        demand=waiter.demand,
        granted_s=now_s,
        label=waiter.label,
    )


def with_waiter(state: State, waiter: Waiter) -> State:
    """Return *state* with *waiter* in its queue; one that is there already keeps how it is to be woken up."""
    if any(each.id == waiter.id for each in state.waiters):
        return state
    return replace(state, waiters=(*state.waiters, waiter))


def without_waiter(state: State, waiter_id: str) -> State:
    """Return *state* without a waiter."""
    return replace(state, waiters=tuple(each for each in state.waiters if each.id != waiter_id))


def with_lease(state: State, lease: Lease) -> State:
    """Return *state* with *lease* in the place of the one that has its id."""
    return replace(state, leases=tuple(lease if each.id == lease.id else each for each in state.leases))


def without_lease(state: State, lease_id: str) -> State:
    """Return *state* without a lease."""
    return replace(state, leases=tuple(each for each in state.leases if each.id != lease_id))


def lent(state: State, lease_id: str, unused: Demand, to: Lease) -> State:
    """Return *state* with the new lease *to* split off what a lease does not use, if that is enough.

    If it is not enough, all of it is given back: nothing that is not used is held while more is waited for.
    Either way all leases together hold no more than before. The containers that the lease took over are known
    to be gone: its process is about to use its reservation.
    """
    (lease,) = (each for each in state.leases if each.id == lease_id)
    free = unused.smaller(lease.demand)
    enough = free.covers(to.demand)
    rest = replace(lease, demand=lease.demand.minus(to.demand if enough else free), evicted=())
    state = with_lease(state, rest)
    return replace(state, leases=(*state.leases, to)) if enough else state


def reconciled(state: State, load: Sequence[EngineLoad], ledger_id: str, now_s: float) -> State:
    """Return *state* in line with what the engine shows: *load*, of all owners of all ledgers.

    Containers of other ledgers count as load. Those of this ledger whose owner is not known, and so dead,
    become a lease of that owner, which a purge removes; or a kept lease, if they were kept. Kept leases and
    leases made here are dropped once their containers are gone. All others stay as they are: since the engine
    was asked their owners may have reserved and released.
    """
    ours = {(each.owner, each.kept): each for each in load if each.ledger == ledger_id}
    leases = [
        lease
        for lease in state.leases
        if (lease.owner, lease.kept) in ours or not (lease.kept or lease.id == _stray(lease.owner))
    ]
    living = shared.with_runs(state.owners)
    known = {(lease.owner, lease.kept) for lease in leases}
    leases += [
        Lease(
            id=_stray(owner, kept=kept),
            owner=owner,
            run="",
            demand=each.demand,
            granted_s=now_s,
            kept=kept,
        )
        for (owner, kept), each in ours.items()
        if owner not in living and (owner, kept) not in known
    ]
    foreign = total(each.demand for each in load if each.ledger != ledger_id)
    return replace(state, leases=tuple(leases), foreign=foreign)


def _stray(owner: str, *, kept: bool = False) -> str:
    return f"stray-{'kept-' if kept else ''}{owner}"


def check_can_be_granted(state: State, waiter: Waiter, sweep: str) -> None:
    """Check that what *waiter* needs can become free without anybody's doing.

    Of several that wait for one another the last one in order gives up.

    :param sweep: the command that removes what is kept.
    :raises DemandTooLargeError: if it waits for what is kept, or for those who wait themselves.
    """
    kept = [lease for lease in state.leases if lease.kept]
    names = _lacking_beside(state, waiter, kept)
    if names:
        left = total(held(lease) for lease in kept)
        raise DemandTooLargeError(
            f"{_only(waiter.demand.whole, names)} demanded, {_limit(state, waiter, names)} allowed, and "
            f"{_only(left, names)} held by what --clnrm-keep left: remove that with `{sweep}`"
        )
    blocked = [each for each in in_order(state) if _blocks(each)]
    stuck = [
        lease for lease in state.leases if lease.kept or any(_waits_with(each, lease) for each in blocked)
    ]
    in_use = {used for lease in stuck for used in lease.uses}
    stuck += [lease for lease in state.leases if lease.id in in_use]
    if grants(replace(state, leases=tuple(stuck), foreign=NOTHING)):
        return
    holders = [each for each in blocked if any(_waits_with(each, lease) for lease in stuck)]
    if holders and holders[-1].id == waiter.id:
        raise DemandTooLargeError(
            f"{waiter.demand.describe()} demanded, but tests and fixtures that wait for one another hold the "
            "rest: allow more, or run fewer workers"
        )


def _lacking_beside(state: State, waiter: Waiter, leases: Sequence[Lease]) -> tuple[str, ...]:
    """Return of which resources there is too little for *waiter* as long as *leases* are held."""
    run, host = next((each for each in state.runs if each.run == waiter.run), None), host_budget(state)
    if run is None or host is None:
        return ()
    own = total(held_of(lease, waiter.run) for lease in leases)
    everything = total(held(lease) for lease in leases)
    demand = waiter.demand.whole
    return run.budget.exceeded_by(own + demand) or host.exceeded_by(everything + demand)


def _only(demand: Demand, names: tuple[str, ...]) -> str:
    return Demand(**{name: getattr(demand, name) for name in names}).describe()


def _limit(state: State, waiter: Waiter, names: tuple[str, ...]) -> str:
    run = next(each for each in state.runs if each.run == waiter.run)
    return run.budget.describe(names)


def _blocks(waiter: Waiter) -> bool:
    """Tell whether the process of *waiter* does nothing else while it waits."""
    return bool(waiter.wake) and not waiter.wake.endswith(SHARED_WAKEUP)


def _waits_with(waiter: Waiter, lease: Lease) -> bool:
    """Tell whether *lease* stays as long as *waiter*, which blocks its process, has to wait.

    It is of the same process, or its controller has made it for the item that waits in a worker.
    """
    of_item = lease.run == waiter.run and lease.label == item_label(waiter.index)
    return lease.owner == waiter.owner or of_item


def item_label(index: int) -> str:
    """Return the label of a controller's reservation: it knows an item by its index alone."""
    return f"item {index}"


class _Capacity:
    """What is held while grants are being decided."""

    def __init__(self, state: State, host: Budget) -> None:
        self._host = host
        self._held = used(state)
        runs = {run for lease in state.leases for run in (lease.run, *(each.run for each in lease.evicted))}
        self._held_by = {run: total(held_of(lease, run) for lease in state.leases) for run in runs}
        self._active = [each.demand for each in state.leases if each.idle_since_s is None and not each.kept]
        self._idle = sorted(
            (lease for lease in state.leases if lease.idle_since_s is not None),
            # To start a shared service again takes longer than to create a container.
            key=lambda lease: (shared.is_service(lease), lease.idle_since_s, lease.id),
        )
        self._shared = {(lease.run, lease.key) for lease in state.leases if lease.key}

    def demand_of(self, waiter: Waiter) -> Demand:
        """Return what *waiter* demands now: its own, and what it shares and its run does not have yet."""
        new = (each.demand for each in waiter.demand.shares if (waiter.run, each.key) not in self._shared)
        return waiter.demand + total(new)

    def share(self, waiter: Waiter) -> list[Lease]:
        """Keep what *waiter* shares from being taken over, and return which of it was idle."""
        keys = {each.key for each in waiter.demand.shares}
        mine = [lease for lease in self._idle if lease.key in keys and lease.run == waiter.run]
        self._idle = [lease for lease in self._idle if lease not in mine]
        return mine

    def unshare(self, idle: list[Lease]) -> None:
        """Undo :meth:`share`, as the waiter is not granted."""
        self._idle += idle

    def keeps_apart(self, demand: Demand) -> Holdup:
        """Return what must not run beside *demand* and does, "" if nothing does."""
        if any(each.exclusive for each in self._active):
            return "an exclusive scenario"
        if demand.exclusive and self._active:
            return "others, as it is exclusive"
        for group in demand.groups:
            limits = [each.limit for held in self._active for each in held.groups if each.name == group.name]
            if len(limits) >= min([group.limit, *limits]):
                return "others of its group"
        return ""

    def wanted(self, waiter: Waiter) -> list[Lease]:
        """Return the idle leases that *waiter* takes over in any case: whose containers it could use.

        One that wants to be alone takes all.
        """
        if waiter.demand.exclusive:
            return list(self._idle)
        return [lease for lease in self._idle if lease.run == waiter.run and lease.id in waiter.takes]

    def lacks_own(self, run: RunEntry, demand: Demand, evict: list[Lease]) -> bool:
        """Tell whether *run* may not hold *demand* too; append to *evict* what of its own has to go."""
        while over := run.budget.exceeded_by(self._left(self._held_by.get(run.run, NOTHING), evict) + demand):
            victim = self._oldest(over, evict, run.run)
            if victim is None:
                return True
            evict.append(victim)
        return False

    def lacks_host(self, demand: Demand, evict: list[Lease]) -> bool:
        """Tell whether the host's budget lacks *demand*; append to *evict* what has to go for it."""
        while over := self._host.exceeded_by(self._left(self._held, evict) + demand):
            victim = self._oldest(over, evict, None)
            if victim is None:
                return True
            evict.append(victim)
        return False

    def take(self, run: RunEntry, waiter: Waiter, demand: Demand, evict: list[Lease]) -> None:
        """Count *demand* as held by *run* in place of *evict*, whose containers count until they are gone."""
        self._active.append(demand)
        self._shared |= {(waiter.run, each.key) for each in demand.shares}
        self._shared -= {(lease.run, lease.key) for lease in evict}
        for lease in evict:
            self._idle.remove(lease)
        own = [lease for lease in evict if lease.run == run.run]
        held_by = self._held_by.get(run.run, NOTHING)
        self._held_by[run.run] = self._left(held_by, own) + demand.larger(total(map(held, own)))
        self._held = self._left(self._held, evict) + demand.larger(total(map(held, evict)))

    def _oldest(self, over: tuple[str, ...], taken: list[Lease], run: str | None) -> Lease | None:
        for lease in self._idle:
            if lease not in taken and run in {None, lease.run} and held(lease).frees(over):
                return lease
        return None

    @staticmethod
    def _left(before: Demand, evict: list[Lease]) -> Demand:
        return before.minus(total(map(held, evict)))


def _decide(state: State) -> tuple[tuple[Grant, ...], dict[str, Holdup]]:
    """Return the grants, and why each waiter that was looked at has to wait."""
    host = host_budget(state)
    if host is None or not state.waiters:
        return (), {}
    runs = {run.run: run for run in state.runs}
    capacity = _Capacity(state, host)
    given: list[Grant] = []
    why: dict[str, Holdup] = {}
    for waiter in in_order(state):
        run = runs.get(waiter.run)
        if run is None:
            continue
        apart = capacity.keeps_apart(waiter.demand)
        if apart:
            why[waiter.id] = apart
            if apart == "others of its group":
                continue
            break
        demand, idle = capacity.demand_of(waiter), capacity.share(waiter)
        evict = capacity.wanted(waiter)
        lacks_own = capacity.lacks_own(run, demand, evict)
        if capacity.lacks_host(demand, evict):
            why[waiter.id] = "host's budget"
            break
        if lacks_own:
            capacity.unshare(idle)
            why[waiter.id] = "own run's budget"
            continue
        why[waiter.id] = ""
        capacity.take(run, waiter, demand, evict)
        given.append(Grant(waiter=waiter, evict=tuple(lease.id for lease in evict)))
    return tuple(given), why
