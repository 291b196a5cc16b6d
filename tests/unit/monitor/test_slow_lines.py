"""What takes long is told once, then each time that it has doubled."""

from __future__ import annotations

from dataclasses import replace

from pytest_clnrm.monitor.slow_lines import SlowLines, WaitLines
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


READY = WorkerStatus(
    worker="gw1", pid=1, item="a::b", item_since_s=90.0, phase="service", detail="db", since_s=100.0
)
SLOT = WorkerStatus(worker="gw2", pid=2, item="a::c", item_since_s=100.0, phase="slot", since_s=100.0)
HEAD = QueueStatus(pid=9, waiting={}, head="a::d", head_since_s=100.0)


def told(
    *workers: WorkerStatus, queue: QueueStatus | None = None, lines: WaitLines | None = None
) -> list[str]:
    """Return what is told of waits at second 112, after 10 seconds."""
    return (lines or WaitLines(10.0)).look(view_of(112.0, *workers, queue=queue))


def test_waits() -> None:
    """Images and services are told, steps are not."""
    assert told(STEP) == []
    assert told(READY) == ["a::b waits for db to be ready (12s)"]
    pull = replace(READY, phase="image", detail="pulling x:1: 1 of 2 layers")
    assert told(pull) == ["pulling x:1: 1 of 2 layers (12s)"]
    # Another worker pulls what this one needs.
    assert told(replace(pull, detail="")) == []


def test_a_slot_is_waited_for_while_nothing_runs() -> None:
    """Else it is just not its turn."""
    assert told(SLOT) == ["a::c waits for its slot (12s)"]
    assert told(SLOT, STEP) == []
    assert told(queue=HEAD) == ["a::d waits for its slot (12s)"]
    assert told(STEP, queue=HEAD) == []


def test_the_same_wait_is_told_of_the_first_item() -> None:
    """A service that each scenario waits for is told while the first one does, and not of later ones."""
    lines = WaitLines(10.0)
    both = (READY, replace(READY, worker="gw3", item="a::z"))
    assert told(*both, lines=lines) == ["a::b waits for db to be ready (12s)"]
    assert lines.look(view_of(125.0, *both)) == ["a::b waits for db to be ready (25s)"]
    assert lines.look(view_of(130.0)) == []
    later = replace(READY, since_s=140.0)
    assert lines.look(view_of(155.0, later)) == []
    assert lines.look(view_of(155.0, replace(later, detail="cache", since_s=141.0))) == [
        "a::b waits for cache to be ready (14s)"
    ]
