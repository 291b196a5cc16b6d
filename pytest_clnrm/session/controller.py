"""What every controller of xdist does, also of a run in which nothing needs the other parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.names import PACKED_REPORT, WORKER_INPUT
from pytest_clnrm.scheduling.install import install_controller

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_clnrm.scheduling.tickets import Gate
    from pytest_clnrm.session.run_place import RunPlace
    from pytest_clnrm.session.wiring import Wiring
    from pytest_clnrm.settings.settings import Settings


class Controller:
    """Tells workers their run, schedules, and makes the other parts when a worker has made its own.

    :param place: the run.
    :param wiring: returns the other parts, made at the first call.
    :param is_wired: tells whether they were made.
    :param told: returns what workers are told of earlier runs.
    """

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        place: RunPlace,
        wiring: Callable[[], Wiring],
        is_wired: Callable[[], bool],
        *,
        told: Callable[[], dict[str, str]],
    ) -> None:
        self._place = place
        self._wiring = wiring
        self._is_wired = is_wired
        self._told = told
        self._specs: Sequence[object] = ()
        self._ready: list[Any] = []
        install_controller(
            config,
            scheduler=settings.scheduler if settings.enabled else "xdist",
            make_folder=place.folder,
            make_gate=self._gate,
            autoscale=wiring().reservations.autoscale if settings.autoscale else None,
            tell=self._tell,
        )

    def _gate(self, wake: Callable[[], None]) -> Gate:
        return self._wiring().reservations.make_gate(wake)

    def _tell(self, waiting: Mapping[int, int], head: str) -> None:
        self._wiring().tell_queue(waiting, head)

    @cached_property
    def _of_earlier_runs(self) -> dict[str, str]:
        return self._told()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Sequence[object]) -> None:
        """Remember how many workers are started."""
        self._specs = specs

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker which run it belongs to."""
        node.workerinput[WORKER_INPUT] = {**self._place.to_hand_down(), **self._of_earlier_runs}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """Remember who has started."""
        self._ready.append(node)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_from_serializable(self, data: dict[str, Any]) -> None:
        """Unpack what a worker has packed, before pytest or another plugin makes a report of it."""
        if PACKED_REPORT in data:
            from pytest_clnrm.scheduling.packed_reports import unpack

            unpack(data)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Make the other parts once a worker has, and tell them what they have missed."""
        if self._is_wired() or not any(self._place.folder().glob("process-*")):
            return
        wiring = self._wiring()
        wiring.distributed.pytest_xdist_setupnodes(self._specs)
        for node in self._ready:
            wiring.distributed.pytest_testnodeready(node)
            wiring.worker_log.pytest_testnodeready(node)
        # What is registered during a hook is not called for it any more.
        wiring.distributed.pytest_xdist_node_collection_finished(ids)
