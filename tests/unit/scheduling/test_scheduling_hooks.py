"""Hooks of the room called by hand: priorities, tickets, who installs what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clnrm_testing.requirements import needs_xdist

from pytest_clnrm.errors import SlotTimeoutError
from pytest_clnrm.names import ALWAYS_PARKS, RUN_FOLDER, WORKER_INPUT
from pytest_clnrm.scheduling.autoscale import Autoscale
from pytest_clnrm.scheduling.controller import StrictController
from pytest_clnrm.scheduling.facts import ItemFacts, read_facts, write_facts
from pytest_clnrm.scheduling.in_process import InProcessReservation
from pytest_clnrm.scheduling.install import install, install_controller, is_strict_controller
from pytest_clnrm.scheduling.order import own_priority, sort
from pytest_clnrm.scheduling.strict import StrictScheduling
from pytest_clnrm.scheduling.tickets import (
    TICKET,
    RefusalReporter,
    Ticket,
)
from pytest_clnrm.scheduling.worker import WorkerPlugin


class FakeItem:
    """An item of the given attributes; hashable by identity."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def make_item(*names: object, **more: Any) -> Any:
    """Return an item marked with *names*, unmarked without."""
    marker = SimpleNamespace(args=names, kwargs={}) if names else None
    return FakeItem(
        nodeid="test_a.py::test_a", stash=pytest.Stash(), get_closest_marker=lambda name: marker, **more
    )


def test_priority_of_an_item() -> None:
    """Its attribute comes before its marker; without both it has none of its own."""
    assert own_priority(make_item("low", clnrm_priority=0)) == 0
    assert own_priority(make_item("low", clnrm_priority=None)) == 2
    assert own_priority(make_item()) is None


def test_wrong_marker() -> None:
    """A usage error names the test and what is allowed; a worker reports it and runs nothing."""
    items = [make_item("urgent")]
    message = (
        r"^test_a.py::test_a: @pytest.mark.clnrm_priority\('urgent'\): takes one of .high., .normal., .low."
    )

    def priority_of(item: pytest.Item) -> int:
        return int(own_priority(item) or 0)

    config: Any = SimpleNamespace()
    with pytest.raises(pytest.UsageError, match=message):
        sort(config, items, priority_of)
    reports: list[Any] = []
    hook = SimpleNamespace(pytest_collectreport=lambda *, report: reports.append(report))
    worker_config: Any = SimpleNamespace(workerinput={}, hook=hook)
    sort(worker_config, items, priority_of)
    assert items == []
    assert (reports[0].nodeid, reports[0].outcome) == ("test_a.py::test_a", "failed")


def test_local_reservation_holds_during_the_protocol() -> None:
    """The ticket lies in the stash while the item runs; the lease is given back at its end."""
    log: list[str] = []

    @contextmanager
    def reserve(item: pytest.Item, free: object) -> Iterator[Ticket]:
        del item, free
        yield Ticket("lease", 2.0, position=3)
        log.append("released")

    item = make_item()
    protocol = InProcessReservation(reserve).pytest_runtest_protocol(item)
    next(protocol)
    assert item.stash[TICKET] == Ticket("lease", 2.0, position=3)
    assert log == []
    with pytest.raises(StopIteration) as stopped:
        protocol.send("ran")
    assert stopped.value.value == "ran"
    assert log == ["released"]


def test_local_reservation_that_is_refused() -> None:
    """A refusal is laid into the stash, and fails the item at its setup."""

    def reserve(item: pytest.Item, free: object) -> AbstractContextManager[None]:
        del free
        raise SlotTimeoutError(f"{item.name} waited 5 s")

    item = make_item(name="test_a")
    next(InProcessReservation(reserve).pytest_runtest_protocol(item))
    assert item.stash[TICKET] == Ticket(refusal="test_a waited 5 s", is_infrastructure=True)
    with pytest.raises(pytest.fail.Exception, match=r"^test_a waited 5 s$"):
        RefusalReporter().pytest_runtest_setup(item)


def test_items_without_a_refusal_pass() -> None:
    """Neither an item without a ticket nor one with a lease fails at its setup."""
    item = make_item()
    RefusalReporter().pytest_runtest_setup(item)
    item.stash[TICKET] = Ticket("lease")
    RefusalReporter().pytest_runtest_setup(item)


def facts_of(item: Any) -> ItemFacts:
    """Return what the fake item says."""
    return ItemFacts(demand=item.demand)


