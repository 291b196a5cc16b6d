"""Outcomes that pytest does not know, told apart beside its own: flaky scenarios, infrastructure errors.

A flaky scenario has passed, and one that an engine, a registry or a disk has ended has failed: pytest counts
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
    """Shows a flaky scenario as ``R``, and one that was ended by the infrastructure as ``I``."""

    def pytest_report_teststatus(self, report: pytest.TestReport) -> Status | None:
        """Return under which of pytest's outcomes it counts, its letter, and its word with ``-v``."""
        carried = getattr(report, "clnrm", None)
        if carried is None or getattr(report, "wasxfail", None) is not None:
            return None
        result = carried["result"]
        if report.when == "call" and report.passed and result["is_flaky"]:
            return "passed", "R", ("FLAKY", {"yellow": True})
        if report.failed and report.when in {"setup", "call"} and is_infrastructure(result):
            # The word stays pytest's own: tools read the lines of its summary by it.
            category, word = ("failed", "FAILED") if report.when == "call" else ("error", "ERROR")
            return category, "I", (word, {"red": True})
        return None


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
            flaky += [f"    {one_line(shown(each))}" for each in attempt_lines(result.earlier)]
        elif is_infrastructure(data):
            result = Result.from_data(data)
            broken.append(one_line(shown(f"{result.nodeid}: {title(result.failures[0])}")))
    if flaky:
        yield "flaky scenarios", flaky
    if broken:
        yield "infrastructure errors (no fault of the scenarios)", broken
