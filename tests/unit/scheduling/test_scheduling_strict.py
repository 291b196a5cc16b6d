"""Feeding workers: what is sent to whom, reservations, flushing, shutting down, crashes.

``[0, ~2]`` is "start 0, 2 is foreseen to come then"; ``[~2]`` answers that 2 comes next, but not at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pytest_clnrm.scheduling.facts import ItemFacts
from pytest_clnrm.scheduling.strict import StrictScheduling
from pytest_clnrm.scheduling.tickets import Ticket

ITEMS = 6
FLUSH = ITEMS
Make = Callable[..., tuple[StrictScheduling, list[Any], Any]]


@pytest.fixture
def make(make_node: Callable[[str], Any], make_gate: Callable[[int], Any]) -> Make:
    """Return what makes a scheduling of six items, its workers and its gate; ``!`` marks a demand."""

    def build(spec: str, *, workers: int = 2, cap: int = 99, **options: Any) -> tuple[Any, list[Any], Any]:
        words = spec.split()
        assert len(words) == ITEMS
        facts = [
            ItemFacts(int(word[1]), {"slots": 999 if word.endswith("!!") else 1} if "!" in word else None)
            for word in words
        ]
        collection = [f"{word[0]}.py::test_{at}" for at, word in enumerate(words)]
        gate = make_gate(cap)
        scheduling = StrictScheduling(collection, facts, gate=gate, workers=workers, **options)
        nodes = [make_node(f"gw{number}") for number in range(workers)]
        for node in nodes:
            scheduling.add_node(node)
            scheduling.add_node_collection(node, collection)
        scheduling.schedule()
        return scheduling, nodes, gate

    return build


def end(scheduling: StrictScheduling, node: Any, index: int, duration_s: float = 0.1) -> None:
    """Let a worker ask what comes next, tear down, and end an item."""
    scheduling.remove_pending_tests_from_node(node, [])
    scheduling.mark_test_complete(node, index, duration_s)


def test_one_scenario_at_a_time(make: Make) -> None:
    """Each worker gets one item with a demand and its ticket; the next is decided when it asks."""
    scheduling, (one, two), gate = make("a1! b1! c1! d1! e1! f1!")
    assert (one.take(), two.take()) == ([0, ~2], [1, ~3])
    assert one.received.take(0) == Ticket("lease-0", 0.5, position=7)
    scheduling.remove_pending_tests_from_node(two, [])
    assert (one.take(), two.take()) == ([], [~2])
    assert gate.held == {"lease-0": 1, "lease-1": 1}
    scheduling.mark_test_complete(two, 1, 0.1)
    assert (one.take(), two.take()) == ([], [2, ~3])
    assert gate.held == {"lease-0": 1, "lease-2": 1}
    assert scheduling.nodes == [one, two]


def test_what_is_foreseen_gives_way_to_the_order(make: Make) -> None:
    """Who asks first gets the first item, though it was foreseen for the other."""
    scheduling, (one, two), _ = make("a0! b0! c0! d1! e1! f1!")
    assert (one.take(), two.take()) == ([0, ~2], [1, ~3])
    scheduling.started("a.py::test_0")
    end(scheduling, two, 1)
    assert two.take() == [~2, 2, ~3]
    scheduling.started("c.py::test_2")
    end(scheduling, one, 0)
    assert one.take() == [~3, 3, ~4]


def test_the_next_of_a_plain_item_starts_at_once(make: Make) -> None:
    """Who holds no reservation gets one for the next item, which so starts without another message."""
    scheduling, (one, two), gate = make("a1 b1 c1! d1! e1! f1!")
    assert (one.take(), two.take()) == ([0, ~2], [1, ~3])
    scheduling.remove_pending_tests_from_node(one, [])
    assert one.take() == [2, ~4]
    scheduling.mark_test_complete(one, 0, 0.1)
    assert (one.take(), gate.held) == ([], {"lease-2": 1})


def test_plain_items_pass_a_waiting_head(make: Make) -> None:
    """A head that waits is asked for once, plain items pass it one at a time, other demands do not."""
    scheduling, (one, two), gate = make("a0! b0! c1 c1 c1 d1!", cap=1)
    assert (one.take(), two.take()) == ([0, ~2], [])
    scheduling.started("a.py::test_0")
    assert two.take() == [2, ~3]
    end(scheduling, two, 2, 0.0001)
    assert two.take() == [3, ~4]
    assert gate.asked == [0, 1]
    end(scheduling, one, 0)
    assert one.take() == [~1, 1, ~5]
    assert gate.asked == [0, 1, 1]


def test_plain_items_pass_a_head_that_another_worker_waits_for(make: Make) -> None:
    """While one worker waits to start the head, others are not bound to what stands behind it."""
    scheduling, (one, two), gate = make("a0! b0! c0! d1 e1 f1", cap=2)
    assert (one.take(), two.take()) == ([0, ~2], [1, ~3])
    # Another run takes what becomes free.
    gate.cap = 1
    end(scheduling, one, 0)
    assert one.take() == [~2, FLUSH]
    scheduling.remove_pending_tests_from_node(two, [])
    assert two.take() == [~3]
    scheduling.started("b.py::test_1")
    assert two.take() == []
    scheduling.mark_test_complete(two, 1, 0.1)
    assert (one.take(), two.take()) == ([2, ~4], [])
    scheduling.started("c.py::test_2")
    assert two.take() == [3, ~4]


def test_parked_worker_is_flushed_while_the_head_waits(make: Make) -> None:
    """A worker that waits tears its fixtures down, once; when it has, the gate is asked again."""
    scheduling, (one, two), gate = make("a0! b0 c1! d1! e1! f1!", cap=1)
    assert (one.take(), two.take()) == ([0, ~2], [1, ~3])
    scheduling.started("a.py::test_0")
    scheduling.started("b.py::test_1")
    end(scheduling, two, 1)
    assert two.take() == [~2, FLUSH]
    asked = len(gate.asked)
    gate.cap = 2
    scheduling.mark_test_complete(two, FLUSH)
    assert len(gate.asked) == asked + 1
    assert two.take() == [2, ~3]
    scheduling.mark_test_complete(two, FLUSH)
    assert two.take() == []


def test_workers_end_for_what_their_fixtures_hold(make: Make) -> None:
    """While nothing runs and a head is stuck, workers end one by one; with the last one it is refused."""
    scheduling, nodes, gate = make("a1 b1 c1 d1! e1! f1!", workers=3, cap=0)
    gate.stuck = "fixtures hold it"
    for node, index in zip(nodes, (0, 1, 2), strict=True):
        assert node.take()[0] == index
        end(scheduling, node, index)
    one, two, three = nodes
    for node, index in zip(nodes, (3, 4, 5), strict=True):
        assert not any(each.shutting_down for each in nodes)
        assert node.take() == [~index, FLUSH]
        scheduling.mark_test_complete(node, FLUSH)
    # One at a time: its end may be enough.
    assert [each.shutting_down for each in nodes] == [False, False, True]
    scheduling.wake()
    assert not two.shutting_down
    scheduling.remove_node(three)
    assert (one.shutting_down, two.shutting_down, gate.given_up) == (False, True, [])
    scheduling.remove_node(two)
    assert (one.shutting_down, one.take(), gate.given_up) == (False, [3, ~4], [3])
    assert one.received.take(3) == Ticket(refusal="fixtures hold it")


def test_worker_with_fixtures_ends_for_one_that_has_none(make: Make, make_node: Callable[[str], Any]) -> None:
    """Where a worker that has not run anything can take the head over, the one that waits for it ends."""
    scheduling, (one,), gate = make("a1 b1! c1! d1! e1! f1!", workers=1, cap=0)
    gate.stuck = "fixtures hold it"
    end(scheduling, one, 0)
    assert one.take() == [0, ~1, ~1, FLUSH]
    late = make_node("gw9")
    scheduling.add_node(late)
    scheduling.add_node_collection(late, scheduling.collection)
    scheduling.mark_test_complete(one, FLUSH)
    assert one.shutting_down
    gate.cap = 1
    scheduling.remove_node(one)
    assert (late.take(), gate.given_up) == ([1, ~2], [])


def test_head_of_a_fresh_worker_is_refused(make: Make) -> None:
    """What never comes to its turn is refused where no worker waits for it either."""
    scheduling, (one,), gate = make("a1! b1! c1! d1! e1! f1!", workers=1, cap=0)
    gate.stuck = "somebody holds it"
    scheduling.wake()
    assert (one.take(), gate.given_up) == ([0, ~1], [0])
    assert one.received.take(0) == Ticket(refusal="somebody holds it")


def test_wake_asks_again(make: Make) -> None:
    """The gate's wake-up sends the head at once, to the first worker that is free."""
    scheduling, (one, two), gate = make("a0! b0! c1! d1! e1! f1!", cap=1)
    one.take()
    assert two.take() == []
    gate.cap = 2
    scheduling.schedule()
    assert two.take() == []
    scheduling.wake()
    assert two.take() == [1, ~2]


