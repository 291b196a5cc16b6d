"""What made a run as long as it was: from its end back to its start, each item that the next had to wait for.

Pure: from rows to stretches of time that follow each other, and a sentence of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Kind = Literal["start-up", "item", "wait", "between", "end"]
TOLERANCE_S = 0.05
"""By how much clocks of processes may differ, and what reserving takes."""
SHOWN_S = 0.05
"""What takes less is not named."""
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A stretch of the run's time.

    :param kind: "start-up" before the first item, "item" while one ran, "wait" for room for containers that
        no item of this run has given back, "between" two items of a worker, "end" after the last item.
    :param start_s: seconds since the session's start; so is *end_s*.
    :param row: index of the item's row, -1 for none.
    :param images_s: how much of it went into pulling or making images.
    """

    kind: Kind
    start_s: float
    end_s: float
    row: int = -1
    images_s: float = 0.0

    @property
    def length_s(self) -> float:
        """Return how long it took, in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class _Ran:
    row: int
    start_s: float
    end_s: float
    wait_s: float
    worker: str
    holds: bool


def critical_path(
    rows: Sequence[Mapping[str, Any]],
    *,
    started: str,
    duration_s: float,
    images_s: Mapping[str, float] | None = None,
) -> list[Stretch]:
    """Return the stretches that fill the run from its start to its end; empty if no item ran.

    :param rows: of scenarios and tests, as in report.json.
    :param started: of the session, RFC 3339.
    :param images_s: node id -> seconds that went into images.
    """
    ran = _ran(rows, started)
    if not ran:
        return []
    of_worker: dict[str, list[_Ran]] = defaultdict(list)
    for each in ran:
        of_worker[each.worker].append(each)
    holders = [each for each in ran if each.holds]
    at = ran[-1]
    found = [Stretch(kind="end", start_s=at.end_s, end_s=max(at.end_s, duration_s))]
    seen = {at.row}
    while True:
        begin_s = max(0.0, at.start_s)
        spent_s = (images_s or {}).get(rows[at.row]["nodeid"], 0.0)
        item_s = found[-1].start_s - begin_s
        found.append(
            Stretch(
                kind="item",
                start_s=begin_s,
                end_s=found[-1].start_s,
                row=at.row,
                images_s=min(spent_s, item_s),
            )
        )
        before = _before(at, of_worker[at.worker], holders, seen)
        if at.wait_s > TOLERANCE_S and (
            before is None or not before.holds or before.end_s < begin_s - at.wait_s
        ):
            wait_from_s = min(begin_s, max(0.0, begin_s - at.wait_s, before.end_s if before else 0.0))
            found.append(Stretch(kind="wait", start_s=wait_from_s, end_s=begin_s))
            begin_s = wait_from_s
        if before is None:
            found.append(Stretch(kind="start-up", start_s=0.0, end_s=begin_s))
            break
        end_s = min(before.end_s, begin_s)
        found.append(Stretch(kind="between", start_s=end_s, end_s=begin_s))
        at = before
        seen.add(at.row)
    return [each for each in reversed(found) if each.length_s > 0]


def _ran(rows: Sequence[Mapping[str, Any]], started: str) -> list[_Ran]:
    """Return what ran, sorted by its end."""
    epoch_s = datetime.fromisoformat(started).timestamp() if started else 0.0

    def since_epoch_s(each: Mapping[str, Any]) -> float:
        return datetime.fromisoformat(each["started"]).timestamp() - epoch_s

    found = [
        _Ran(
            row=index,
            # It began with the first of its attempts.
            start_s=min(since_epoch_s(each) for each in (row, *row.get("earlier", ())) if each["started"]),
            end_s=since_epoch_s(row) + row["duration_s"],
            wait_s=row.get("slot_wait_s", 0.0),
            worker=row["worker"],
            holds=bool(row.get("containers")),
        )
        for index, row in enumerate(rows)
        if row["started"]
    ]
    return sorted(found, key=_end_s)


def _before(at: _Ran, same_worker: Sequence[_Ran], holders: Sequence[_Ran], seen: set[int]) -> _Ran | None:
    """Return what an item came after: what gave it the room it waited for, else the one before in its worker.

    :param same_worker: sorted by their ends, as *holders* are.
    """

    def last(items: Sequence[_Ran]) -> _Ran | None:
        for index in range(bisect_right(items, at.start_s + TOLERANCE_S, key=_end_s) - 1, -1, -1):
            if items[index].row not in seen and items[index].start_s < at.start_s:
                return items[index]
        return None

    if at.wait_s > TOLERANCE_S:
        freed = last(holders)
        if freed is not None and freed.end_s >= at.start_s - at.wait_s:
            return freed
    return last(same_worker)


def _end_s(ran: _Ran) -> float:
    return ran.end_s


def sentence(path: Sequence[Stretch], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return in one sentence what the run's time went into, the largest part first; "" for no path."""
    items = [each for each in path if each.kind == "item"]
    if not items:
        return ""
    sums: dict[str, float] = defaultdict(float)
    for each in path:
        sums[each.kind] += each.length_s - each.images_s
        sums["images"] += each.images_s
    longest = max(items, key=lambda each: each.length_s)
    name = rows[longest.row]["name"]
    chain = f"in {name} alone" if len(items) == 1 else f"in {len(items)} tests one after the other"
    if len(items) > 1 and longest.length_s >= SHOWN_S:
        chain += f" (longest: {name}, {seconds(longest.length_s)})"
    words = {
        "start-up": "starting up",
        "item": chain,
        "images": "for images",
        "wait": "waiting for room for containers",
        "between": "between tests",
        "end": "ending",
    }
    parts = sorted(((sums[kind], what) for kind, what in words.items()), key=lambda each: -each[0])
    told = [f"{seconds(length_s)} {what}" for length_s, what in parts if length_s >= SHOWN_S]
    whole_s = path[-1].end_s - path[0].start_s
    return f"The run took {seconds(whole_s)}: {', '.join(told)}." if told else ""


def seconds(length_s: float) -> str:
    """Return a length of time for a reader."""
    if length_s < MINUTE_S:
        return f"{length_s:.1f} s"
    minutes, rest = divmod(int(length_s), 60)
    return f"{minutes} min {rest} s"
