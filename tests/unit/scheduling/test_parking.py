"""Waiting below the hooks, with a worker of xdist that is a few lists."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.scheduling.parking import Parking, flush_order

END = object()
"""What stands for xdist's mark of the end."""


class FakeInteractor:
    """What parking knows of xdist's WorkerInteractor; its loop is :meth:`run`.

    :param orders: what the controller has sent at the start, and what it answers to each question.
    """

    def __init__(self, orders: Sequence[object], *answers: Sequence[object]) -> None:
        self._orders = deque(orders)
        self._answers = deque(answers)
        self.torun = SimpleNamespace(get=self._orders.popleft, lock=self._lock)
        self.nextitem_index: Any = None
        self.events: list[tuple[str, object]] = []
        self.next_at_start: list[object] = []
        self.next_at_teardown: list[object] = []
        self.errors: list[str] = []
        # Everything but what is kept is torn down, and one error is raised at the end.
        self.kept: list[list[str]] = []
        self.breaks = False
        hook = SimpleNamespace(_hookexec=self._call_hook)
        self.items = [SimpleNamespace(name=f"item{at}", ihook=self._hooks()) for at in range(4)]
        session: Any = SimpleNamespace(
            items=self.items,
            shouldfail=False,
            shouldstop=False,
            config=SimpleNamespace(hook=SimpleNamespace(pytest_runtest_teardown=hook)),
            _setupstate=SimpleNamespace(teardown_exact=self._teardown_exact),
        )
        self._hook = hook
        self.session = session
        Parking(self, session)

    def run(self) -> None:
        """Do what xdist's loop does."""
        self.nextitem_index = self.torun.get()
        while self.nextitem_index is not END:
            self.run_one_test()
            if self.session.shouldfail:
                break
        assert self.session.shouldfail or not self._orders
        assert not self._answers

    def run_one_test(self) -> None:
        """Do what xdist does, with a protocol that only tears down."""
        item = self.items[self.nextitem_index]
        self.nextitem_index = self.torun.get()
        nextitem = None if self.nextitem_index is END else self.items[self.nextitem_index]
        self.next_at_start.append(nextitem and nextitem.name)
        self._protocol(item, nextitem)
        self.events.append(("complete", item.name))

    def sendevent(self, name: str, **more: Any) -> None:
        """Record, and get the answer to a question."""
        self.events.append((name, more.get("item_index")))
        if name == "unscheduled":
            assert more == {"indices": []}
            self._orders.extend(self._answers.popleft())

    def _protocol(self, item: Any, nextitem: Any) -> None:
        self._hook._hookexec("pytest_runtest_teardown", [], {"item": item, "nextitem": nextitem}, None)

    def _call_hook(self, name: str, hooks: object, arguments: dict[str, Any], first: object) -> None:
        del name, hooks, first
        nextitem = arguments["nextitem"]
        self.next_at_teardown.append(nextitem and nextitem.name)

    def _teardown_exact(self, nextitem: Any) -> None:
        self.kept.append(nextitem.listchain())
        if self.breaks:
            raise ValueError("broken teardown")

    def _hooks(self) -> Any:
        def make(item: Any, call: pytest.CallInfo[None]) -> str:
            return f"{item.name}: {call.when}: {call.excinfo.value if call.excinfo else None}"

        return SimpleNamespace(
            pytest_runtest_makereport=make,
            pytest_runtest_logreport=lambda *, report: self.errors.append(report),
        )

    @contextmanager
    def _lock(self) -> Iterator[deque[object]]:
        yield self._orders


def test_next_item_is_decided_at_the_teardown() -> None:
    """Hooks are given what is foreseen at the start, and what comes at the teardown, which is run."""
    worker = FakeInteractor([0, ~1], [2, ~3], [END])
    worker.run()
    assert worker.next_at_start == ["item1", "item3"]
    assert worker.next_at_teardown == ["item2", None]
    assert worker.events == [
        ("unscheduled", None),
        ("complete", "item0"),
        ("unscheduled", None),
        ("complete", "item2"),
    ]


def test_what_is_known_is_not_asked_for() -> None:
    """Several that were sent together, and the end, are certain from the start."""
    worker = FakeInteractor([0, 1, 2, END])
    worker.run()
    assert worker.next_at_start == worker.next_at_teardown == ["item1", "item2", None]
    assert worker.events == [("complete", "item0"), ("complete", "item1"), ("complete", "item2")]


def test_waiting_and_giving_way() -> None:
    """What comes next and may not start yet keeps its worker waiting, which tears down when it is told to."""
    worker = FakeInteractor([0, ~1], [~2, 4, 2, END])
    assert flush_order(worker.items) == 4
    worker.breaks = True
    worker.run()
    assert worker.next_at_teardown == ["item2", None]
    assert worker.kept == [[worker.session], []]
    assert worker.events[1:] == [
        ("complete", "item0"),
        ("runtest_protocol_complete", 4),
        ("complete", "item2"),
    ]
    assert worker.errors[0] == "item0: teardown: broken teardown"


def test_end_while_it_waits() -> None:
    """What was kept for an item that does not come is torn down, and an error is the last item's."""
    worker = FakeInteractor([0, ~1], [~1, END])
    worker.breaks = True
    worker.run()
    assert worker.next_at_teardown == ["item1"]
    assert (worker.kept, worker.errors) == ([[]], ["item0: teardown: broken teardown"])


def test_teardown_with_another_next_item(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin's own calls are left alone; what comes next is asked for when the item has ended."""
    worker = FakeInteractor([0, ~1], [END])
    other = worker.items[3]
    monkeypatch.setattr(worker, "_protocol", lambda item, _: FakeInteractor._protocol(worker, item, other))
    worker.run()
    assert worker.next_at_teardown == ["item3"]
    assert worker.events == [("complete", "item0"), ("unscheduled", None)]


def test_session_that_stops() -> None:
    """After pytest has decided to stop nothing is asked for, and nobody waits."""
    worker = FakeInteractor([0, ~1])

    def protocol(item: Any, nextitem: Any) -> None:
        del item, nextitem
        worker.session.shouldfail = "stopping after 1 failures"

    worker._protocol = protocol  # type: ignore[method-assign]
    worker.run()
    assert worker.events == [("complete", "item0")]
