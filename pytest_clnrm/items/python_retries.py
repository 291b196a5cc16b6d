"""Trying Python tests again that have failed, with ``clnrm_retry`` and ``--clnrm-retries``.

As pytest-rerunfailures does, the whole protocol of the item runs once more: its fixtures of function scope
are torn down and set up anew, and with them its containers. Unlike there pytest is told of one test, which
is what its last attempt was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from _pytest.runner import runtestprotocol

from pytest_clnrm.items.python_tests import Attempts, PythonTests
from pytest_clnrm.items.retries import is_left_to_rerunfailures, is_tried_by_none
from pytest_clnrm.items.tags import ScenarioWarning
from pytest_clnrm.model.result import Result
from pytest_clnrm.names import FIXTURES, LIMITS_MARKER, RETRY_MARKER
from pytest_clnrm.report.failure_text import attempt_lines
from pytest_clnrm.reservation.item_demand import is_scenario
from pytest_clnrm.settings.values import retries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_clnrm.settings.settings import Settings

_OF_THE_LEASE = ("clnrm_cleared", "clnrm_leftover")
"""What a report tells of the test's reservation, which is that of all attempts."""

LEFT = (
    "pytest-rerunfailures was told to run Python tests again (--reruns, flaky): they are left to it, so "
    "clnrm_retry does nothing for them, and --clnrm-retries is for scenarios"
)
SUBTESTS = "it is not tried again: its subtests that failed were reported already"


def marked_retries(item: pytest.Item) -> int | None:
    """Return how often a test is to be tried again by its own marker, None if it has none.

    :raises pytest.UsageError: if the marker is wrong.
    """
    marker = item.get_closest_marker(RETRY_MARKER)
    if marker is None:
        return None
    wrong = "it takes one number, how often the test is tried again"
    if len(marker.args) == 1 and not marker.kwargs:
        try:
            return retries(marker.args[0])
        except ValueError as error:
            wrong = str(error)
    raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.{RETRY_MARKER}(...): {wrong}")


def has_containers(item: pytest.Item) -> bool:
    """Tell whether a test uses our fixtures, or reserves containers of its own."""
    uses_ours = not FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
    return uses_ours or item.get_closest_marker(LIMITS_MARKER) is not None


class PythonRetries:
    """Tries Python tests again, in every process; a plugin of pytest."""

    def __init__(self, tests: PythonTests) -> None:
        self._tests = tests
        self._is_left: set[pytest.Item] = set()

    @property
    def _settings(self) -> Settings:
        return self._tests.runtime.settings

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Refuse wrong markers.

        :raises pytest.UsageError: for one; under xdist it is a failed collection instead.
        """
        try:
            for item in session.items:
                marked_retries(item)
        except pytest.UsageError as error:
            from pytest_clnrm.scheduling.order import refuse

            refuse(session.config, session.items, error)

    def _retries_of(self, item: pytest.Item) -> int:
        if not isinstance(item, pytest.Function):
            return 0
        number = marked_retries(item)
        if number is None:
            number = self._settings.retries if has_containers(item) else 0
        if not number or is_tried_by_none(item, self._settings):
            return 0
        if is_left_to_rerunfailures(item):
            self._is_left.add(item)
            return 0
        return number

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Say once that another plugin runs tests again which we were told to try again, too."""
        if item in self._is_left and self._tests.runtime.worker in {"master", "gw0"}:
            self._is_left.clear()
            item.warn(ScenarioWarning(LEFT))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Say why a test is not tried again whose subtests have failed."""
        if self._tests.attempts is not None and self._tests.attempts.was_told:
            item.warn(ScenarioWarning(f"{item.nodeid}: {SUBTESTS}"))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a subtest that has failed: the test itself is not reported before its last attempt."""
        if self._tests.attempts is not None and report.failed:
            self._tests.attempts.was_told = True

    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run a test until it passes, or has been tried as often as it may be."""
        left = 0 if is_scenario(item) else self._retries_of(item)
        if not left:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports(item, nextitem, left):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _reports(self, item: pytest.Item, nextitem: pytest.Item | None, left: int) -> list[pytest.TestReport]:
        """Return the reports of the attempt that counts."""
        attempts = self._tests.attempts = Attempts(left=left)
        properties = list(item.user_properties)
        before: list[pytest.TestReport] = []
        try:
            while True:
                reports = runtestprotocol(item, log=False, nextitem=nextitem)
                self._hand_on(before, reports)
                if before and any(each.skipped for each in reports):
                    # That takes no failure back.
                    for each in before:
                        each.sections.append(("clnrm_retry", f"attempt {self._tests.attempt} was skipped"))
                    return before
                session = item.session
                if not attempts.again or session.shouldstop or session.shouldfail:
                    break
                before = reports
                attempts.earlier.append(_own(_result_of(reports)))
                attempts.left -= 1
                attempts.again = False
                for fixture, request in attempts.failed_fixtures:
                    # pytest would raise the same again in every test that uses it.
                    fixture.finish(request)
                attempts.failed_fixtures.clear()
                item.user_properties[:] = properties
                item._report_sections.clear()  # noqa: SLF001 (what earlier attempts have printed)
        finally:
            self._tests.attempts = None
        return _judged(reports, _result_of(reports))

    def _hand_on(self, before: Iterable[pytest.TestReport], reports: Iterable[pytest.TestReport]) -> None:
        """Let the reports of an attempt tell what those before it, which nobody sees, had to tell."""
        for old in before:
            carried = getattr(old, "clnrm_test", None)
            if carried is not None:
                # What fixtures of a wider scope have kept.
                self._tests.kept += carried["kept"]
            new = next((each for each in reports if each.when == old.when), None)
            for name in _OF_THE_LEASE:
                if new is not None and hasattr(old, name) and not hasattr(new, name):
                    setattr(new, name, getattr(old, name))


def _result_of(reports: Iterable[pytest.TestReport]) -> Result:
    """Return what PythonTests has put on the last report of an attempt."""
    *_, last = reports
    return Result.from_data(last.clnrm_test["result"])


def _own(result: Result) -> Result:
    """Return the result of one attempt without those before it."""
    return replace(result, earlier=(), attempts=1)


def _judged(reports: list[pytest.TestReport], result: Result) -> list[pytest.TestReport]:
    """Let the reports of the last attempt tell of those before it."""
    if not result.earlier:
        return reports
    told = "\n".join(attempt_lines(result.earlier))
    for each in reports:
        if each.failed:
            each.sections.append(("earlier attempts", told))
        if each.when == "call" and result.is_flaky:
            each.clnrm_outcome = "flaky"  # type: ignore[attr-defined]
            if result.failures:
                each.outcome = "failed"
                each.longrepr = f"{result.failures[0].message}\n{told}"
    return reports
