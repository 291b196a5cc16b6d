"""When a worker that has run nothing yet begins containers of which others have some."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.scheduling.facts import ItemFacts
from pytest_clnrm.scheduling.joining import Joining
from pytest_clnrm.scheduling.strict import StrictScheduling

PROCESSORS = 2


class Machine:
    """A machine of two processors, and a clock that tests turn.

    :ivar idle: how many processors are idle.
    :ivar users: how many workers use the containers.
    """

    def __init__(self) -> None:
        self.now_s = 100.0
        self.idle = 0.0
        self.users = PROCESSORS + 1
        self.woken = threading.Event()
        self.joining = Joining(
            self.woken.set, processors=PROCESSORS, idle=lambda: self.idle, now=lambda: self.now_s
        )

    def stays_out(self, item: int = 0, specification: str = "box") -> bool:
        """Ask for a worker."""
        return self.joining.stays_out(item, specification, lambda: self.users)

    def pass_s(self, seconds: float) -> None:
        """Turn the clock."""
        self.now_s += seconds


@pytest.fixture
def machine() -> Machine:
    """Return a machine whose processors are busy, with one user more than it has processors."""
    return Machine()


def test_one_more_than_there_are_processors_begins_at_once(machine: Machine) -> None:
    """Busy or not: while one waits for its engine, the others have something to do."""
    asked = {}
    for machine.users in (0, PROCESSORS, PROCESSORS + 1, PROCESSORS + 5):
        asked[machine.users] = machine.stays_out()
    assert asked == {0: False, 2: False, 3: True, 7: True}


def test_who_stays_out_is_woken(machine: Machine) -> None:
    """Nothing else may happen in the run meanwhile; each time anew."""
    for _ in range(2):
        assert machine.stays_out()
        assert machine.woken.wait(30)
        machine.woken.clear()


@pytest.mark.parametrize(
    ("idle", "join"), [(-3.0, 0), (0.0, 0), (0.74, 0), (0.75, 1), (1.74, 1), (1.75, 2), (2.0, 2)]
)
def test_as_many_join_as_processors_are_idle(machine: Machine, idle: float, join: int) -> None:
    """Three quarters of one are enough for one worker; then it is seen what that has made of it."""
    assert machine.stays_out()
    machine.pass_s(0.2)
    machine.idle = idle
    assert [machine.stays_out() for _ in range(4)] == [False] * join + [True] * (4 - join)
    machine.pass_s(0.2)
    machine.idle = 0.0
    assert machine.stays_out()


def test_a_moment_is_too_short_to_see_anything(machine: Machine) -> None:
    """The kernel counts in hundredths of a second."""
    assert machine.stays_out()
    machine.idle = 2.0
    machine.pass_s(0.05)
    assert machine.stays_out()
    machine.pass_s(0.05)
    assert not machine.stays_out()


@pytest.mark.parametrize("quiet_s", [0.0, 3.0])
def test_what_was_before_says_nothing(machine: Machine, quiet_s: float) -> None:
    """Processors are watched from the moment on at which somebody stays out, the first time or anew."""
    machine.idle = 2.0
    machine.pass_s(1.0)
    assert machine.stays_out(item=1)
    if quiet_s:
        machine.pass_s(0.1)
        assert not machine.stays_out(item=1)
        machine.pass_s(quiet_s)
        assert machine.stays_out(item=2)


def test_nobody_waits_long(machine: Machine) -> None:
    """An item that nobody takes for two seconds is begun by one more worker, and the next one waits anew."""
    asked = []
    for _ in range(25):
        asked.append(machine.stays_out(item=7))
        machine.pass_s(0.0999)
    assert asked == [True] * 21 + [False] * 4
    assert machine.stays_out(item=8)


def test_what_is_taken_all_the_time_waits_for_nobody(machine: Machine) -> None:
    """Those who have containers keep up: nobody joins for minutes."""
    for item in range(1000):
        machine.pass_s(0.1)
        assert machine.stays_out(item=item)


def test_other_containers_begin_at_once(machine: Machine) -> None:
    """Of another kind there are none that could be used again."""
    assert machine.stays_out(item=1)
    machine.users = 0
    assert not machine.stays_out(item=2, specification="other")


def test_users_that_have_ended_are_seen(machine: Machine) -> None:
    """A crashed worker's place is free with the next look."""
    assert machine.stays_out()
    machine.users = PROCESSORS
    machine.pass_s(0.2)
    assert not machine.stays_out()


class Asked:
    """Notes what it is asked; says what a test says."""

    def __init__(self) -> None:
        self.says = True
        self.asked: list[tuple[int, str, int]] = []

    def stays_out(self, item: int, specification: str, users: Callable[[], int]) -> bool:
        """Note it."""
        self.asked.append((item, specification, users()))
        return self.says and users() > 0


@pytest.fixture
def run(make_node: Callable[[str], Any], make_gate: Callable[[int], Any]) -> Callable[..., SimpleNamespace]:
    """Return what makes a scheduling of three workers, by the items' containers."""

    def build(*specifications: str | None, idle: tuple[str, str] | None = None) -> SimpleNamespace:
        facts = [ItemFacts(1, {"slots": 1}, each) if each else ItemFacts() for each in specifications]
        names = [f"{at}.py::test" for at in range(len(facts))]
        joining, gate = Asked(), make_gate(99)
        gate.idle |= {idle} if idle else set()
        scheduling = StrictScheduling(names, facts, gate=gate, workers=3, joining=joining)  # type: ignore[arg-type]
        nodes = [make_node(f"gw{number}") for number in range(3)]
        for node in nodes:
            scheduling.add_node(node)
            scheduling.add_node_collection(node, names)
        scheduling.schedule()
        return SimpleNamespace(scheduling=scheduling, nodes=nodes, joining=joining)

    return build


