"""How a run is watched: each process notes what it runs; the controller shows and logs it."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.errors import LedgerError
from pytest_clnrm.model.priority import Priority

if TYPE_CHECKING:
    from pytest_clnrm.monitor.terminal import Watcher
    from pytest_clnrm.monitor.view import BudgetView, HostView
    from pytest_clnrm.reservation.hooks import ReservationHooks
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.status.board import QueueBoard

_log = logging.getLogger("pytest_clnrm")

_LIVE_S = 0.2
_PULLS_S = 0.5
_LOOKS_A_THRESHOLD = 10
_LABELS = tuple((int(level), level.label) for level in Priority)


class StatusNotes:
    """Writes down what this process runs, from the first item with a demand on.

    :param reservations: tell which items have a demand, and the priority of each.
    :param queue: returns where to write how many items wait; None in a worker, whose controller knows that.
    """

    def __init__(
        self, runtime: Runtime, reservations: ReservationHooks, queue: Callable[[], QueueBoard] | None
    ) -> None:
        self._runtime = runtime
        self._reservations = reservations
        self._queue = queue
        self._waiting: Counter[int] = Counter()
        self._notes = False

    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Begin at once if workers are shown."""
        if self._runtime.settings.show_workers and not session.config.option.collectonly:
            self._begin(session.items)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note when an item begins and ends."""
        if not (self._notes or self._reservations.demands(item)):
            return (yield)
        items = item.session.items
        if not self._notes:
            self._begin(items[items.index(item) :])
        if self._queue is not None:
            self._waiting[self._reservations.priority_of(item)] -= 1
            self._queue().tell(by_label(self._waiting))
        self._runtime.board.begin(item.nodeid, "test")
        try:
            return (yield)
        finally:
            self._runtime.board.end()

    def pytest_sessionfinish(self) -> None:
        """Leave no status behind."""
        if not self._notes:
            return
        self._runtime.board.close()
        if self._queue is not None:
            self._queue().close()

    def _begin(self, items: list[pytest.Item]) -> None:
        self._notes = True
        folder = self._reservations.run_folder()
        self._runtime.board.open(folder)
        if self._queue is not None:
            queue = self._queue()
            queue.open(folder)
            self._waiting.update(self._reservations.priority_of(item) for item in items)
            queue.tell(by_label(self._waiting))


def by_label(waiting: Mapping[int, int]) -> dict[str, int]:
    """Return how many items wait, by the label of their priority, highest first."""
    return {label: waiting.get(level, 0) for level, label in _LABELS}


class WorkerLog:
    """Logs the workers' start, scenarios and end; in the controller, or the only process.

    :param worker_of: returns which worker runs the item of a node id now, "" if that is not known.
    """

    def __init__(self, runtime: Runtime, worker_of: Callable[[str], str]) -> None:
        self._runtime = runtime
        self._worker_of = worker_of
        self._outcomes: dict[str, tuple[str, float]] = {}
        self._started: set[str] = set()
        self._own = False
        self._ended = 0

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """Log a worker's start."""
        _log.info("worker %s started", node.gateway.id)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Log a worker's end."""
        if error:
            _log.info("worker %s died: %s", node.gateway.id, error)
        else:
            _log.info("worker %s ended", node.gateway.id)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Log a scenario's start, if its worker is already known."""
        if _log.isEnabledFor(logging.INFO) and self._runtime.settings.names_scenario(nodeid):
            self._log_start(nodeid, self._worker_of(nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Log a scenario's end."""
        if not _log.isEnabledFor(logging.INFO) or not self._runtime.settings.names_scenario(report.nodeid):
            return
        worker = report.node.gateway.id if hasattr(report, "node") else self._runtime.worker
        if report.nodeid not in self._started and report.when == "setup":
            self._log_start(report.nodeid, worker)
        outcome, duration_s = self._outcomes.get(report.nodeid, ("passed", 0.0))
        if outcome == "passed":
            outcome = report.outcome
        duration_s += getattr(report, "duration", 0.0)
        self._outcomes[report.nodeid] = (outcome, duration_s)
        if report.when in {"teardown", "???"}:
            del self._outcomes[report.nodeid]
            self._started.discard(report.nodeid)
            _log.info("worker %s: %s %s in %.2f s", worker, report.nodeid, outcome, duration_s)

    def pytest_sessionfinish(self) -> None:
        """Log the end of the only process."""
        if self._own:
            self._own = False
            _log.info("worker %s ended", self._runtime.worker)

    def _log_start(self, nodeid: str, worker: str) -> None:
        if not worker:
            return
        if worker == self._runtime.worker and not self._own:
            self._own = True
            _log.info("worker %s started", worker)
        self._started.add(nodeid)
        _log.info("worker %s: %s starts", worker, nodeid)


class ProgressDisplay:
    """Shows the run on its terminal; in the controller, or the only process.

    With ``--clnrm-show-workers``: workers and queue below pytest's own output, or a line for what takes long
    where the output is a log. Without: what is waited for, images at once and on a terminal, all else when it
    has taken long.

    :param folder: returns the run's own folder.
    :param queue: where the scheduler notes what waits.
    """

    def __init__(self, runtime: Runtime, config: pytest.Config, folder: Callable[[], Path]) -> None:
        self._runtime = runtime
        self._config = config
        self._folder = folder
        self._watcher: Watcher | None = None
        self._over = False

    @cached_property
    def queue(self) -> QueueBoard:
        """Return where it is noted what waits."""
        from pytest_clnrm.status.board import QueueBoard

        return QueueBoard()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Begin at once if workers are shown."""
        if self._runtime.settings.show_workers and not session.config.option.collectonly:
            self.begin()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Begin with the first scenario if only waits are shown."""
        if self._watcher is None and not self._over and self._runtime.settings.names_scenario(nodeid):
            self.begin()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Stop before the summary."""
        self.end()

    def pytest_keyboard_interrupt(self) -> None:
        """Stop before pytest says who interrupted it."""
        self.end()

    def pytest_enter_pdb(self) -> None:
        """Leave the terminal to the debugger."""
        self.end()

    def pytest_unconfigure(self) -> None:
        """Stop, whatever has happened."""
        self.end()

    def tell_queue(self, waiting: Mapping[int, int], head: str) -> None:
        """Write down what waits, as the scheduler says; called after each change."""
        self.queue.open(self._folder())
        self.queue.tell(by_label(waiting), head)
        if self._watcher is None and not self._over:
            self.begin()

    def begin(self) -> None:
        """Show the run from now on, if there is a place for it."""
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        # A reporter of another plugin draws on the terminal itself.
        if self._watcher is not None or self._over or type(reporter).__module__ != "_pytest.terminal":
            self._over = self._watcher is None
            return
        from pytest_clnrm.monitor import terminal
        from pytest_clnrm.monitor.waits import LONG_S

        settings, writer = self._runtime.settings, self._config.get_terminal_writer()
        # With -s tests write to the terminal too.
        live = terminal.is_terminal(writer._file) and self._config.getoption("capture", "") != "no"  # noqa: SLF001
        wait_s = settings.slow_after_s if "slow_after_s" in settings.origins else LONG_S
        if live:
            from pytest_clnrm.monitor import drawing

            draw = drawing.run_lines if settings.show_workers else partial(drawing.wait_lines, after_s=wait_s)
            shown: terminal.Shown = terminal.LiveLines(writer, draw, drawing.width_of)
            period_s = _LIVE_S if settings.show_workers else _PULLS_S
        else:
            from pytest_clnrm.monitor.slow_lines import SlowLines, WaitLines

            after_s = settings.slow_after_s if settings.show_workers else wait_s
            slow = SlowLines(after_s) if settings.show_workers else WaitLines(after_s)
            shown = terminal.LogLines(writer, slow)
            period_s = min(1.0, after_s / _LOOKS_A_THRESHOLD)
        self._watcher = terminal.Watcher(self.look, shown, period_s)

    def end(self) -> None:
        """Show nothing more."""
        self._over = True
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
        if "queue" in vars(self):
            self.queue.close()

    def look(self) -> HostView:
        """Return the run as it is now."""
        from pytest_clnrm.monitor import gather
        from pytest_clnrm.monitor.view import HostView

        session = self._runtime.session_id
        run = gather.run_view(session, os.getpid(), self._folder())
        budgets: tuple[BudgetView, ...] = ()
        # Each scenario says itself that the ledger cannot be read.
        with suppress(LedgerError):
            budgets = gather.budget_views(self._runtime.folder(), urls={}, heads={}, run=session)
        return HostView(taken_s=time.monotonic(), runs=(run,), budgets=budgets)

    def worker_of(self, nodeid: str) -> str:
        """Return which worker runs the item of a node id now, "" if that is not known."""
        from pytest_clnrm.monitor import gather

        run = gather.run_view(self._runtime.session_id, os.getpid(), self._folder())
        return next((each.worker for each in run.workers if each.item == nodeid), "")
