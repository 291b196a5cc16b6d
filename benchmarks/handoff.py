"""Time from a reservation's release to the start of the item that waited for it, in milliseconds.

With a cap of one container and the whole plugin, on an engine that only exists in memory, so that nothing but
the hand-over itself is measured:

* ``within a run``: 200 tests with a demand under ``-n 3``; the controller gives back and sends the next one.
* ``between two runs``: two runs without xdist, which take turns; one gives back, the other is woken.

The clock starts when the giving back begins and stops when pytest announces the next item in the process that
runs it. Run from the project's root: ``python benchmarks/handoff.py [--rounds 3]``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = 200
CONFTEST = """
import json, os, time
import pytest
from pytest_clnrm.admission.ledger import Ledger

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


def main() -> None:
    """Run and print both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    within, between = [], []
    for _ in range(options.rounds):
        within += hand_overs(measure(CROWD, ["-n", "3"], runs=1), same_run=True)
        between += hand_overs(measure(TURNS, ["-p", "no:xdist"], runs=2), same_run=False)
    show("within a run", within)
    show("between two runs", between)


def show(name: str, times_s: Sequence[float]) -> None:
    """Print median and 95th percentile."""
    p95 = statistics.quantiles(times_s, n=20)[-1]
    print(
        f"{name:17} {len(times_s)} hand-overs: median {statistics.median(times_s) * 1000:.1f} ms, "
        f"p95 {p95 * 1000:.1f} ms, best {min(times_s) * 1000:.1f} ms"
    )


def measure(tests: str, arguments: Sequence[str], *, runs: int) -> list[Note]:
    """Run the tests in that many runs at once, and return what was noted, in the order of time."""
    with tempfile.TemporaryDirectory() as place:
        processes = []
        for number in range(runs):
            folder = Path(place, f"run{number}")
            folder.mkdir()
            (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
            (folder / "test_it.py").write_text(tests.format(tests=TESTS), encoding="utf-8")
            processes.append(start(folder, arguments))
        for process in processes:
            said = process.communicate()[0]
            assert process.returncode == 0, said
        lines = Path(place, "notes").read_text(encoding="utf-8").splitlines()
    return sorted((Note(**json.loads(line)) for line in lines), key=lambda note: note.at_s)


def start(folder: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Start pytest in a folder, with a ledger that it shares with its neighbours."""
    place = folder.parent
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "NOTES": str(place / "notes"),
        "MODE": "workers" if "-n" in arguments else "alone",
        "PYTEST_ADDOPTS": "",
    }
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(folder), "-p", "no:randomly"]
    command += ["-p", "no:cacheprovider", "-p", "clnrm_testing.fake_engine", *arguments]
    command += ["--clnrm-max-containers", "1", "-o", f"clnrm_ledger_dir={place / 'ledger'}"]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def hand_overs(notes: Sequence[Note], *, same_run: bool) -> list[float]:
    """Return the times from each release to the start that follows it, seconds."""
    return [
        after.at_s - before.at_s
        for before, after in pairwise(notes)
        if (before.what, after.what) == ("release", "start") and (before.run == after.run) == same_run
    ]


if __name__ == "__main__":
    main()
