"""The ledger: reservations across all processes of one user on one machine, for one engine."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from pytest_clnrm.errors import LedgerError, SlotTimeoutError
from pytest_clnrm.ledger import owners, policy
from pytest_clnrm.ledger.budget import Budget, Demand, check_possible
from pytest_clnrm.ledger.folder import Folder
from pytest_clnrm.ledger.lease import DeadLease, Found, Lease, Ticket
from pytest_clnrm.ledger.membership import Membership
from pytest_clnrm.ledger.snapshots import OnWait, Snapshot, Waiting, snapshot_of
from pytest_clnrm.ledger.state import LeaseEntry, OwnerEntry, State, WaiterEntry
from pytest_clnrm.ledger.store import Draft, Store
from pytest_clnrm.ledger.upkeep import reconciled
from pytest_clnrm.ledger.wakeups import Clock, SystemClock, Wakeup
from pytest_clnrm.util.own_command import own_command, sweep_arguments

_log = logging.getLogger("pytest_clnrm")


class Ledger:
    """One process's access to the ledger of one engine.

    Calls may come from several threads. In a forked child each call raises :class:`LedgerError`.

    :param engine: the engine's identity.
    :param budget: what this process's run may hold.
    :param remove: removes a dead owner's containers and says whether they are gone; called without any lock
        held, perhaps by several processes for the same lease. None: somebody else purges.
    :param engine_load: returns what the engine shows of all ledgers' containers, one entry an owner.
    :param report: called with a sentence when something takes long or had to be repaired.
    """

    def __init__(
        self,
        folder: Folder,
        engine: str,
        budget: Budget,
        *,
        remove: Callable[[DeadLease], bool] | None = None,
        engine_load: Callable[[], Sequence[Found]] | None = None,
        clock: Clock | None = None,
        boot: str | None = None,
        report: Callable[[str], None] = _log.warning,
        lock_report_s: float = 5.0,
        lock_limit_s: float = 60.0,
        url: str = "",
    ) -> None:
        self.id = folder.ledger_id
        self.engine = engine
        self._sweep = own_command(sweep_arguments(kept=True, ledger_dir=folder.path, engine=url))
        self._budget = budget
        self._remove = remove
        self._engine_load = engine_load
        self._clock: Clock = clock or SystemClock()
        self._boot = owners.boot_id() if boot is None else boot
        self._store = Store(
            folder, engine, boot=self._boot, report=report, report_s=lock_report_s, limit_s=lock_limit_s
        )
        self._me = Membership(self._store, self._boot, self._clock)

    # -- being an owner

    def open_run(self, run: str, *, started_s: float | None = None) -> None:
        """Become an owner of the run *run*; its other processes do the same.

        What dead owners left is purged and the engine asked what it holds, where the ledger can do so.

        :param started_s: when the run began, by the ledger's clock; the first process of the run decides.
        :raises LedgerError: if the ledger cannot be used.
        """
        self._me.join(run, self._budget, started_s)
        self.purge()

    @property
    def owner_id(self) -> str:
        """Return this owner's id, for labels.

        :raises LedgerError: before :meth:`open_run`, after :meth:`close`, and in a forked child.
        """
        return self._me.id

    def living_owners(self) -> tuple[OwnerEntry, ...]:
        """Return who lives: what the engine showed before, and is of none of them, is to be swept."""
        with self._me.change() as draft:
            living = self._store.living(draft.state)
            return tuple(each for each in draft.state.owners if each.owner in living)

    def close(self) -> None:
        """Stop being an owner. Leases that are still held count as a dead owner's."""
        self._me.leave()

    def __enter__(self) -> Ledger:  # noqa: PYI034 (typing.Self needs Python 3.11)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- reserving

    def reserve(
        self,
        demand: Demand,
        *,
        priority: int,
        index: int,
        label: str = "",
        takes: tuple[str, ...] = (),
        timeout_s: float | None = None,
        on_wait: OnWait | None = None,
    ) -> Lease:
        """Wait for *demand* and return the lease.

        :param priority: smaller goes first.
        :param index: place in the run's collection.
        :param takes: ids of idle leases of this run whose room it takes before any other's.
        :param timeout_s: give up after that long; None to wait as long as it takes.
        :param on_wait: called when the waiting begins, and whenever it goes on after a look.
        :raises DemandTooLargeError: at once, if the run's budget can never hold it.
        :raises SlotTimeoutError: after *timeout_s*.
        :raises LedgerError: if the ledger cannot be used.
        """
        ticket = self.ticket(demand, priority=priority, index=index, label=label, takes=takes)
        wakeup = self._me.new_wakeup(ticket.id)
        try:
            while (lease := self._claim(ticket, wakeup)) is None:
                self._wait(ticket, wakeup, timeout_s, on_wait)
        except BaseException:
            # Also undoes a grant that an interrupt has kept from the caller.
            with suppress(LedgerError):
                self.withdraw(ticket)
            raise
        finally:
            wakeup.close()
        return lease

    def try_reserve(
        self, demand: Demand, *, priority: int, index: int, label: str = "", takes: tuple[str, ...] = ()
    ) -> Lease | None:
        """Return a lease if *demand* can be granted now and nobody before it waits; else None.

        :raises DemandTooLargeError: if the run's budget can never hold it.
        """
        return self._claim(
            self.ticket(demand, priority=priority, index=index, label=label, takes=takes), None
        )

    def ticket(
        self, demand: Demand, *, priority: int, index: int, label: str = "", takes: tuple[str, ...] = ()
    ) -> Ticket:
        """Return a ticket that is not queued yet: :meth:`claim` does that.

        :param takes: as :meth:`reserve` has it.

        :raises DemandTooLargeError: if the run's budget can never hold it.
        """
        check_possible(demand, self._budget)
        return Ticket(
            id=f"{self.owner_id}-{secrets.token_hex(4)}",
            demand=demand,
            priority=priority,
            index=index,
            label=label,
            since_s=self._clock.monotonic(),
            takes=takes,
        )

    def claim(self, ticket: Ticket) -> Lease | None:
        """Return the lease for *ticket* if its turn has come; else queue it.

        Ask again when :attr:`wakeup_fd` can be read.
        """
        wakeup = self._me.wakeup
        wakeup.drain()
        return self._claim(ticket, wakeup)

    def waiting(self, ticket: Ticket) -> Waiting:
        """Return how a queued *ticket* stands, as it was last written."""
        state = self._store.peek() or State(engine=self.engine, boot=self._boot)
        return Waiting.of(state, ticket.id, ticket.demand, self._clock.monotonic() - ticket.since_s)

    def withdraw(self, ticket: Ticket) -> None:
        """Leave the queue; a lease that this process was granted for *ticket* is released.

        It is not released if it took idle leases' room: their containers are still there, and are removed by
        the purge of this process's leases.
        """
        with self._me.change() as draft:
            entry = self._me.lease(draft.state, ticket.id)
            leases = draft.state.leases
            if entry is not None and not entry.evicted:
                leases = tuple(each for each in leases if each != entry)
            waiters = tuple(each for each in draft.state.waiters if each.ticket != ticket.id)
            draft.state = replace(draft.state, waiters=waiters, leases=leases)
        self._me.ring(draft.state)

    @property
    def wakeup_fd(self) -> int | None:
        """Return what becomes readable when a queued ticket may have its turn; None: poll instead."""
        return self._me.wakeup.fd

    @property
    def poll_s(self) -> float:
        """Return after how many seconds without a wake-up to ask all the same."""
        return self._me.wakeup.poll_s

    def adopt(self, lease_id: str) -> Lease:
        """Take over a lease that another process of this run holds.

        :raises LedgerError: if there is none of that id in this run.
        """
        with self._me.change() as draft:
            entry = next((each for each in draft.state.leases if each.lease == lease_id), None)
            if entry is None or entry.run != self._me.run:
                raise LedgerError(f"the ledger holds no lease {lease_id} of this run")
            self._put(draft, replace(entry, owner=self.owner_id))
        return Lease(id=lease_id, demand=entry.demand, evicted=entry.evicted, ledger=self)

    def release(self, lease_id: str) -> None:
        """Give a lease of this process back; one that is not its own is left alone."""
        with self._me.change() as draft:
            if self._me.lease(draft.state, lease_id) is None:
                return
            draft.state = replace(
                draft.state, leases=tuple(each for each in draft.state.leases if each.lease != lease_id)
            )
        self._me.ring(draft.state)

    def release_all(self) -> None:
        """Give all leases of this process back but those that are kept: what was under them is gone."""
        with self._me.change() as draft:
            draft.state = replace(
                draft.state,
                leases=tuple(each for each in draft.state.leases if each.owner != self.owner_id or each.kept),
            )
        self._me.ring(draft.state)

    def lend(self, lease_id: str, unused: Demand, demand: Demand, *, label: str = "") -> Lease | None:
        """Take a lease of *demand* out of what another lease of this run does not use, whoever holds that.

        :param unused: of the lease *lease_id*.
        :return: None if it is not enough. All of *unused* is given back then: wait for *demand* as for any.
        :raises DemandTooLargeError: if the run's budget can never hold *demand*.
        """
        ticket = self.ticket(demand, priority=0, index=0, label=label)
        entry = LeaseEntry(
            lease=ticket.id,
            owner=self.owner_id,
            run=self._me.run,
            demand=demand,
            granted_s=self._clock.monotonic(),
            label=label,
        )
        with self._me.change() as draft:
            if any(each.lease == lease_id and each.run == self._me.run for each in draft.state.leases):
                draft.state = policy.lent(draft.state, lease_id, unused, entry)
        self._me.ring(draft.state)
        if self._me.lease(draft.state, ticket.id) is None:
            return None
        return Lease(id=ticket.id, demand=demand, ledger=self)

    # -- leases that others may take

    def mark_idle(self, lease_id: str, containers: Sequence[str], *, first: bool = False) -> None:
        """Offer a lease's room to whoever waits.

        :param containers: ids of its containers, which are removed, or used, by the one who takes it.
        :param first: its room is taken before that of any other idle lease; else the oldest is.
        """
        with self._me.change() as draft:
            entry = self._me.lease(draft.state, lease_id)
            if entry is None:
                return
            since_s = 0.0 if first else self._clock.monotonic()
            self._put(draft, replace(entry, idle_since_s=since_s, containers=tuple(containers), evicted=()))
        self._me.ring(draft.state)

    def settle(self, lease_id: str) -> None:
        """Take note that the containers of the idle leases which a lease took over are gone."""
        with self._me.change() as draft:
            entry = self._me.lease(draft.state, lease_id)
            if entry is None or not entry.evicted:
                return
            self._put(draft, replace(entry, evicted=()))
        self._me.ring(draft.state)

    def leave_evicted(self, lease_id: str) -> None:
        """Offer a lease's room, whose containers of the idle leases that it took over may still be there."""
        with self._me.change() as draft:
            entry = self._me.lease(draft.state, lease_id)
            if entry is None:
                return
            containers = tuple(name for each in entry.evicted for name in each.containers)
            self._put(draft, replace(entry, idle_since_s=0.0, containers=containers))
        self._me.ring(draft.state)

    def keep(self, lease: Lease) -> None:
        """Let a lease count beyond this process's end, until :meth:`reconcile` misses its containers."""
        with self._me.change() as draft:
            entry = self._me.lease(draft.state, lease.id)
            if entry is not None:
                self._put(draft, replace(entry, kept=True))

    # -- cleaning up after others

    def purge(self, remove: Callable[[DeadLease], bool] | None = None) -> int:
        """Reconcile, remove what dead owners left, and return how many leases that freed.

        :param remove: instead of the ledger's own.
        """
        self.reconcile()
        remove = remove or self._remove
        if remove is None:
            return 0
        with self._me.change() as draft:
            draft.state = self._store.without_dead(draft.state)
            dead = self._store.dead_leases(draft.state)
        freed = 0
        for each in dead:
            gone = remove(
                DeadLease(
                    id=each.lease, owner=each.owner, run=each.run, label=each.label, evicted=each.evicted
                )
            )
            if not gone:
                continue
            freed += 1
            with self._me.change() as draft:
                # It may have been adopted meanwhile: then it is no longer the same.
                leases = tuple(lease for lease in draft.state.leases if lease != each)
                draft.state = self._store.without_dead(replace(draft.state, leases=leases))
        self._me.ring(draft.state)
        return freed

    def reconcile(self) -> None:
        """Count what the engine shows and the ledger does not know, and forget what is no longer there.

        Containers of other ledgers count as load; those of this one whose owner is unknown wait for
        :meth:`purge`.
        """
        if self._engine_load is None:
            return
        found = self._engine_load()
        self._me.rebuilt = False
        with self._me.change() as draft:
            state = self._store.without_dead(draft.state)
            draft.state = reconciled(state, found, self.id, self._clock.monotonic())
        self._me.ring(draft.state)

    def tend(self) -> None:
        """Purge and reconcile if something that only these can free is in the way of a waiter.

        It asks the engine, so it may take long: not for an event loop.
        """
        state = self._store.peek()
        if state is None or not state.waiters:
            return
        if self._remove is not None and self._store.dead_leases(state):
            self.purge()
        elif state.foreign != Demand():
            self.reconcile()

    def snapshot(self) -> Snapshot | None:
        """Return the ledger as it was last written, None before the first write; waits for no lock."""
        state = self._store.read()
        return None if state is None else snapshot_of(state, self.id, self._clock.monotonic())

    # -- helpers

    def _with_waiter(self, state: State, ticket: Ticket, wakeup: Wakeup | None) -> State:
        """Return *state* with *ticket* in its queue, if it is not, or no longer, there."""
        if any(each.ticket == ticket.id for each in state.waiters):
            return state
        waiter = WaiterEntry(
            ticket=ticket.id,
            owner=self.owner_id,
            run=self._me.run,
            demand=ticket.demand,
            priority=ticket.priority,
            index=ticket.index,
            since_s=ticket.since_s,
            wake=wakeup.name if wakeup else "",
            label=ticket.label,
            takes=ticket.takes,
        )
        return replace(state, waiters=(*state.waiters, waiter))

    def _claim(self, ticket: Ticket, wakeup: Wakeup | None) -> Lease | None:
        """Return the lease if the turn of *ticket* has come; else queue it, if there is a *wakeup* for it."""
        with self._me.change() as draft:
            # A dead process may be the head, or seem to use up its run's budget.
            living = self._store.without_dead(draft.state) if draft.state.waiters else draft.state
            buried = living != draft.state
            state = self._with_waiter(living, ticket, wakeup)
            lost = self._me.rebuilt and self._engine_load is not None
            given = None if lost else policy.grant(state, ticket.id)
            draft.state = living
            if given is not None:
                draft.state = policy.applied(state, given, self._clock.monotonic())
            elif wakeup is not None:
                # Listening begins before the waiter can be seen: no wake-up is missed.
                wakeup.listen()
                draft.state = state
                policy.check_hope(state, ticket.id, self._sweep)
        if lost:
            # Nothing is granted before the engine has shown what the rebuilt state may lack.
            self.reconcile()
            return self._claim(ticket, wakeup)
        if buried:
            # What the dead held up may be the turn of others too.
            self._me.ring(draft.state)
        if given is None:
            return None
        entry = next(each for each in draft.state.leases if each.lease == ticket.id)
        return Lease(id=ticket.id, demand=ticket.demand, evicted=entry.evicted, ledger=self)

    @staticmethod
    def _put(draft: Draft, entry: LeaseEntry) -> None:
        leases = tuple(entry if each.lease == entry.lease else each for each in draft.state.leases)
        draft.state = replace(draft.state, leases=leases)

    def _wait(self, ticket: Ticket, wakeup: Wakeup, timeout_s: float | None, on_wait: OnWait | None) -> None:
        """Wait for the next wake-up, or for the time to look without one.

        :raises SlotTimeoutError: if *timeout_s* is over.
        """
        waiting = self.waiting(ticket)
        if on_wait is not None:
            on_wait(waiting)
        left_s = wakeup.poll_s
        if timeout_s is not None:
            left_s = min(left_s, timeout_s - waiting.waiting_s)
            if left_s <= 0:
                raise SlotTimeoutError(f"{waiting.describe()} (--clnrm-slot-timeout)")
        if self._clock.wait(wakeup.fd, left_s):
            wakeup.drain()
        else:
            self.tend()
