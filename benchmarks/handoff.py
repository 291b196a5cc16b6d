"""Time from a reservation's release to the start of the item that waited for it, in milliseconds.

With a cap of one container and the whole plugin, on an engine that only exists in memory, so that nothing but
the hand-over itself is measured:

* ``within a run``: 200 tests with a demand under ``-n 3``; the controller gives back and sends the next one.
* ``between two runs``: two runs without xdist, which take turns; one gives back, the other is woken.

The clock starts when the giving back begins and stops when pytest announces the next item in the process that
runs it. Alone: ``python benchmarks/handoff.py [--rounds 3]``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from rich.console import Console

from measuring.figures import Row, at_most, median_of
from measuring.pytest_runs import start_pytest
from measuring.rounds import in_turns
from measuring.table import print_row

__all__ = ["measure"]

TITLE = "hand-off in the ledger: from a release to the start of who waited"
TESTS = 200
CONFTEST = """
import json, os, time
import pytest
from pytest_clnrm.ledger.ledger import Ledger

give_back = Ledger.release

def note(what):
    row = {"what": what, "at_s": time.monotonic(), "run": os.getcwd()}
    fd = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (json.dumps(row) + "\\n").encode())
    os.close(fd)

def release(ledger, lease_id):
    note("release")
    give_back(ledger, lease_id)

Ledger.release = release

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart(nodeid):
    runs_here = "PYTEST_XDIST_WORKER" in os.environ or os.environ["MODE"] == "alone"
    if runs_here and "demands" in nodeid:
        note("start")
"""
CROWD = """
import time, pytest
@pytest.mark.clnrm_limits(containers=1)
@pytest.mark.parametrize("number", range({tests}))
def test_demands(number):
    time.sleep(0.01)
"""
TURNS = """
import time, pytest
def case(number):
    return pytest.param(marks=[pytest.mark.clnrm_limits(containers=1)] if number % 2 else [],
                        id="demands" if number % 2 else "plain")
@pytest.mark.parametrize((), [case(number) for number in range({tests})])
def test():
    time.sleep(0.03)
"""


@dataclass(frozen=True)
class Note:
    """A release, or an item's start."""

    what: str
    at_s: float
    run: str


def measure(*, quick: bool) -> Row:
    """Return the row."""
    return compare(rounds=1, tests=20) if quick else compare(rounds=3, tests=TESTS)


def compare(*, rounds: int, tests: int) -> Row:
    """Return the row: all hand-overs of all rounds."""
    contenders = {
        "within a run": partial(run_all, CROWD, ["-n", "3"], runs=1, tests=tests),
        "between two runs": partial(run_all, TURNS, ["-p", "no:xdist"], runs=2, tests=tests),
    }
    figures = []
    for name, rounds_of in in_turns(contenders, rounds).items():
        times_ms = [
            each * 1000 for notes in rounds_of for each in hand_overs(notes, same_run="within" in name)
        ]
        late_ms = statistics.quantiles(times_ms, n=20)[-1]
        figures += [
            median_of(f"{name}, median of {len(times_ms)}", times_ms, "ms", at_most(5)),
            median_of(f"{name}, 95th percentile", [late_ms], "ms"),
        ]
    sizes = f"{rounds} rounds of {tests} tests, a cap of one container"
    return Row(key="e", title=TITLE, sizes=sizes, figures=tuple(figures))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    print_row(Console(), compare(rounds=parser.parse_args().rounds, tests=TESTS))


def run_all(text: str, arguments: Sequence[str], *, runs: int, tests: int) -> list[Note]:
    """Run the tests in that many runs at once, and return what was noted, in the order of time."""
    with tempfile.TemporaryDirectory() as place:
        processes = []
        for number in range(runs):
            folder = Path(place, f"run{number}")
            folder.mkdir()
            (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
            (folder / "test_it.py").write_text(text.format(tests=tests), encoding="utf-8")
            processes.append(start(folder, arguments))
        for process in processes:
            said = process.communicate()[0]
            assert process.returncode == 0, said.decode()
        lines = Path(place, "notes").read_text(encoding="utf-8").splitlines()
    return sorted((Note(**json.loads(line)) for line in lines), key=lambda note: note.at_s)


def start(folder: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start pytest in a folder, with a ledger that it shares with its neighbours."""
    place = folder.parent
    environ = {"NOTES": str(place / "notes"), "MODE": "workers" if "-n" in arguments else "alone"}
    options = ["-p", "clnrm_testing.fake_engine", *arguments]
    options += ["--clnrm-max-containers", "1", "-o", f"clnrm_ledger_dir={place / 'ledger'}"]
    return start_pytest(folder, options, environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def hand_overs(notes: Sequence[Note], *, same_run: bool) -> list[float]:
    """Return the times from each release to the start that follows it, seconds."""
    return [
        after.at_s - before.at_s
        for before, after in pairwise(notes)
        if (before.what, after.what) == ("release", "start") and (before.run == after.run) == same_run
    ]


if __name__ == "__main__":
    main()
