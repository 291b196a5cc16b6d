"""What came of a run of the suite: as any plugin saw it, and as our report tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

REPEATED = "repeated"


@dataclass(frozen=True, kw_only=True)
class Process:
    """What a plugin saw in one process: see ``watch.py``.

    :param nexts: what the teardown of each item was told to come next.
    :param reports: node id, phase and outcome of each.
    """

    collected: list[str]
    at_end: list[str]
    ran: list[str]
    nexts: dict[str, str | None]
    reports: list[tuple[str, str, str]]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the stub of a server was asked.

    :param id: what the answer gave as the id of what was begun.
    """

    method: str
    path: str
    body: bytes
    id: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that has ended.

    :param requests: what the stub of a server was asked.
    """

    folder: Path
    workers: int
    exit_code: int
    output: str
    requests: tuple[Request, ...] = ()

    @cached_property
    def processes(self) -> dict[str, Process]:
        """Return what was seen in each process, by ``main`` and the workers' names."""
        return {
            path.stem.removeprefix("seen-"): Process(**json.loads(path.read_text("utf-8")))
            for path in sorted(self.folder.glob("seen-*.json"))
        }

    def outcomes(self) -> dict[str, str]:
        """Return how each test ended in its last run, as the reports told that reached every plugin."""
        found: dict[str, str] = {}
        for nodeid, when, outcome in self.processes["main"].reports:
            if outcome == REPEATED:
                found.pop(nodeid, None)
            elif when == "call":
                found[nodeid] = outcome
            elif outcome == "failed":
                # A test that failed has failed, whatever its teardown does.
                found[nodeid] = "failed" if found.get(nodeid) == "failed" else "error"
            elif outcome != "passed":
                found[nodeid] = outcome
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of report.json."""
        path = self.folder / "out" / "report.json"
        if not path.exists():
            return []
        document = json.loads(path.read_text("utf-8"))
        return [*document["scenarios"], *document["tests"]]

    def reported(self) -> dict[str, str]:
        """Return how each test ended by report.json; one that has several rows is "there twice"."""
        found: dict[str, str] = {}
        for row in self.rows():
            found[row["nodeid"]] = "there twice" if row["nodeid"] in found else row["outcome"]
        return found
