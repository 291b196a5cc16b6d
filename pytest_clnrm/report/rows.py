"""Rows of a report for Python tests: made of pytest's own reports, whose counts they have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pytest_clnrm.model.result import Failure, Result, clean_text, tail

if TYPE_CHECKING:
    import pytest

DETAILS_CHARS = 16 * 1024
OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")
BAD = ("failed", "error")
PLAIN_KEYS = (
    "nodeid",
    "name",
    "file",
    "line",
    "outcome",
    "started",
    "duration_s",
    "worker",
    "attempts",
    "failures",
)
"""What is reported of a test without containers."""


def key_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return what tells an item from all others, which with ``--keep-duplicates`` its node id does not."""
    copy = getattr(report, "clnrm_copy", 0)
    return f"{report.nodeid} (copy {copy})" if copy else report.nodeid


def failure_of(report: pytest.TestReport | pytest.CollectReport) -> Failure:
    """Return why something failed, or was skipped: its first line, its place, and all that pytest shows."""
    longrepr = report.longrepr
    if isinstance(longrepr, tuple):
        # For a skipped test pytest gives path, line and reason.
        path, line, reason = longrepr
        return Failure(message=_first_line(str(reason)).removeprefix("Skipped: "), where=f"{path}:{line}")
    text = clean_text(report.longreprtext)
    crash = getattr(longrepr, "reprcrash", None)
    if crash is None:
        return Failure(message=_first_line(text), details=tail(text, DETAILS_CHARS), kind="error")
    file = (report.location or ("",))[0]
    # pytest's own summary names the file of the test relative to rootdir, too.
    place = file if file and str(crash.path).endswith(f"/{file}") else crash.path
    return Failure(
        message=_first_line(crash.message),
        where=f"{place}:{crash.lineno}",
        details=tail(text, DETAILS_CHARS),
        kind="expectation" if crash.message.startswith(("AssertionError", "assert ")) else "error",
    )


def _first_line(text: str) -> str:
    return next((line.strip() for line in clean_text(text).splitlines() if line.strip()), "")


@dataclass(kw_only=True)
class _Row:
    nodeid: str
    name: str
    file: str
    line: int
    worker: str
    started_s: float | None = None
    outcome: str = ""
    duration_s: float = 0.0
    runs: int = 1
    reruns: int = 0
    failures: list[Failure] = field(default_factory=list)

    @property
    def attempts(self) -> int:
        """Return how often it ran: in another worker too, after its own had died."""
        return max(self.runs, self.reruns + 1)


class Rows:
    """Gathers the rows of a run.

    ``counts`` are pytest's own: a test that passes, and whose teardown fails, counts as both.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._rows: dict[str, _Row] = {}

    def add(self, report: pytest.TestReport, category: str, worker: str) -> None:
        """Take the report of a phase.

        :param category: under which pytest counts it, "" if it does not.
        """
        file, line, name = report.location
        key = key_of(report)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = _Row(
                nodeid=report.nodeid,
                name=name,
                file=file,
                line=0 if line is None else line + 1,
                worker=worker,
                started_s=getattr(report, "start", None),
            )
        row.duration_s += report.duration
        row.runs = max(row.runs, getattr(report, "clnrm_runs", 1))
        self._count(row, category, report)

    def add_collected(self, report: pytest.CollectReport) -> None:
        """Take what was collected, if that failed or was skipped."""
        if report.passed:
            return
        file, _, name = report.nodeid.partition("::")
        row = self._rows[report.nodeid] = _Row(
            nodeid=report.nodeid, name=name or file, file=file, line=0, worker="master"
        )
        self._count(row, "error" if report.failed else "skipped", report)

    def _count(self, row: _Row, category: str, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not category:
            return
        self.counts[category] += 1
        if category == "rerun":
            row.reruns += 1
            return
        # Outcomes that other plugins add are not told apart here.
        outcome = category if category in OUTCOMES else report.outcome
        if row.outcome not in BAD:
            row.outcome = outcome
        if report.failed or report.skipped:
            row.failures.append(failure_of(report))

    def complete(self, results: Mapping[str, dict[str, Any]]) -> None:
        """Complete the results of scenarios with what pytest alone knows: xfail, reruns, why it was skipped.

        :param results: the data of each, by :func:`key_of`.
        """
        for key, result in results.items():
            row = self._rows.get(key)
            if row is None:
                continue
            if row.outcome in {"xfailed", "xpassed"}:
                result["outcome"] = row.outcome
            result["attempts"] = max(result["attempts"], row.attempts)
            result["failures"] = result["failures"] or self._plain(row)["failures"]

    def tests(
        self, results: Mapping[str, Mapping[str, Any]], scenarios: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Return the rows of all items but *scenarios*, in the order of their starts.

        :param results: data of the Result (``model/result.py``) of tests with containers, by :func:`key_of`.
        """
        return [
            self._test(row, results.get(key))
            for key, row in self._rows.items()
            if key not in scenarios and row.outcome
        ]

    def _test(self, row: _Row, result: Mapping[str, Any] | None) -> dict[str, Any]:
        plain = self._plain(row)
        if result is None:
            return plain
        # Those of the test's own process are without its secrets.
        return {
            **result,
            "outcome": row.outcome,
            "attempts": max(result["attempts"], row.attempts),
            "failures": result["failures"] or plain["failures"],
        }

    @staticmethod
    def _plain(row: _Row) -> dict[str, Any]:
        started = ""
        if row.started_s is not None:
            started = datetime.fromtimestamp(row.started_s, timezone.utc).isoformat(timespec="microseconds")
        data = Result(
            nodeid=row.nodeid,
            name=row.name,
            file=row.file,
            line=row.line,
            started=started,
            duration_s=row.duration_s,
            worker=row.worker,
            attempts=row.attempts,
            failures=tuple(
                Failure(message=each.message, where=each.where, kind=each.kind) for each in row.failures
            ),
        ).to_data()
        data["outcome"] = row.outcome
        return {key: data[key] for key in PLAIN_KEYS}
