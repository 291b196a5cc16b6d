"""Feeding workers: what is sent to whom, reservations, flushing, shutting down, crashes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.scheduling.facts import ItemFacts
from pytest_clnrm.scheduling.strict import StrictScheduling
from pytest_clnrm.scheduling.tickets import Ticket, take_ticket

KEEP, FLUSH = 6, 7
Make = Callable[..., tuple[StrictScheduling, list[Any], Any]]


@pytest.fixture
def make(make_node: Callable[[str], Any], make_gate: Callable[[int], Any], tmp_path: Path) -> Make:
    """Return what makes a scheduling of six items, its workers and its gate; ``!`` marks a demand."""

    def build(spec: str, *, workers: int = 2, cap: int = 99, **options: Any) -> tuple[Any, list[Any], Any]:
        words = spec.split()
        assert len(words) == KEEP
        facts = [
            ItemFacts(int(word[1]), {"slots": 999 if word.endswith("!!") else 1} if "!" in word else None)
            for word in words
        ]
        collection = [f"{word[0]}.py::test_{at}" for at, word in enumerate(words)]
        gate = make_gate(cap)
        options = {"folder": tmp_path, **options}
        scheduling = StrictScheduling(collection, facts, gate=gate, workers=workers, **options)
        nodes = [make_node(f"gw{number}") for number in range(workers)]
        for node in nodes:
            scheduling.add_node(node)
            scheduling.add_node_collection(node, collection)
        scheduling.schedule()
        return scheduling, nodes, gate

    return build


def test_one_scenario_at_a_time(make: Make, tmp_path: Path) -> None:
    """Each worker gets one item with a demand, its ticket lies ready, and nothing is prefetched."""
    scheduling, (one, two), gate = make("a1! b1! c1! d1! e1! f1!")
    assert (one.take(), two.take()) == ([0, KEEP], [1, KEEP])
    assert take_ticket(tmp_path, 0) == Ticket("lease-0", 0.5, position=7)
    scheduling.mark_test_complete(two, 1, 0.1)
    assert (one.take(), two.take()) == ([], [2, KEEP])
    assert gate.held == {"lease-0": 1, "lease-2": 1}
    assert scheduling.nodes == [one, two]


def test_plain_items_pass_a_waiting_head(make: Make) -> None:
    """A head that waits is asked for once, plain items pass it one at a time, other demands do not."""
    scheduling, (one, two), gate = make("a0! b0! c1 c1 c1 d1!", cap=1)
    scheduling.started("a.py::test_0")
    assert (one.take(), two.take()) == ([0, KEEP], [2, KEEP])
    scheduling.mark_test_complete(two, 2, 0.0001)
    assert two.take() == [3, KEEP]
    assert gate.asked == [0, 1]
    scheduling.mark_test_complete(one, 0, 0.1)
    assert one.take() == [1, KEEP]


def test_idle_worker_is_flushed_while_the_head_waits(make: Make) -> None:
    """A worker without work tears its fixtures down, once; when it has, the gate is asked again."""
    scheduling, (one, two), gate = make("a0! b0 c1! d1! e1! f1!", cap=1)
    assert (one.take(), two.take()) == ([0, KEEP], [1, KEEP])
    scheduling.started("a.py::test_0")
    scheduling.mark_test_complete(two, 1, 0.1)
    assert two.take() == [FLUSH]
    asked = len(gate.asked)
    gate.cap = 2
    scheduling.mark_test_complete(two, KEEP)
    assert len(gate.asked) == asked + 1
    assert two.take() == [2, KEEP]
    scheduling.mark_test_complete(two, FLUSH)
    assert two.take() == []


def test_workers_end_for_what_their_fixtures_hold(make: Make, tmp_path: Path) -> None:
    """While nothing runs and a head is stuck, workers end one by one; with the last one it is refused."""
    scheduling, nodes, gate = make("a1 b1 c1 d1! e1! f1!", workers=3, cap=0)
    gate.stuck = "fixtures hold it"
    for node, index in zip(nodes, (0, 1, 2), strict=True):
        assert node.take() == [index, KEEP]
        scheduling.mark_test_complete(node, index, 0.1)
    one, two, three = nodes
    for node in nodes:
        assert not any(each.shutting_down for each in nodes)
        assert node.take() == [FLUSH]
        scheduling.mark_test_complete(node, KEEP)
    # One at a time: its end may be enough.
    assert [each.shutting_down for each in nodes] == [False, False, True]
    scheduling.wake()
    assert not two.shutting_down
    scheduling.remove_node(three)
    assert (one.shutting_down, two.shutting_down, gate.given_up) == (False, True, [])
    scheduling.remove_node(two)
    assert (one.shutting_down, one.take(), gate.given_up) == (False, [3, KEEP], [3])
    assert take_ticket(tmp_path, 3) == Ticket(refusal="fixtures hold it")


def test_wake_asks_again(make: Make) -> None:
    """The gate's wake-up sends the head at once, to the first idle worker."""
    scheduling, (one, two), gate = make("a0! b0! c1! d1! e1! f1!", cap=1)
    one.take()
    assert two.take() == []
    gate.cap = 2
    scheduling.schedule()
    assert two.take() == []
    scheduling.wake()
    assert two.take() == [1, KEEP]


