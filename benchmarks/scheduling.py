"""Order and makespan of our scheduling, beside xdist's ``load`` and ``worksteal``, in one run.

Three measurements, from start and end times that the tests' processes record (one clock, CLOCK_MONOTONIC):

* ``order``: 200 sleeping tests of unequal length and three priorities, half of them with a demand. An
  inversion is a pair of tests of which the lower priority started first. The ideal is list scheduling in
  order of priority, with the times that were measured and no overhead.
* ``modules``: 60 modules of 10 tests with a module fixture, one scenario beside them, with the whole plugin
  and an engine that only exists in memory: set-ups and wall time.
* ``plain``: 600 trivial tests without priorities and demands, with the whole plugin and without: wall time.

Alone: ``python benchmarks/scheduling.py [--workers 2,4,8,16] [--rounds 3] [--only order]``. All runs see the
same sorted collection; only the scheduling differs. The tests sleep, so more workers than cores are fair.
"""

from __future__ import annotations

import argparse
import heapq
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from measuring.figures import Figure, Row, at_most, median_of, ratio_of
from measuring.pytest_runs import Ran, run_pytest
from measuring.rounds import in_turns
from measuring.table import print_row

__all__ = ["measure"]

TITLE = "scheduling"
TESTS = 200
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
def case(index):
    return pytest.param(rng.choice([.02, .05, .1, .2, .4]), marks=mark(index), id=str(index))
@pytest.mark.parametrize("length", [case(index) for index in range({tests})])
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


@dataclass(frozen=True, slots=True)
class Order:
    """What one run of the order's tests showed.

    :param possible: the most inversions that there could be.
    :param of_ideal: the makespan over that of list scheduling.
    """

    inversions: int
    possible: int
    makespan_s: float
    of_ideal: float


def measure(*, quick: bool) -> Row:
    """Return the row: order, modules and plain tests."""
    if quick:
        return row(order((2,), rounds=1, tests=20), "1 round of 20 tests")
    return row(
        [*order((2, 4, 8, 16), rounds=3, tests=TESTS), *modules(4, rounds=3), *plain(4, rounds=3)],
        f"3 rounds; order: {TESTS} tests",
    )


def row(figures: Sequence[Figure], sizes: str) -> Row:
    """Return the row of these figures."""
    return Row(key="d", title=TITLE, sizes=sizes, figures=tuple(figures))


def main() -> None:
    """Run and print what is wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", default="2,4,8,16", help="numbers of workers, for the order")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind; medians are printed")
    parser.add_argument("--only", choices=["order", "modules", "plain"], action="append")
    options = parser.parse_args()
    wanted = options.only or ["order", "modules", "plain"]
    figures = []
    if "order" in wanted:
        workers = tuple(map(int, options.workers.split(",")))
        figures += order(workers, rounds=options.rounds, tests=TESTS)
    if "modules" in wanted:
        figures += modules(4, rounds=options.rounds)
    if "plain" in wanted:
        figures += plain(4, rounds=options.rounds)
    print_row(Console(), row(figures, f"{options.rounds} rounds"))


def order(workers: Sequence[int], *, rounds: int, tests: int) -> list[Figure]:
    """Return inversions and makespans, for each number of workers and each scheduler."""
    figures = []
    for count in workers:
        contenders = {
            name: partial(order_run, count, tests, arguments) for name, arguments in SCHEDULERS.items()
        }
        for name, runs in in_turns(contenders, rounds).items():
            ours = name == "ours"
            figures += [
                median_of(
                    f"-n {count}, {name}: inversions of {runs[0].possible}",
                    [run.inversions for run in runs],
                    "",
                    at_most(0) if ours else None,
                ),
                median_of(
                    f"-n {count}, {name}: makespan : ideal",
                    [run.of_ideal for run in runs],
                    "x",
                    at_most(1.05) if ours else None,
                ),
            ]
    return figures


def order_run(workers: int, tests: int, arguments: Sequence[str]) -> Order:
    """Run the order's tests once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_order.py").write_text(ORDER.format(tests=tests), encoding="utf-8")
        run_tests(folder, workers, [*ROOM, *arguments])
        runs = read_runs(folder)
    assert len(runs) == tests, len(runs)
    makespan_s = max(run.end for run in runs) - min(run.start for run in runs)
    return Order(
        count_inversions(runs), count_pairs(runs), makespan_s, makespan_s / ideal_makespan(runs, workers)
    )


def modules(workers: int, *, rounds: int) -> list[Figure]:
    """Return set-ups of module fixtures and wall times, of those of ``load``."""

    def once(arguments: Sequence[str]) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for number in range(60):
                (folder / f"test_{number:02}.py").write_text(MODULE, encoding="utf-8")
            (folder / "scenario.clnrm.toml").write_text(SCENARIO, encoding="utf-8")
            ran = run_tests(folder, workers, [*WHOLE, *arguments])
            return (folder / "setups").stat().st_size, ran.wall_s

    schedulers = {"ours": [], "load": ["-o", "clnrm_scheduler=xdist"], "worksteal": ["--dist", "worksteal"]}
    runs = in_turns({name: partial(once, arguments) for name, arguments in schedulers.items()}, rounds)
    setups = {name: [count for count, _ in each] for name, each in runs.items()}
    walls = {name: [wall_s for _, wall_s in each] for name, each in runs.items()}
    return [
        *of_load("60 modules of 10 tests, set-ups", setups),
        *of_load("60 modules of 10 tests, wall time", walls),
    ]


def plain(workers: int, *, rounds: int) -> list[Figure]:
    """Return wall times of a session that needs nothing of ours, of those of ``load``."""

    def once(arguments: Sequence[str]) -> Ran:
        with tempfile.TemporaryDirectory() as name:
            Path(name, "test_plain.py").write_text(PLAIN, encoding="utf-8")
            return run_tests(Path(name), workers, arguments)

    kinds = {
        "ours": WHOLE,
        "load": [*WHOLE, "-o", "clnrm_scheduler=xdist"],
        "without the plugin": ["-p", "no:clnrm"],
    }
    runs = in_turns({name: partial(once, arguments) for name, arguments in kinds.items()}, rounds)
    return of_load(
        "600 plain tests, wall time", {name: [run.wall_s for run in each] for name, each in runs.items()}
    )


def of_load(what: str, rounds: Mapping[str, Sequence[float]]) -> list[Figure]:
    """Return the ratios to xdist's ``load`` of all others."""
    return [ratio_of(f"{what}, {name} : load", rounds, name, "load") for name in rounds if name != "load"]


def run_tests(folder: Path, workers: int, arguments: Sequence[str]) -> Ran:
    """Run pytest in *folder*, with places for what its tests note."""
    environ = {
        "EVENTS": str(folder / "events"),
        "SETUPS": str(folder / "setups"),
        "XDG_RUNTIME_DIR": str(folder),
    }
    return run_pytest(folder, ["-n", str(workers), *arguments], environ)


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
