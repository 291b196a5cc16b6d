"""The controller's side: chooses the scheduling, hands the run's folder to workers, wakes the queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.names import ALWAYS_PARKS, RUN_FOLDER
from pytest_clnrm.scheduling.choice import ChosenScheduling, NoChoiceError, are_ordinary

if TYPE_CHECKING:
    from pytest_clnrm.scheduling.autoscale import Autoscale
    from pytest_clnrm.scheduling.strict import TellQueue
    from pytest_clnrm.scheduling.tickets import Gate

    GateFactory = Callable[[Callable[[], None]], Gate]


class Waker:
    """Lets the controller's loop ask the gate again; may be called from any thread.

    :param put: puts an event into the loop's queue.
    """

    def __init__(self, put: Callable[[tuple[str, dict[str, Any]]], None]) -> None:
        self._put = put
        self._lock = threading.Lock()
        self._under_way = False

    def __call__(self) -> None:
        """Wake the loop; calls before it wakes count as one."""
        with self._lock:
            if self._under_way:
                return
            self._under_way = True
        self._put(("clnrm_wake", {}))

    def arrived(self) -> None:
        """Note that the loop is awake: a call from now on is a new one."""
        with self._lock:
            self._under_way = False


class StrictController:
    """Plugin of the controller.

    :param folder: the run's folder, which exists.
    :param make_gate: makes the gate, which is given ``wake()``.
    :param autoscale: limits of elastic workers, None for a fixed number.
    :param tell: is told what waits.
    """

    def __init__(
        self,
        folder: Path,
        make_gate: GateFactory,
        autoscale: Autoscale | None,
        tell: TellQueue | None = None,
    ) -> None:
        self._folder = folder
        self._make_gate = make_gate
        self._autoscale = autoscale
        self._tell = tell
        self._scheduling: ChosenScheduling | None = None

    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where the run's folder is, and whether our queue feeds it in any case."""
        node.workerinput[RUN_FOLDER] = str(self._folder)
        node.workerinput[ALWAYS_PARKS] = self._autoscale is not None

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> ChosenScheduling:
        """Return the scheduling in place of xdist's ``load``."""
        from xdist.workermanage import parse_tx_spec_config

        dsession: Any = config.pluginmanager.getplugin("dsession")
        workers = len(parse_tx_spec_config(config))
        waker = Waker(dsession.queue.put)

        def choose(collection: Sequence[str]) -> Any:
            if are_ordinary(self._folder) and self._autoscale is None:
                from xdist.scheduler import LoadScheduling

                return LoadScheduling(config, log)
            from pytest_clnrm.scheduling.autoscale import Autoscaler
            from pytest_clnrm.scheduling.facts import FactsError, read_facts
            from pytest_clnrm.scheduling.joining import Joining
            from pytest_clnrm.scheduling.strict import StrictScheduling

            try:
                facts = read_facts(self._folder, len(collection))
            except FactsError as error:
                raise NoChoiceError(str(error)) from error
            return StrictScheduling(
                collection,
                facts,
                gate=self._make_gate(waker),
                workers=workers,
                max_chunk=config.getoption("maxschedchunk"),
                adjust=Autoscaler(dsession, self._autoscale) if self._autoscale else None,
                tell=self._tell,
                joining=Joining(waker),
            )

        scheduling = ChosenScheduling(config, workers=workers, choose=choose)
        self._scheduling = scheduling

        def woken() -> None:
            waker.arrived()
            scheduling.wake()

        # DSession's loop calls the method named after the event.
        dsession.worker_clnrm_wake = woken
        return scheduling

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Pass on that an item has started."""
        if self._scheduling is not None:
            self._scheduling.started(nodeid)
