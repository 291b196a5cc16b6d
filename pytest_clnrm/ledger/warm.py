"""Shared containers that outlive their run: whose they are then, and how the next run takes them over.

They stay what they are in the ledger: leases of the run that has started them, which is an owner as long as
one of its processes lives. A keeper is such a process: it becomes an owner of the run at its end. The next
run of the same project becomes an owner of it too, and then moves the leases to itself in one change, from
which on they count within its own budget. So there is no moment in which they are nobody's, two runs never
have the same one, and if whoever has them dies they are a dead owner's.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_clnrm.ledger import shared
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.ledger.state import Evicted, Lease
from pytest_clnrm.model.demand import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_clnrm.ledger.state import RunEntry, State

NO_BUDGET = Budget(containers=0, memory_bytes=0, cpus=0.0, gpus=0)
"""Of who reserves nothing: it leaves that of the others as it is."""


def with_keeper(state: State, run: str, *, keeper: str, project: str, keeps_s: float) -> State:
    """Return *state* in which a run is over, and one of its owners keeps what it has left."""

    def kept(entry: RunEntry) -> RunEntry:
        if entry.run != run:
            return entry
        return replace(entry, budget=NO_BUDGET, keeper=keeper, project=project, keeps_s=keeps_s)

    return replace(state, runs=tuple(map(kept, state.runs)))


def shared_of(state: State, run: str) -> tuple[Lease, ...]:
    """Return the leases of a run's shared containers."""
    return tuple(each for each in state.leases if each.key and each.run == run)


def with_lease_of_run(state: State, lease_id: str, to: str, *, run: str, owner: str, label: str) -> State:
    """Return *state* in which an idle lease of a run is the run's own, under the id *to*.

    :param owner: which run it is: that which has created its containers.
    """

    def handed(lease: Lease) -> Lease:
        if lease.id != lease_id or lease.run != run or lease.idle_since_s is None:
            return lease
        # Of no two containers of its kind one is as good as the other: each has a key of its own.
        return replace(lease, id=to, owner=owner, key=f"{shared.IDLE}{to}", label=label)

    return replace(state, leases=tuple(map(handed, state.leases)))


def is_used(state: State, owner: str, living: Collection[str]) -> bool:
    """Tell whether something is left of a run, or somebody but keepers goes on with what was.

    An idle container that another run has taken up is under a lease of its own there: that run is one of the
    owners of the run which has left it.

    :param owner: which owner the run is.
    """
    keepers = {each.keeper for each in state.runs}
    keeping = {each.pid for each in state.owners if each.owner in keepers}
    return any(each.owner == owner for each in state.leases) or any(
        each.run == shared.run_of(owner) and each.owner in living and each.pid not in keeping
        for each in state.owners
    )


def kept_for(state: State, project: str | None, living: Collection[str]) -> tuple[Lease, ...]:
    """Return what living keepers keep for the next run of a project, or of any."""
    keepers = [each for each in state.runs if each.keeper in living and project in {None, each.project}]
    return tuple(lease for keeper in keepers for lease in shared_of(state, keeper.run))


def origins_of(leases: Iterable[Lease]) -> set[str]:
    """Return the runs that have started what *leases* are for."""
    return {shared.run_of(each.owner) for each in leases}


def taken_over(
    state: State,
    project: str,
    living: Collection[str],
    *,
    run: str,
    owner: str,
    origins: Collection[str],
    now_s: float,
) -> tuple[Lease, ...]:
    """Return the leases that the run *run* takes over from keepers, as they are then.

    What the run has already, or gets from another keeper, is to be removed (:func:`to_be_removed`).

    :param owner: the process that does it.
    :param origins: of which runs it is an owner, too.
    """
    taken: list[Lease] = []
    keys = {each.key for each in shared_of(state, run)}
    for each in kept_for(state, project, living):
        if shared.run_of(each.owner) not in origins:
            continue
        if each.key not in keys:
            keys.add(each.key)
            taken.append(replace(each, run=run))
        else:
            taken.append(to_be_removed(each, owner=owner, run=run, now_s=now_s))
    return tuple(taken)


def to_be_removed(lease: Lease, *, owner: str, run: str, now_s: float) -> Lease:
    """Return the lease of the process that removes an idle container; if it dies, whoever purges it does."""
    gone = Evicted(
        id=lease.id, owner=lease.owner, run=lease.run, demand=lease.demand, containers=lease.containers
    )
    return Lease(
        id=lease.id, owner=owner, run=run, demand=NOTHING, granted_s=now_s, label=lease.label, evicted=(gone,)
    )


def record_file(folder: Path, lease_id: str) -> Path:
    """Return where it stands what the container of a lease is.

    :param folder: :meth:`~pytest_clnrm.ledger.folder.Folder.warm`.
    """
    return folder / f"{lease_id}.json"


def recorded_ids(folder: Path, run: str) -> set[str]:
    """Return the ids of containers and networks that were started by a run and have outlived one."""
    ids: set[str] = set()
    for file in folder.glob(f"{shared.run_owner(run)}-*.json"):
        # One that is gone or damaged belongs to a container that is no more used.
        with suppress(OSError, ValueError, LookupError, TypeError):
            record = json.loads(file.read_bytes())
            ids |= {str(record["id"]), *map(str, record["network"][:1])}
    return ids


def forget_records(folder: Path, leases: Iterable[Lease]) -> None:
    """Remove the records of containers that no lease is for any more.

    :param leases: all that there are.
    """
    known = {each.id for each in leases}
    for file in folder.glob("*.json"):
        if file.stem not in known:
            file.unlink(missing_ok=True)
