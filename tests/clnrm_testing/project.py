"""A project folder of the plugin's tests: files, runs with the fake engine, what came of them."""

from __future__ import annotations

import gc
import json
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest

import pytest_clnrm

# Imported here once for all runs in this process: pytester takes back what a run imports, and importing the
# package anew takes more than half of a short run's time. Of OpenTelemetry a part would stay and the other be
# imported anew, and the two halves do not know each other's spans.
for name in ("trace", "proto.collector.trace.v1.trace_service_pb2", "sdk.trace", "sdk.trace.id_generator"):
    import_module(f"opentelemetry.{name}")
for module in walk_packages(pytest_clnrm.__path__, "pytest_clnrm."):
    if not module.name.endswith("__main__"):
        import_module(module.name)

# Half of a short run's time goes into importing Hypothesis, which no project of the tests uses.
PYTEST_ADDOPTS = "-p no:hypothesispytest"


@dataclass
class Project:
    """A folder with tests, run by a pytest of its own with the fake engine."""

    pytester: pytest.Pytester
    mode: tuple[str, ...]

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *args: str) -> pytest.RunResult:
        """Run pytest on it: in this process, which takes a tenth of the time; only workers are others."""
        plugins = ("-p", "clnrm_testing.fake_engine", "-p", "no:randomly")
        # The tests' own filter, which makes errors of warnings, is not the project's.
        with warnings.catch_warnings():
            warnings.resetwarnings()
            result = self.pytester.runpytest_inprocess(*plugins, *self.mode, *args)
        # Some versions of pytest collect garbage five times at their end, each time through all that lives in
        # this process: thousands of tests, and what earlier runs left. What is no garbage now will never be.
        gc.collect()
        gc.freeze()
        return result

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return what the fake engine was asked, only events of *kinds* if any are named."""
        log = self.pytester.path / "engine.jsonl"
        if not log.exists():
            return []
        events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        return [event for event in events if not kinds or event["event"] in kinds]

    def report(self) -> dict[str, Any]:
        """Return report.json of a run with ``--clnrm-report out``."""
        document: dict[str, Any] = json.loads((self.pytester.path / "out" / "report.json").read_text("utf-8"))
        return document
