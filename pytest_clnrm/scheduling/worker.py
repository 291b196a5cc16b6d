"""The worker's side: facts, tickets, and waiting for what the controller decides."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_clnrm.scheduling.choice import are_ordinary
from pytest_clnrm.scheduling.facts import ItemFacts, write_facts
from pytest_clnrm.scheduling.parking import Parking, interactor_of
from pytest_clnrm.scheduling.tickets import TICKET, ReceivedTickets, Ticket

FactsOf = Callable[[pytest.Item], ItemFacts]


class WorkerPlugin:
    """Plugin of a worker that the controller may feed from our queue.

    :param folder: the run's folder.
    :param facts_of: returns an item's facts.
    :param always_parks: our queue feeds it whatever it collects.
    """

    def __init__(self, folder: Path, facts_of: FactsOf, *, always_parks: bool = False) -> None:
        self._folder = folder
        self._facts_of = facts_of
        self._always_parks = always_parks
        self._indices: dict[pytest.Item, int] = {}
        self._tickets = ReceivedTickets()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Leave the facts before xdist's own hook reports the ids."""
        self._indices = {item: index for index, item in enumerate(session.items)}
        # Where that cannot be done the controller misses them, and says so.
        with suppress(OSError):
            write_facts(self._folder, lambda: [self._facts_of(item) for item in session.items])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Wait for the controller's decisions in xdist's loop, which runs next, if our queue feeds it."""
        # What the controller goes by, which is what the first worker wrote.
        ordinary = are_ordinary(self._folder)
        if ordinary is not None and (self._always_parks or not ordinary):
            interactor = interactor_of(session.config)
            self._tickets.listen(interactor)
            Parking(interactor, session)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Take the item's ticket."""
        index = self._indices.get(item)
        if index is not None and self._facts_of(item).demand is not None:
            item.stash[TICKET] = self._tickets.take(index) or Ticket(
                refusal="its reservation did not arrive with it", is_infrastructure=True
            )
