"""The processors of this process, and how many are idle."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pytest_clnrm.util.processors import IdleTime, count_processors, is_among_first

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def stat(*idle: tuple[float, float]) -> str:
    """Return /proc/stat of processors that were idle, and waited for the disk, that many seconds."""
    ticks = [(round(each / TICK_S), round(waited / TICK_S)) for each, waited in idle]
    lines = [f"cpu{at} 5 6 7 {each} {waited} 8 9 10 0 0" for at, (each, waited) in enumerate(ticks)]
    return "\n".join(["cpu  1 2 3 4 5 6 7 8 0 0", *lines, "intr 1 2 3", "ctxt 9"]) + "\n"


@pytest.fixture(autouse=True)
def _two_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process use the processors 0 and 2."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2}, raising=False)


def test_those_that_it_may_use_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not say, all are."""
    assert count_processors() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert count_processors() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_processors() == 1


@pytest.mark.parametrize(
    ("worker", "is_among"), [("gw0", True), ("gw1", True), ("gw2", False), ("gw10", False), ("master", True)]
)
def test_the_first_workers(worker: str, *, is_among: bool) -> None:
    """By their numbers; a process without one is as good as the first."""
    assert is_among_first(worker, 2) is is_among


def test_idle_processors_since_the_last_question(tmp_path: Path) -> None:
    """Waiting for the disk is idle; the processors of others do not count."""
    now_s = 50.0
    path = tmp_path / "stat"
    path.write_text(stat((10, 1), (10, 1), (10, 1)))
    idle = IdleTime(path, lambda: now_s)
    now_s = 52.0
    path.write_text(stat((11, 1), (12, 1), (10.5, 1.5)))
    assert idle.since_last() == pytest.approx(1.0)
    now_s = 54.0
    path.write_text(stat((11, 1), (14, 1), (10.5, 1.5)))
    assert idle.since_last() == 0.0


def test_the_same_processors_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the process may use others in between."""
    times = iter([1.0, 2.0])
    path = tmp_path / "stat"
    path.write_text(stat((10, 1), (10, 1), (10, 1)))
    idle = IdleTime(path, lambda: next(times))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})
    path.write_text(stat((10.25, 1), (10, 1), (10.5, 1)))
    assert idle.since_last() == pytest.approx(0.75)


@pytest.mark.parametrize("text", ["", "cpu  1 2 3\n", "cpu0 1 2\n", "cpu0 a b c d e f\n"])
def test_who_is_not_told_takes_all_for_idle(tmp_path: Path, text: str) -> None:
    """No such file, as on macOS, or one of another form."""
    path = tmp_path / "stat"
    if text:
        path.write_text(text)
    times = iter([1.0, 2.0])
    assert IdleTime(path, lambda: next(times)).since_last() == 2.0


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not say which may be used")
def test_a_busy_machine_is_told_from_an_idle_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel's own file: one processor that computes all the time is not idle."""
    monkeypatch.undo()
    mine = min(os.sched_getaffinity(0))
    everything = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {mine})
    try:
        idle = IdleTime()
        until_s = time.monotonic() + 0.3
        while time.monotonic() < until_s:
            pass
        assert idle.since_last() < 0.2
    finally:
        os.sched_setaffinity(0, everything)
