"""What earlier runs tell of this one's items, and what this one tells of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.history.estimates import durations_s, failure_likelihoods
from pytest_clnrm.history.recorder import Recorder
from pytest_clnrm.history.records import History, ItemOutcome, merged, run_name
from pytest_clnrm.history.sizes import advice, sizes
from pytest_clnrm.history.store import HistoryError, add_to, bytes_of, read_history
from pytest_clnrm.items.right_size import TOLD
from pytest_clnrm.names import CRASHED
from pytest_clnrm.session.summary import Note, Weight, some, tell_at_end, wrong
from pytest_clnrm.util.files import write_whole
from pytest_clnrm.util.redaction import Redactor

if TYPE_CHECKING:
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.settings.settings import Settings

HISTORY_FILE = "history.json"
_LINES = 3


class Experience:
    """A plugin of the controller, or of the only process.

    :param session: the run's id.
    :param began_s: when the run began, in seconds since 1970.
    :raises pytest.UsageError: if ``--clnrm-history`` names a folder.
    """

    def __init__(self, config: pytest.Config, settings: Settings, *, session: str, began_s: float) -> None:
        self._settings = settings
        self._run = run_name(datetime.fromtimestamp(began_s, timezone.utc), session)
        self._recorder = Recorder()
        self.runtime: Runtime | None = None
        self._limits: dict[tuple[str, str], int] = {}
        self._lines: list[str] = []
        self._fell_back: set[str] = set()
        self._problems: list[str] = []
        tell_at_end(config, self._notes)
        self._cache = _in_cache(config)
        self._given = settings.history_file
        if self._given is not None and self._given.is_dir():
            raise pytest.UsageError(
                f"{settings.origin('history_file')}: {self._given} is a folder: it takes the path of a file"
            )

    @cached_property
    def _earlier(self) -> History:
        """Return what earlier runs have shown; of a file that cannot be read, nothing."""
        found = []
        for path in (self._cache, self._given):
            if path is not None:
                try:
                    found.append(read_history(path))
                except HistoryError as error:
                    self._note(path, error)
        return merged(*found)

    def expected(self) -> dict[str, float]:
        """Return what the order goes by, of known items: seconds, or how likely they fail."""
        if self._settings.order == "slowest-first":
            return durations_s(self._earlier)
        return failure_likelihoods(self._earlier)

    def sizes(self) -> dict[str, dict[str, int]]:
        """Return how much memory services need: node id -> service -> bytes."""
        return sizes(self._earlier)

    def shown_before(self, nodeids: Iterable[str]) -> dict[str, tuple[str, list[float | None]]]:
        """Return what runs before this one have shown of items, the oldest first.

        :returns: node id -> a letter of each outcome ("p" passed, "f" failed, "s" skipped), and seconds.
        """
        runs, found = self._earlier.runs, {}
        for nodeid in nodeids:
            columns = self._earlier.items.get(nodeid)
            if columns is None:
                continue
            before = [at for at, run in enumerate(columns.runs) if runs[run] != self._run]
            if before:
                letters = "".join(columns.outcomes[at] for at in before)
                found[nodeid] = (letters, [columns.took_s[at] for at in before])
        return found

    def durations_of_file(self) -> dict[str, float]:
        """Return how long items take by the file of ``--clnrm-history`` alone, which all machines have.

        :raises pytest.UsageError: if it is not there, or cannot be read: this machine would divide otherwise
            than the others.
        """
        if self._given is None:
            return {}
        problem = ""
        try:
            known = read_history(self._given)
            if not self._given.exists():
                problem = f"there is no file {self._given}: begin with an empty one on all machines"
        except HistoryError as error:
            known, problem = History(), str(error)
        if problem:
            raise pytest.UsageError(
                f"{self._settings.origin('history_file')}: {problem}; with --clnrm-shard all machines have "
                "to read the same history"
            )
        return durations_s(known)

    def _note(self, path: Path, error: HistoryError) -> None:
        """Note what is wrong with a file, once; one of the cache is begun anew."""
        remedy = "it is left as it is: remove it to begin a new one"
        if path == self._cache:
            remedy = "a new one is begun"
            with suppress(OSError):
                path.unlink()
        line = f"{error}; {remedy}"
        if line not in self._problems:
            self._problems.append(line)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a report shows."""
        if hasattr(report, "context"):
            # That of a subtest: the one of the test itself is yet to come.
            return
        if report.when == CRASHED:
            self._recorder.crashed(report.nodeid)
            return
        for carried in (getattr(report, "clnrm", None), getattr(report, "clnrm_test", None)):
            if carried is not None and carried["result"]:
                self._recorder.peaks(report.nodeid, _peaks(carried["result"]))
                for each in carried["result"]["containers"]:
                    self._limits[report.nodeid, each["service"]] = each["memory_bytes"]
        if getattr(report, "clnrm_fell_back", False):
            self._recorder.needs_all(report.nodeid)
            self._fell_back.add(report.nodeid)
        self._recorder.phase(report.nodeid, str(report.when), _outcome(report), report.duration)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write what this run has shown, also of one that was interrupted."""
        history = self._without_secrets(self._recorder.history(self._run))
        self._lines = self._advice(history)
        # Shards that run later, or again, have to find the file as the first one did.
        given = None if self._settings.shard else self._given
        for path in (self._cache, given) if history.runs else ():
            if path is not None:
                try:
                    add_to(path, history)
                except HistoryError as error:
                    self._note(path, error)
        if self._settings.shard and self._settings.report_dir is not None:
            self._write_to_report(self._settings.report_dir, history)

    def _write_to_report(self, folder: Path, history: History) -> None:
        """Write what this shard has shown, and what it was given, for ``clnrm merge``."""
        path = folder / HISTORY_FILE
        try:
            earlier = read_history(self._given) if self._given else History()
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, bytes_of(merged(earlier, history)))
        except HistoryError as error:
            self._problems.append(str(error))
        except OSError as error:
            self._problems.append(f"{path} cannot be written: {error.strerror or error}")

    def _advice(self, history: History) -> list[str]:
        """Return what there is to say of the limits of this run's containers."""
        if self.runtime is None or not self._limits:
            return []
        try:
            budget = self.runtime.budget()
        except ClnrmError:
            return []
        limits = [(nodeid, service, limit) for (nodeid, service), limit in self._limits.items()]
        whole = merged(self._earlier, history)
        return advice(
            whole,
            limits,
            budget_bytes=budget.memory_bytes,
            max_containers=budget.containers,
            near=self._settings.right_size,
        )

    def _without_secrets(self, history: History) -> History:
        """Return it without items whose ids hold a secret, or cannot be written."""
        redactor = Redactor(os.environ.get(name, "") for name in self._settings.secrets)

        def may_be_written(nodeid: str) -> bool:
            with suppress(UnicodeEncodeError):
                return bool(nodeid.encode()) and redactor.text(nodeid) == nodeid
            return False

        items = {nodeid: each for nodeid, each in history.items.items() if may_be_written(nodeid)}
        needy = {nodeid: run for nodeid, run in history.needy.items() if nodeid in items}
        return History(history.runs, items, needy)

    def _notes(self) -> Iterator[Note]:
        """Yield what is wrong with the history, and which limits are far from what is used."""
        asked = self._settings.right_size
        for line in self._lines[: _LINES if asked else 1]:
            yield Note(line if asked else f"{line} (see --clnrm-right-size)", Weight.HINT)
        if needy := sorted(self._fell_back):
            yield wrong(f"{some(needy)} {'was' if len(needy) == 1 else 'were'} {TOLD}", *needy)
        for problem in self._problems:
            yield wrong(problem)


def _in_cache(config: pytest.Config) -> Path | None:
    """Return where pytest's cache holds the history; None without a cache."""
    cache = getattr(config, "cache", None)
    if cache is None:
        return None
    # A cache that cannot be written pytest tells itself.
    with suppress(OSError):
        folder: Path = cache.mkdir("clnrm")
        return folder / HISTORY_FILE
    return None


def _outcome(report: pytest.TestReport) -> ItemOutcome:
    if report.outcome == "passed" or hasattr(report, "wasxfail"):
        return "passed"
    # pytest-rerunfailures calls a failure that it runs again "rerun".
    return "skipped" if report.outcome == "skipped" else "failed"


def _peaks(result: dict[str, Any]) -> dict[str, int]:
    """Return the peak of each service whose container was new."""
    return {
        each["service"]: each["peak_memory_bytes"]
        for each in result["containers"]
        if each["peak_memory_bytes"] is not None
    }
