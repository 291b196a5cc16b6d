"""Whole sessions played without processes: the controller's side, and workers that do as parking.py does."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from pytest_clnrm.scheduling.facts import ItemFacts
from pytest_clnrm.scheduling.strict import StrictScheduling

Step = Callable[[], None]

_MOST_WAKES = 1000


class PlayedWorker:
    """A worker: what it can do next is :meth:`step`, None while it waits for an order.

    With ``play.in_children`` its items end before it asks what comes next: their teardown is elsewhere.

    :ivar ran: its items, in order.
    :ivar told: what came next at each item's teardown, None for nothing.
    :ivar foreseen: what was to come next at each item's start.
    """

    def __init__(self, name: str, play: Play) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.gone = False
        self.ran: list[int] = []
        self.told: list[int | None] = []
        self.foreseen: list[int | None] = []
        self._play = play
        self._orders: deque[int | None] = deque()
        self._at = self._begin

    def __repr__(self) -> str:
        return str(self.gateway.id)

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        """Get orders."""
        assert not self.shutting_down
        self._orders.extend(indices)

    def sendcommand(self, name: str, *, indices: Sequence[int], **_tickets: object) -> None:
        """Get orders with tickets."""
        assert name == "runtests"
        self.send_runtest_some(indices)

    def shutdown(self) -> None:
        """Get the order to end."""
        self._orders.append(None)
        self.shutting_down = True

    def step(self) -> Step | None:
        """Return what it does next."""
        if self.gone or (not self._orders and self._at not in {self._ask, self._end_in_child}):
            return None
        # An item does not start before it is known what comes then.
        if self._at == self._begin and self._orders[0] is not None and len(self._orders) < 2:
            return None
        return self._at

    def _begin(self) -> None:
        order = self._orders.popleft()
        if order is None:
            self._end()
            return
        if order == len(self._play.names):
            self._play.scheduling.mark_test_complete(self, order)
            return
        if order < 0:
            assert ~order == self.told[-1]
            return
        assert not self.told or self.told[-1] == order
        self.ran.append(order)
        self.foreseen.append(_item(self._orders[0]))
        self._play.starts.append(order)
        self._at = self._end_in_child if self._play.in_children else self._ask
        self._play.scheduling.started(self._play.names[order])

    def _end_in_child(self) -> None:
        self._at = self._ask
        self._play.scheduling.mark_test_complete(self, self.ran[-1], self._play.duration_s)

    def _ask(self) -> None:
        self._at = self._learn if self._play.in_children else self._tear_down
        order = self._orders[0]
        if order is not None and order < 0:
            self._orders.popleft()
        if not self._orders:
            self._play.scheduling.remove_pending_tests_from_node(self, [])

    def _learn(self) -> None:
        self.told.append(_item(self._orders[0]))
        self._at = self._begin

    def _tear_down(self) -> None:
        self._learn()
        self._play.scheduling.mark_test_complete(self, self.ran[-1], self._play.duration_s)

    def _end(self) -> None:
        assert not self.told or self.told[-1] is None
        self.gone = True
        assert self._play.scheduling.remove_node(self) is None


class Play:
    """A session.

    :param items: file, priority and demand of each, sorted by priority.
    :param gate: the gate.
    :param duration_s: how long each takes: several that are quick are handed out together.
    :param in_children: whether items are torn down in child processes.
    :param joining: of workers that have run nothing yet; all items with a demand have the same containers.
    """

    def __init__(
        self,
        items: Sequence[tuple[str, int, bool]],
        workers: int,
        gate: Any,
        duration_s: float = 0.1,
        *,
        in_children: bool = False,
        joining: Any = None,
    ) -> None:
        self.duration_s = duration_s
        self.in_children = in_children
        self.joins_late = joining is not None
        self.gate = gate
        self.names = [f"{file}.py::{at}" for at, (file, _, _) in enumerate(items)]
        facts = [
            ItemFacts(priority, {"slots": 1}, "containers") if demands else ItemFacts(priority)
            for _, priority, demands in items
        ]
        self.starts: list[int] = []
        self.scheduling = StrictScheduling(self.names, facts, gate=gate, workers=workers, joining=joining)
        self.workers = [PlayedWorker(f"gw{number}", self) for number in range(workers)]
        for worker in self.workers:
            self.scheduling.add_node(worker)
            self.scheduling.add_node_collection(worker, self.names)
        self.scheduling.schedule()

    def run(self, choose: Callable[[list[Step]], Step]) -> None:
        """Play until nobody can do anything."""
        for _ in range(_MOST_WAKES):
            while steps := [step for worker in self.workers if (step := worker.step()) is not None]:
                choose(steps)()
            if not (self.joins_late and self.scheduling.has_pending):
                return
            # Only those wake up by the clock.
            self.scheduling.schedule()
        raise AssertionError("nobody does anything any more")


class Reluctant:
    """Lets workers that have run nothing yet join at random moments."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def stays_out(self, item: int, specification: str, users: Callable[[], int]) -> bool:
        """Tell by chance; who needs what nobody has is not asked to wait for it."""
        del item, specification
        return users() > 0 and self._random.random() < 0.7