def test_reservations_are_asked_for_in_order(make: Make) -> None:
    """Who ends first waits while another worker, which was told of an earlier item, still tears down."""
    scheduling, (one, two), gate = make("a1! b1! c1! d1! e1! f1!")
    for node in (one, two):
        node.take()
        scheduling.remove_pending_tests_from_node(node, [])
    assert (one.take(), two.take()) == ([~2], [~3])
    scheduling.mark_test_complete(two, 1, 0.1)
    assert (one.take(), two.take()) == ([], [])
    scheduling.mark_test_complete(one, 0, 0.1)
    assert (one.take(), two.take()) == ([2, ~4], [3, ~5])
    assert gate.asked == [0, 1, 2, 3]


def test_worker_that_waits_does_not_wait_for_what_was_put_back(make: Make) -> None:
    """A crashed item comes first where a worker is free for it; those that know what comes next go on."""
    scheduling, (one, two), gate = make("a1! b1! c1! d1! e1! f1!", cap=2)
    gate.cap = 0
    end(scheduling, two, 1)
    assert scheduling.remove_node(one) == "a.py::test_0"
    scheduling.mark_test_pending("a.py::test_0")
    gate.cap = 1
    two.take()
    scheduling.wake()
    assert two.take() == [2, ~0]


def test_workers_end_when_nothing_waits(make: Make) -> None:
    """Who asks when nothing waits has run its last item; the last end finishes the run."""
    scheduling, (one, two), _ = make("a0! b0! c0! d0! e0! f0!")
    for index in range(4):
        end(scheduling, (one, two)[index % 2], index)
    assert (one.take(), two.take()) == ([0, ~2, ~2, 2, ~4, ~4, 4, ~5], [1, ~3, ~3, 3, ~5, ~5, 5])
    assert (one.shutting_down, two.shutting_down) == (False, True)
    end(scheduling, one, 4)
    assert (one.take(), one.shutting_down) == ([], True)
    assert (scheduling.has_pending, scheduling.tests_finished) == (True, False)
    scheduling.mark_test_complete(two, 5, 0.1)
    assert scheduling.tests_finished
    assert scheduling.remove_node(one) is None


