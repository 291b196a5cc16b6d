"""A waiter in a ledger's queue, for tests of what comes of it."""

from __future__ import annotations

from pytest_clnrm.ledger.budget import Demand
from pytest_clnrm.ledger.lease import Ticket
from pytest_clnrm.ledger.ledger import Ledger

__all__ = ["enqueue"]


def enqueue(ledger: Ledger, demand: Demand, *, priority: int, index: int, label: str = "") -> Ticket:
    """Queue up without asking whether the turn has come."""
    ticket = ledger.ticket(demand, priority=priority, index=index, label=label)
    with ledger._me.change() as draft:
        draft.state = ledger._with_waiter(draft.state, ticket, ledger._me.wakeup)
    return ticket
