"""A project that is run with the scheduling room alone, in processes of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from clnrm_testing.project import PYTEST_ADDOPTS
from clnrm_testing.requirements import skip_without_xdist

WORKERS = frozenset({"-n", "-d", "--tx"})
"""Options of xdist that start workers."""

CROWD = """
import os, time
from pathlib import Path
import pytest
UNTIL_S = time.monotonic() + 40

@pytest.mark.parametrize("n", range(150))
def test(n):
    Path("up-" + os.environ["PYTEST_XDIST_WORKER"]).touch()
    while len(list(Path().glob("up-*"))) < 3 and time.monotonic() < UNTIL_S:
        time.sleep(0.02)
    time.sleep(0.01)
"""
"""A module whose tests wait for a third worker: until it is there, more than a hundred are left to start."""


@dataclass(frozen=True)
class Event:
    """An item's start or end."""

    nodeid: str
    what: str
    at_s: float
    worker: str
    priority: int
    lease: str | None

    @property
    def name(self) -> str:
        """Return the part after the last ``::``."""
        return self.nodeid.rsplit("::", 1)[-1]


class SchedulingProject:
    """A folder of tests and how to run them."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        root = Path(__file__).parents[2]
        self.pytester = pytester
        self._events = pytester.path / "events"
        pytester.makeini("[pytest]\n")
        monkeypatch.setenv("PYTHONPATH", f"{root}:{root / 'tests'}")
        monkeypatch.setenv("EVENTS", str(self._events))
        monkeypatch.setenv("PYTEST_ADDOPTS", PYTEST_ADDOPTS)

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest; pytest-randomly only where *arguments* name its seed, workers only where xdist is."""
        if WORKERS.intersection(arguments):
            skip_without_xdist()
        self._events.write_text("", encoding="utf-8")
        plugins = ["-p", "no:clnrm", "-p", "clnrm_testing.scheduling_plugin"]
        if not any(argument.startswith("--randomly") for argument in arguments):
            plugins += ["-p", "no:randomly"]
        return self.pytester.runpytest_subprocess(*plugins, *arguments, timeout=60)

    def events(self, what: str = "start") -> list[Event]:
        """Return the starts, or the ends, in the order of time."""
        lines = self._events.read_text(encoding="utf-8").splitlines()
        events = [Event(**json.loads(line)) for line in lines]
        return sorted((event for event in events if event.what == what), key=lambda event: event.at_s)

    def started(self) -> list[str]:
        """Return the names of the tests in the order of their starts."""
        return [event.name for event in self.events()]
