"""Bringing the ledger in line with what the engine shows: a pure function over the state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_clnrm.ledger.budget import total
from pytest_clnrm.ledger.lease import Found
from pytest_clnrm.ledger.state import LeaseEntry, State


def reconciled(state: State, found: Sequence[Found], ledger_id: str, now_s: float) -> State:
    """Return *state* with what the engine holds and nobody has reserved, and without what is gone.

    Containers of other ledgers count as load. Those of this ledger whose owner is not known become a lease
    of that owner, who is dead, so that a purge removes them; or a kept lease. Owners that are known are
    left alone: since the engine was asked they may have reserved and released.
    """
    ours = {(each.owner, each.kept): each for each in found if each.ledger == ledger_id}
    leases = [
        lease
        for lease in state.leases
        if (lease.owner, lease.kept) in ours or not (lease.kept or lease.lease == _stray(lease.owner))
    ]
    living = {owner.owner for owner in state.owners}
    known = {(lease.owner, lease.kept) for lease in leases}
    leases += [
        LeaseEntry(
            lease=_stray(owner, kept=kept),
            owner=owner,
            run="",
            demand=each.demand,
            granted_s=now_s,
            kept=kept,
        )
        for (owner, kept), each in ours.items()
        if owner not in living and (owner, kept) not in known
    ]
    foreign = total(each.demand for each in found if each.ledger != ledger_id)
    return replace(state, leases=tuple(leases), foreign=foreign)


def _stray(owner: str, *, kept: bool = False) -> str:
    return f"stray-{'kept-' if kept else ''}{owner}"
