"""What takes long is told once, then each time that it has doubled."""

from __future__ import annotations

from dataclasses import replace

from pytest_clnrm.monitor.slow_lines import SlowLines
from pytest_clnrm.monitor.view import HostView, RunView
from pytest_clnrm.status.status_file import QueueStatus, WorkerStatus


def view_of(now_s: float, *workers: WorkerStatus, queue: QueueStatus | None = None) -> HostView:
    """Return a view of one run."""
    return HostView(taken_s=now_s, runs=(RunView(session="a", pid=1, workers=workers, queue=queue),))


STEP = WorkerStatus(
    worker="gw1", pid=1, item="a::b", item_since_s=100.0, phase="step", detail="load", since_s=110.0
)


def test_once_and_then_doubling() -> None:
    """At 30, 60, 120 and 240 seconds, and not in between."""
    slow = SlowLines(30.0)
    told = [now - 100 for now in range(100, 400) if slow.look(view_of(now, STEP))]
    assert told == [30, 60, 120, 240]


def test_a_late_look_tells_once() -> None:
    """What was missed is not told again and again."""
    slow = SlowLines(30.0)
    assert len(slow.look(view_of(1000.0, STEP))) == 1
    assert slow.look(view_of(1001.0, STEP)) == []


def test_the_next_item_begins_again() -> None:
    """An item that has ended is forgotten, also if the same one runs again."""
    slow = SlowLines(30.0)
    assert slow.look(view_of(130.0, STEP))
    assert slow.look(view_of(131.0)) == []
    again = replace(STEP, item_since_s=131.0)
    assert slow.look(view_of(140.0, again)) == []
    assert slow.look(view_of(161.0, again))


def test_the_words(host: HostView) -> None:
    """Who, what, how long, and what it is at; the head with what is in use; idle workers are not told."""
    slow = SlowLines(1.0)
    assert slow.look(host) == [
        "gw0: tests/shop/checkout.clnrm.toml::pays has been running for 12s: step 'load' (8s)",
        (
            "gw1: tests/b.clnrm.toml::x has been running for 3s: "
            "pulling postgres:16: 3 of 8 layers, 40 of 120 MB (3s)"
        ),
        "gw2: tests/c.clnrm.toml::日本語 has been running for 1m10s: waits for db, cache to be ready (2s)",
        (
            "queue: z.clnrm.toml::z has been waiting for its slot for 20s "
            "(3 of 10 containers, 1536 of 12000 MB in use)"
        ),
    ]


def test_waiting_and_plain_tests() -> None:
    """A worker that waits for a slot says so; a plain test has no more to tell."""
    waits = replace(STEP, phase="slot", detail="2 containers")
    plain = replace(STEP, worker="gw2", phase="test", detail="")
    queue = QueueStatus(pid=1, head="c::d", head_since_s=90.0)
    assert SlowLines(0.0).look(view_of(131.0, waits, plain, queue=queue)) == [
        "gw1: a::b has been waiting for 31s: waits for 2 containers",
        "gw2: a::b has been running for 31s",
        "queue: c::d has been waiting for its slot for 41s",
    ]
