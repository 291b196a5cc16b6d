"""What a process holds in the ledger: of the item that runs, of fixtures, and what it owes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from pytest_clnrm.errors import LedgerError
from pytest_clnrm.model.demand import NOTHING, Demand
from pytest_clnrm.pool.idle_leases import Leftover
from pytest_clnrm.runtime.holdings import Current, Holdings

ONE = Demand(containers=1)


class Book:
    """A ledger that writes down what is asked of it, and fails while it is ``closed``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.closed = False

    def __getattr__(self, name: str) -> Any:
        def ask(lease: str, *_: object, **__: object) -> None:
            if self.closed:
                raise LedgerError("closed")
            self.asked.append((name, lease))

        return ask


@pytest.fixture
def book() -> Any:
    """Return an empty book."""
    return Book()


@pytest.fixture
def holdings(book: Any) -> Holdings:
    """Return what a process holds in the book."""
    return Holdings(lambda: book)


def test_the_item_that_runs(holdings: Holdings) -> None:
    """Before the first item there is no lease; each item is asked about only when it matters."""
    assert (holdings.current(), holdings.lease()) == (None, "")
    asked: list[Current] = []

    def current() -> Current:
        asked.append(Current(priority=1, index=2, lease="l"))
        return asked[-1]

    holdings.begin(current)
    assert asked == []
    assert holdings.lease() == "l"
    assert holdings.current() == asked[0]


def test_fixtures_hold_until_their_end(holdings: Holdings) -> None:
    """What each container of a fixture holds is added up, and forgotten however its block ends."""
    with suppress(LedgerError), holdings.holding("a", ONE), holdings.holding("b", ONE):
        assert holdings.of_fixtures() == ONE + ONE
        assert holdings.fixtures_containers() == ["a", "b"]
        raise LedgerError
    assert (holdings.of_fixtures(), holdings.fixtures_containers()) == (NOTHING, [])


def test_how_a_lease_is_given_back(holdings: Holdings, book: Any) -> None:
    """It is released, kept for what was kept under it, or offered with what is left there."""
    holdings.keep("kept")
    holdings.leave(Leftover(lease="idle", worker="gw0", specification="s", containers=("c",)))
    holdings.leave(Leftover(lease="taken", worker="gw0", specification="s", containers=("c",)))
    assert holdings.take_leftover("taken") is not None
    assert holdings.take_leftover("taken") is None
    for lease in ("kept", "idle", "taken", "other"):
        holdings.give_back(lease)
    assert book.asked == [("keep", "kept"), ("mark_idle", "idle"), ("release", "taken"), ("release", "other")]
    assert holdings.idle.wanted("gw0", "s") == ("idle",)


def test_what_the_ledger_cannot_take_back_is_owed(holdings: Holdings, book: Any) -> None:
    """It is tried again, with what was left under it, until the ledger takes it."""
    book.closed = True
    holdings.leave(Leftover(lease="idle", worker="gw0", specification="s", containers=("c",)))
    holdings.give_back("idle")
    with pytest.raises(LedgerError, match="closed"):
        holdings.pay()
    book.closed = False
    holdings.pay()
    holdings.pay()
    assert book.asked == [("mark_idle", "idle")]
