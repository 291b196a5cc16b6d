"""Dividing a collection into shards: the same on every machine, whatever order it was collected in.

Pure. What has to stay together is a part; the parts go, the longest first, each to the shard that has the
least so far (longest processing time first: R. L. Graham, "Bounds on multiprocessing timing anomalies").
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

MICROSECONDS = 1_000_000
"""Times are whole numbers, whose sums are the same in any order."""

_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Which shard each item is in.

    :param shards: of each item its shard, from 1, in the order of the items.
    :param parts: how many parts there are, which stay together.
    :param expected_s: what each shard is expected to take, from the first; empty if nothing is known.
    :param known: of how many items the time is known.
    :param collection: a text that is equal for equal items.
    :param division: a text that is equal for equal items that are divided alike.
    """

    shards: tuple[int, ...]
    parts: int
    expected_s: tuple[float, ...]
    known: int
    collection: str
    division: str


def divide(items: Sequence[tuple[str, str]], durations_s: Mapping[str, float], shards: int) -> Division:
    """Divide items into *shards* of them.

    :param items: the node id of each, and the name of its part.
    :param durations_s: node id -> how long it is expected to take. An item that is not known takes as long as
        the others do on average; if none is known, all take the same.
    """
    known = [_microseconds(durations_s[nodeid]) for nodeid, _ in items if nodeid in durations_s]
    otherwise = sum(known) // len(known) if known else MICROSECONDS
    lengths: Counter[str] = Counter()
    firsts: dict[str, str] = {}
    for nodeid, part in items:
        lengths[part] += _microseconds(durations_s[nodeid]) if nodeid in durations_s else otherwise
        firsts[part] = min(nodeid, firsts.get(part, nodeid))
    loads = [(0, number) for number in range(1, shards + 1)]
    placed: dict[str, int] = {}
    for part in sorted(lengths, key=lambda each: (-lengths[each], firsts[each], each)):
        load, number = loads[0]
        placed[part] = number
        heapq.heapreplace(loads, (load + lengths[part], number))
    numbers = tuple(placed[part] for _, part in items)
    return Division(
        shards=numbers,
        parts=len(lengths),
        expected_s=tuple(load / MICROSECONDS for load, _ in sorted(loads, key=lambda each: each[1]))
        if known
        else (),
        known=len(known),
        collection=_digest(nodeid for nodeid, _ in items),
        division=_digest(f"{number} {nodeid}" for (nodeid, _), number in zip(items, numbers, strict=True)),
    )


def _microseconds(seconds: float) -> int:
    # What takes no time is divided by count.
    return max(1, round(seconds * MICROSECONDS))


def _digest(lines: Iterable[str]) -> str:
    text = "\n".join(sorted(lines))
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def parts_of(items: Iterable[tuple[str, str, bool]]) -> list[tuple[str, str]]:
    """Return the node id of each item, and the name of its part, see :func:`divide`.

    A file is one part: its tests share fixtures of the module, or of classes. Only a scenario is a part by
    itself, unless any of its file has services that are shared within the file.

    :param items: node id, its file, and whether it may leave the others of its file.
    """
    found = list(items)
    together: defaultdict[str, bool] = defaultdict(bool)
    for _, file, is_alone in found:
        together[file] |= not is_alone
    return [(nodeid, file if together[file] else nodeid) for nodeid, file, _ in found]
