"""What every process does with items once they are collected, and with their reports."""

from __future__ import annotations

from collections.abc import Generator
from importlib import import_module

import pytest

from pytest_clnrm.names import sizes_key
from pytest_clnrm.reservation.item_demand import is_scenario, note_outcome
from pytest_clnrm.runtime.runtime import Runtime
from pytest_clnrm.util.processors import count_processors, is_among_first

_NEEDED_BY_THE_FIRST = (
    "pytest_clnrm.runner.scenario_run",
    "pytest_clnrm.ledger.ledger",
    "pytest_clnrm.cleanup.cleaner",
    "pytest_clnrm.engine.connect.connect",
    "pytest_clnrm.engine.docker.engine",
    "pytest_clnrm.status.board",
    "pytest_clnrm.telemetry.receive.server",
    "pytest_clnrm.telemetry.receive.receiver",
    "pytest_clnrm.telemetry.record.span_file",
)


class ItemHooks:
    """Checks limits once items are collected, and attaches results to their reports; in every process."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Lower the limits of a scenario to what it needs, where that is wanted."""
        if sizes_key in item.config.stash and is_scenario(item):
            item.right_size(item.config.stash[sizes_key]().get(item.nodeid, {}))  # type: ignore[attr-defined]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Refuse limits that the engine cannot give; under xdist the controller does that."""
        if session.config.option.collectonly or hasattr(session.config, "workerinput"):
            return
        if any(is_scenario(item) and not item.is_skipped for item in session.items):  # type: ignore[attr-defined]
            self.runtime.check_limits()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Import in a worker what its first scenario will need, while the controller still connects."""
        of_another = session.config.hook.pytest_clnrm_engine.get_hookimpls()
        if not hasattr(session.config, "workerinput") or of_another or not self._begins_at_once():
            return
        if any(is_scenario(item) for item in session.items):
            for module in _NEEDED_BY_THE_FIRST:
                import_module(module)

    def _begins_at_once(self) -> bool:
        """Tell whether this worker is not one of those that may be left out while processors are busy."""
        is_pooled = self.runtime.settings.pool != "off"
        return not is_pooled or is_among_first(self.runtime.worker, count_processors() + 1)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Settle who tries a scenario again when it fails, before other plugins look at its marks."""
        if is_scenario(item):
            item.claim()  # type: ignore[attr-defined]
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach a scenario's result to its report, and note how a test with containers ended."""
        if is_scenario(item):
            item.tell_properties()  # type: ignore[attr-defined]
        report = yield
        if is_scenario(item):
            item.attach(report)  # type: ignore[attr-defined]
        else:
            note_outcome(item, report, call)
        return report
