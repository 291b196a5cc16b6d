"""Installs the scheduling room alone, with reservations in memory: ``-p clnrm_testing.scheduling_plugin``.

``@pytest.mark.demand(n)`` makes an item demand n slots of ``--fake-cap``. Each item's start and end are
appended to the file that ``EVENTS`` names, as JSON lines.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.errors import DemandTooLargeError
from pytest_clnrm.model.priority import Priority
from pytest_clnrm.scheduling.autoscale import Autoscale
from pytest_clnrm.scheduling.facts import ItemFacts
from pytest_clnrm.scheduling.install import install, install_controller
from pytest_clnrm.scheduling.order import own_priority, sort
from pytest_clnrm.scheduling.tickets import TICKET, Ticket
from pytest_clnrm.session.lazy import install_order
from pytest_clnrm.settings.values import worker_range

_began_key: pytest.StashKey[float | None] = pytest.StashKey()
"""When an item's first run began."""


class MemoryGate:
    """A gate that counts slots in this process.

    While a file HELD lies in the current folder, it takes one slot more.
    """

    def __init__(self, cap: int, wake: Callable[[], None]) -> None:
        self.cap = cap
        self.held: dict[str, int] = {}
        self.asked: list[int] = []
        self.since: dict[int, float] = {}
        self._wake = wake

    def serves(self, worker: str, specification: str | None) -> bool:
        """Nothing is used again."""
        return False

    def try_reserve(
        self, index: int, priority: int, demand: Mapping[str, Any], *, worker: str, specification: str | None
    ) -> Ticket | None:
        """Grant what fits."""
        del priority, worker, specification
        self.asked.append(index)
        slots = demand["slots"]
        if slots > self.cap:
            raise DemandTooLargeError(f"{slots} slots demanded, the budget is {self.cap}")
        since = self.since.setdefault(index, time.monotonic())
        if sum(self.held.values()) + slots + Path("HELD").exists() > self.cap:
            threading.Timer(0.05, self._wake).start()
            return None
        lease = f"lease-{index}"
        self.held[lease] = slots
        return Ticket(lease, time.monotonic() - since)

    def why_stuck(self, index: int) -> str:
        """Say that nothing is."""
        del index
        return ""

    def give_up(self, index: int) -> None:
        """Forget."""
        del self.since[index]

    def release(self, ticket: Ticket) -> None:
        """Give back."""
        del self.held[ticket.lease]

    def settle(self) -> None:
        """Everything has been given back at once."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare what tests vary."""
    parser.addoption("--fake-cap", type=int, default=10**6)
    parser.addoption("--fake-scheduler", default="strict")
    parser.addoption("--fake-autoscale", type=worker_range)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Install the room."""
    config.addinivalue_line("markers", "clnrm_priority(level): priority")
    config.addinivalue_line("markers", "demand(slots): slots of the gate")
    cap: int = config.getoption("--fake-cap")
    limits: tuple[int, int] | None = config.getoption("--fake-autoscale")
    if config.getoption("--fake-scheduler") == "none":
        return
    install_order(config, lambda items: sort(config, items, _priority))
    scheduler = config.getoption("--fake-scheduler")
    install(config, scheduler=scheduler, facts_of=_facts, reserve=_reserve)
    install_controller(
        config,
        scheduler=scheduler,
        make_gate=lambda wake: MemoryGate(cap, wake),
        make_folder=lambda: Path(tempfile.mkdtemp(prefix="run-", dir=config.rootpath)),
        autoscale=Autoscale(*limits) if limits else None,
    )


def _priority(item: pytest.Item) -> int:
    own = own_priority(item)
    return Priority.NORMAL if own is None else own


def _facts(item: pytest.Item) -> ItemFacts:
    marker = item.get_closest_marker("demand")
    return ItemFacts(_priority(item), None if marker is None else {"slots": marker.args[0]})


@contextmanager
def _reserve(item: pytest.Item, free: Callable[[], None]) -> Iterator[Ticket | None]:
    marker = item.get_closest_marker("demand")
    if marker is None:
        yield None
        return
    if marker.args[0] > item.config.getoption("--fake-cap"):
        raise DemandTooLargeError(f"{marker.args[0]} slots demanded")
    if Path("HELD").exists():
        free()
    yield Ticket(f"local-{item.name}")


def _note(item: pytest.Item, what: str, at_s: float) -> None:
    ticket = item.stash.get(TICKET, None)
    row = {
        "nodeid": item.nodeid,
        "what": what,
        "at_s": at_s,
        "worker": os.environ.get("PYTEST_XDIST_WORKER", "master"),
        "priority": _priority(item),
        "lease": None if ticket is None else ticket.lease,
    }
    with Path(os.environ["EVENTS"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Look at the clock before the controller is told of the start: others start then."""
    item.stash[_began_key] = time.monotonic()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Note an item's start, or that it is run again."""
    _note(item, "start", item.stash.get(_began_key, None) or time.monotonic())
    item.stash[_began_key] = None
    yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Note an item's end."""
    yield
    _note(item, "end", time.monotonic())