def test_who_is_to_end_is_not_answered(make: Make) -> None:
    """A worker was told by xdist that the run stops: that is the answer."""
    scheduling, (one, _two), _ = make("a0! b0! c0! d0! e0! f0!")
    one.take()
    one.shutdown()
    end(scheduling, one, 0)
    assert one.take() == []


def test_refused_demand_is_sent_with_its_refusal(make: Make) -> None:
    """An item that is never granted its reservation goes to a worker, which fails it with the reason."""
    _, (one, _two), gate = make("a0!! b1! c1! d1! e1! f1!")
    assert one.take() == [0, ~1]
    assert one.received.take(0) == Ticket(refusal="more than 100")
    assert "lease-0" not in gate.held


def test_crash(make: Make) -> None:
    """A crash names the item, gives back its slot and its chunk, and a rerun comes first."""
    scheduling, (one, two), gate = make("a0! b0 b0 b0 b1 c1!", cap=1)
    assert (one.take(), two.take()) == ([0, ~3], [1, ~2])
    assert scheduling.remove_node(one) == "a.py::test_0"
    assert gate.held == {}
    scheduling.mark_test_pending("a.py::test_0")
    end(scheduling, two, 1)
    assert two.take() == [0, ~2]
    assert gate.held == {"lease-0": 1}
    with pytest.raises(KeyError):
        scheduling.remove_node(one)


