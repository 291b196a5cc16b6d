"""Outcomes that pytest does not know, told apart beside its own: flaky tests, infrastructure errors.

A flaky one has passed, and one that an engine, a registry or a disk has ended has failed: pytest counts
them so, and here is said which they were.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_clnrm.model.result import Result
from pytest_clnrm.report.failure_text import attempt_lines, title
from pytest_clnrm.session.summary import Note, some, wrong
from pytest_clnrm.util.counted import counted
from pytest_clnrm.util.terminal_text import one_line, shown

if TYPE_CHECKING:
    import pytest

    Status = tuple[str, str, tuple[str, Mapping[str, bool]]]

FAILED = ("failed", "error", "crashed")
_CAUSES = 2
"""How many causes of infrastructure errors are told of in full without ``-v``."""


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


def title_of(result: Mapping[str, Any]) -> str:
    """Return the first line of what a result failed by, "" if it did not."""
    failures = Result.from_data(result).failures
    return one_line(shown(title(failures[0]))) if failures else ""


def outcome_notes(results: Iterable[Mapping[str, Any]], *, without: Container[str]) -> Iterator[Note]:
    """Yield a note of the flaky tests of a run, and one of each cause of infrastructure errors.

    :param without: what is told of elsewhere.
    """
    flaky: dict[str, list[str]] = {}
    broken: defaultdict[str, list[str]] = defaultdict(list)
    for data in results:
        if data["is_flaky"]:
            result = Result.from_data(data)
            told = (*attempt_lines(result.earlier), *result.notes)
            flaky[f"{result.nodeid}: passed in attempt {result.attempts}"] = [
                f"    {one_line(shown(each))}" for each in told
            ]
        elif is_infrastructure(data) and (why := title_of(data)) not in without:
            broken[why].append(data["nodeid"])
    if flaky:
        names = [each.rpartition(": passed")[0] for each in flaky]
        lines = [line for head, below in flaky.items() for line in (head, *below)]
        yield wrong(
            f"{counted(len(flaky), 'flaky test')}, passed only when tried again: {some(names)}", *lines
        )
    for why, names in list(broken.items())[:_CAUSES]:
        yield wrong(f"infrastructure error, no fault of {_tests(names)}: {why}", *names, colour="red")
    if more := [name for names in list(broken.values())[_CAUSES:] for name in names]:
        lines = [f"{names[0]}: {why}" for why, names in list(broken.items())[_CAUSES:]]
        yield wrong(f"infrastructure errors, no fault of {_tests(more)}", *lines, colour="red")


def _tests(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} tests ({some(names)})"
