"""This process as an owner in the ledger: how it joins a run, changes the state and wakes others."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from pytest_clnrm.errors import LedgerError
from pytest_clnrm.ledger import owners, policy
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.ledger.state import Lease, OwnerEntry, RunEntry, State
from pytest_clnrm.ledger.store import Draft, Store
from pytest_clnrm.ledger.wakeups import Clock, Wakeup, ring

Change: TypeAlias = Callable[[State], State]


class Membership:
    """An owner from :meth:`join` to :meth:`leave`.

    ``rebuilt`` is set when a change found the state damaged or lost and rebuilt it.

    :param boot: id of this boot of the machine.
    """

    def __init__(self, store: Store, boot: str, clock: Clock) -> None:
        self._store = store
        self._boot = boot
        self._clock = clock
        self._owner: owners.Owner | None = None
        self._wakeup: Wakeup | None = None
        self._put_off: deque[Change] = deque()
        self.run = ""
        self.rebuilt = False

    @property
    def id(self) -> str:
        """Return the owner's id.

        :raises LedgerError: without a run, and in a forked child.
        """
        if self._owner is None:
            raise LedgerError("no run is open in the ledger")
        self._owner.check_process()
        return self._owner.id

    @property
    def wakeup(self) -> Wakeup:
        """Return where the wake-ups of queued waiters arrive.

        :raises LedgerError: without a run.
        """
        if self._wakeup is None:
            raise LedgerError("no run is open in the ledger")
        return self._wakeup

    def new_wakeup(self, name: str) -> Wakeup:
        """Return another FIFO for wake-ups of this owner, which does not exist before somebody listens."""
        return Wakeup(self._fifo(self.id, name))

    def join(self, run: str, budget: Budget, started_s: float | None) -> None:
        """Become an owner of *run*; the first owner decides its budget and when it began.

        :raises LedgerError: if it is one already, or the ledger cannot be used.
        """
        if self._owner is not None:
            raise LedgerError(f"the run {self.run} is open already")
        now_s = self._clock.monotonic()
        try:
            with self._store.change(now_s) as draft:
                state = self._store.without_dead(draft.state)
                self._store.sweep_files(state)
                self._owner = owner = owners.Owner(self._store.owners)
                self._wakeup = Wakeup(self._store.owners / f"{owner.id}{policy.SHARED_WAKEUP}")
                self._wakeup.listen()
                if all(each.run != run for each in state.runs):
                    entry = RunEntry(
                        run=run, started_s=now_s if started_s is None else started_s, budget=budget
                    )
                    state = replace(state, runs=(*state.runs, entry))
                me = OwnerEntry(owner=owner.id, run=run, pid=owner.pid, boot=self._boot)
                draft.state = replace(state, owners=(*state.owners, me))
        except BaseException:
            self._let_go()
            raise
        self.run = run

    def leave(self) -> None:
        """Stop being an owner; in a forked child only forget it."""
        mine = self._owner is not None and self._owner.is_this_process()
        self._let_go()
        if mine:
            with self._store.change(self._clock.monotonic()) as draft:
                draft.state = self._store.without_dead(draft.state)
            self.ring(draft.state)

    def put_off(self, change: Change) -> None:
        """Let *change* be made, and those whose turn it is then be woken, with the next :meth:`change`.

        It stays for another one if that is not written.
        """
        self._put_off.append(change)

    @property
    def has_put_off(self) -> bool:
        """Tell whether there is something that was put off and is not written yet."""
        return bool(self._put_off)

    @contextlib.contextmanager
    def change(self) -> Iterator[Draft]:
        """Hold the ledger's lock and yield the state to be changed, with what was put off done to it.

        :raises LedgerError: if this process is no owner, or its entry is gone with the folder's files.
        """
        me = self.id
        made: list[Change] = []
        try:
            with self._store.change(self._clock.monotonic()) as draft:
                self._check_is_owner(me, draft.state)
                self.rebuilt = self.rebuilt or bool(draft.rebuilt)
                while self._put_off:
                    made.append(self._put_off.popleft())
                    draft.state = made[-1](draft.state)
                yield draft
        except BaseException:
            self._put_off.extendleft(reversed(made))
            raise
        if made:
            # All is written: who cannot be woken now looks by itself.
            with suppress(LedgerError):
                self.ring(draft.state)

    def _check_is_owner(self, me: str, state: State) -> None:
        if all(each.owner != me for each in state.owners):
            raise LedgerError(
                f"the ledger's folder {self._store.folder.path} was emptied while it was in use; "
                "end the runs that use it and start again"
            )

    def ring(self, state: State) -> None:
        """Wake all whose turn it is in *state*; if one does not listen, drop the dead and wake the next."""
        while not self._all_reached(state):
            with self._store.change(self._clock.monotonic()) as draft:
                living = self._store.without_dead(draft.state)
                if living == draft.state:
                    return
                draft.state = state = living

    def lease(self, state: State, lease_id: str) -> Lease | None:
        """Return this owner's lease of that id, None if it is not, or no longer, its own."""
        me = self.id
        return next((each for each in state.leases if each.id == lease_id and each.owner == me), None)

    def _all_reached(self, state: State) -> bool:
        reached = [ring(self._store.owners / each.waiter.wake) for each in policy.grants(state)]
        return all(reached)

    def _fifo(self, owner: str, name: str) -> Path:
        return self._store.owners / f"{owner}.{name}.fifo"

    def _let_go(self) -> None:
        if self._wakeup is not None:
            self._wakeup.close()
        if self._owner is not None:
            self._owner.close()
        self._owner = self._wakeup = None
        self._put_off.clear()