def test_who_stays_out_joins_when_it_may(run: Callable[..., SimpleNamespace]) -> None:
    """Until then it gets nothing, and what it would have run is the next of those who run."""
    made = run("box", "box", "box", "box")
    one, two, three = made.nodes
    assert [each.take() for each in made.nodes] == [[0, ~1], [], []]
    assert made.joining.asked == [(0, "box", 0), (1, "box", 1)]
    made.scheduling.remove_pending_tests_from_node(one, [])
    made.scheduling.mark_test_complete(one, 0, 0.1)
    assert one.take() == [~1, 1, ~2]
    made.joining.says = False
    made.scheduling.wake()
    assert [two.take(), three.take()] == [[2], [3]]
    assert made.joining.asked[-2:] == [(2, "box", 1), (3, "box", 2)]


def test_whose_containers_are_idle_is_not_asked(run: Callable[..., SimpleNamespace]) -> None:
    """Of an earlier run, say: it begins nothing."""
    made = run("box", "box", idle=("gw2", "box"))
    assert [each.take() for each in made.nodes] == [[], [], [0, ~1]]
    assert made.joining.asked == [(1, "box", 1)]


def test_what_needs_no_containers_is_not_asked(run: Callable[..., SimpleNamespace]) -> None:
    """Python tests start at once; behind an item that waits for others they wait, too."""
    made = run(None, "box", "box", None)
    assert [each.take()[:1] for each in made.nodes] == [[0], [1], []]
    assert made.joining.asked == [(1, "box", 0), (2, "box", 1)]


def test_the_others_do_without_who_stays_out(run: Callable[..., SimpleNamespace]) -> None:
    """One worker runs all; the rest is ended with the last item."""
    made = run("box", "box")
    one, two, three = made.nodes
    assert one.take() == [0, ~1]
    made.scheduling.remove_pending_tests_from_node(one, [])
    assert two.shutting_down
    assert three.shutting_down
    made.scheduling.mark_test_complete(one, 0, 0.1)
    assert one.take() == [~1, 1]
    made.scheduling.remove_pending_tests_from_node(one, [])
    made.scheduling.mark_test_complete(one, 1, 0.1)
    assert made.scheduling.tests_finished


def test_room_that_comes_free_is_the_heads_though_somebody_stays_out(
    make_node: Callable[[str], Any], make_gate: Callable[[int], Any], machine: Machine
) -> None:
    """Who frees the room that the head waits for runs it: a worker that stays out would not."""
    facts = [*[ItemFacts(1, {"slots": 1}, "box")] * 6, *[ItemFacts(2)] * 6]
    names = [f"{at}.py::test" for at in range(len(facts))]
    gate = make_gate(3)
    scheduling = StrictScheduling(names, facts, gate=gate, workers=5, joining=machine.joining)
    nodes = [make_node(f"gw{number}") for number in range(5)]
    for node in nodes:
        scheduling.add_node(node)
        scheduling.add_node_collection(node, names)
    scheduling.schedule()
    assert [each.take()[:1] for each in nodes] == [[0], [1], [2], [], []]
    for index in range(2):
        scheduling.started(names[index])
    machine.idle = 1.0
    machine.pass_s(0.1)
    # One may join, for which there is no room; tests of a lower priority wait for the start of 2.
    scheduling.wake()
    assert [each.take() for each in nodes[3:]] == [[], []]
    machine.idle = 0.0
    scheduling.remove_pending_tests_from_node(nodes[0], [])
    assert nodes[0].take() == [~3]
    gate.idle.add(("gw0", "box"))
    scheduling.mark_test_complete(nodes[0], 0, 0.1)
    assert nodes[0].take()[:1] == [3]
    assert gate.held == {"lease-1": 1, "lease-2": 1, "lease-3": 1}


def test_who_has_run_something_is_not_left_out(run: Callable[..., SimpleNamespace]) -> None:
    """A worker whose item was torn down in a child process is fed as one that has run nothing: it goes on."""
    made = run("box", "box", "box", None, None)
    one, two, _ = made.nodes
    assert one.take() == [0, ~1]
    made.scheduling.mark_test_complete(one, 0, 0.1)
    assert one.take() == [1, ~2]
    assert two.take() == []
    assert made.joining.asked == [(0, "box", 0), (1, "box", 1), (2, "box", 1)]


def test_no_workers_are_started_while_some_are_left_out(
    make_node: Callable[[str], Any], make_gate: Callable[[int], Any]
) -> None:
    """They would collect everything, and then be left out too."""
    facts = [ItemFacts(1, {"slots": 1}, "box")] * 4
    names = [f"{at}.py::test" for at in range(4)]
    joining, asked = Asked(), []
    scheduling = StrictScheduling(
        names,
        facts,
        gate=make_gate(99),
        workers=2,
        joining=joining,  # type: ignore[arg-type]
        adjust=lambda waiting, _live, _idle: asked.append(waiting),
    )
    for node in (make_node("gw0"), make_node("gw1")):
        scheduling.add_node(node)
        scheduling.add_node_collection(node, names)
    scheduling.schedule()
    assert asked == []
    joining.says = False
    scheduling.wake()
    assert asked == [2]
