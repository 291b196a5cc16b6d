"""``--clnrm-right-size``: memory limits lowered to what earlier runs used, and the way back.

Only a limit that comes from the settings is lowered: one that a file names is its author's word. The
container's own limit is what is reserved, so no container uses what another one has reserved.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_clnrm.model.demand import NOTHING, Demand
from pytest_clnrm.reservation.reserve import reserving_instead

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_clnrm.model.result import Result
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.runtime.runtime import Runtime

OUT_OF_MEMORY = "ran out of memory"
"""What the failure of a step says whose container had too little; that of a service has a fact."""

TOLD = "run again with whole limits: it was out of memory under those of --clnrm-right-size"


def lowered(scenario: Scenario, sizes: Mapping[str, int], usual_bytes: int) -> Scenario:
    """Return a scenario with the limits that it needs, the same one where nothing is lowered.

    Services that share a container, or are built under their limits, keep them; so does an exclusive
    scenario, beside which nothing runs anyway.

    :param sizes: service -> bytes.
    :param usual_bytes: the limit of containers whose file names none.
    """
    if scenario.selection.exclusive or any(each.is_shared for each in scenario.services):
        return scenario

    def fitting(service: Service) -> Service:
        size = sizes.get(service.name, usual_bytes)
        if service.limits.memory_bytes is not None or service.build is not None or size >= usual_bytes:
            return service
        return replace(service, limits=replace(service.limits, memory_bytes=size))

    services = tuple(map(fitting, scenario.services))
    return scenario if services == scenario.services else replace(scenario, services=services)


def is_out_of_memory(result: Result) -> bool:
    """Tell whether a scenario failed as one of its containers had too little memory."""
    killed = any(each.oom_killed for each in result.containers)
    told = any(OUT_OF_MEMORY in each.message for each in result.failures)
    return bool(result.failures) and (killed or told)


class WholeRoom:
    """The reservation of whole limits, in place of the item's own, which was of lowered ones."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._held = ExitStack()
        self.lease = ""

    def reserve(self, own: Demand, whole: Demand) -> None:
        """Wait for it, if it is not held: nothing of the item's own is held meanwhile.

        :raises ReservationError: if it will never be granted.
        """
        if not self.lease:
            # Groups stay with the item's own reservation.
            amounts = NOTHING.larger(whole)
            self.lease = self._held.enter_context(reserving_instead(self._runtime, own, amounts))

    def give_back(self) -> None:
        """Give it back, if it is held."""
        self.lease = ""
        self._held.close()
