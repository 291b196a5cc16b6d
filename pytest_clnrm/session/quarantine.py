"""Tests in quarantine: they run, and their failures are pytest's own xfail until a day that is named."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.session.summary import Note, some, tell_at_end, wrong
from pytest_clnrm.settings.quarantine_file import Entry, QuarantineError, read_quarantine

if TYPE_CHECKING:
    from pathlib import Path

_OUTPUT = "clnrm_quarantine_unused"

_entry_key: pytest.StashKey[int] = pytest.StashKey()
"""Where an item holds the number of the entry that it is in."""


def today() -> date:
    """Return this day, as this host has it."""
    return date.today()  # noqa: DTZ011 (a list names days as people say them)


class Quarantine:
    """Marks tests that are in quarantine, in each process, and tells at the end what became of them.

    :param file: the list.
    :raises pytest.UsageError: with its mistakes.
    """

    def __init__(self, config: pytest.Config, file: Path) -> None:
        try:
            self._entries = read_quarantine(file)
        except QuarantineError as error:
            raise pytest.UsageError(str(error)) from None
        self._config = config
        self._today = today()
        self._is_worker = hasattr(config, "workerinput")
        self._unused: dict[int, bool] = {}
        self._held: dict[str, int] = {}
        self._passing: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        tell_at_end(config, self._notes)

    def _has_expired(self, entry: Entry) -> bool:
        return entry.until < self._today

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Mark the items, before others select among them; the first entry that is about an item counts."""
        used = set()
        for item in items:
            about = [at for at, each in enumerate(self._entries) if each.matches(item.nodeid)]
            used.update(about)
            valid = [at for at in about if not self._has_expired(self._entries[at])]
            for at in (valid or about)[:1]:
                item.stash[_entry_key] = at
            for at in valid[:1]:
                entry = self._entries[at]
                reason = f"quarantined until {entry.until}: {entry.why}"
                item.add_marker(pytest.mark.xfail(reason=reason, strict=False), append=False)
        files = {item.nodeid.partition("::")[0] for item in items}
        self._unused = {
            at: self._is_surely_unused(each, files) for at, each in enumerate(self._entries) if at not in used
        }

    def _is_surely_unused(self, entry: Entry, files: Iterable[str]) -> bool:
        """Tell whether an entry is about nothing, whatever part of the tests is collected."""
        if any(each in entry.file for each in "*?"):
            return False
        return entry.file in files or not (self._config.rootpath / entry.file).exists()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note on the report of an item which entry it is in."""
        report = yield
        at = item.stash.get(_entry_key, None)
        if at is not None:
            report.clnrm_quarantine = at  # type: ignore[attr-defined]
            entry = self._entries[at]
            if report.failed and self._has_expired(entry):
                told = f"{entry.place}: expired on {entry.until}: {entry.why}"
                report.sections.append(("quarantine", told))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of what became of an item."""
        at = getattr(report, "clnrm_quarantine", None)
        if at is None:
            return
        if report.failed:
            self._failed[report.nodeid] = at
        elif hasattr(report, "wasxfail"):
            (self._held if report.skipped else self._passing)[report.nodeid] = at

    def pytest_sessionfinish(self) -> None:
        """Tell the controller what a worker has collected."""
        if self._is_worker:
            output: dict[str, Any] = self._config.workeroutput  # type: ignore[attr-defined]
            output[_OUTPUT] = [[at, sure] for at, sure in self._unused.items()]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker has collected: all collect the same."""
        self._unused.update(getattr(node, "workeroutput", {}).get(_OUTPUT, ()))

    def _all_collected(self) -> bool:
        return self._config.args_source is not pytest.Config.ArgsSource.ARGS

    def _notes(self) -> Iterator[Note]:
        """Yield what the list did, and what is to be done about it."""
        entries = self._entries
        if self._held:
            lines = [
                f"{nodeid}: until {entries[at].until}: {entries[at].why}" for nodeid, at in self._held.items()
            ]
            yield wrong(f"in quarantine, their failures do not count: {some(list(self._held))}", *lines)
        passing = {nodeid: at for nodeid, at in self._passing.items() if nodeid not in self._held}
        if passing:
            lines = [f"{nodeid} ({entries[at].place})" for nodeid, at in passing.items()]
            yield wrong(f"in quarantine, and passing again: {some(lines)}", *lines)
        if lines := list(self._expired()):
            more = f"; {len(lines) - 1} more have expired" if len(lines) > 1 else ""
            yield wrong(f"{lines[0]}{more}", *lines[1:])
        if lines := list(self._about_no_test()):
            yield wrong(f"in quarantine, but about no test, remove: {some(lines)}", *lines)

    def _expired(self) -> Iterator[str]:
        for at, entry in enumerate(self._entries):
            if self._has_expired(entry):
                failed = sum(each == at for each in self._failed.values())
                counted = f", and {failed} failed" if failed else ""
                yield (
                    f"{entry.place}: {entry.test!r} expired on {entry.until}: failures count again{counted}; "
                    f"mend it, or set a later day: {entry.why}"
                )

    def _about_no_test(self) -> Iterator[str]:
        if getattr(self._config.option, "lf", False):
            return
        for at, sure in self._unused.items():
            if sure or self._all_collected():
                yield f"{self._entries[at].test!r} ({self._entries[at].place})"
