"""Leaves nothing behind: what the controller, or the only process, does for that.

Before the first scenario it sweeps what dead runs left and starts the watchdog. It removes a dead worker's
containers before that worker's reservations are given back. At the end it removes what is left of the run.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError, EngineError
from pytest_clnrm.session.run_record import record_of
from pytest_clnrm.session.warm_services import WarmServices

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from pytest_clnrm.cleanup import run_records
    from pytest_clnrm.runtime.runtime import Runtime

_ROUND_S = 0.25


class RunGuard:
    """Guards one run, from :meth:`begin` to :meth:`finish`.

    :param make_folder: returns the run's own folder for temporary files.
    """

    def __init__(self, runtime: Runtime, make_folder: Callable[[], Path]) -> None:
        self._runtime = runtime
        self._make_folder = make_folder
        self._record: run_records.RunRecord | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._abrupt_s: float | None = None
        self._unswept = False
        self.warm = WarmServices(runtime)
        self._early: threading.Thread | None = None
        self.foreign = ""

    def begin(self) -> None:
        """Start the watchdog and sweep; to be called before the first scenario, and once.

        Nothing is raised: each scenario says itself what is wrong with the engine or the ledger.
        """
        from pytest_clnrm.cleanup import run_records, watchdog
        from pytest_clnrm.util.processes import this_process

        with suppress(ClnrmError, OSError):
            folder = self._runtime.folder()
            lock = run_records.lock_file(folder.runs, self._runtime.session_id)
            run_records.make_folder(folder.runs)
            self._record = record_of(self._runtime, this_process(lock), self._make_folder())
            path = run_records.write(folder.runs, self._record)
            # The watchdog cannot connect to an engine that another plugin made.
            if self._runtime.engine_is_own:
                self._watchdog = watchdog.start(path)
            self._runtime.keep_run()
            cleaner = self._runtime.cleaner()
            cleaner.end_orphans()
            cleaner.sweep_dead(self._runtime.ledger())
            self.foreign = cleaner.foreign
            self.warm.take()
        with suppress(OSError):
            run_records.remove_abandoned()

    def worker_died(self, worker: str) -> bool:
        """Remove what a dead worker left, its own reservations too; tell whether its containers are gone."""
        self._note_abrupt()
        if self._record is None:
            return True
        try:
            self._runtime.cleaner().sweep_session(self._runtime.session_id, worker)
        except ClnrmError:
            return False
        with suppress(ClnrmError):
            self._runtime.ledger().purge()
        return True

    def pytest_keyboard_interrupt(self) -> None:
        """Note that items may have been interrupted."""
        self._note_abrupt()

    def pytest_internalerror(self) -> None:
        """Note that items may have been interrupted."""
        self._note_abrupt()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note that something of the engine's failed: what it said is gone may come back when it restarts.

        That is left to the watchdog: a run that failed does not wait for it.
        """
        carried = getattr(report, "clnrm", None) if self._is_watched() else None
        result = carried.get("result") if carried else None
        if result and any(each.get("kind") == "error" for each in result.get("failures", ())):
            self._note_abrupt()

    def _note_abrupt(self) -> None:
        # What the engine was asked for until now may still be created.
        self._abrupt_s = time.monotonic()

    def workers_ended(self) -> None:
        """Begin to remove what all workers of the run have shared: none of them runs tests any more.

        It takes the longest of all, and goes on while the interpreters of the workers end.
        """
        # What is to outlive the run is decided in the end.
        if self._record is not None and self._abrupt_s is None and not self._runtime.keeps_warm:
            self._early = threading.Thread(target=self._sweep_shared, name="clnrm-sweep")
            self._early.start()

    def _sweep_shared(self) -> None:
        from pytest_clnrm.ledger.shared import SHARED

        # Whatever stays is swept with the rest.
        with suppress(ClnrmError):
            self._runtime.cleaner().sweep_session(self._runtime.session_id, SHARED)

    def sweep(self) -> None:
        """Remove all that is left of the run."""
        if self._record is None:
            return
        if self._early is not None:
            self._early.join()
        but = set() if self._may_follow() else self.warm.decide()
        self._sweep(but)
        if self.warm.leases and not self._leave():
            self.warm.give_up()
            self._sweep(set())

    def _leave(self) -> bool:
        """Leave what outlives the run to a keeper, and tell whether there is one."""
        if self._unswept or self._may_follow():
            return False
        with suppress(ClnrmError):
            return self.warm.leave()
        return False

    def _sweep(self, but: set[str]) -> None:
        """Remove it, but for the objects with some ids."""
        while True:
            try:
                cleaner = self._runtime.cleaner()
                cleaner.sweep_session(self._runtime.session_id, but=but)
                for origin in self.warm.origins:
                    cleaner.sweep_session(origin, but=but)
                self._unswept = False
            except EngineError:
                # The engine may be restarting, which the watchdog waits for.
                self._unswept = True
            if not self._may_follow() or self._is_watched():
                break
            time.sleep(_ROUND_S)
        with suppress(ClnrmError):
            ledger = self._runtime.ledger()
            if not (self._unswept or self._may_follow()):
                # Leases of containers that a failing engine did not remove have counted until now.
                ledger.release_all(but=self.warm.leases)
            # Leases that workers took themselves and did not give back.
            ledger.purge()

    def finish(self) -> None:
        """End the watchdog, unless it has something left to do; to be called last."""
        if self._record is None:
            return
        self.warm.close()
        from pytest_clnrm.cleanup import run_records

        if self._watchdog is not None:
            if self._is_watched() and (
                self._unswept or self._may_follow() or run_records.workers(self._record)
            ):
                # Popen warns of a process that was not waited for, unless it has a return code.
                self._watchdog.returncode = 0
                return
            self._watchdog.kill()
            self._watchdog.wait()
        run_records.forget(self._runtime.folder().runs, self._record)
        self._record = None

    def _may_follow(self) -> bool:
        from pytest_clnrm.cleanup import watchdog

        return self._abrupt_s is not None and time.monotonic() < self._abrupt_s + watchdog.QUIET_S

    def _is_watched(self) -> bool:
        return self._watchdog is not None and self._watchdog.poll() is None
