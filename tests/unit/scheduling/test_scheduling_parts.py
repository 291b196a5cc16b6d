"""Facts, tickets, elastic workers, waking."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from clnrm_testing.requirements import needs_xdist
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clnrm.names import FACTS_FILE
from pytest_clnrm.scheduling.autoscale import Autoscale, Autoscaler
from pytest_clnrm.scheduling.choice import are_ordinary
from pytest_clnrm.scheduling.controller import Waker
from pytest_clnrm.scheduling.facts import (
    FactsError,
    ItemFacts,
    is_ordinary,
    read_facts,
    write_facts,
)
from pytest_clnrm.scheduling.tickets import ReceivedTickets, Ticket, send


def test_facts_arrive_as_written(tmp_path: Path) -> None:
    """Facts cross the run's folder unchanged, and the first writer wins."""
    facts = [ItemFacts(), ItemFacts(0, {"slots": 2}, "hash"), ItemFacts(2, {"slots": 3}, None, "group")]
    write_facts(tmp_path, lambda: facts)
    write_facts(tmp_path, lambda: [ItemFacts()])
    assert read_facts(tmp_path, 3) == facts


def test_equal_demands_are_kept_once(tmp_path: Path) -> None:
    """Of thousands of items with the same demand, file and controller have it once."""
    write_facts(tmp_path, lambda: [ItemFacts(demand={"slots": 1 + at % 2}) for at in range(1000)])
    found = read_facts(tmp_path, 1000)
    assert [each.demand for each in found[:3]] == [{"slots": 1}, {"slots": 2}, {"slots": 1}]
    assert len({id(each.demand) for each in found}) == 2
    assert (tmp_path / FACTS_FILE).read_text().count("slots") == 2


def test_one_worker_finds_the_facts(tmp_path: Path) -> None:
    """Who comes while another one is at it waits for its facts, and finds none itself."""
    entered, go_on = Event(), Event()
    found: list[str] = []

    def find(who: str) -> list[ItemFacts]:
        found.append(who)
        entered.set()
        assert go_on.wait(10)
        return [ItemFacts(0)]

    with ThreadPoolExecutor() as pool:
        first = pool.submit(write_facts, tmp_path, lambda: find("first"))
        assert entered.wait(10)
        second = pool.submit(write_facts, tmp_path, lambda: find("second"))
        go_on.set()
        first.result(10)
        second.result(10)
    assert found == ["first"]
    assert read_facts(tmp_path, 1) == [ItemFacts(0)]


def test_facts_that_could_not_be_found_are_found_by_the_next(tmp_path: Path) -> None:
    """A worker that fails over it keeps nobody else from it."""

    def fail() -> list[ItemFacts]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_facts(tmp_path, fail)
    assert are_ordinary(tmp_path) is None
    write_facts(tmp_path, lambda: [ItemFacts(0)])
    assert are_ordinary(tmp_path) is False


def test_facts_of_an_ordinary_session_are_short(tmp_path: Path) -> None:
    """A session with nothing out of the ordinary has an empty file, which replaces nothing."""
    write_facts(tmp_path, lambda: [ItemFacts()] * 1000)
    assert (tmp_path / FACTS_FILE).read_bytes() == b""
    assert read_facts(tmp_path, 1000) == [ItemFacts()] * 1000
    assert is_ordinary(read_facts(tmp_path, 1000))
    assert are_ordinary(tmp_path)
    write_facts(tmp_path, lambda: [ItemFacts(0)])
    assert is_ordinary(read_facts(tmp_path, 1))
    assert not is_ordinary([ItemFacts(demand={})])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no worker could leave the facts of its items in .*facts.json: No such file"),
        ("{", "facts.json is no JSON"),
        ("[]", "another form than 3"),
        (json.dumps({"format": 2}), "another form than 3"),
    ],
)
def test_facts_that_cannot_be_read(tmp_path: Path, text: str | None, message: str) -> None:
    """Each way in which facts are unusable is named, with the file."""
    if text is not None:
        (tmp_path / FACTS_FILE).write_text(text)
    with pytest.raises(FactsError, match=message):
        read_facts(tmp_path, 1)


class Interactor:
    """A worker as xdist has it, and its controller's side of it."""

    def __init__(self) -> None:
        self.commands: list[Any] = []

    def handle_command(self, command: Any) -> None:
        """Note what arrives."""
        self.commands.append(command)

    def sendcommand(self, name: str, **given: Any) -> None:
        """Send what execnet can."""
        import execnet

        self.handle_command(execnet.loads(execnet.dumps((name, given))))

    def send_runtest_some(self, indices: list[int]) -> None:
        """Send orders alone."""
        self.sendcommand("runtests", indices=indices)


