"""What is told of the queue to those who watch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clnrm.scheduling.facts import ItemFacts
from pytest_clnrm.scheduling.strict import StrictScheduling
from pytest_clnrm.scheduling.work_queue import WorkQueue

Item = tuple[int, bool]


@given(
    items=st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=30),
    sort=st.booleans(),
    steps=st.integers(0, 40),
)
def test_waiting_items_are_counted_by_priority(items: list[Item], steps: int, *, sort: bool) -> None:
    """However much was handed out, and in whatever order they stand, each that waits is counted once."""
    items = sorted(items) if sort else items
    facts = [ItemFacts(priority, {"slots": 1} if demands else None) for priority, demands in items]
    work: WorkQueue[str] = WorkQueue(["a.py"] * len(items), facts, workers=2)
    work.join("w0")
    work.join("w1")
    handed_out: set[int] = set()
    for step in range(steps):
        worker = f"w{step % 2}"
        pick = work.best_plain(worker)
        if pick is not None:
            handed_out.update(work.hand_out_plain(worker, pick, alone=True))
        elif (head := work.head(worker)) is not None:
            handed_out.add(head)
            work.hand_out_demanding(worker, head)
    expected: dict[int, int] = {}
    for index, (priority, _) in enumerate(items):
        expected.setdefault(priority, 0)
        expected[priority] += index not in handed_out
    assert work.waiting_by_priority() == expected
    assert sum(expected.values()) == work.waiting


@pytest.fixture
def told() -> list[tuple[dict[int, int], str]]:
    """Return what was told, in order."""
    return []


def test_each_change_is_told(
    make_node: Callable[[str], Any],
    make_gate: Callable[[int], Any],
    told: list[tuple[dict[int, int], str]],
) -> None:
    """How many wait by priority, and the head while it waits for its reservation."""

    def tell(waiting: Mapping[int, int], head: str) -> None:
        told.append((dict(waiting), head))

    collection = ["a.py::high", "b.py::high", "c.py::low"]
    facts = [ItemFacts(0, {"slots": 1}), ItemFacts(0, {"slots": 1}), ItemFacts(2, {"slots": 1})]
    scheduling = StrictScheduling(collection, facts, gate=make_gate(1), workers=2, tell=tell)
    nodes = [make_node("gw0"), make_node("gw1")]
    for node in nodes:
        scheduling.add_node(node)
        scheduling.add_node_collection(node, collection)
    scheduling.schedule()
    assert told[-1] == ({0: 1, 2: 1}, "b.py::high")
    scheduling.mark_test_complete(nodes[0], 0, 0.1)
    scheduling.started("b.py::high")
    assert told[-1] == ({0: 0, 2: 1}, "c.py::low")
    scheduling.mark_test_complete(nodes[0], 1, 0.1)
    assert told[-1] == ({0: 0, 2: 0}, "")


def test_a_head_goes_on_waiting_while_nobody_is_idle(
    make_node: Callable[[str], Any],
    make_gate: Callable[[int], Any],
    told: list[tuple[dict[int, int], str]],
) -> None:
    """A wake-up while all workers are busy asks nobody: the head is told as before."""

    def tell(waiting: Mapping[int, int], head: str) -> None:
        told.append((dict(waiting), head))

    collection = ["a.py::one", "b.py::two", "c.py::plain"]
    facts = [ItemFacts(0, {"slots": 1}), ItemFacts(0, {"slots": 1}), ItemFacts(0)]
    scheduling = StrictScheduling(collection, facts, gate=make_gate(1), workers=2, tell=tell)
    nodes = [make_node("gw0"), make_node("gw1")]
    for node in nodes:
        scheduling.add_node(node)
        scheduling.add_node_collection(node, collection)
    scheduling.schedule()
    assert told[-1] == ({0: 1}, "b.py::two")
    scheduling.wake()
    assert told[-1] == ({0: 1}, "b.py::two")
