"""The history of a project's items: pure values, and how several of them become one.

A run is named by a text that sorts by time. Histories of the shards of a run, and of runs that ended at the
same time, are merged: whatever the order, and however often, the same comes out. That stays so with the
bounds: what is left out of a part would be left out of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nlargest
from typing import Literal, get_args

RUNS_OF_ITEM = 12
"""How many of an item's runs are kept, the newest."""

RUNS = 500
"""What no more than so many of the newest runs have seen is forgotten."""

ItemOutcome = Literal["skipped", "passed", "failed"]
_RANKS = {outcome: rank for rank, outcome in enumerate(get_args(ItemOutcome))}


@dataclass(frozen=True, slots=True)
class Observed:
    """What one run has shown of one item; of several times in one run, the most of each.

    :param duration_s: of set-up, call and teardown; None where its worker died.
    :param peaks: service -> peak of its container's memory, bytes; of containers that were new.
    """

    outcome: ItemOutcome
    duration_s: float | None = None
    peaks: Mapping[str, int] = field(default_factory=dict)

    def join(self, other: Observed) -> Observed:
        """Return the most of both: an item that failed once in a run has failed."""
        times = [each for each in (self.duration_s, other.duration_s) if each is not None]
        names = self.peaks.keys() | other.peaks.keys()
        return Observed(
            max(self.outcome, other.outcome, key=_RANKS.__getitem__),
            max(times, default=None),
            {name: max(self.peaks.get(name, 0), other.peaks.get(name, 0)) for name in names},
        )


@dataclass(frozen=True, slots=True)
class History:
    """What runs have shown.

    :param runs: their names.
    :param items: node id -> name of a run -> what that has shown.
    :param needy: node id -> the last run in which a container was out of memory under a limit that
        ``--clnrm-right-size`` had lowered.
    """

    runs: frozenset[str] = frozenset()
    items: Mapping[str, Mapping[str, Observed]] = field(default_factory=dict)
    needy: Mapping[str, str] = field(default_factory=dict)


def run_name(began: datetime, session: str) -> str:
    """Return the name of a run, which sorts by time.

    :param began: in UTC.
    :param session: the run's id.
    """
    return f"{began:%Y%m%dT%H%M%S.%f}-{session}"


def merged(*histories: History) -> History:
    """Return one history of several, within the bounds."""
    runs = frozenset(nlargest(RUNS, frozenset().union(*(each.runs for each in histories))))
    items: dict[str, dict[str, Observed]] = {}
    needy: dict[str, str] = {}
    for history in histories:
        for nodeid, observed in history.items.items():
            mine = items.setdefault(nodeid, {})
            for run, what in observed.items():
                if run in runs:
                    mine[run] = what.join(mine[run]) if run in mine else what
        for nodeid, run in history.needy.items():
            if run in runs:
                needy[nodeid] = max(run, needy.get(nodeid, run))
    kept = {
        nodeid: {run: mine[run] for run in sorted(mine)[-RUNS_OF_ITEM:]}
        for nodeid, mine in items.items()
        if mine
    }
    return History(runs, kept, needy)