class Session(NamedTuple):
    """What is played.

    :param items: file, priority and demand of each.
    :param seed: of who does something next.
    :param joins_late: workers join one after the other.
    """

    items: list[tuple[str, int, bool]]
    workers: int
    duration_s: float
    seed: int
    joins_late: bool

    def play(self, gate: Any, *, in_children: bool = False) -> Play:
        """Play it to its end."""
        play = Play(
            self.items,
            self.workers,
            gate,
            self.duration_s,
            in_children=in_children,
            joining=Reluctant(self.seed) if self.joins_late else None,
        )
        play.run(random.Random(self.seed).choice)  # noqa: S311 - no secret
        return play


def _item(order: int | None) -> int | None:
    return order if order is None or order >= 0 else ~order


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    """Return a session's items, sorted by priority, workers, durations, and who is how fast."""
    kinds = st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.booleans())
    items = sorted(draw(st.lists(kinds, max_size=40)), key=lambda item: item[1])
    return Session(
        items,
        draw(st.integers(1, 4)),
        draw(st.sampled_from([0.1, 0.002])),
        draw(st.integers(0, 10**6)),
        draw(st.booleans()),
    )


@given(session=sessions(), cap=st.integers(1, 5))
def test_what_a_worker_is_told_comes_true(
    make_gate: Callable[[int], Any], session: Session, cap: int
) -> None:
    """Whoever is how fast: each item runs once, after what its worker was told; the last one is told None."""
    play = session.play(make_gate(cap))
    assert sorted(play.starts) == list(range(len(session.items)))
    assert play.scheduling.tests_finished
    for worker in play.workers:
        assert worker.gone
        assert worker.told == [*worker.ran[1:], None][: len(worker.ran)]


@given(session=sessions(), cap=st.integers(1, 5))
def test_no_item_of_child_processes_is_lost(
    make_gate: Callable[[int], Any], session: Session, cap: int
) -> None:
    """Each item runs once also where it ends before its worker asks what comes next."""
    play = session.play(make_gate(cap), in_children=True)
    assert sorted(play.starts) == list(range(len(session.items)))
    assert play.scheduling.tests_finished
    assert all(worker.gone for worker in play.workers)


@given(session=sessions())
def test_order_under_no_cap(make_gate: Callable[[int], Any], session: Session) -> None:
    """Nothing starts before something of a higher priority."""
    play = session.play(make_gate(1000))
    priorities = [session.items[index][1] for index in play.starts]
    assert priorities == sorted(priorities)


@given(session=sessions(), cap=st.integers(1, 5))
def test_reservations_are_asked_for_in_order(
    make_gate: Callable[[int], Any], session: Session, cap: int
) -> None:
    """Items with a demand start in the order of the collection, whoever is how fast."""
    play = session.play(make_gate(cap))
    demanding = [index for index in play.starts if session.items[index][2]]
    granted = list(dict.fromkeys(play.gate.asked))
    assert granted == sorted(demanding)


@given(workers=st.integers(1, 4), number=st.integers(1, 40))
def test_what_is_foreseen_comes_true_at_an_even_pace(
    make_gate: Callable[[int], Any], workers: int, number: int
) -> None:
    """Workers that are as fast as each other get what was foreseen for them, until the last round."""
    play = Play([("a", 1, True)] * number, workers, make_gate(1000))
    turn = count()
    play.run(lambda steps: steps[next(turn) % len(steps)])
    for worker in play.workers:
        for index, foreseen, told in zip(worker.ran, worker.foreseen, worker.told, strict=True):
            assert foreseen == told or index >= number - 2 * workers
