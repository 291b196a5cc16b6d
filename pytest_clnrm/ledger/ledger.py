"""The ledger: reservations across all processes of one user on one machine, for one engine."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from pytest_clnrm.errors import LedgerError, SlotTimeoutError
from pytest_clnrm.ledger import owners, policy, warm
from pytest_clnrm.ledger.budget import Budget, check_possible
from pytest_clnrm.ledger.folder import Folder
from pytest_clnrm.ledger.membership import Membership
from pytest_clnrm.ledger.shared import of_run
from pytest_clnrm.ledger.snapshots import OnWait, Snapshot, Waiting, snapshot_of
from pytest_clnrm.ledger.state import EngineLoad, Lease, OwnerEntry, State, Waiter
from pytest_clnrm.ledger.store import Store
from pytest_clnrm.ledger.wakeups import Clock, SystemClock, Wakeup
from pytest_clnrm.model.demand import NOTHING, Cap, Demand
from pytest_clnrm.util.own_command import own_command, sweep_arguments

_log = logging.getLogger("pytest_clnrm")


class Ledger:
    """One process's access to the ledger of one engine.

    Calls may come from several threads. In a forked child each call raises :class:`LedgerError`.

    :param engine: the engine's identity.
    :param budget: what this process's run may hold.
    :param remove: removes the containers of a lease whose owner died, and those that it had taken over (their
        owners may be alive), and says whether they are gone. It is called without any lock held, perhaps by
        several processes for the same lease. None: another process purges.
    :param engine_load: returns what the engine shows of all ledgers' containers, one entry an owner.
    :param report: called with a sentence when something takes long or had to be repaired.
    :param lock_report_s: after waiting so long for the ledger's lock, its holder is reported.
    :param lock_limit_s: after waiting so long for it, the call fails.
    :param url: of the engine, for the command that messages suggest.
    :param cap: of the engine.
    """

    def __init__(
        self,
        folder: Folder,
        engine: str,
        budget: Budget,
        *,
        remove: Callable[[Lease], bool] | None = None,
        engine_load: Callable[[], Sequence[EngineLoad]] | None = None,
        clock: Clock | None = None,
        boot: str | None = None,
        report: Callable[[str], None] = _log.warning,
        lock_report_s: float = 5.0,
        lock_limit_s: float = 60.0,
        url: str = "",
        cap: Cap | None = None,
    ) -> None:
        self.id = folder.ledger_id
        self.engine = engine
        self._sweep = own_command(sweep_arguments(kept=True, ledger_dir=folder.path, engine=url))
        self._budget = budget
        self._cap = cap
        self._remove = remove
        self._engine_load = engine_load
        self._clock: Clock = clock or SystemClock()
        self._boot = owners.boot_id() if boot is None else boot
        self._store = Store(
            folder, engine, boot=self._boot, report=report, report_s=lock_report_s, limit_s=lock_limit_s
        )
        self._me = Membership(self._store, self._boot, self._clock)
        self._puts_off: int | None = None

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
        """Return the owners whose processes live.

        To find what is left over, ask the engine first and then this: containers that the engine showed and
        that belong to none of these owners may be removed.
        """
        with self._me.change() as draft:
            living = self._store.living(draft.state)
            return tuple(each for each in draft.state.owners if each.owner in living)

    def close(self) -> None:
        """Stop being an owner. Leases that are still held count like those of a process that died."""
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
        :param takes: ids of idle leases of this run that it takes over before any other.
        :param timeout_s: give up after that long; None to wait as long as it takes.
        :param on_wait: called when the waiting begins, and after each wake-up or poll that granted nothing.
        :raises DemandTooLargeError: at once, if the run's budget can never hold it.
        :raises SlotTimeoutError: after *timeout_s*.
        :raises LedgerError: if the ledger cannot be used.
        """
        waiter = self.new_waiter(demand, priority=priority, index=index, label=label, takes=takes)
        wakeup = self._me.new_wakeup(waiter.id)
        try:
            while (lease := self._claim(waiter, wakeup)) is None:
                self._wait(waiter, wakeup, timeout_s, on_wait)
        except BaseException:
            # An interrupt may come after the grant and before the caller knows the lease: undo that, too.
            with suppress(LedgerError):
                self.withdraw(waiter)
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
        waiter = self.new_waiter(demand, priority=priority, index=index, label=label, takes=takes)
        return self._claim(waiter, None)

    def new_waiter(
        self, demand: Demand, *, priority: int, index: int, label: str = "", takes: tuple[str, ...] = ()
    ) -> Waiter:
        """Return a waiter that does not stand in the queue yet: :meth:`claim` puts it there.

        The parameters are those of :meth:`reserve`.

        :raises DemandTooLargeError: if the run's budget can never hold *demand* and all that it shares.
        """
        check_possible(demand.whole, self._budget, self._cap)
        return Waiter(
            id=f"{self.owner_id}-{secrets.token_hex(4)}",
            owner=self.owner_id,
            run=self._me.run,
            demand=demand,
            priority=priority,
            index=index,
            since_s=self._clock.monotonic(),
            label=label,
            takes=takes,
        )

    def claim(self, waiter: Waiter) -> Lease | None:
        """Return the lease for *waiter* if its turn has come; else put it into the queue.

        Ask again when :attr:`wakeup_fd` can be read.
        """
        wakeup = self._me.wakeup
        wakeup.drain()
        return self._claim(waiter, wakeup)

    def waiting(self, waiter: Waiter) -> Waiting:
        """Return how *waiter* stands in the queue, as it was last written."""
        state = self._store.peek() or State(engine=self.engine, boot=self._boot)
        return Waiting.of(state, waiter, self._clock.monotonic())

    def withdraw(self, waiter: Waiter) -> None:
        """Leave the queue; a lease that was granted meanwhile is released.

        It is not released if it took over idle leases: their containers are still there, and are removed when
        this process's leases are purged.
        """
        with self._me.change() as draft:
            lease = self._me.lease(draft.state, waiter.id)
            if lease is not None and not lease.evicted:
                draft.state = policy.without_lease(draft.state, lease.id)
            draft.state = policy.without_waiter(draft.state, waiter.id)
        self._me.ring(draft.state)

    @property
    def wakeup_fd(self) -> int | None:
        """Return what becomes readable when :meth:`claim` may grant something; None: poll instead."""
        return self._me.wakeup.fd

    @property
    def poll_s(self) -> float:
        """Return after how many seconds without a wake-up to ask all the same."""
        return self._me.wakeup.poll_s

    # -- leases

    @contextmanager
    def putting_off(self) -> Iterator[None]:
        """Let what this thread does to its leases in the block be written with the next change of the ledger.

        So giving one back and reserving the next take one change. :meth:`write_put_off` is due soon after it:
        nobody else sees it before. If this process dies first, it counts as what it has not given back.
        """
        self._puts_off = threading.get_ident()
        try:
            yield
        finally:
            self._puts_off = None

    def write_put_off(self) -> None:
        """Write what was put off and is not written yet.

        :raises LedgerError: if it cannot be written; then it stays put off.
        """
        if self._me.has_put_off:
            with self._me.change():
                pass

    def release(self, lease_id: str) -> None:
        """Give a lease of this process back; one that is not its own is left alone."""
        self._update(lease_id, lambda _lease: None)

    def release_all(self, but: Collection[str] = ()) -> None:
        """Give back all leases of this process and of its run itself but those that are kept.

        Their containers are gone.

        :param but: ids of leases that stay.
        """
        with self._me.change() as draft:
            rest = (
                each
                for each in draft.state.leases
                if each.kept
                or each.id in but
                or not (each.owner == self.owner_id or (each.key and each.run == self._me.run))
            )
            draft.state = replace(draft.state, leases=tuple(rest))
        self._me.ring(draft.state)

    def adopt(self, lease_id: str) -> None:
        """Take over a lease that another process of this run holds.

        :raises LedgerError: if there is none of that id in this run.
        """
        with self._me.change() as draft:
            lease = next((each for each in draft.state.leases if each.id == lease_id), None)
            if lease is None or lease.run != self._me.run:
                raise LedgerError(f"the ledger holds no lease {lease_id} of this run")
            draft.state = policy.with_lease(draft.state, replace(lease, owner=self.owner_id))

    def keep(self, lease_id: str) -> None:
        """Let a lease count beyond this process's end, until :meth:`reconcile` misses its containers."""
        self._update(lease_id, lambda lease: replace(lease, kept=True, uses=()))

    def lend(self, lease_id: str, unused: Demand, demand: Demand, *, label: str = "") -> Lease | None:
        """Split a new lease of *demand* off what another lease of this run does not use, whoever holds that.

        :param unused: of the lease *lease_id*.
        :return: None if it is not enough. All of *unused* is given back then: wait for *demand* as for any.
        :raises DemandTooLargeError: if the run's budget can never hold *demand*.
        """
        waiter = self.new_waiter(demand, priority=0, index=0, label=label)
        lease = policy.lease_of(waiter, self._clock.monotonic())
        with self._me.change() as draft:
            if any(each.id == lease_id and each.run == self._me.run for each in draft.state.leases):
                draft.state = policy.lent(draft.state, lease_id, unused, lease)
        self._me.ring(draft.state)
        return self._me.lease(draft.state, lease.id)

    def shared(self, lease_id: str) -> dict[str, Lease]:
        """Return by their keys the leases of the shared containers that a lease uses.

        As long as it does, nobody takes them over.
        """
        state = self._store.peek() or State(engine=self.engine, boot=self._boot)
        uses = next((each.uses for each in state.leases if each.id == lease_id), ())
        return {each.key: each for each in state.leases if each.id in uses}

    def shared_keys(self) -> tuple[str, ...]:
        """Return the keys of the shared containers of this run."""
        state = self._store.peek() or State(engine=self.engine, boot=self._boot)
        return tuple(each.key for each in state.leases if each.key and each.run == self._me.run)

    def take_shared(self, key: str, ended: Collection[str]) -> Lease | None:
        """Take the lease of a shared container that nobody uses, to end it; None if somebody does.

        It is this process's then, and nobody joins it or takes it over.

        :param ended: ids of leases whose items have ended: they use nothing any more.
        """
        with self._me.change() as draft:
            lease = of_run(draft.state, self._me.run, key)
            if lease is None or any(
                lease.id in each.uses and each.id not in ended for each in draft.state.leases
            ):
                return None
            taken = replace(lease, owner=self.owner_id, key="", idle_since_s=None)
            draft.state = policy.with_lease(draft.state, taken)
        return taken

    def is_used_elsewhere(self, lease_id: str) -> bool:
        """Tell whether another process that lives uses a shared container."""
        state = self._store.peek() or State(engine=self.engine, boot=self._boot)
        theirs = {each.owner for each in state.leases if lease_id in each.uses} - {self.owner_id}
        return bool(theirs) and not theirs.isdisjoint(each.owner for each in self.living_owners())

    def give_up(self, lease_id: str, unused: Demand) -> None:
        """Give back a part of a lease of this run, whoever holds it.

        The containers that it took over are known to be gone: its process is about to use its reservation.
        """
        with self._me.change() as draft:
            for lease in draft.state.leases:
                if lease.id == lease_id and lease.run == self._me.run:
                    rest = replace(lease, demand=lease.demand.minus(unused), evicted=())
                    draft.state = policy.with_lease(draft.state, rest)
        self._me.ring(draft.state)

    # -- leases that others may take over

    def mark_idle(self, lease_id: str, containers: Sequence[str], *, first: bool = False) -> None:
        """Let whoever waits take over a lease, whose containers are idle.

        :param containers: their ids; who takes the lease over removes them, or uses them.
        :param first: it is taken over before all other idle leases; else the one that is idle longest is.
        """
        since_s = 0.0 if first else self._clock.monotonic()
        self._update(
            lease_id,
            lambda lease: replace(
                lease, idle_since_s=since_s, containers=tuple(containers), evicted=(), uses=()
            ),
        )

    def settle(self, lease_id: str) -> None:
        """Take note that the containers of the idle leases which a lease took over are gone."""
        self._update(lease_id, lambda lease: replace(lease, evicted=()))

    def leave_evicted(self, lease_id: str) -> None:
        """Let others take over a lease of which some containers that it took over may still be there."""
        self._update(
            lease_id,
            lambda lease: replace(
                lease,
                idle_since_s=0.0,
                uses=(),
                containers=tuple(container for each in lease.evicted for container in each.containers),
            ),
        )

    # -- what outlives its run

    def begin_keeping(self, project: str, keeps_s: float) -> None:
        """Keep what this run has left for the next run of *project*: nothing else belongs to this run now."""
        with self._me.change() as draft:
            draft.state = warm.with_keeper(
                draft.state, self._me.run, keeper=self.owner_id, project=project, keeps_s=keeps_s
            )

    def hand_to_run(self, lease_id: str, to: str, *, owner: str, label: str) -> None:
        """Let an idle lease of this run be the run's own from now on, so that it may outlive it.

        :param to: its id from now on.
        :param owner: which run it is: that which has created its containers.
        """
        with self._me.change() as draft:
            draft.state = warm.with_lease_of_run(
                draft.state, lease_id, to, run=self._me.run, owner=owner, label=label
            )

    def kept_for(self, project: str | None = None) -> tuple[Lease, ...]:
        """Return what living keepers keep for the next run of *project*, or of any; takes no lock."""
        state = self._store.peek() or State(engine=self.engine, boot=self._boot)
        return warm.kept_for(state, project, self._store.living(state))

    def take_kept(self, project: str, origins: Collection[str]) -> tuple[Lease, ...]:
        """Take over what is kept for *project*; what another run has taken over meanwhile is not.

        Leases without a key are of containers that this run has already: to be removed, and given back.

        :param origins: the runs that have started it, of which this process is an owner, too.
        """
        with self._me.change() as draft:
            taken = warm.taken_over(
                draft.state,
                project,
                self._store.living(draft.state),
                run=self._me.run,
                owner=self.owner_id,
                origins=origins,
                now_s=self._clock.monotonic(),
            )
            for each in taken:
                draft.state = policy.with_lease(draft.state, each)
        return taken

    def idle_shared(self) -> tuple[Lease, ...]:
        """Return the shared containers of this run that nobody uses; takes no lock."""
        state = self._store.peek() or State(engine=self.engine, boot=self._boot)
        return tuple(each for each in warm.shared_of(state, self._me.run) if each.idle_since_s is not None)

    def has_shared(self) -> bool:
        """Tell whether there is a shared container of this run."""
        state = self._store.peek() or State(engine=self.engine, boot=self._boot)
        return bool(warm.shared_of(state, self._me.run))

    def is_used(self, owner: str) -> bool:
        """Tell whether something is left of a run, or somebody but keepers goes on with what was.

        :param owner: which owner the run is.
        """
        state = self._store.peek() or State(engine=self.engine, boot=self._boot)
        return warm.is_used(state, owner, self._store.living(state))

    def take_over(self, lease_id: str, *, unused_for_s: float = 0.0) -> Lease | None:
        """Take over a shared container that nobody uses, to remove it; None if somebody does.

        Give the lease back when it is gone.
        """
        now_s = self._clock.monotonic()
        with self._me.change() as draft:
            for each in draft.state.leases:
                since_s = each.idle_since_s if each.id == lease_id else None
                if since_s is not None and now_s - since_s >= unused_for_s:
                    taken = warm.to_be_removed(each, owner=self.owner_id, run=self._me.run, now_s=now_s)
                    draft.state = policy.with_lease(draft.state, taken)
                    return taken
        return None

    # -- cleaning up after others

    def purge(self) -> int:
        """Reconcile, remove what dead owners left, and return how many leases that freed."""
        self.reconcile()
        if self._remove is None:
            return 0
        with self._me.change() as draft:
            draft.state = self._store.without_dead(draft.state)
            dead = self._store.dead_leases(draft.state)
        freed = 0
        for each in dead:
            if not self._remove(each):
                continue
            freed += 1
            with self._me.change() as draft:
                # It may have been adopted meanwhile: then it is no longer the same.
                still = ((lease, lease.id, lease.owner) for lease in draft.state.leases)
                leases = tuple(lease for lease, *what in still if what != [each.id, each.owner])
                draft.state = self._store.without_dead(replace(draft.state, leases=leases))
        self._me.ring(draft.state)
        return freed

    def reconcile(self) -> None:
        """Count what the engine shows and the ledger does not know, and forget what is no longer there.

        Containers of other ledgers count as load; those of this one whose owner is unknown count until
        :meth:`purge` removes them.
        """
        if self._engine_load is None:
            return
        load = self._engine_load()
        self._me.rebuilt = False
        with self._me.change() as draft:
            state = self._store.without_dead(draft.state)
            draft.state = policy.reconciled(state, load, self.id, self._clock.monotonic())
        self._me.ring(draft.state)

    def unblock(self) -> None:
        """Purge or reconcile if something that only these can free may be in the way of a waiter.

        It asks the engine, so it may take long: not for an event loop.
        """
        state = self._store.peek()
        if state is None or not state.waiters:
            return
        if self._remove is not None and self._store.dead_leases(state):
            self.purge()
        elif state.foreign != NOTHING:
            self.reconcile()

    def snapshot(self) -> Snapshot | None:
        """Return the ledger as it was last written, None before the first write; waits for no lock."""
        state = self._store.read()
        return None if state is None else snapshot_of(state, self.id, self._clock.monotonic())

    # -- helpers

    def _claim(self, waiter: Waiter, wakeup: Wakeup | None) -> Lease | None:
        """Return the lease if the turn of *waiter* has come; else queue it, if there is a *wakeup* for it."""
        with self._me.change() as draft:
            # A dead process may be the head, or seem to use up its run's budget.
            living = self._store.without_dead(draft.state) if draft.state.waiters else draft.state
            dropped = living != draft.state
            state = policy.with_waiter(living, replace(waiter, wake=wakeup.name if wakeup else ""))
            lost = self._me.rebuilt and self._engine_load is not None
            grant = None if lost else policy.grant(state, waiter.id)
            draft.state = living
            if grant is not None:
                draft.state = policy.with_grant(state, grant, self._clock.monotonic())
            elif wakeup is not None:
                # Listening begins before the waiter can be seen: no wake-up is missed.
                wakeup.listen()
                draft.state = state
                policy.check_can_be_granted(state, waiter, self._sweep)
        if lost:
            # Nothing is granted before the engine has shown what the rebuilt state may lack.
            self.reconcile()
            return self._claim(waiter, wakeup)
        if dropped:
            # Others that the dead processes held up may have their turn, too.
            self._me.ring(draft.state)
        return None if grant is None else self._me.lease(draft.state, waiter.id)

    def _update(self, lease_id: str, change: Callable[[Lease], Lease | None]) -> None:
        """Change a lease of this process, or give it back for None; one that is not its own is left alone."""

        def changed(state: State) -> State:
            lease = self._me.lease(state, lease_id)
            if lease is None:
                return state
            new = change(lease)
            return policy.without_lease(state, lease_id) if new is None else policy.with_lease(state, new)

        if self._puts_off == threading.get_ident():
            self._me.put_off(changed)
            return
        with self._me.change() as draft:
            draft.state = changed(draft.state)
        self._me.ring(draft.state)

    def _wait(self, waiter: Waiter, wakeup: Wakeup, timeout_s: float | None, on_wait: OnWait | None) -> None:
        """Wait for the next wake-up, or until it is time to look without one.

        :raises SlotTimeoutError: if *timeout_s* is over.
        """
        waiting = self.waiting(waiter)
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
            self.unblock()
