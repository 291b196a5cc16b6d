"""The history of a project's items: pure values, and how several of them become one.

A run is named by a text that sorts by time. Histories of the shards of a run, and of runs that ended at the
same time, are merged: whatever the order, and however often, the same comes out. That stays so with the
bounds: what is left out of a part would be left out of the whole.

What twelve runs have shown of twenty thousand items are a quarter of a million observations. So those of an
item are columns, not objects, and no step of a merge looks at each of them where the runs of both sides
follow each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nlargest
from typing import Annotated, Literal, get_args

import msgspec

RUNS_OF_ITEM = 12
"""How many of an item's runs are kept, the newest."""

RUNS = 500
"""What no more than so many of the newest runs have seen is forgotten."""

ItemOutcome = Literal["skipped", "passed", "failed"]
_RANKS = {outcome: rank for rank, outcome in enumerate(get_args(ItemOutcome))}
_LETTERS: dict[ItemOutcome, str] = {"skipped": "s", "passed": "p", "failed": "f"}
_OUTCOMES = {letter: outcome for outcome, letter in _LETTERS.items()}
FAILED, SKIPPED = _LETTERS["failed"], _LETTERS["skipped"]
_DIGITS = 4

_Place = Annotated[int, msgspec.Meta(ge=0)]
_Seconds = Annotated[float, msgspec.Meta(ge=0)] | None
_Bytes = Annotated[int, msgspec.Meta(ge=0)] | None


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


class Columns(msgspec.Struct, array_like=True, frozen=True, gc=False, omit_defaults=True):
    """What runs have shown of one item: columns of the same length, oldest run first.

    :param runs: their places in the history's :attr:`History.runs`.
    :param outcomes: a letter each, "p" passed, "f" failed, "s" skipped.
    :param took_s: as :attr:`Observed.duration_s`.
    :param peaks: service -> bytes, None for runs in which no new container of it was measured.

    :raises ValueError: if they do not fit together.
    """

    runs: tuple[_Place, ...]
    outcomes: str
    took_s: tuple[_Seconds, ...]
    peaks: dict[str, tuple[_Bytes, ...]] = {}

    def __post_init__(self) -> None:
        if not self.runs or any(map(int.__ge__, self.runs, self.runs[1:])):
            raise ValueError("its runs must be one or more, each once, the oldest first")
        if {len(self.outcomes), len(self.took_s), *map(len, self.peaks.values())} != {len(self.runs)}:
            raise ValueError("its columns must be as long as its list of runs")
        if self.outcomes.strip("pfs"):
            raise ValueError(f"outcomes are letters of 'pfs', not {self.outcomes!r}")

    def observed(self) -> dict[int, Observed]:
        """Return what each run has shown, by its place."""
        return {
            run: Observed(
                _OUTCOMES[letter],
                took_s,
                {name: peak for name, each in self.peaks.items() if (peak := each[at]) is not None},
            )
            for at, (run, letter, took_s) in enumerate(
                zip(self.runs, self.outcomes, self.took_s, strict=True)
            )
        }

    def since(self, at: int) -> Columns | None:
        """Return it without the runs before the one at *at*; None if none is left."""
        if at <= 0:
            return self
        if at >= len(self.runs):
            return None
        peaks = {name: rest for name, each in self.peaks.items() if _any_known(rest := each[at:])}
        return Columns(self.runs[at:], self.outcomes[at:], self.took_s[at:], peaks)

    def moved(self, places: list[int | None]) -> Columns | None:
        """Return it for other places of the runs: None for those that are forgotten, which are the oldest."""
        kept = self.since(sum(places[run] is None for run in self.runs))
        if kept is None:
            return None
        runs = tuple(place for run in kept.runs if (place := places[run]) is not None)
        return Columns(runs, kept.outcomes, kept.took_s, kept.peaks)

    def joined(self, other: Columns) -> Columns:
        """Return what both have shown, of the newest runs."""
        old, new = (self, other) if self.runs < other.runs else (other, self)
        if old.runs[-1] >= new.runs[0]:
            found = self.observed()
            for run, what in other.observed().items():
                found[run] = what.join(found[run]) if run in found else what
            return columns_of(found)
        nothing, more = (None,) * len(old.runs), (None,) * len(new.runs)
        whole = Columns(
            old.runs + new.runs,
            old.outcomes + new.outcomes,
            old.took_s + new.took_s,
            {
                name: old.peaks.get(name, nothing) + new.peaks.get(name, more)
                for name in dict.fromkeys((*old.peaks, *new.peaks))
            },
        )
        return whole.newest()

    def newest(self) -> Columns:
        """Return it for as many of the newest runs as are kept."""
        return self.since(len(self.runs) - RUNS_OF_ITEM) or self


