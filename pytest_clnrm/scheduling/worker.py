"""The worker's side: facts, tickets, and the hidden items on which a worker waits.

As ``nextitem`` of the item that runs, :class:`KeepItem` stands next to it in the collection tree, so all its
module's and classes' fixtures stay; :class:`FlushItem` stands below the session alone. When the true next
item is known, the hidden one "runs": it tears down what the next one does not need.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.scheduling.facts import ItemFacts, write_facts
from pytest_clnrm.scheduling.tickets import TICKET, Ticket, take_ticket, why_missing

FactsOf = Callable[[pytest.Item], ItemFacts]


class FlushItem(pytest.Item):
    """A hidden item directly below the session."""

    clnrm_hidden = True

    def runtest(self) -> None:
        """Raise: it is never run as a test."""
        raise AssertionError

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return what messages call it."""
        return self.path, 0, self.name


class KeepItem(FlushItem):
    """A hidden item that stands next to the item that ran last."""

    worker: WorkerPlugin

    def listchain(self) -> list[Any]:
        """Return the chain of the item that ran last, ending in this one."""
        last = self.worker.last
        return super().listchain() if last is None else [*last.listchain()[:-1], self]


class WorkerPlugin:
    """Plugin of a worker that the controller feeds from our queue.

    :param folder: the run's folder.
    :param facts_of: returns an item's facts.
    :ivar last: the item that ran last, or runs.
    """

    def __init__(self, folder: Path, facts_of: FactsOf) -> None:
        self._folder = folder
        self._facts_of = facts_of
        self._demands: dict[pytest.Item, int] = {}
        self.last: pytest.Item | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Leave the facts before xdist's own hook reports the ids."""
        facts = [self._facts_of(item) for item in session.items]
        self._demands = {
            item: index
            for index, (item, each) in enumerate(zip(session.items, facts, strict=True))
            if each.demand is not None
        }
        try:
            write_facts(self._folder, facts)
        except OSError:
            # The controller misses them, and says so.
            return

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Append the hidden items, in the order that the controller counts on; xdist's loop runs."""
        keep = KeepItem.from_parent(session, name="<clnrm keep>")
        keep.worker = self
        session.items += [keep, FlushItem.from_parent(session, name="<clnrm flush>")]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Take an item's ticket; in place of a hidden item, tear down what *nextitem* does not need."""
        if isinstance(item, FlushItem):
            tear_down(item.session, self.last, nextitem)
            return True
        self.last = item
        index = self._demands.get(item)
        if index is not None:
            item.stash[TICKET] = take_ticket(self._folder, index) or Ticket(
                refusal=why_missing(self._folder, index)
            )
        return None


def tear_down(session: pytest.Session, last: pytest.Item | None, nextitem: pytest.Item | None) -> None:
    """Tear down what *nextitem* does not need, and report an error as one of *last*, which ran last."""
    call = pytest.CallInfo.from_call(
        lambda: session._setupstate.teardown_exact(nextitem),  # noqa: SLF001 - there is no public way
        when="teardown",
        reraise=(pytest.exit.Exception, KeyboardInterrupt),
    )
    if call.excinfo is None or last is None:
        return
    report = last.ihook.pytest_runtest_makereport(item=last, call=call)
    # xdist stamps reports with the index of the item that it believes to be running.
    plugins = session.config.pluginmanager.get_plugins()
    interactor: Any = next((each for each in plugins if type(each).__name__ == "WorkerInteractor"), None)
    if interactor is None:
        last.ihook.pytest_runtest_logreport(report=report)
        return
    running = interactor.item_index
    interactor.item_index = session.items.index(last)
    try:
        last.ihook.pytest_runtest_logreport(report=report)
    finally:
        interactor.item_index = running
