"""Rows of a report for Python tests: made of pytest's own reports, whose counts they have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pytest_clnrm.model.result import Failure, Result, clean_text, tail

if TYPE_CHECKING:
    import pytest

DETAILS_CHARS = 16 * 1024
_NAMED_PLACE = re.compile(r"(\S+?:\d+)(?::\d+)?: ")
_LIBRARY = re.compile(r"/(?:site|dist)-packages/|/lib/python3")
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
    "counted",
    "failures",
    "output",
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
        place = _relative(str(path), report)
        return Failure(message=_first_line(str(reason)).removeprefix("Skipped: "), where=f"{place}:{line}")
    text = clean_text(report.longreprtext)
    details = tail(text, DETAILS_CHARS)
    crash = getattr(longrepr, "reprcrash", None)
    if crash is None:
        message = _first_line(text)
        named = _NAMED_PLACE.match(message)
        return Failure(message=message, where=named[1] if named else "", details=details, kind="error")
    return Failure(
        message=_first_line(crash.message),
        where=_place(crash, longrepr, report),
        details=details,
        kind="expectation" if crash.message.startswith(("AssertionError", "assert ")) else "error",
    )


def _relative(path: str, report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return a path, that of the item's own file relative to rootdir as pytest's summary names it."""
    file = (report.location or ("",))[0]
    return file if file and path.endswith(f"/{file}") else path


def _place(crash: Any, longrepr: Any, report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return where an exception was raised; of one from another's file, where the test's own called that."""
    place = _relative(str(crash.path), report)
    file = (report.location or ("",))[0]
    if place != file:
        entries = getattr(getattr(longrepr, "reprtraceback", None), "reprentries", ())
        places = (getattr(each, "reprfileloc", None) for each in entries)
        own = [each.lineno for each in places if each is not None and _ends_with(str(each.path), file)]
        if own and _LIBRARY.search(place):
            return f"{file}:{own[-1]}"
    return f"{place}:{crash.lineno}"


def _ends_with(path: str, file: str) -> bool:
    """Tell whether *path*, relative to any folder on the way, is that of *file*."""
    return bool(file) and (f"/{file}".endswith(f"/{path.removeprefix('./')}") or path.endswith(f"/{file}"))


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
    counted: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    output: list[tuple[str, str]] = field(default_factory=list)

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
        if outcome not in row.counted:
            row.counted.append(outcome)
        if row.outcome not in BAD:
            row.outcome = outcome
        if report.failed or report.skipped:
            row.failures.append(failure_of(report))
        if report.failed:
            # Each phase's report has what those before it have printed.
            row.output = [
                (clean_text(name), tail(clean_text(text), DETAILS_CHARS)) for name, text in report.sections
            ]

    def counted(self, key: str) -> list[str]:
        """Return as what pytest has counted an item: one that passes and whose teardown fails as both."""
        row = self._rows.get(key)
        return list(row.counted) if row is not None else []

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
            result["failures"] = result["failures"] or self._plain(row, brief=True)["failures"]

    def tests(
        self,
        results: Mapping[str, Mapping[str, Any]],
        scenarios: Mapping[str, Any],
        sources: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the rows of all items but *scenarios*, in the order of their starts.

        :param results: data of the Result (``model/result.py``) of tests with containers, by :func:`key_of`.
        :param sources: lines of their files at the places of their failures, likewise.
        """
        return [
            self._test(row, results.get(key), (sources or {}).get(key, {}))
            for key, row in self._rows.items()
            if key not in scenarios and row.outcome
        ]

    def _test(
        self, row: _Row, result: Mapping[str, Any] | None, sources: Mapping[str, Any]
    ) -> dict[str, Any]:
        plain = self._plain(row, brief=result is not None)
        if result is None:
            return plain
        # Those of the test's own process are without its secrets.
        return {
            **result,
            "outcome": row.outcome,
            "attempts": max(result["attempts"], row.attempts),
            "counted": row.counted,
            "sources": sources,
            "failures": result["failures"] or plain["failures"],
        }

    @staticmethod
    def _plain(row: _Row, *, brief: bool) -> dict[str, Any]:
        """Return the row of a test without containers.

        :param brief: leave out tracebacks and output: of an item with containers they may hold its secrets.
        """
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
            failures=tuple(replace(each, details="") if brief else each for each in row.failures),
        ).to_data()
        data["outcome"] = row.outcome
        data["counted"] = row.counted
        data["output"] = [{"name": name, "text": text} for name, text in ([] if brief else row.output)]
        return {key: data[key] for key in PLAIN_KEYS}