@needs_xdist
def test_tickets_arrive_with_the_orders_and_are_taken_once() -> None:
    """The command is xdist's own; the last ticket of an item is taken, once."""
    both, received = Interactor(), ReceivedTickets()
    received.listen(both)
    send(both, [3, ~4], {3: Ticket("first")})
    second = Ticket("second", 1.5, "caf\u00e9 \udc80", ("a",), ("b", "c"), 2, is_infrastructure=True)
    send(both, [3], {3: second})
    send(both, [5], {})
    both.handle_command("the end")
    orders = [("runtests", {"indices": each}) for each in ([3, ~4], [3], [5])]
    assert both.commands == [*orders, "the end"]
    assert received.take(4) is None
    assert received.take(3) == second
    assert received.take(3) is None


@pytest.mark.parametrize(
    ("waiting", "workers", "goal"),
    [
        (101, 4, 8),
        (101, 20, 32),
        (100, 4, 4),
        (9, 8, 4),
        (9, 5, 4),
        (9, 4, 4),
        (10, 8, 8),
        (50, 2, 4),
        (0, 64, 32),
    ],
)
def test_policy(waiting: int, workers: int, goal: int) -> None:
    """More than 100 waiting double, fewer than 10 halve more than 4, always within 4 and 32."""
    assert Autoscale().goal(waiting, workers) == goal


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(1, 64), st.integers(1, 16), st.integers(0, 16))
def test_policy_keeps_its_limits(waiting: int, workers: int, minimum: int, more: int) -> None:
    """No goal is outside the limits."""
    assert minimum <= Autoscale(minimum, minimum + more).goal(waiting, workers) <= minimum + more


@pytest.fixture
def dsession(make_node: Callable[[str], Any]) -> Any:
    """Return the parts of DSession that are used; it starts workers without processes."""
    started: list[Any] = []

    def setup_node(spec: Any, put: Any) -> Any:
        del put
        started.append(make_node(str(spec)))
        return started[-1]

    manager = SimpleNamespace(
        specs=["popen"], group=SimpleNamespace(allocate_id=lambda spec: None), setup_node=setup_node
    )
    return SimpleNamespace(
        shuttingdown=False,
        nodemanager=manager,
        queue=SimpleNamespace(put=None),
        _active_nodes=set(),
        started=started,
    )


@needs_xdist
def test_growing_one_at_a_time_to_a_goal(dsession: Any, make_node: Callable[[str], Any]) -> None:
    """Each event starts one worker until the goal is reached; a new goal is set when all take part."""
    adjust = Autoscaler(dsession, Autoscale(1, 8))
    live = [make_node("gw0"), make_node("gw1")]
    for expected in (1, 2, 2):
        adjust(200, live, [])
        assert len(dsession.started) == expected
    live += dsession.started
    adjust(200, live, [])
    assert len(dsession.started) == 3


@needs_xdist
def test_worker_that_died_on_its_start_does_not_count(dsession: Any, make_node: Callable[[str], Any]) -> None:
    """A worker that is gone is not waited for."""
    adjust = Autoscaler(dsession, Autoscale(1, 2))
    live = [make_node("gw0")]
    adjust(200, live, [])
    dsession._active_nodes.clear()
    adjust(200, live, [])
    assert len(dsession.started) == 2


def test_only_idle_workers_are_retired(dsession: Any, make_node: Callable[[str], Any]) -> None:
    """Above the goal as many idle workers end as are too many; busy ones stay."""
    nodes = [make_node(f"gw{number}") for number in range(8)]
    Autoscaler(dsession, Autoscale(4, 8))(5, nodes, nodes[:2])
    assert [node.shutting_down for node in nodes] == [True, True, *[False] * 6]


def test_nothing_grows_in_a_session_that_ends(dsession: Any, make_node: Callable[[str], Any]) -> None:
    """A session that shuts down starts no worker."""
    dsession.shuttingdown = True
    Autoscaler(dsession, Autoscale(1, 8))(200, [make_node("gw0")], [])
    assert dsession.started == []


def test_wakes_count_as_one_until_they_arrive() -> None:
    """Many calls put one event into the loop's queue; after it has arrived the next call puts another."""
    events: list[Any] = []
    waker = Waker(events.append)
    waker()
    waker()
    assert events == [("clnrm_wake", {})]
    waker.arrived()
    waker()
    assert len(events) == 2
