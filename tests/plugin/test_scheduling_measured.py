"""Order, makespan, set-ups and hand-off as they are promised, measured over real xdist workers.

``CLNRM_FULL=1`` makes it 200 tests with 2, 4, 8 and 16 workers, 60 modules of 10 tests and 200 hand-overs,
with the times that are promised, on a machine that does nothing else. ``benchmarks/`` prints the figures.
"""

from __future__ import annotations

import heapq
import importlib.util
import os
import statistics
import sys
from pathlib import Path
from types import ModuleType

import pytest
from clnrm_testing.requirements import needs_xdist
from clnrm_testing.scheduling_project import SchedulingProject

FULL = bool(os.environ.get("CLNRM_FULL"))
TESTS = 200 if FULL else 60
WORKERS = (2, 4, 8, 16) if FULL else (4,)
OF_IDEAL = 1.05
MODULES = 60 if FULL else 20
HAND_OVERS = 200 if FULL else 40
# Without wake-ups it would be up to a second, until somebody looks.
HAND_OFF_S = 0.005 if FULL else 0.5

ORDER = f"""
import random, time
import pytest
rng = random.Random(7)
def mark(at):
    marks = [pytest.mark.clnrm_priority(rng.choice(["high", "normal", "low"]))]
    return marks + [pytest.mark.demand(1)] if at % 2 else marks
lengths = [.02, .05, .1, .2, .4]
cases = [pytest.param(rng.choice(lengths), marks=mark(at), id=str(at)) for at in range({TESTS})]
@pytest.mark.parametrize("length", cases)
def test(length):
    time.sleep(length)
"""
MODULE = """
import time
import pytest
@pytest.fixture(scope="module")
def costly():
    with open("setups", "a") as file:
        file.write("x")
    time.sleep(0.1)
@pytest.mark.parametrize("number", range(10))
def test(costly, number):
    time.sleep(0.01)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> SchedulingProject:
    """Return an empty project."""
    return SchedulingProject(pytester, monkeypatch)


@pytest.mark.parametrize("workers", WORKERS)
def test_order_and_makespan(project: SchedulingProject, workers: int) -> None:
    """No lower priority starts before a higher one that waits, and it takes as long as list scheduling."""
    project.pytester.makepyfile(ORDER)
    project.run("-n", str(workers)).assert_outcomes(passed=TESTS)
    starts = project.events()
    assert sum(one.priority > other.priority for at, one in enumerate(starts) for other in starts[at:]) == 0
    ends = {event.nodeid: event.at_s for event in project.events("end")}
    free_at = [0.0] * workers
    for event in starts:
        heapq.heapreplace(free_at, free_at[0] + ends[event.nodeid] - event.at_s)
    makespan_s = max(ends.values()) - starts[0].at_s
    # On a machine that has other things to do, times say little.
    assert makespan_s <= OF_IDEAL * max(free_at) or not FULL


def test_setups_of_module_fixtures(project: SchedulingProject) -> None:
    """With a scenario beside them, modules' fixtures are set up hardly more often than under ``load``."""
    for number in range(MODULES):
        project.pytester.makepyfile(**{f"test_{number:02}": MODULE})
    project.pytester.makepyfile(
        test_99="import pytest, time\n@pytest.mark.demand(1)\ndef test(): time.sleep(.3)"
    )
    setups = project.pytester.path / "setups"
    counts = {}
    for scheduler in ("strict", "xdist"):
        setups.write_text("")
        project.run("-n", "4", "--fake-scheduler", scheduler).assert_outcomes(passed=MODULES * 10 + 1)
        counts[scheduler] = setups.stat().st_size
    assert MODULES <= counts["strict"] <= 1.1 * counts["xdist"] + (0 if FULL else 4)


@pytest.fixture
def handoff(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the benchmark of the hand-off, which stands beside the tests."""
    path = Path(__file__).parents[2] / "benchmarks" / "handoff.py"
    spec = importlib.util.spec_from_file_location("handoff", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look themselves up there.
    monkeypatch.setitem(sys.modules, "handoff", module)
    monkeypatch.syspath_prepend(path.parent)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("runs", [pytest.param(1, marks=needs_xdist), 2])
def test_hand_off(handoff: ModuleType, monkeypatch: pytest.MonkeyPatch, runs: int) -> None:
    """From a release to the next item's start, within a run and between two, nobody polls."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    tests, arguments = (handoff.CROWD, ["-n", "3"]) if runs == 1 else (handoff.TURNS, ["-p", "no:xdist"])
    notes = handoff.run_all(tests, arguments, runs=runs, tests=HAND_OVERS)
    times_s = handoff.hand_overs(notes, same_run=runs == 1)
    assert len(times_s) >= HAND_OVERS // 4
    assert statistics.median(times_s) <= HAND_OFF_S
