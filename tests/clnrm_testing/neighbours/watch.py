"""A plugin of pytest that writes down what any plugin sees: items, hook calls and reports.

Each process writes ``seen-WORKER.json`` into the project's folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator

import pytest


class Watch:
    """What one process sees."""

    def __init__(self) -> None:
        self.collected: list[str] = []
        self.at_end: list[str] = []
        self.ran: list[str] = []
        self.nexts: dict[str, str | None] = {}
        self.reports: list[tuple[str, str, str]] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.collected = [item.nodeid for item in session.items]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.ran.append(item.nodeid)
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        # Of an item that is run again the last teardown tells what comes next.
        self.nexts[item.nodeid] = None if nextitem is None else nextitem.nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Some neighbours call the outcome of a run that is repeated something else.
        outcome = str(report.outcome)
        if outcome not in {"passed", "failed", "skipped"}:
            outcome = "repeated"
        elif hasattr(report, "wasxfail"):
            outcome = "xfailed" if report.skipped else "xpassed"
        self.reports.append((report.nodeid, str(report.when), outcome))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.at_end = [item.nodeid for item in getattr(session, "items", ())]
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        path = session.config.rootpath / f"seen-{worker}.json"
        path.write_text(json.dumps(vars(self)), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Watch."""
    config.pluginmanager.register(Watch(), "neighbours-watch")
