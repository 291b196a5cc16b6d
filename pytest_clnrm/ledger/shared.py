"""Leases of containers that a whole run shares: who owns them, and when they are idle.

Such a lease belongs to its run: it is alive as long as any process of the run is. It is made with the first
lease that uses it, in one change of the ledger, and counted once. While no lease uses it, it is idle: whoever
waits takes it over, and its next user starts the container anew. So nobody ever waits for a shared container
that somebody holds while he waits: what is in use can be joined, what is not can be taken over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_clnrm.ledger.state import Lease, OwnerEntry, State
    from pytest_clnrm.model.demand import Share

SHARED = "shared"
"""What stands for the worker in names and labels of what belongs to a whole run."""


IDLE = "idle "
"""With which the keys of leases begin that are a run's, but of a container which scenarios use in turn."""


def is_service(lease: Lease) -> bool:
    """Tell whether a lease is of a shared service."""
    return bool(lease.key) and not lease.key.startswith(IDLE)


def run_owner(run: str) -> str:
    """Return the id of the owner that a run itself is."""
    return f"{SHARED}-{run}"


def with_runs(owners: Iterable[OwnerEntry]) -> set[str]:
    """Return the ids of *owners*, and of their runs: a run lives as long as one of its processes does."""
    return {each for owner in owners for each in (owner.owner, run_owner(owner.run))}


def lease_id(run: str, share: Share, waiter_id: str) -> str:
    """Return the id of the lease of a shared container that the waiter *waiter_id* is the first to use."""
    return f"{run_owner(run)}-{share.key}{waiter_id.rpartition('-')[2]}"


def run_of(owner: str) -> str:
    """Return the run that an owner is: what :func:`run_owner` gave its id for."""
    return owner.removeprefix(f"{SHARED}-")


def container_name(lease: str, service: str) -> str:
    """Return the name of a shared container. It is known before there is one, and no other lease's has it."""
    owner, _, number = lease.rpartition("-")
    return f"clnrm-{run_of(owner)}-{SHARED}-{number}-{service}"


def of_run(state: State, run: str, key: str) -> Lease | None:
    """Return the lease of a run's shared container, None if there is none."""
    return next((each for each in state.leases if each.key == key and each.run == run), None)


def with_idle_noted(state: State, now_s: float) -> State:
    """Return *state* with each shared container idle that no lease uses, and no other one."""
    if not any(each.key for each in state.leases):
        return state
    in_use = {used for each in state.leases for used in each.uses}

    def noted(lease: Lease) -> Lease:
        if not lease.key or (lease.idle_since_s is None) is (lease.id in in_use):
            return lease
        return replace(lease, idle_since_s=None if lease.id in in_use else now_s)

    return replace(state, leases=tuple(map(noted, state.leases)))