def test_idle_workers_end_when_nothing_waits(make: Make) -> None:
    """With an empty queue a worker is shut down as soon as it is idle; the last end finishes the run."""
    scheduling, (one, two), _ = make("a0! b0! c0! d0! e0! f0!")
    for index in range(5):
        node = (one, two)[index % 2]
        scheduling.mark_test_complete(node, index, 0.1)
        assert not two.shutting_down or index >= 4
    assert one.shutting_down
    assert not two.shutting_down
    assert (scheduling.has_pending, scheduling.tests_finished) == (True, False)
    scheduling.mark_test_complete(two, 5, 0.1)
    assert two.shutting_down
    assert scheduling.tests_finished
    assert scheduling.remove_node(one) is None


def test_refused_demand_is_sent_with_its_refusal(make: Make, tmp_path: Path) -> None:
    """An item that is never granted its reservation goes to a worker, which fails it with the reason."""
    _, (one, _two), gate = make("a0!! b1! c1! d1! e1! f1!")
    assert one.take() == [0, KEEP]
    assert take_ticket(tmp_path, 0) == Ticket(refusal="more than 100")
    assert "lease-0" not in gate.held


def test_ticket_that_cannot_be_written(make: Make, tmp_path: Path) -> None:
    """Where the folder is lost the item is sent without a ticket, and its slot is given back."""
    _, (one, _two), gate = make("a0! b1! c1! d1! e1! f1!", folder=tmp_path / "lost")
    assert one.take() == [0, KEEP]
    assert gate.held == {}


def test_crash(make: Make) -> None:
    """A crash names the item, gives back its slot and its chunk, and a rerun comes first."""
    scheduling, (one, two), gate = make("a0! b0 b0 b0 b1 c1!", cap=1)
    assert (one.take(), two.take()) == ([0, KEEP], [1, KEEP])
    assert scheduling.remove_node(one) == "a.py::test_0"
    assert gate.held == {}
    scheduling.mark_test_pending("a.py::test_0")
    scheduling.mark_test_complete(two, 1, 0.1)
    assert two.take() == [0, KEEP]
    assert gate.held == {"lease-0": 1}
    with pytest.raises(KeyError):
        scheduling.remove_node(one)


def test_worker_that_dies_before_it_has_collected(make: Make, make_node: Callable[[str], Any]) -> None:
    """It had nothing to give back."""
    scheduling, _, _ = make("a0! b0! c0! d0! e0! f0!")
    late = make_node("gw9")
    scheduling.add_node(late)
    scheduling.schedule()
    assert late.take() == []
    assert scheduling.remove_node(late) is None


def test_number_of_workers_is_adjusted(make: Make) -> None:
    """While items wait, whoever adjusts workers learns how many wait, who takes part and who is idle."""
    calls: list[Any] = []
    _, nodes, _ = make("a0! b0! c0! d0! e0! f0!", cap=1, adjust=lambda *seen: calls.append(seen))
    assert calls == [(5, nodes, [nodes[1]])]


def test_steal_is_not_used(make: Make) -> None:
    """An answer to "steal", which is never sent, is an error."""
    scheduling, (one, _two), _ = make("a0! b0! c0! d0! e0! f0!")
    with pytest.raises(NotImplementedError):
        scheduling.remove_pending_tests_from_node(one, [0])


def test_lower_priority_waits_for_the_start_of_a_higher_one(make: Make) -> None:
    """What was sent counts as waiting until it has started, or has ended without saying so."""
    scheduling, (one, two), _ = make("a0! b1! c1! d2 e2 f2")
    assert (one.take(), two.take()) == ([0, KEEP], [])
    scheduling.started("somewhere/else.py::test")
    assert two.take() == []
    scheduling.started("a.py::test_0")
    assert two.take() == [1, KEEP]
    scheduling.mark_test_complete(one, 0, 0.1)
    scheduling.mark_test_complete(two, 1, 0.1)
    assert (one.take(), two.take()) == ([2, KEEP], [])
    scheduling.mark_test_complete(one, 2, 0.1)
    assert (one.take(), two.take()) == ([3, KEEP], [4, KEEP])
