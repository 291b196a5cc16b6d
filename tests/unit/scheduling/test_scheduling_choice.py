"""Comparing collections and choosing who schedules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.scheduling.choice import ChosenScheduling, NoChoiceError, collection_difference


class Recorder:
    """A scheduling that records calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.nodes: list[Any] = []
        self.has_pending = True
        self.tests_finished = False

    def add_node(self, node: Any) -> None:
        """Record."""
        self.nodes.append(node)

    def remove_node(self, node: Any) -> str:
        """Record."""
        self.nodes.remove(node)
        return "crashed"

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, *arguments))


Setup = tuple[Any, Recorder, list[Any], list[pytest.CollectReport]]


@pytest.fixture
def setup(make_node: Callable[[str], Any]) -> Setup:
    """Return a choice between two workers, what is chosen, the workers, and the reports."""
    reports: list[pytest.CollectReport] = []
    hook = SimpleNamespace(pytest_collectreport=lambda *, report: reports.append(report))
    config: Any = SimpleNamespace(hook=hook)
    chosen = Recorder()

    def choose(collection: Sequence[str]) -> Recorder:
        chosen.calls.append(("chosen", list(collection)))
        return chosen

    scheduling = ChosenScheduling(config, workers=2, choose=choose)
    nodes = [make_node("gw0"), make_node("gw1")]
    for node in nodes:
        scheduling.add_node(node)
    return scheduling, chosen, nodes, reports


def test_choice_waits_for_all_and_passes_everything_on(setup: Setup, make_node: Callable[[str], Any]) -> None:
    """Once all have collected the same, the chosen scheduling knows all workers and gets all calls."""
    scheduling, chosen, (one, two), reports = setup
    assert (scheduling.has_pending, scheduling.tests_finished) == (False, False)
    scheduling.wake()
    scheduling.started("a")
    scheduling.add_node_collection(one, ["a", "b"])
    assert not scheduling.collection_is_completed
    scheduling.add_node_collection(two, ["a", "b"])
    assert scheduling.collection_is_completed
    late = make_node("gw2")
    scheduling.add_node(late)
    scheduling.schedule()
    assert chosen.nodes == [one, two, late]
    scheduling.add_node_collection(late, ["a", "b"])
    scheduling.mark_test_complete(one, 0, 1.0)
    scheduling.started("a")
    scheduling.mark_test_pending("a")
    scheduling.remove_pending_tests_from_node(one, [1])
    scheduling.wake()
    assert chosen.calls == [
        ("chosen", ["a", "b"]),
        ("add_node_collection", one, ["a", "b"]),
        ("add_node_collection", two, ["a", "b"]),
        ("schedule",),
        ("add_node_collection", late, ["a", "b"]),
        ("mark_test_complete", one, 0, 1.0),
        ("started", "a"),
        ("mark_test_pending", "a"),
        ("remove_pending_tests_from_node", one, [1]),
        ("wake",),
    ]
    assert (scheduling.has_pending, scheduling.tests_finished) == (True, False)
    assert scheduling.remove_node(one) == "crashed"
    assert scheduling.nodes == [two, late]
    assert reports == []


def test_worker_that_dies_before_the_choice(setup: Setup) -> None:
    """It is forgotten, and was running nothing."""
    scheduling, _, (one, _two), _ = setup
    assert scheduling.remove_node(one) is None
    with pytest.raises(KeyError):
        scheduling.remove_node(one)


def test_differing_collections_end_the_run(setup: Setup) -> None:
    """A difference is one failed collection; nothing is chosen and the session may end."""
    scheduling, chosen, (one, two), reports = setup
    scheduling.add_node_collection(one, ["a", "b"])
    scheduling.add_node_collection(two, ["b", "a"])
    scheduling.schedule()
    scheduling.schedule()
    assert [report.nodeid for report in reports] == ["gw1"]
    assert scheduling.tests_finished
    assert scheduling.collection_is_completed
    assert chosen.calls == []


def test_missing_facts_end_the_run(setup: Setup) -> None:
    """Facts that cannot be read are a failed collection."""
    scheduling, _, nodes, reports = setup

    def fail(collection: Sequence[str]) -> Recorder:
        del collection
        raise NoChoiceError("no facts")

    scheduling._choose = fail
    for node in nodes:
        scheduling.add_node_collection(node, ["a", "b"])
    scheduling.schedule()
    assert [report.longrepr for report in reports] == ["no facts"]
    assert scheduling.tests_finished


def test_late_worker_that_differs_gets_nothing(setup: Setup, make_node: Callable[[str], Any]) -> None:
    """It is reported and shut down; the run ends only if no other worker is left."""
    scheduling, _, (one, two), reports = setup
    for node in (one, two):
        scheduling.add_node_collection(node, ["a", "b"])
    scheduling.schedule()
    late, later = make_node("gw2"), make_node("gw3")
    scheduling.add_node(late)
    scheduling.add_node_collection(late, ["a"])
    assert late.shutting_down
    assert not scheduling.tests_finished
    assert scheduling.remove_node(late) is None
    scheduling.remove_node(one)
    scheduling.remove_node(two)
    scheduling.add_node(later)
    scheduling.add_node_collection(later, ["a"])
    assert scheduling.tests_finished
    scheduling.wake()
    assert "the rest of the tests was not run" in str(reports[-1].longrepr)


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (["a", "c"], ["only on gw0: b", "only on gw1: c"]),
        (["a"], ["only on gw0: b"]),
        (["a", "b", "c", "d", "e", "f"], ["only on gw1: c, d, e and 1 more"]),
        (["b", "a"], ["test 1 on gw0: a", "test 1 on gw1: b"]),
        (["a", "b", "b"], ["test 3 on gw0: (none)", "test 3 on gw1: b"]),
    ],
)
def test_difference_names_tests_and_workers(found: list[str], lines: list[str]) -> None:
    """The first differing ids are shown, and where they are."""
    difference = collection_difference(["a", "b"], "gw0", found, "gw1")
    assert difference is not None
    assert "Workers gw0 and gw1 collected different tests" in difference
    assert all(line in difference.splitlines() for line in lines)
    assert collection_difference(found, "gw0", list(found), "gw1") is None