def test_crash_of_a_worker_that_waits(make: Make) -> None:
    """What it was bound to, and had not started, is no crashed item; another worker runs it."""
    scheduling, (one, two), gate = make("a0! b0! c0! d0! e0! f0!", cap=2)
    gate.cap = 1
    end(scheduling, one, 0)
    assert one.take() == [0, ~2, ~2, FLUSH]
    assert (scheduling.remove_node(one), two.take()) == (None, [1, ~3])
    end(scheduling, two, 1)
    assert two.take() == [~2, 2, ~3]


def test_worker_that_dies_before_it_has_collected(make: Make, make_node: Callable[[str], Any]) -> None:
    """It had nothing to give back."""
    scheduling, _, _ = make("a0! b0! c0! d0! e0! f0!")
    late = make_node("gw9")
    scheduling.add_node(late)
    scheduling.schedule()
    assert late.take() == []
    assert scheduling.remove_node(late) is None


def test_number_of_workers_is_adjusted(make: Make) -> None:
    """While items wait, whoever adjusts workers learns how many wait, who takes part and who is free."""
    calls: list[Any] = []
    scheduling, nodes, _ = make("a0! b0! c0! d0! e0! f0!", cap=1, adjust=lambda *seen: calls.append(seen))
    assert calls == [(5, nodes, [nodes[1]])]
    scheduling.remove_pending_tests_from_node(nodes[0], [])
    assert calls[1:] == [(5, nodes, [nodes[1], nodes[0]])]


def test_worker_that_asks_may_be_retired(make: Make) -> None:
    """What was to come next then is another worker's."""

    def retire(waiting: int, live: Sequence[Any], free: Sequence[Any]) -> None:
        del waiting, live
        for node in free:
            node.shutdown()

    scheduling, (one, two), _ = make("a0! b0! c0! d0! e0! f0!", adjust=retire)
    assert (one.take(), two.take()) == ([0, ~2], [1, ~3])
    end(scheduling, one, 0)
    assert (one.take(), one.shutting_down) == ([], True)


def test_lower_priority_waits_for_the_start_of_a_higher_one(make: Make) -> None:
    """What was sent counts as waiting until it has started, or has ended without saying so."""
    scheduling, (one, two), _ = make("a0! b1! c1! d2 e2 f2")
    assert (one.take(), two.take()) == ([0, ~1], [])
    scheduling.started("somewhere/else.py::test")
    assert two.take() == []
    scheduling.started("a.py::test_0")
    assert two.take() == [1, ~2]
    end(scheduling, one, 0)
    assert one.take() == [~2, 2, ~3]
    end(scheduling, two, 1)
    # It comes next there, and starts when what is more urgent has started elsewhere.
    assert two.take() == [~3]
    scheduling.started("c.py::test_2")
    assert two.take() == [3, ~4]