def _any_known(column: Iterable[object]) -> bool:
    """Tell whether a column holds anything."""
    return any(each is not None for each in column)


def columns_of(observed: Mapping[int, Observed]) -> Columns:
    """Return the newest of what runs have shown, by their places; at least one."""
    runs = sorted(observed)[-RUNS_OF_ITEM:]
    each = [observed[run] for run in runs]
    names = dict.fromkeys(name for one in each for name in one.peaks)
    return Columns(
        tuple(runs),
        "".join(_LETTERS[one.outcome] for one in each),
        tuple(None if one.duration_s is None else round(one.duration_s, _DIGITS) for one in each),
        {name: tuple(one.peaks.get(name) for one in each) for name in names},
    )


@dataclass(frozen=True, slots=True)
class History:
    """What runs have shown.

    :param runs: their names, sorted.
    :param items: node id -> what they have shown of it.
    :param needy: node id -> the last run in which a container was out of memory under a limit that
        ``--clnrm-right-size`` had lowered.
    """

    runs: tuple[str, ...] = ()
    items: Mapping[str, Columns] = field(default_factory=dict)
    needy: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        items: Mapping[str, Mapping[str, Observed]],
        needy: Mapping[str, str] | None = None,
        runs: Iterable[str] = (),
    ) -> History:
        """Return the history of what runs have shown.

        :param items: node id -> name of a run -> what that has shown, at least one each.
        :param runs: names of runs that have shown nothing.
        """
        needy = needy or {}
        names = sorted({*runs, *needy.values(), *(run for each in items.values() for run in each)})
        places = {run: at for at, run in enumerate(names)}
        columns = {
            nodeid: columns_of({places[run]: what for run, what in each.items()})
            for nodeid, each in items.items()
        }
        return cls(tuple(names), columns, needy)

    def observed(self, nodeid: str) -> dict[str, Observed]:
        """Return name of a run -> what that has shown of an item, the oldest first."""
        return {self.runs[run]: what for run, what in self.items[nodeid].observed().items()}


def run_name(began: datetime, session: str) -> str:
    """Return the name of a run, which sorts by time.

    :param began: in UTC.
    :param session: the run's id.
    """
    return f"{began:%Y%m%dT%H%M%S.%f}-{session}"


def merged(*histories: History) -> History:
    """Return one history of several, within the bounds."""
    runs = tuple(sorted(nlargest(RUNS, frozenset().union(*(each.runs for each in histories)))))
    places = {run: at for at, run in enumerate(runs)}
    items: dict[str, Columns] = {}
    needy: dict[str, str] = {}
    for history in histories:
        new = [places.get(run) for run in history.runs]
        stays = new == list(range(len(new)))
        for nodeid, columns in history.items.items():
            mine = columns if stays else columns.moved(new)
            if mine is not None:
                known = items.get(nodeid)
                items[nodeid] = mine.newest() if known is None else known.joined(mine)
        for nodeid, run in history.needy.items():
            if run in places:
                needy[nodeid] = max(run, needy.get(nodeid, run))
    return History(runs, items, needy)
