"""What the orders by experience gain: makespan of a heavy-tailed suite, time to the first failure.

* ``slowest-first``: 120 sleeping tests whose lengths have a heavy tail, in one file. A first run fills the
  history; then fifo and slowest-first take turns. The ideal is list scheduling by longest time first with the
  times that were measured, from the first test's start, and no overhead. The error of the estimates is the
  mean of what each was off, as a share of the time that the test took.
* ``likely-to-fail-first``: 300 tests of 20 ms under ``-n 2``, 5 of which fail, at other places in each round.

Alone: ``python benchmarks/order.py [--rounds 3]``. The tests sleep, so more workers than cores are fair.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from measuring.figures import Figure, Row, at_least, at_most, median_of, ratio_of
from measuring.pytest_runs import start_pytest
from measuring.rounds import in_turns
from measuring.table import print_row
from pytest_clnrm.history.estimates import durations_s
from pytest_clnrm.history.store import read_history

__all__ = ["measure"]

TITLE = "order by experience"
SUITE = """
import json, time
import pytest
@pytest.mark.parametrize(("length_s", "fails"), {cases})
def test(length_s, fails, request):
    began_s = time.monotonic()
    time.sleep(length_s)
    with open("events", "a") as file:
        file.write(json.dumps([request.node.nodeid, began_s, time.monotonic(), fails]) + "\\n")
    assert not fails
"""


CasesOf = Callable[[int], list[tuple[float, bool]]]
"""Returns of each test, in a round of that number, how long it sleeps and whether it fails."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One test: when it began and ended, seconds of one clock."""

    nodeid: str
    began_s: float
    ended_s: float
    fails: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run showed.

    :param of_ideal: the makespan over that of list scheduling, longest first.
    :param error: the mean error of the estimates, as a share.
    :param to_failure_s: from the first start to the first failure's end; 0 without failures.
    """

    makespan_s: float
    of_ideal: float
    error: float
    to_failure_s: float


def measure(*, quick: bool) -> Row:
    """Return the row."""
    if quick:
        return row(1, workers=2, tests=20, scale=0.1)
    return row(3)


def row(rounds: int, *, workers: int = 8, tests: int = 120, scale: float = 1.0) -> Row:
    """Return the row of so many rounds."""
    figures = [*slowest_first(rounds, workers, tests, scale), *likely_to_fail_first(rounds * 3)]
    return Row(key="o", title=TITLE, sizes=f"{rounds} rounds, -n {workers}", figures=tuple(figures))


def slowest_first(rounds: int, workers: int, tests: int, scale: float) -> list[Figure]:
    """Return makespans beside the ideal, and the error of the estimates."""
    rng = random.Random(11)  # noqa: S311 (the same lengths each time)
    lengths = [min(0.15 * rng.paretovariate(0.9), 8.0) * scale for _ in range(tests)]
    cases = [(round(length, 3), False) for length in lengths]
    runs = orders("slowest-first", lambda _round: cases, rounds, workers)
    figures = [
        median_of(
            f"{name}: makespan : ideal",
            [run.of_ideal for run in each],
            "x",
            at_most(1.02) if name != "fifo" else None,
        )
        for name, each in runs.items()
    ]
    walls = {name: [run.makespan_s for run in each] for name, each in runs.items()}
    errors = [100 * run.error for run in runs["slowest-first"]]
    return [
        *figures,
        ratio_of("makespan, fifo : slowest-first", walls, "fifo", "slowest-first"),
        median_of("mean error of the estimates", errors, "%"),
    ]


def likely_to_fail_first(rounds: int) -> list[Figure]:
    """Return how much sooner the first failure is found."""

    def cases(number: int) -> list[tuple[float, bool]]:
        failing = set(random.Random(number).sample(range(300), 5))  # noqa: S311
        return [(0.02, index in failing) for index in range(300)]

    runs = orders("likely-to-fail-first", cases, rounds, 2)
    times = {name: [run.to_failure_s for run in each] for name, each in runs.items()}
    return [
        ratio_of(
            "time to the first of 5 failures in 300, fifo : likely-to-fail-first",
            times,
            "fifo",
            "likely-to-fail-first",
            at_least(5),
        )
    ]


def orders(order: str, cases_of: CasesOf, rounds: int, workers: int) -> dict[str, list[Outcome]]:
    """Return what fifo and *order* showed in each round, with the history of one run before them."""
    runs: dict[str, list[Outcome]] = {"fifo": [], order: []}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            cases = cases_of(number)
            (folder / "test_suite.py").write_text(SUITE.format(cases=cases), encoding="utf-8")
            run(folder, workers, "fifo")
            shutil.copy(folder / "history.json", folder / "first.json")
            contenders = {each: partial(run, folder, workers, each) for each in runs}
            for each, found in in_turns(contenders, 1).items():
                runs[each] += found
    return runs


def run(folder: Path, workers: int, order: str) -> Outcome:
    """Run the suite once, with the history of the first run."""
    history = folder / "history.json"
    if (folder / "first.json").exists():
        shutil.copy(folder / "first.json", history)
    expected = durations_s(read_history(history))
    (folder / "events").unlink(missing_ok=True)
    arguments = ["-n", str(workers), "--clnrm-order", order, "--clnrm-history", str(history)]
    environ = {"XDG_RUNTIME_DIR": str(folder)}
    start_pytest(folder, arguments, environ, stdout=subprocess.DEVNULL).wait()
    lines = (folder / "events").read_text(encoding="utf-8").splitlines()
    ended = [Ended(*json.loads(line)) for line in lines]
    began_s = min(each.began_s for each in ended)
    makespan_s = max(each.ended_s for each in ended) - began_s
    took_s = {each.nodeid: each.ended_s - each.began_s for each in ended}
    return Outcome(
        makespan_s,
        makespan_s / longest_first(list(took_s.values()), workers),
        statistics.fmean(abs(expected.get(each, 0.0) - took) / took for each, took in took_s.items()),
        min((each.ended_s for each in ended if each.fails), default=began_s) - began_s,
    )


def longest_first(lengths: list[float], workers: int) -> float:
    """Return the makespan of list scheduling by longest time first."""
    free_at = [0.0] * workers
    for length in sorted(lengths, reverse=True):
        heapq.heapreplace(free_at, free_at[0] + length)
    return max(free_at)


def main() -> None:
    """Run and print the row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind; medians are printed")
    print_row(Console(), row(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
