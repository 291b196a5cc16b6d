"""What tests do to a ledger: queue up without asking, and purge in another way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pytest_clnrm.ledger import policy
from pytest_clnrm.ledger.ledger import Ledger
from pytest_clnrm.ledger.state import Lease, Waiter
from pytest_clnrm.model.demand import Demand

__all__ = ["enqueue", "purge"]


def enqueue(ledger: Ledger, demand: Demand, *, priority: int, index: int, label: str = "") -> Waiter:
    """Queue up without asking whether the turn has come."""
    waiter = ledger.new_waiter(demand, priority=priority, index=index, label=label)
    with ledger._me.change() as draft:
        draft.state = policy.with_waiter(draft.state, replace(waiter, wake=ledger._me.wakeup.name))
    return waiter


def purge(ledger: Ledger, remove: Callable[[Lease], bool]) -> int:
    """Purge once with *remove*, whatever the ledger was given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "_remove", remove)
        return ledger.purge()
