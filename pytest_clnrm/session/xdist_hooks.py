"""What the controller does under xdist in a run with containers: it checks limits, and cleans up."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.runtime.runtime import Runtime

if TYPE_CHECKING:
    from pytest_clnrm.reservation.hooks import ReservationHooks
    from pytest_clnrm.session.results import SessionResults
    from pytest_clnrm.session.run_guard import RunGuard


class XdistHooks:
    """Hooks of the controller under xdist."""

    def __init__(
        self, runtime: Runtime, results: SessionResults, guard: RunGuard, reservations: ReservationHooks
    ) -> None:
        self.runtime = runtime
        self.results = results
        self.guard = guard
        self.reservations = reservations
        self._checked = False
        self._begun = False
        self._ended = 0

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Sequence[object]) -> None:
        """Count the workers that are started."""
        self.results.workers = len(specs)
        self.results.distributed = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Refuse limits that the engine cannot give, and start an embedded engine if one is asked for."""
        if not self._checked and any(self.runtime.settings.names_scenario(nodeid) for nodeid in ids):
            self._checked = True
            self.runtime.check_limits()
        if not self._begun and self.reservations.demands_noted():
            self._begun = True
            # Where workers reserve themselves, nothing else makes the controller connect and sweep.
            with suppress(ClnrmError):
                self.runtime.ledger()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """Note a worker: at the end of the run it has told what no test report tells."""
        self.results.nodes.append(node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Remove what a dead worker left, before xdist gives up its item and with it the reservation."""
        self._ended += 1
        # Containers that could not be removed go on counting, until a run that needs the room removes them.
        if not error or self.guard.worker_died(node.gateway.id):
            self.reservations.worker_ended(node.gateway.id)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Begin to sweep before xdist waits for the processes of the workers, if all have ended in order."""
        if self._ended and self._ended == len(self.results.nodes):
            self.guard.workers_ended()
