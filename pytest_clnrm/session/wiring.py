"""Makes the parts of a process, and registers them as plugins of pytest in the order that they need."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_clnrm.items.python_tests import PythonTests
from pytest_clnrm.reservation.hooks import ReservationHooks
from pytest_clnrm.runtime.runtime import Runtime, new_session_id
from pytest_clnrm.scenario.mounts import LOADED
from pytest_clnrm.session.item_hooks import ItemHooks
from pytest_clnrm.session.progress import ProgressDisplay, StatusNotes, WorkerLog
from pytest_clnrm.session.run_guard import RunGuard
from pytest_clnrm.session.xdist_hooks import WORKER_INPUT, XdistHooks
from pytest_clnrm.telemetry.traceparent import new_traceparent

if TYPE_CHECKING:
    from pytest_clnrm.cleanup.heir import Heir
    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.settings.settings import Settings


class Wiring:
    """Makes, registers and ends the parts of one process.

    :param began_s: when the run began, in seconds since 1970; *began_monotonic_s* by ``time.monotonic()``.
    :raises pytest.UsageError: if they cannot be made as the settings want them.
    """

    def __init__(
        self, config: pytest.Config, settings: Settings, *, began_s: float, began_monotonic_s: float
    ) -> None:
        handed_down = getattr(config, "workerinput", {}).get(WORKER_INPUT, {})
        runtime = Runtime(
            settings=settings,
            rootdir=config.rootpath,
            session_id=handed_down.get("session") or new_session_id(),
            worker=getattr(config, "workerinput", {}).get("workerid", "master"),
            connect=lambda: self._connect(config),
            loaded=(*LOADED, *config.getini("python_files"), *settings.files),
            traceparent=handed_down.get("traceparent") or new_traceparent(os.environ.get("TRACEPARENT")),
        )
        self.runtime = runtime
        self._guard: RunGuard | None = None
        self._heir: Heir | None = None
        register = config.pluginmanager.register
        register(ItemHooks(runtime), "clnrm-collection")
        self.python_tests = PythonTests(runtime)
        register(self.python_tests, "clnrm-python-tests")
        reservations = self.reservations = ReservationHooks(runtime, handed_down.get("folder"))
        runtime.run_folder = reservations.run_folder
        monitor = None
        if not hasattr(config, "workerinput"):
            from pytest_clnrm.session.results import SessionResults

            guard = self._guard = RunGuard(runtime, reservations.run_folder)
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
            register(guard, "clnrm-guard")
            register(XdistHooks(runtime, results, guard, reservations), "clnrm-xdist")
            runtime.before_ledger = guard.begin
            monitor = ProgressDisplay(runtime, config, reservations.run_folder)
        reservations.install(config, monitor.tell_queue if monitor else None)
        register(reservations, "clnrm-reservations")
        if monitor is not None:
            register(monitor, "clnrm-monitor")
            register(WorkerLog(runtime, monitor.worker_of), "clnrm-worker-log")
        # Last: its wrapper goes around all others' and sees their waits.
        notes = StatusNotes(runtime, reservations, (lambda: monitor.queue) if monitor else None)
        register(notes, "clnrm-notes")

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
        self.reservations.remove_folder()

    def _connect(self, config: pytest.Config) -> Engine:
        """Return another plugin's engine, else the one that ``--clnrm-engine`` names."""
        engine: Engine | None = config.hook.pytest_clnrm_engine(config=config)
        if engine is not None:
            return engine
        if hasattr(config, "workerinput"):
            from pytest_clnrm.cleanup.heir import Heir

            # Before anything is created that could be left behind.
            self._heir = Heir(self.runtime.folder().runs / f"{self.runtime.session_id}.json")
        return self.runtime.connect_own()


def _category(config: pytest.Config, report: pytest.TestReport) -> str:
    """Return under which outcome pytest counts a report, "" if it does not."""
    status = config.hook.pytest_report_teststatus(report=report, config=config)
    return str(status[0]) if status else ""
