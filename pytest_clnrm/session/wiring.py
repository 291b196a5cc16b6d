"""Makes the parts of a process, and registers them as plugins of pytest in the order that they need."""

from __future__ import annotations

import atexit
import gc
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.items.load_options import loaded_names
from pytest_clnrm.items.python_retries import PythonRetries
from pytest_clnrm.items.python_tests import PythonTests
from pytest_clnrm.reservation.hooks import ReservationHooks
from pytest_clnrm.runtime.runtime import Runtime
from pytest_clnrm.session.coming_images import ComingImages
from pytest_clnrm.session.item_hooks import ItemHooks
from pytest_clnrm.session.progress import ProgressDisplay, StatusNotes, WorkerLog
from pytest_clnrm.session.run_record import record_of
from pytest_clnrm.session.worker_output import WorkerOutput
from pytest_clnrm.session.xdist_hooks import XdistHooks

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.cleanup.heir import Heir
    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.session.run_guard import RunGuard
    from pytest_clnrm.session.run_place import RunPlace
    from pytest_clnrm.settings.settings import Settings


class Wiring:
    """Makes, registers and ends the parts of one process.

    :param place: the run that it belongs to.
    :param began_s: when the run began, in seconds since 1970; *began_monotonic_s* by ``time.monotonic()``.
    :raises pytest.UsageError: if they cannot be made as the settings want them.
    """

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        place: RunPlace,
        *,
        began_s: float,
        began_monotonic_s: float,
    ) -> None:
        runtime = Runtime(
            settings=settings,
            rootdir=config.rootpath,
            session_id=place.session,
            worker=getattr(config, "workerinput", {}).get("workerid", "master"),
            connect=lambda: self._connect(config),
            loaded=loaded_names(config, settings),
            traceparent=place.traceparent,
        )
        self.runtime = runtime
        # Before the interpreter ends it looks several times for garbage among all that we have imported, and
        # that takes longer than the rest of its end. It promises nobody to finalize what is left then.
        atexit.register(gc.freeze)
        self._guard: RunGuard | None = None
        self._heir: Heir | None = None
        register = config.pluginmanager.register
        register(ItemHooks(runtime), "clnrm-collection")
        register(ComingImages(runtime), "clnrm-coming-images")
        if settings.repeat > 1:
            from pytest_clnrm.session.repetitions import Repetitions

            register(Repetitions(config, settings.repeat, place.folder), "clnrm-repetitions")
        self.python_tests = PythonTests(runtime)
        register(self.python_tests, "clnrm-python-tests")
        self.python_retries = PythonRetries(self.python_tests)
        register(self.python_retries, "clnrm-python-retries")
        register(WorkerOutput(runtime, self.python_tests.kept), "clnrm-worker-output")
        reservations = self.reservations = ReservationHooks(runtime, place.folder, is_worker=place.is_worker)
        runtime.run_folder = place.folder
        monitor = None
        if not hasattr(config, "workerinput"):
            from pytest_clnrm.session.job_summary import JobSummary, place_of
            from pytest_clnrm.session.outcomes import OutcomesShown
            from pytest_clnrm.session.results import SessionResults
            from pytest_clnrm.session.run_guard import RunGuard
            from pytest_clnrm.session.summary import tell_at_end

            guard = self._guard = RunGuard(runtime, place.folder)
            results = SessionResults(
                runtime=runtime,
                guard=guard,
                began_s=began_s,
                began_monotonic_s=began_monotonic_s,
                category=lambda report: _category(config, report),
                kept_late=self.python_tests.kept,
            )
            try:
                results.prepare()
            except OSError as error:
                raise pytest.UsageError(
                    f"{settings.origin('report_dir')}: {settings.report_dir} cannot be made: {error.strerror}"
                ) from error
            register(results, "clnrm-results")
            tell_at_end(config, results.notes)
            if settings.job_summary and (summary := place_of(settings.report_dir)) is not None:
                register(JobSummary(summary, results), "clnrm-job-summary")
            register(OutcomesShown(), "clnrm-outcomes")
            register(guard, "clnrm-guard")
            self.distributed = XdistHooks(runtime, results, guard, reservations)
            register(self.distributed, "clnrm-xdist")
            runtime.before_ledger = guard.begin
            monitor = ProgressDisplay(runtime, config, place.folder)
            self.tell_queue = monitor.tell_queue
        reservations.install(config)
        register(reservations, "clnrm-reservations")
        if monitor is not None:
            register(monitor, "clnrm-monitor")
            self.worker_log = WorkerLog(runtime, monitor.worker_of)
            register(self.worker_log, "clnrm-worker-log")
        # Last: its wrapper goes around all others' and sees their waits.
        notes = StatusNotes(runtime, reservations, (lambda: monitor.queue) if monitor else None)
        register(notes, "clnrm-notes")

    def finish_collection(self, session: pytest.Session) -> None:
        """Do what the parts do once the items are final: made during that hook, they are not called."""
        self.reservations.pytest_collection_finish(session)
        self.python_retries.pytest_collection_finish(session)
        worker = session.config.pluginmanager.getplugin("clnrm-worker")
        if worker is not None:
            worker.pytest_collection_finish(session)

    def close(self) -> None:
        """Remove what is left, then give up what the run held. The watchdog does what fails here."""
        if self._guard is not None:
            self._guard.sweep()
        self.reservations.leave_queue()
        self.runtime.close()
        if self._heir is not None:
            self._heir.close()
        if self._guard is not None:
            self._guard.finish()

    def _watch(self, heir: Heir, folder: Path) -> None:
        """Have the run of a worker watched, if its controller does not do that already."""
        with suppress(ClnrmError, OSError):
            heir.watch(record_of(self.runtime, heir.controller, folder))

    def _connect(self, config: pytest.Config) -> Engine:
        """Return another plugin's engine, else the one that ``--clnrm-engine`` names."""
        engine: Engine | None = config.hook.pytest_clnrm_engine(config=config)
        if engine is not None:
            return engine
        if hasattr(config, "workerinput"):
            from pytest_clnrm.cleanup.heir import Heir

            # Before anything is created that could be left behind.
            self._heir = Heir(self.runtime.folder().runs / f"{self.runtime.session_id}.json")
            assert self.runtime.run_folder is not None  # noqa: S101 (a worker is given one)
            self.runtime.before_ledger = partial(self._watch, self._heir, self.runtime.run_folder())
        return self.runtime.connect_own()


def _category(config: pytest.Config, report: pytest.TestReport) -> str:
    """Return under which outcome pytest counts a report, "" if it does not."""
    status = config.hook.pytest_report_teststatus(report=report, config=config)
    # That of a call is told by the plugin "terminal", which may be switched off.
    return str(status[0]) if status else report.outcome
