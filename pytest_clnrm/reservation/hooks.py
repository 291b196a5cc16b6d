"""Brings scheduling, the ledger and the items together, in every process."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.model.priority import Priority
from pytest_clnrm.names import FIXTURES, RUN_ENDS, together_key
from pytest_clnrm.reservation import item_demand
from pytest_clnrm.reservation.last_uses import LastUses
from pytest_clnrm.reservation.priorities import priority_of
from pytest_clnrm.runtime.holdings import Current
from pytest_clnrm.runtime.runtime import Runtime
from pytest_clnrm.scheduling.install import install, is_strict_controller
from pytest_clnrm.scheduling.tickets import TICKET, Ticket, failed_plainly, lease_of

if TYPE_CHECKING:
    from pytest_clnrm.model.demand import Demand
    from pytest_clnrm.reservation.gate import LedgerGate
    from pytest_clnrm.scheduling.autoscale import Autoscale
    from pytest_clnrm.scheduling.facts import ItemFacts

_cleared_key: pytest.StashKey[bool] = pytest.StashKey()
"""Set once the idle containers are gone that an item's reservation took over."""


class ReservationHooks:
    """Reserves for items, or lets the controller do it, and notes what becomes of the reservations.

    :param run_folder: returns the run's own folder.
    """

    def __init__(self, runtime: Runtime, run_folder: Callable[[], Path], *, is_worker: bool) -> None:
        self.runtime = runtime
        self.run_folder = run_folder
        self.autoscale: Autoscale | None = None
        self._gate: LedgerGate | None = None
        self._is_worker = is_worker
        self._last_uses = LastUses(runtime)
        self._found: dict[pytest.Item, tuple[int, Demand | None]] = {}
        if is_worker:
            from pytest_clnrm.cleanup import run_records

            # On another host there is no such folder, and nobody who would look into it.
            with suppress(OSError):
                run_records.note_process(run_folder(), runtime.worker)

    def install(self, config: pytest.Config) -> None:
        """Register what this process needs to schedule items and to reserve for them."""
        self._config = config
        self.autoscale = self._autoscale(config)
        install(config, scheduler=self._scheduler(), facts_of=self._facts_of, reserve=self._reserve)

    def _scheduler(self) -> Literal["strict", "xdist"]:
        settings = self.runtime.settings
        return settings.scheduler if settings.enabled else "xdist"

    def _autoscale(self, config: pytest.Config) -> Autoscale | None:
        settings = self.runtime.settings
        if settings.autoscale is None:
            return None
        if not hasattr(config, "workerinput") and not config.getoption("tx", None):
            raise pytest.UsageError(f"{settings.origin('autoscale')}: it needs -n, such as -n 4")
        if not hasattr(config, "workerinput") and not (
            config.option.collectonly or is_strict_controller(config, self._scheduler())
        ):
            raise pytest.UsageError(
                f"{settings.origin('autoscale')}: it needs --dist load, clnrm_scheduler = strict, "
                f"executor.enabled = true, and workers on this host"
            )
        from pytest_clnrm.scheduling.autoscale import Autoscale

        return Autoscale(*settings.autoscale)

    def leave_queue(self) -> None:
        """Give back what the controller has reserved."""
        if self._gate is not None:
            self._gate.close()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Refuse wrong markers, and note in a worker that its items will have containers.

        It comes before the worker's ids are reported.

        :raises pytest.UsageError: for a wrong marker; under xdist it is a failed collection instead.
        """
        try:
            self._found = {item: (self.priority_of(item), self._demand_of(item)) for item in session.items}
        except pytest.UsageError as error:
            from pytest_clnrm.scheduling.order import refuse

            refuse(session.config, session.items, error)
            return
        if self._is_worker and (
            any(demand is not None for _, demand in self._found.values())
            # What the containers of wider fixtures need is reserved when they are made.
            or any(not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())) for item in session.items)
        ):
            with suppress(OSError):
                self._demands_file().touch()

    def demands_noted(self) -> bool:
        """Tell whether a worker's items demand reservations, themselves or by fixtures that they use."""
        return self._demands_file().exists()

    def _demands_file(self) -> Path:
        return self.run_folder() / "demands"

    def priority_of(self, item: pytest.Item) -> int:
        """Return an item's priority; smaller goes first. What was found once is not looked for again."""
        if item in self._found:
            return self._found[item][0]
        settings = self.runtime.settings
        if not settings.enabled:
            return int(Priority.parse(settings.priority))
        return int(priority_of(item, settings, self.runtime.rootdir))

    def _facts_of(self, item: pytest.Item) -> ItemFacts:
        """Return what was found when the collection was complete: finding it takes its time."""
        from pytest_clnrm.scheduling.facts import ItemFacts

        priority, demand = self._found[item]
        data = None if demand is None else demand.to_data()
        return ItemFacts(
            priority=priority,
            demand=data,
            specification=_specification_of(item),
            together=item.stash.get(together_key, None),
        )

    def demands(self, item: pytest.Item) -> bool:
        """Tell whether an item needs a reservation."""
        return self._demand_of(item) is not None

    def _demand_of(self, item: pytest.Item) -> Demand | None:
        if item_demand.is_scenario(item):
            return None if item.is_skipped else item.demand()  # type: ignore[attr-defined]
        return item_demand.demand_of(item, self.runtime)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Let fixtures that reserve more know for which item they do."""
        self.runtime.holdings.begin(
            lambda: Current(
                priority=self.priority_of(item),
                index=item.session.items.index(item),
                lease=lease_of(item),
                allowance=item_demand.allowance_of(item, self.runtime),
            )
        )
        result = yield
        if nextitem is not None:
            # Else the run ends here, and removes all there is at once.
            self._last_uses.ended(item, lease_of(item))
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Remove the idle containers that this item's reservation took over and does not use."""
        ticket = item.stash.get(TICKET, None)
        if ticket is None or not ticket.remove:
            return
        try:
            self.runtime.shelf().remove(ticket.remove)
        except ClnrmError as error:
            told = f"could not remove the idle containers whose slot this test was given: {error}"
            raise failed_plainly(told, is_infrastructure=error.is_infrastructure) from None
        # A test that is tried again has nothing more to remove.
        item.stash[TICKET] = ticket._replace(remove=())
        item.stash[_cleared_key] = True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Tell the process that reserved for an item what was removed, or is left, under its lease."""
        report = yield
        lease = lease_of(item)
        if call.when == "setup" and item.stash.get(_cleared_key, False):
            report.clnrm_cleared = lease  # type: ignore[attr-defined]
            del item.stash[_cleared_key]
        if call.when == "teardown" and (leftover := self.runtime.holdings.take_leftover(lease)) is not None:
            report.clnrm_leftover = leftover.to_data()  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what became of an item's reservation, before that is given back."""
        cleared = getattr(report, "clnrm_cleared", "")
        if cleared and self._reserves():
            # What cannot be noted goes on counting.
            with suppress(ClnrmError):
                self.runtime.holdings.idle.cleared(cleared)
        data = getattr(report, "clnrm_leftover", None)
        if data is not None and self._reserves():
            from pytest_clnrm.pool.idle_leases import Leftover

            self.runtime.holdings.leave(Leftover.from_data(data))

    def _reserves(self) -> bool:
        """Tell whether this process, and no controller, has reserved for its items."""
        return self._config.pluginmanager.hasplugin("clnrm-local") or self._gate is not None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Remove what this process keeps, before a controller hears that it has ended and gives it back."""
        if self._gate is not None:
            with suppress(OSError):
                (self.run_folder() / RUN_ENDS).touch()
        self.runtime.close_shelf()

    def worker_ended(self, worker: str) -> None:
        """Give back what a worker had: its containers are gone."""
        self.runtime.holdings.idle.forget_worker(worker)

    def make_gate(self, wake: Callable[[], None]) -> LedgerGate:
        """Return the controller's gate, which calls *wake* when it is worth asking again."""
        from pytest_clnrm.reservation.gate import LedgerGate

        self._gate = LedgerGate(self.runtime, wake)
        return self._gate

    def _reserve(self, item: pytest.Item, free: Callable[[], None]) -> AbstractContextManager[Ticket | None]:
        demand = self._demand_of(item)
        if demand is None:
            return nullcontext()
        from pytest_clnrm.reservation.reserve import reserving

        return reserving(
            self.runtime,
            demand,
            priority=self.priority_of(item),
            index=item.session.items.index(item),
            label=item.nodeid,
            specification=_specification_of(item),
            free=free,
        )


def _specification_of(item: pytest.Item) -> str | None:
    """Return what is equal for items that may use the same containers, None where none may."""
    return item.specification() if item_demand.is_scenario(item) else None  # type: ignore[attr-defined]