def test_worker_takes_tickets_of_items_with_a_demand(tmp_path: Path) -> None:
    """An item with a demand gets its ticket, or a refusal where it is missing; others get none."""
    items = [make_item(demand={}), make_item(demand=None), make_item(demand={})]
    session: Any = SimpleNamespace(items=items)
    worker: Any = WorkerPlugin(tmp_path, facts_of)
    worker.pytest_collection_finish(session)
    assert read_facts(tmp_path, 3) == [facts_of(item) for item in items]
    worker._tickets._texts[0] = json.dumps(Ticket("lease"))
    for item in items:
        worker.pytest_runtest_protocol(item)
    assert items[0].stash[TICKET] == Ticket("lease")
    assert TICKET not in items[1].stash
    assert items[2].stash[TICKET].refusal == "its reservation did not arrive with it"


def test_worker_whose_folder_is_lost(tmp_path: Path) -> None:
    """It goes on: the controller misses the facts and says so."""
    WorkerPlugin(tmp_path / "lost", facts_of).pytest_collection_finish(SimpleNamespace(items=[]))  # type: ignore[arg-type]


def make_config(**options: Any) -> Any:
    """Return a configuration with *options*, and the names of what is registered in it."""
    values = {"collectonly": False, "dist": "load", "tx": ["2*popen"], "maxschedchunk": None, **options}
    names: list[str] = []
    manager = SimpleNamespace(
        hasplugin=lambda name: name == "xdist" and not options.get("blocked"),
        register=lambda plugin, name: names.append(name),
        getplugin=lambda name: SimpleNamespace(queue=SimpleNamespace(put=lambda event: None)),
    )
    return SimpleNamespace(
        option=SimpleNamespace(**values),
        getoption=values.__getitem__,
        getvalue=values.__getitem__,
        pluginmanager=manager,
        names=names,
    )


@needs_xdist
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"tx": ["popen//python=python3.11"]}, True),
        ({"dist": "worksteal"}, False),
        ({"dist": "no"}, False),
        ({"tx": []}, False),
        ({"collectonly": True}, False),
        ({"blocked": True}, False),
        ({"tx": ["popen", "ssh=host//chdir=/tmp"]}, False),
        ({"tx": ["popen//via=proxy"]}, False),
    ],
)
def test_where_our_queue_schedules(options: dict[str, Any], expected: bool) -> None:  # noqa: FBT001 - a case
    """Only for ``--dist load`` over workers of this host."""
    assert is_strict_controller(make_config(**options), "strict") is expected
    assert is_strict_controller(make_config(**options), "xdist") is False


@needs_xdist
@pytest.mark.parametrize(
    ("changes", "name"),
    [({}, "clnrm-controller"), ({"dist": "each"}, "clnrm-local"), ({"worker": True}, "clnrm-worker")],
)
def test_each_process_gets_its_part(tmp_path: Path, changes: dict[str, Any], name: str) -> None:
    """A controller, one of its workers, and any other process."""
    config = make_config(**changes)
    if "worker" in changes:
        config.workerinput = {RUN_FOLDER: str(tmp_path), WORKER_INPUT: {}}
    other: Any = None
    install(config, scheduler="strict", facts_of=facts_of, reserve=other)
    if not hasattr(config, "workerinput"):
        install_controller(config, scheduler="strict", make_gate=other, make_folder=lambda: tmp_path)
    packs = ["clnrm-packing-worker"] if "worker" in changes else []
    assert config.names == ["clnrm-refusals", *packs, name]


@needs_xdist
@pytest.mark.parametrize(
    ("facts", "autoscale", "expected"),
    [
        (ItemFacts(), None, "LoadScheduling"),
        (ItemFacts(priority=0), None, "StrictScheduling"),
        (ItemFacts(), Autoscale(), "StrictScheduling"),
    ],
)
def test_ordinary_session_is_left_to_xdist(
    tmp_path: Path, facts: ItemFacts, autoscale: Autoscale | None, expected: str
) -> None:
    """Without demands, priorities and elastic workers, xdist's own scheduling does the work."""
    write_facts(tmp_path, lambda: [facts])
    gate: Any = None
    controller = StrictController(tmp_path, lambda wake: gate, autoscale)
    node = SimpleNamespace(workerinput={})
    controller.pytest_configure_node(node)
    assert node.workerinput == {RUN_FOLDER: str(tmp_path), ALWAYS_PARKS: autoscale is not None}
    scheduling = controller.pytest_xdist_make_scheduler(make_config(), None)
    chosen = scheduling._choose(["a"])
    assert type(chosen).__name__ == expected
    assert isinstance(chosen, StrictScheduling) is (expected == "StrictScheduling")
