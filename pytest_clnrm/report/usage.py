"""How well a run used what it was allowed: busy containers, the longest wait, makespan against the ideal."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pytest_clnrm.util.counted import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How a run used its budget.

    :param busy: share of container slots that were in use, 0 to 1, from the first start to the last end.
    :param longest_wait_s: the longest that a scenario waited for its reservation.
    :param waited: the node id of that scenario.
    :param makespan_s: from the first scenario's start to the last one's end.
    :param ideal_s: what list scheduling gives for the same durations in the same order on the same workers,
        under the same cap.
    """

    scenarios: int
    busy: float
    longest_wait_s: float
    waited: str
    makespan_s: float
    ideal_s: float

    def describe(self) -> str:
        """Return it as one line."""
        wait = f"longest wait {self.longest_wait_s:.1f} s ({self.waited})" if self.waited else "nobody waited"
        return (
            f"{counted(self.scenarios, 'scenario')}, containers {self.busy:.0%} busy, {wait}, "
            f"makespan {self.makespan_s:.1f} s, ideal {self.ideal_s:.1f} s"
        )


@dataclass(frozen=True, slots=True)
class _Ran:
    """A scenario that had its reservation.

    :param start_s: seconds since the epoch.
    """

    nodeid: str
    start_s: float
    duration_s: float
    wait_s: float
    containers: int


def usage(results: Iterable[Mapping[str, Any]], *, workers: int, max_containers: int) -> Usage | None:
    """Return how the run that gave *results* used its budget; None if no scenario ran.

    :param results: data of :class:`pytest_clnrm.model.result.Result`.
    """
    ran = sorted((each for each in map(_ran, results) if each is not None), key=lambda each: each.start_s)
    if not ran:
        return None
    makespan_s = max(each.start_s + each.duration_s for each in ran) - ran[0].start_s
    used_s = sum(each.containers * each.duration_s for each in ran)
    longest = max(ran, key=lambda each: each.wait_s)
    return Usage(
        scenarios=len(ran),
        busy=min(1.0, used_s / (makespan_s * max_containers)) if makespan_s else 0.0,
        longest_wait_s=longest.wait_s,
        # Less than a tenth of a second is the time that reserving itself takes.
        waited=longest.nodeid if longest.wait_s >= 0.1 else "",  # noqa: PLR2004
        makespan_s=makespan_s,
        ideal_s=_list_schedule(ran, workers, max_containers),
    )


def _ran(result: Mapping[str, Any]) -> _Ran | None:
    if not result["started"] or not result["containers"]:
        return None
    return _Ran(
        nodeid=result["nodeid"],
        start_s=datetime.fromisoformat(result["started"]).timestamp(),
        duration_s=result["duration_s"],
        wait_s=result["slot_wait_s"],
        containers=len(result["containers"]),
    )


def _list_schedule(ran: Sequence[_Ran], workers: int, max_containers: int) -> float:
    """Return when the last one ends if each starts, in order, once a worker and its containers are free."""
    running: list[tuple[float, int]] = []
    now_s, last_s, used = 0.0, 0.0, 0
    for each in ran:
        while running and (len(running) >= workers or used + each.containers > max_containers):
            end_s, freed = heapq.heappop(running)
            now_s = max(now_s, end_s)
            used -= freed
        heapq.heappush(running, (now_s + each.duration_s, each.containers))
        used += each.containers
        last_s = max(last_s, now_s + each.duration_s)
    return last_s
