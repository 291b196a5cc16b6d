"""Where a CI service shows a job: GitHub's page of it, and a file among GitLab's artifacts."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.util.redaction import Redactor
from pytest_clnrm.util.terminal_text import escaped, one_line, shown

if TYPE_CHECKING:
    from pytest_clnrm.report.job_summary import Bad, Summary
    from pytest_clnrm.session.results import SessionResults

GITHUB = "GITHUB_STEP_SUMMARY"
"""Names the file to which a step adds its summary: GitHub's runner, Gitea's and Forgejo's."""
GITLAB = "GITLAB_CI"
FILE = "summary.md"
"""In the report's folder, on GitLab, which has no place of its own for it."""


def place_of(report_dir: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file to which a summary is added, None where nobody would show it."""
    if environ.get(GITHUB):
        return Path(environ[GITHUB])
    return report_dir / FILE if environ.get(GITLAB) and report_dir is not None else None


class JobSummary:
    """Writes the summary when all else is done; in the controller, or the only process.

    :param place: the file to which it is added.
    :param results: of the run.
    """

    def __init__(self, place: Path, results: SessionResults) -> None:
        self._place = place
        self._results = results

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Add it; a run that ends otherwise well does not fail of it."""
        found = yield
        reporter: Any = session.config.pluginmanager.getplugin("terminalreporter")
        if reporter is None:
            return found
        from pytest_clnrm.report.job_summary import job_summary

        # A page stays, and unlike its logs the CI service masks nothing in it.
        secrets = self._results.runtime.settings.secrets
        redact = Redactor(os.environ.get(name, "") for name in secrets).text
        text = escaped(redact(job_summary(self._summary(reporter.stats))))
        try:
            self._place.parent.mkdir(parents=True, exist_ok=True)
            with self._place.open("a", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except OSError as error:
            reporter.line(shown(f"clnrm: {self._place} cannot be written: {error.strerror}"), red=True)
        return found

    def _summary(self, stats: Mapping[str, list[Any]]) -> Summary:
        from pytest_clnrm.report.job_summary import Summary

        counted = {
            name: reports for name, reports in stats.items() if name not in {"", "warnings", "deselected"}
        }
        tests = [each for reports in counted.values() for each in reports if hasattr(each, "when")]
        times: dict[str, float] = {}
        for each in tests:
            times[each.nodeid] = times.get(each.nodeid, 0.0) + float(getattr(each, "duration", 0.0))
        return Summary(
            counts={name: len(reports) for name, reports in counted.items()},
            duration_s=self._results.duration_s(),
            bad=[_bad(each, name) for name in ("failed", "error") for each in stats.get(name, ())],
            slow=list(times.items()),
            flaky=[nodeid for nodeid, each in self._results.results.items() if each["is_flaky"]],
            report=self._results.written(),
        )


def _bad(report: Any, outcome: str) -> Bad:
    from pytest_clnrm.report.job_summary import Bad
    from pytest_clnrm.report.rows import failure_of

    message = one_line(failure_of(report).message)
    return Bad(nodeid=report.nodeid, outcome=outcome, message=message, text=report.longreprtext)
