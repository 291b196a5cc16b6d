"""How a demand stands in the queue, and the ledger as a whole at one moment: for messages and `status`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pytest_clnrm.errors import LedgerError
from pytest_clnrm.ledger import policy
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.ledger.folder import Folder, unusable
from pytest_clnrm.ledger.state import (
    Lease,
    OwnerEntry,
    RunEntry,
    State,
    TornStateError,
    Waiter,
    decode,
)
from pytest_clnrm.model.demand import Demand


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What is told about a demand that has to wait.

    :param position: 1 for the first in the whole queue.
    :param waiting_s: how long it has waited so far.
    :param used: what is held by all, other ledgers' containers too.
    """

    demand: Demand
    position: int
    waiting_s: float
    holdup: policy.Holdup
    used: Demand

    @classmethod
    def of(cls, state: State, waiter: Waiter, now_s: float) -> Waiting:
        """Return how *waiter* stands in *state*; last, if it is not there."""
        queue = [each.id for each in policy.in_order(state)]
        return cls(
            demand=waiter.demand,
            position=queue.index(waiter.id) + 1 if waiter.id in queue else len(queue) + 1,
            waiting_s=now_s - waiter.since_s,
            holdup=policy.holdup(state, waiter.id),
            used=policy.used(state),
        )

    def describe(self) -> str:
        """Return it as a sentence without its end."""
        return (
            f"waited {self.waiting_s:.1f} s for {self.demand.describe()}; "
            f"held up by {self.holdup or 'nothing'}, position {self.position} in the queue, "
            f"in use: {self.used.describe()}"
        )


OnWait = Callable[[Waiting], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The ledger of one engine at one moment.

    :param taken_s: by the clock of all times in it.
    :param budget: what all living runs together may hold, None without a run.
    :param used: what is held by all, other ledgers' containers too.
    :param waiters: in the order in which they are served.
    """

    engine: str
    ledger_id: str
    taken_s: float
    budget: Budget | None
    used: Demand
    foreign: Demand
    runs: tuple[RunEntry, ...]
    owners: tuple[OwnerEntry, ...]
    leases: tuple[Lease, ...]
    waiters: tuple[Waiter, ...]


def snapshot_of(state: State, ledger_id: str, now_s: float) -> Snapshot:
    """Return the view of *state*."""
    return Snapshot(
        engine=state.engine,
        ledger_id=ledger_id,
        taken_s=now_s,
        budget=policy.host_budget(state),
        used=policy.used(state),
        foreign=state.foreign,
        runs=state.runs,
        owners=state.owners,
        leases=state.leases,
        waiters=policy.in_order(state),
    )


def snapshots(folder: Folder) -> tuple[Snapshot, ...]:
    """Return the ledgers of all engines as they were last written; for a process that owns nothing.

    :raises LedgerError: if a file cannot be read, is not ours, damaged or of a newer format.
    """
    taken = []
    for file in folder.state_files():
        try:
            state = decode(file.read_bytes(), str(file))
        except TornStateError as error:
            raise LedgerError(f"{error}; the next run rebuilds it") from error
        except OSError as error:
            raise unusable(folder.path, error) from error
        taken.append(snapshot_of(state, folder.ledger_id, time.monotonic()))
    return tuple(taken)
