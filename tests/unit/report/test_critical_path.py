"""What made a run long: stretches of time from its start to its end, and a sentence of them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from pytest_clnrm.report.critical_path import Stretch, critical_path, seconds, sentence

START = datetime(2026, 3, 14, 9, tzinfo=timezone.utc)


def row(name: str, start_s: float, end_s: float, worker: str = "gw0", **changed: Any) -> dict[str, Any]:
    """Return the row of a scenario with a container."""
    return {
        "nodeid": f"a.toml::{name}",
        "name": name,
        "started": (START + timedelta(seconds=start_s)).isoformat(),
        "duration_s": end_s - start_s,
        "worker": worker,
        "slot_wait_s": 0.0,
        "containers": [{}],
        **changed,
    }


def told(rows: list[dict[str, Any]], duration_s: float = 10.0, **given: Any) -> list[tuple[str, float, str]]:
    """Return kind, length and item of each stretch; they follow each other from 0 to the end."""
    path = critical_path(rows, started=START.isoformat(), duration_s=duration_s, **given)
    edges = [0.0, *(each.end_s for each in path)]
    assert [each.start_s for each in path] == pytest.approx(edges[:-1])
    assert edges[-1] == pytest.approx(duration_s)
    return [
        (each.kind, round(each.length_s, 3), rows[each.row]["name"] if each.row >= 0 else "") for each in path
    ]


def test_items_of_one_worker_follow_each_other() -> None:
    """The worker that ended last is the path; what others did meanwhile is not on it."""
    rows = [row("a", 2, 4), row("other", 2, 8, "gw1"), row("b", 4.5, 9)]
    assert told(rows) == [
        ("start-up", 2, ""), ("item", 2, "a"), ("between", 0.5, ""), ("item", 4.5, "b"), ("end", 1, ""),
    ]  # fmt: skip


def test_who_waited_came_after_whom_it_waited_for() -> None:
    """The room came from a scenario of another worker: that is on the path, and not the waiting."""
    rows = [row("short", 1, 2), row("long", 1, 7, "gw1"), row("late", 7, 9, slot_wait_s=5.0)]
    assert [each[2] for each in told(rows)] == ["", "long", "late", ""]


def test_room_that_another_run_held_is_waiting() -> None:
    """No item of this run gave the room back that was waited for."""
    rows = [row("first", 1, 2), row("late", 8, 9, slot_wait_s=5.0)]
    assert told(rows) == [
        ("start-up", 1, ""), ("item", 1, "first"), ("between", 1, ""), ("wait", 5, ""), ("item", 1, "late"),
        ("end", 1, ""),
    ]  # fmt: skip
    # A plain test holds no room.
    rows[0]["containers"] = []
    assert told(rows)[3] == ("wait", 5, "")


def test_nothing_ran() -> None:
    """Without an item there is no path, and no sentence."""
    assert critical_path([row("a", 0, 0, started="")], started=START.isoformat(), duration_s=1) == []
    assert sentence([], []) == ""


def test_times_of_two_clocks_do_not_loop() -> None:
    """Items that overlap in a worker, or end before they start, are each there once at most."""
    rows = [row("a", 1, 5), row("b", 4.98, 6), row("c", 4.98, 4.99), row("d", -1, 6)]
    names = [name for _, _, name in told(rows) if name]
    assert len(names) == len(set(names))


def test_the_sentence_begins_with_the_largest_part() -> None:
    """Each part has its seconds; a name stands for the one item that took longest."""
    rows = [row("a", 6, 7), row("import", 7, 9.5)]
    path = critical_path(rows, started=START.isoformat(), duration_s=10, images_s={"a.toml::import": 1.5})
    assert path[2].images_s == 1.5
    assert sentence(path, rows) == (
        "The run took 10.0 s: 6.0 s starting up, 2.0 s in 2 tests one after the other (longest: "
        "import, 2.5 s), 1.5 s for images, 0.5 s ending."
    )
    alone = [Stretch(kind="item", start_s=0, end_s=90, row=0)]
    assert sentence(alone, rows) == "The run took 1 min 30 s: 1 min 30 s in a alone."
    assert seconds(59.96) == "60.0 s"


def test_a_long_chain_takes_no_time_to_find() -> None:
    """Each of 20,000 items waited: looking at all of them for each would be 400 million looks."""
    rows = [row(str(at), at, at + 0.9, f"gw{at % 8}", slot_wait_s=0.5) for at in range(20_000)]
    assert len(critical_path(rows, started=START.isoformat(), duration_s=20_000)) > 20_000
