"""Reserving where no controller of ours does: ``-p no:xdist``, ``-n 0``, another ``--dist``.

The process that runs the item reserves for it, outside of pytest-timeout's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack
from functools import partial

import pytest

from pytest_clnrm.errors import ReservationError
from pytest_clnrm.scheduling.parking import tear_down_to
from pytest_clnrm.scheduling.tickets import TICKET, Ticket

Reserve = Callable[[pytest.Item, Callable[[], None]], AbstractContextManager[Ticket | None]]
"""Gets an item, and a function that tears down all fixtures but those of session scope: one may hold what the
item needs."""


class InProcessReservation:
    """Holds an item's reservation while the item runs, with all its reruns.

    :param reserve: returns a context manager that waits for the reservation, and gives it back at its end; it
        yields None for an item that demands nothing, and raises ReservationError on entry if it is refused.
    """

    def __init__(self, reserve: Reserve) -> None:
        self._reserve = reserve
        self._last: pytest.Item | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Reserve, lay the ticket into the item's stash, run the item."""
        with ExitStack() as held:
            try:
                ticket = held.enter_context(self._reserve(item, partial(self._flush, item)))
            except ReservationError as error:
                ticket = Ticket(refusal=str(error), is_infrastructure=error.is_infrastructure)
            if ticket is not None:
                item.stash[TICKET] = ticket
            self._last = item
            return (yield)

    def _flush(self, item: pytest.Item) -> None:
        tear_down_to(item.session, self._last, [item.session])
