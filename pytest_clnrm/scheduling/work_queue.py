"""The one queue of a run, and what each worker holds of it: pure, without xdist and without a clock.

The queue's order is that of the collection, which is sorted. A *level* is a stretch of equal priority in it.
Nothing of a lower level is handed out while something of a higher one could start. An item with a demand is
handed out alone. Neighbouring items without a demand, of one file and one level, are reserved for one worker
as a chunk, so that their module's fixtures are set up once, but they are handed out a few at a time: the rest
of a chunk stays here, where a worker that would otherwise go idle or down a level takes half of it. What was
handed out counts as waiting until its worker says that it has started: of two workers that get items at the
same time the later one may be the faster.

A worker is told which item comes next before it tears the last one's fixtures down: it is *bound* to it, also
where that cannot start yet. Which one that will be is *foreseen* when an item starts, and comes
true unless another worker asks first.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from pytest_clnrm.scheduling.facts import ItemFacts

W = TypeVar("W")

_WINDOW_S = 0.01
"""Quick tests are handed out together as far as they are expected to take this long: about ten times what
one more exchange between controller and worker costs."""
_MIN_CHUNK = 2


@dataclass(slots=True)
class Holding:
    """What one worker holds.

    :param sent: indices that were handed out and have not ended, in the order in which they run.
    :param bound: what it was told to come next, and may not start yet.
    :param foreseen: the item with a demand that is expected to come next.
    :param reserve: the rest of its chunk.
    :param pace_s: how long its last item took, seconds; None before the first.
    """

    sent: deque[int] = field(default_factory=deque)
    bound: int | None = None
    foreseen: int | None = None
    reserve: deque[int] = field(default_factory=deque)
    pace_s: float | None = None


@dataclass(frozen=True, slots=True)
class Pick:
    """The best item without a demand that a worker could start.

    :param level: of the item.
    :param index: of the item.
    :param source: where it is: in the worker's own chunk, in the queue, in another worker's chunk.
    """

    level: int
    index: int
    source: Literal["own", "queue", "other"]


class WorkQueue(Generic[W]):
    """Items that have not started, and who holds which.

    :param together: what neighbours that are reserved for one worker have in common, in order: their file.
    :param facts: each item's facts, in order.
    :param workers: how many there are at the start: sets the chunks' size.
    :param max_chunk: upper limit of a chunk, None for none.
    """

    def __init__(
        self,
        together: Sequence[str],
        facts: Sequence[ItemFacts],
        *,
        workers: int,
        max_chunk: int | None = None,
    ) -> None:
        self._together = together
        self._demands = [each.demand is not None for each in facts]
        self._groups = {
            index: {group["name"]: int(group["limit"]) for group in each.demand.get("groups", ())}
            for index, each in enumerate(facts)
            if each.demand is not None
        }
        priorities = [each.priority for each in facts]
        self._levels = _levels(priorities)
        self._level_starts = [
            (index, priority)
            for index, priority in enumerate(priorities)
            if index == 0 or priority != priorities[index - 1]
        ]
        # The size that xdist's load sends first. It stays: what load reaches by smaller and smaller chunks
        # is reached here by taking from others' chunks.
        size = max(_MIN_CHUNK, len(facts) // max(workers, 1) // 4)
        self._chunk = min(size, max_chunk) if max_chunk else size
        self._demanding = [index for index, demands in enumerate(self._demands) if demands]
        self._plain = [index for index, demands in enumerate(self._demands) if not demands]
        self._holdings: dict[W, Holding] = {}
        self._unstarted: set[int] = set()

    # who takes part

    def join(self, worker: W) -> None:
        """Let *worker* take part."""
        self._holdings[worker] = Holding()

    def leave(self, worker: W) -> list[int]:
        """Take *worker* out, put back what it had not started, and return what was handed out to it."""
        holding = self._holdings.pop(worker)
        bound = [] if holding.bound is None else [holding.bound]
        self._unstarted.difference_update(holding.sent, bound)
        for index in [*list(holding.sent)[1:], *bound, *holding.reserve]:
            self.put_back(index)
        return list(holding.sent)

    def holding(self, worker: W) -> Holding:
        """Return what *worker* holds."""
        return self._holdings[worker]

    def held_by(self, worker: W) -> list[int]:
        """Return what *worker* was told to run, and has not ended."""
        held = self._holdings[worker]
        return [*held.sent, *([] if held.bound is None else [held.bound])]

    def __contains__(self, worker: W) -> bool:
        return worker in self._holdings

    # what there is

    @property
    def waiting(self) -> int:
        """Return how many items no worker was told to run."""
        reserved = sum(len(holding.reserve) for holding in self._holdings.values())
        return len(self._demanding) + len(self._plain) + reserved

    @property
    def bound(self) -> int:
        """Return how many items workers were told that may not start yet."""
        return sum(holding.bound is not None for holding in self._holdings.values())

    def waiting_by_priority(self) -> dict[int, int]:
        """Return how many items of each priority have not been handed out."""
        found: dict[int, int] = {}
        reserved = Counter(
            self._levels[held.reserve[0]] for held in self._holdings.values() for _ in held.reserve
        )
        reserved.update(
            self._levels[held.bound] for held in self._holdings.values() if held.bound is not None
        )
        for level, (start, priority) in enumerate(self._level_starts):
            end = (
                self._level_starts[level + 1][0] if level + 1 < len(self._level_starts) else len(self._levels)
            )
            count = reserved[level]
            for queue in (self._demanding, self._plain):
                count += bisect_left(queue, end) - bisect_left(queue, start)
            found[priority] = found.get(priority, 0) + count
        return found

    @property
    def running(self) -> int:
        """Return how many items have been handed out and have not ended."""
        return sum(len(holding.sent) for holding in self._holdings.values())

    def head(self, worker: W) -> int | None:
        """Return the first item with a demand that *worker* could start, None if there is none left.

        Those whose group is full are passed over, unless nothing else is left.
        """
        free = (index for index in self._demanding if not self._is_full(worker, index))
        return next(free, self._demanding[0] if self._demanding else None)

    def _is_full(self, worker: W, index: int) -> bool:
        """Tell whether a group of an item is full of what runs, or comes next, on other workers."""
        groups = self._groups[index]
        if not groups:
            return False
        held = [at for other in self._holdings if other != worker for at in self.held_by(other)]
        return any(
            sum(name in self._groups.get(at, ()) for at in held) >= limit for name, limit in groups.items()
        )

    def comes_after_bound(self, index: int) -> bool:
        """Tell whether a worker is bound to an item with a demand that comes before *index*."""
        bound = (held.bound for held in self._holdings.values())
        return any(other is not None and other < index and self._demands[other] for other in bound)

    def _first_free(self, worker: W) -> int | None:
        """Return the first item with a demand that is foreseen for no other worker, None if there is none."""
        taken = {held.foreseen for other, held in self._holdings.items() if other != worker}
        # Without a list of them: of many thousands it would be made anew for each item.
        free = (index for index in self._demanding if index not in taken)
        first = next(free, None)
        if first is None or not self._is_full(worker, first):
            return first
        return next((index for index in free if not self._is_full(worker, index)), first)

    def waits(self, index: int) -> bool:
        """Tell whether an item with a demand waits in the queue."""
        at = bisect_left(self._demanding, index)
        return self._demanding[at : at + 1] == [index]

    def demands(self, index: int) -> bool:
        """Tell whether an item has a demand."""
        return self._demands[index]

    def must_wait(self, index: int) -> bool:
        """Tell whether something of a higher level was handed out and has not started yet."""
        return any(self._levels[other] < self._levels[index] for other in self._unstarted)

    def put_back(self, index: int) -> None:
        """Put an item back in its place."""
        insort(self._demanding if self._demands[index] else self._plain, index)

    # handing out

    def best_plain(self, worker: W) -> Pick | None:
        """Return the best item without a demand for *worker*: by level, then by nearness."""
        picks: list[Pick] = []
        own = self._holdings[worker].reserve
        if own:
            picks.append(Pick(self._levels[own[0]], own[0], "own"))
        if self._plain:
            picks.append(Pick(self._levels[self._plain[0]], self._plain[0], "queue"))
        other = self._richest(worker)
        if other:
            picks.append(Pick(self._levels[other[0]], other[0], "other"))
        return min(picks, key=lambda pick: pick.level, default=None)

    def before(self, head: int | None, plain: Pick | None) -> int | None:
        """Return *head* if it comes before *plain*, else None."""
        if head is None or plain is None:
            return head
        if plain.source == "other":
            # Among equals, a chunk stays together as long as there is something else to do.
            return head if self._levels[head] <= plain.level else None
        return head if head < plain.index else None

    def foresee(self, worker: W, *, passing: bool) -> int | None:
        """Return what is expected to come next on *worker*, None if nothing waits.

        :param passing: items with a demand wait for room, and plain ones pass them.
        """
        holding = self._holdings[worker]
        head, plain = self._first_free(worker), self.best_plain(worker)
        if plain is None or (not passing and self.before(head, plain) is not None):
            holding.foreseen = self.head(worker) if head is None else head
            return holding.foreseen
        holding.foreseen = None
        # A chunk goes to who needs it first: not to one that runs something longer, and the last item of
        # another's not before it is needed.
        last_of_another = plain.source == "other" and len(self._richest(worker)) == 1
        if plain.source == "own" or last_of_another or any(map(self.demands, holding.sent)):
            return plain.index
        self._reserve(worker, plain)
        return holding.reserve[0]

    def hand_out_demanding(self, worker: W, index: int) -> None:
        """Hand an item with a demand out to *worker*."""
        self._demanding.remove(index)
        self._holdings[worker].sent.append(index)
        self._unstarted.add(index)

    def hand_out_plain(self, worker: W, pick: Pick, *, alone: bool) -> list[int]:
        """Hand *pick* and neighbours that are quick out to *worker*, and return them.

        :param alone: only the one: something more urgent may become free to start at any moment.
        """
        self._reserve(worker, pick)
        holding = self._holdings[worker]
        window = 1 if alone else self._window(holding)
        sent = [holding.reserve.popleft() for _ in range(window)]
        holding.sent.extend(sent)
        self._unstarted.update(sent)
        return sent

    def bind_demanding(self, worker: W, index: int) -> None:
        """Bind *worker* to an item with a demand."""
        self._demanding.remove(index)
        self._bind(worker, index)

    def bind_plain(self, worker: W, pick: Pick) -> None:
        """Bind *worker* to *pick*."""
        self._reserve(worker, pick)
        self._bind(worker, self._holdings[worker].reserve.popleft())

    def hand_out_bound(self, worker: W) -> None:
        """Hand out what *worker* is bound to."""
        holding = self._holdings[worker]
        index, holding.bound = holding.bound, None
        if index is None:
            raise ValueError(f"{worker} is bound to nothing")
        holding.sent.append(index)
        self._unstarted.add(index)

    def held_up(self, index: int) -> None:
        """Note that a bound item waits for something else than its worker: nothing waits for its start."""
        self._unstarted.discard(index)

    def _bind(self, worker: W, index: int) -> None:
        self._holdings[worker].bound = index
        self._unstarted.add(index)

    def _reserve(self, worker: W, pick: Pick) -> None:
        """Let *pick* be the first of the chunk of *worker*."""
        holding = self._holdings[worker]
        if pick.source == "queue":
            holding.reserve.extendleft(reversed(self._take_chunk()))
        elif pick.source == "other":
            holding.reserve.extendleft(reversed(self._take_half(worker)))

    def started(self, index: int) -> None:
        """Note that an item has started."""
        self._unstarted.discard(index)

    def ended(self, worker: W, index: int, duration_s: float) -> None:
        """Note that an item has ended on *worker*.

        :raises ValueError: if it was not handed out to this worker.
        """
        holding = self._holdings[worker]
        holding.sent.remove(index)
        self._unstarted.discard(index)
        holding.pace_s = duration_s

    def _window(self, holding: Holding) -> int:
        """Return how many items of its chunk a worker gets at once."""
        if not holding.pace_s:
            return 1
        window = min(len(holding.reserve), int(_WINDOW_S / holding.pace_s))
        # Towards a level's end one at a time: what is handed out cannot be taken by an idle worker.
        level = self._levels[holding.reserve[0]]
        left = bisect_left(self._plain, level, key=self._levels.__getitem__)
        right = bisect_left(self._plain, level + 1, key=self._levels.__getitem__)
        return max(1, window if right - left > window * 2 * len(self._holdings) else 1)

    def _take_chunk(self) -> list[int]:
        """Take the next chunk out of the queue: neighbours of one file and one level."""
        first = self._plain[0]
        size = 1
        while size < min(self._chunk, len(self._plain)) and self._akin(first, self._plain[size]):
            size += 1
        chunk = self._plain[:size]
        del self._plain[:size]
        return chunk

    def _akin(self, one: int, other: int) -> bool:
        return self._together[one] == self._together[other] and self._levels[one] == self._levels[other]

    def _richest(self, worker: W) -> deque[int]:
        """Return another worker's chunk: of the highest level, then the longest; empty if there is none."""
        others = (held.reserve for other, held in self._holdings.items() if other != worker and held.reserve)
        return min(others, key=lambda chunk: (self._levels[chunk[0]], -len(chunk)), default=deque())

    def _take_half(self, worker: W) -> list[int]:
        """Take the later half of another worker's chunk, at least one item."""
        chunk = self._richest(worker)
        # After a crash, what was put back may stand before the rest of a chunk of a lower level.
        top = self._levels[chunk[0]]
        lead = [index for index in chunk if self._levels[index] == top]
        rest = [index for index in chunk if self._levels[index] != top]
        kept = len(lead) // 2
        chunk.clear()
        chunk.extend([*lead[:kept], *rest])
        return lead[kept:]


def _levels(priorities: Sequence[int]) -> list[int]:
    """Return each item's level: stretches of equal priority, numbered."""
    levels: list[int] = []
    for index, priority in enumerate(priorities):
        if index == 0:
            levels.append(0)
        else:
            levels.append(levels[-1] + (priority != priorities[index - 1]))
    return levels
