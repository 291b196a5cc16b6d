"""Order and makespan of our scheduling, beside xdist's ``load`` and ``worksteal``, in one run.

Three measurements, from start and end times that the tests' processes record (one clock, CLOCK_MONOTONIC):

* ``order``: 200 sleeping tests of unequal length and three priorities, half of them with a demand. An
  inversion is a pair of tests of which the lower priority started first. The ideal is list scheduling in
  order of priority, with the times that were measured and no overhead.
* ``modules``: 60 modules of 10 tests with a module fixture, one scenario beside them, with the whole plugin
  and an engine that only exists in memory: set-ups and wall time.
* ``plain``: 600 trivial tests without priorities and demands, with the whole plugin and without: wall time.

Run from the project's root: ``python benchmarks/scheduling.py [--workers 2,4,8,16] [--rounds 3]``. All runs
see the same sorted collection; only the scheduling differs. The tests sleep, so more workers than cores are
fair.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TESTS = 200
ROOT = Path(__file__).resolve().parents[1]
SCHEDULERS = {
    "ours": ["--fake-scheduler", "strict"],
    "load": ["--fake-scheduler", "xdist"],
    "worksteal": ["--fake-scheduler", "xdist", "--dist", "worksteal"],
}
ROOM = ["-p", "no:clnrm", "-p", "clnrm_testing.scheduling_plugin"]
WHOLE = ["-p", "clnrm_testing.fake_engine"]
ORDER = """
import random, time
import pytest
rng = random.Random(7)
def mark(index):
    marks = [pytest.mark.clnrm_priority(rng.choice(["high", "normal", "low"]))]
    return marks + [pytest.mark.demand(1)] if index % 2 else marks
lengths = [pytest.param(rng.choice([.02, .05, .1, .2, .4]), marks=mark(at), id=str(at)) for at in range(200)]
@pytest.mark.parametrize("length", lengths)
def test(length):
    time.sleep(length)
"""
MODULE = """
import os, time
import pytest
@pytest.fixture(scope="module")
def costly():
    with open(os.environ["SETUPS"], "a") as file:
        file.write("x")
    time.sleep(0.1)
@pytest.mark.parametrize("number", range(10))
def test(costly, number):
    time.sleep(0.01)
"""
SCENARIO = """
[[step]]
name = "work"
run = "sleep 0.3"
"""
PLAIN = """
import pytest
@pytest.mark.parametrize("number", range(600))
def test(number):
    pass
"""


@dataclass(frozen=True)
class Run:
    """One test's start and end, seconds, and its priority."""

    priority: int
    start: float
    end: float


def main() -> None:
    """Run and print all of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", default="2,4,8,16", help="numbers of workers, for the order")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind; medians are printed")
    parser.add_argument("--only", choices=["order", "modules", "plain"], action="append")
    options = parser.parse_args()
    wanted = options.only or ["order", "modules", "plain"]
    if "order" in wanted:
        for workers in map(int, options.workers.split(",")):
            print_order(workers, options.rounds)
    if "modules" in wanted:
        print_modules(4, options.rounds)
    if "plain" in wanted:
        print_plain(4, options.rounds)


def print_order(workers: int, rounds: int) -> None:
    """Print inversions and makespans."""
    print(f"order: 200 tests, -n {workers}")
    for name, arguments in SCHEDULERS.items():
        inversions, ratios, spans = [], [], []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "test_order.py").write_text(ORDER, encoding="utf-8")
                run_pytest(Path(folder), workers, [*ROOM, *arguments])
                runs = read_runs(Path(folder))
            assert len(runs) == TESTS, len(runs)
            inversions.append(count_inversions(runs))
            spans.append(max(run.end for run in runs) - min(run.start for run in runs))
            ratios.append(spans[-1] / ideal_makespan(runs, workers))
        print(
            f"  {name:10} inversions {inversions} of {count_pairs(runs)},"
            f" makespan {statistics.median(spans):.2f} s,"
            f" of ideal: median {statistics.median(ratios):.3f}, worst {max(ratios):.3f}"
        )


def print_modules(workers: int, rounds: int) -> None:
    """Print set-ups of module fixtures and wall times."""
    print(f"modules: 60 modules of 10 tests, one scenario, -n {workers}, the whole plugin")
    results = {}
    schedulers = {"ours": [], "load": ["-o", "clnrm_scheduler=xdist"], "worksteal": ["--dist", "worksteal"]}
    for name, arguments in schedulers.items():
        setups, walls = [], []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                for number in range(60):
                    Path(folder, f"test_{number:02}.py").write_text(MODULE, encoding="utf-8")
                Path(folder, "scenario.clnrm.toml").write_text(SCENARIO, encoding="utf-8")
                walls.append(run_pytest(Path(folder), workers, [*WHOLE, *arguments]))
                setups.append(Path(folder, "setups").stat().st_size)
        results[name] = statistics.median(setups), statistics.median(walls)
    load_setups, load_wall = results["load"]
    for name, (setup, wall) in results.items():
        print(
            f"  {name:10} set-ups {setup:.0f} ({setup / load_setups:.2f} of load), "
            f"wall {wall:.2f} s ({wall / load_wall:.2f} of load), medians"
        )


def print_plain(workers: int, rounds: int) -> None:
    """Print wall times of a session that needs nothing of ours."""
    print(f"plain: 600 trivial tests, -n {workers}")
    for name, arguments in {
        "ours": WHOLE,
        "load": [*WHOLE, "-o", "clnrm_scheduler=xdist"],
        "no plugin": ["-p", "no:clnrm"],
    }.items():
        walls = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "test_plain.py").write_text(PLAIN, encoding="utf-8")
                walls.append(run_pytest(Path(folder), workers, arguments))
        print(f"  {name:10} wall median {statistics.median(walls):.2f} s, best {min(walls):.2f} s")


def run_pytest(folder: Path, workers: int, arguments: list[str]) -> float:
    """Run pytest in *folder* and return its wall time in seconds."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "EVENTS": str(folder / "events"),
        "SETUPS": str(folder / "setups"),
        "XDG_RUNTIME_DIR": str(folder),
        "PYTEST_ADDOPTS": "",
    }
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(folder)]
    command += ["-p", "no:randomly", "-p", "no:cacheprovider", "-n", str(workers), *arguments]
    begun = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.monotonic() - begun


def read_runs(folder: Path) -> list[Run]:
    """Return the recorded runs in the order of their starts."""
    starts: dict[str, tuple[float, int]] = {}
    runs = []
    for line in (folder / "events").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["what"] == "start":
            starts[event["nodeid"]] = event["at_s"], event["priority"]
        else:
            start, priority = starts[event["nodeid"]]
            runs.append(Run(priority, start, event["at_s"]))
    return sorted(runs, key=lambda run: run.start)


def count_inversions(runs: list[Run]) -> int:
    """Count pairs of which the lower priority started first."""
    return sum(
        earlier.priority > later.priority for at, earlier in enumerate(runs) for later in runs[at + 1 :]
    )


def count_pairs(runs: list[Run]) -> int:
    """Count pairs of different priority: the most inversions there could be."""
    return sum(one.priority != other.priority for at, one in enumerate(runs) for other in runs[at + 1 :])


def ideal_makespan(runs: list[Run], workers: int) -> float:
    """Return the makespan of list scheduling by priority, without overhead."""
    free_at = [0.0] * workers
    for run in sorted(runs, key=lambda run: (run.priority, run.start)):
        heapq.heapreplace(free_at, free_at[0] + run.end - run.start)
    return max(free_at)


if __name__ == "__main__":
    main()
