"""Outcomes that pytest does not know, told apart beside its own: flaky tests, infrastructure errors.

A flaky one has passed, and one that an engine, a registry or a disk has ended has failed: pytest counts
them so, and here is said which they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pytest_clnrm.model.result import Result
from pytest_clnrm.report.failure_text import attempt_lines, title
from pytest_clnrm.util.terminal_text import one_line, shown

if TYPE_CHECKING:
    import pytest

    Status = tuple[str, str, tuple[str, Mapping[str, bool]]]


class OutcomesShown:
    """Shows a flaky test as ``R``, and one that was ended by the infrastructure as ``I``."""

    def pytest_report_teststatus(self, report: pytest.TestReport) -> Status | None:
        """Return under which of pytest's outcomes it counts, its letter, and its word with ``-v``."""
        if getattr(report, "wasxfail", None) is not None:
            return None
        outcome = _outcome_of(report)
        if report.when == "call" and report.passed and outcome == "flaky":
            return "passed", "R", ("FLAKY", {"yellow": True})
        if report.failed and report.when in {"setup", "call"} and outcome == "infrastructure":
            # The word stays pytest's own: tools read the lines of its summary by it.
            category, word = ("failed", "FAILED") if report.when == "call" else ("error", "ERROR")
            return category, "I", (word, {"red": True})
        return None


def _outcome_of(report: pytest.TestReport) -> str:
    """Return what a report is that pytest does not know: "flaky", "infrastructure", else ""."""
    carried = getattr(report, "clnrm", None)
    if carried is None:
        # Of a Python test: what it carries itself is on the report of its teardown.
        return str(getattr(report, "clnrm_outcome", ""))
    if carried["result"]["is_flaky"]:
        return "flaky"
    return "infrastructure" if is_infrastructure(carried["result"]) else ""


def is_infrastructure(result: Mapping[str, Any]) -> bool:
    """Tell whether the data of a result is of one that failed for no fault of its own."""
    bad = result["outcome"] in {"failed", "error"}
    return bad and bool(result["failures"]) and bool(result["failures"][0]["is_infrastructure"])


def outcome_lines(results: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Yield a heading and lines for each of these outcomes that a run had."""
    flaky: list[str] = []
    broken: list[str] = []
    for data in results:
        if data["is_flaky"]:
            result = Result.from_data(data)
            flaky += [shown(f"{result.nodeid}: passed in attempt {result.attempts}")]
            told = (*attempt_lines(result.earlier), *result.notes)
            flaky += [f"    {one_line(shown(each))}" for each in told]
        elif is_infrastructure(data):
            result = Result.from_data(data)
            broken.append(one_line(shown(f"{result.nodeid}: {title(result.failures[0])}")))
    if flaky:
        yield "flaky tests", flaky
    if broken:
        yield "infrastructure errors (no fault of the tests)", broken
