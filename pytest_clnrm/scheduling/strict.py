"""Feeds xdist's workers from the one queue: strict priority, nothing prefetched, reserved before it is sent.

An xdist worker starts an item only when it knows the next one. So each sending ends with a hidden item that
the worker's side appended after it reported its ids (:mod:`pytest_clnrm.scheduling.worker`): the worker runs
what it got, keeps its fixtures, and waits. With nothing queued on workers there is nothing to steal from
them: every idle worker takes from the one queue. The public names are those of xdist's Scheduling protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pytest_clnrm.errors import ReservationError
from pytest_clnrm.scheduling.facts import ItemFacts
from pytest_clnrm.scheduling.tickets import Gate, Ticket, put_ticket
from pytest_clnrm.scheduling.work_queue import WorkQueue

Node: TypeAlias = Any
"""xdist's WorkerController, which has no types."""

AdjustWorkers = Callable[[int, Sequence[Node], Sequence[Node]], None]
"""Gets how many items wait, the workers that take part, and those of them that are idle."""

TellQueue = Callable[[Mapping[int, int], str], None]


class StrictScheduling:
    """One queue for all workers.

    :param collection: node ids in the order in which they are to start.
    :param facts: of each item.
    :param gate: asked before an item with a demand is sent.
    :param folder: the run's folder, for tickets.
    :param workers: how many there are at the start.
    :param max_chunk: ``--maxschedchunk``.
    :param adjust: called after each change; starts and retires workers.
    :param tell: called after each change with how many items wait, by priority, and the node id of the head
        if that waits for its reservation, else "".
    """

    collection_is_completed = True

    def __init__(
        self,
        collection: Sequence[str],
        facts: Sequence[ItemFacts],
        *,
        gate: Gate,
        folder: Path,
        workers: int,
        max_chunk: int | None = None,
        adjust: AdjustWorkers | None = None,
        tell: TellQueue | None = None,
    ) -> None:
        self.collection = list(collection)
        self._facts = facts
        self._gate = gate
        self._folder = folder
        self._adjust = adjust
        self._tell = tell
        files = [nodeid.split("::", 1)[0] for nodeid in self.collection]
        self._work: WorkQueue[Node] = WorkQueue(files, facts, workers=workers, max_chunk=max_chunk)
        self._keep, self._flush = len(self.collection), len(self.collection) + 1
        # None until the worker has collected; True while it holds no fixture but those of session scope.
        self._clean: dict[Node, bool | None] = {}
        self._granted: dict[int, Ticket] = {}
        # The gate has no room for it now, and is not asked again before something has changed.
        self._refused_head: int | None = None
        # The same for those who watch the run: it goes on waiting when something has changed.
        self._waiting_head: int | None = None
        # Workers that have been told to tear down fixtures, and have not yet.
        self._flushing: set[Node] = set()
        self._index: dict[str, int] = {}
        for index, nodeid in enumerate(self.collection):
            self._index.setdefault(nodeid, index)
        self._held_back = False

    # what DSession asks

    @property
    def nodes(self) -> list[Node]:
        """Return all workers."""
        return list(self._clean)

    @property
    def has_pending(self) -> bool:
        """Tell whether anything waits or runs."""
        return bool(self._work.waiting or self._work.running)

    @property
    def tests_finished(self) -> bool:
        """Tell whether nothing waits or runs."""
        return not self.has_pending

    # workers come and go

    def add_node(self, node: Node) -> None:
        """Get to know a worker, which does not take part before it has collected."""
        self._clean[node] = None

    def add_node_collection(self, node: Node, collection: Sequence[str]) -> None:  # noqa: ARG002 - xdist's
        """Let a worker take part; ChosenScheduling has compared its collection."""
        self._clean[node] = True
        self._work.join(node)

    def remove_node(self, node: Node) -> str | None:
        """Forget a worker and return the id of the item that it was running.

        :raises KeyError: if it is not known.
        """
        self._flushing.discard(node)
        if self._clean.pop(node) is None:
            return None
        # What its fixtures held is free now.
        self._refused_head = None
        sent = self._work.leave(node)
        for index in sent:
            self._release(index)
        self.schedule()
        return self.collection[sent[0]] if sent else None

    # items

    def mark_test_complete(self, node: Node, item_index: int, duration: float = 0) -> None:
        """Note that an item, or a hidden one, has ended."""
        if item_index >= self._keep:
            if node in self._flushing:
                self._flushing.discard(node)
                # A flushed worker may have given back what its fixtures held.
                self.wake()
            return
        self._work.ended(node, item_index, duration)
        self._release(item_index)
        self.schedule()

    def started(self, nodeid: str) -> None:
        """Note that an item has started; something of a lower priority may have waited for that."""
        index = self._index.get(nodeid)
        if index is not None:
            self._work.started(index)
            if self._held_back:
                self.schedule()

    def mark_test_pending(self, item: str) -> None:
        """Put a crashed item back in its place, to be run again."""
        self._work.put_back(self._index[item])
        self.schedule()

    def remove_pending_tests_from_node(self, node: Node, indices: Sequence[int]) -> None:
        """Raise: it answers xdist's "steal", which is never sent."""
        raise NotImplementedError

    def wake(self) -> None:
        """Ask the gate again: its answer may have changed."""
        self._refused_head = None
        self.schedule()

    def schedule(self) -> None:
        """Give each idle worker what it may start now."""
        self._held_back = False
        unfed = self._idle()
        while unfed:
            node = min(unfed, key=self._distance)
            unfed.remove(node)
            self._feed(node)
        idle = self._idle()
        if not self._work.waiting:
            for node in idle:
                node.shutdown()
        else:
            if self._refused_head is not None:
                for node in idle:
                    self._flush_fixtures(node)
                if not self._work.running and not self._flushing:
                    self._make_way(self._refused_head, idle)
            if self._adjust is not None:
                live = [node for node in self._clean if node in self._work and not node.shutting_down]
                self._adjust(self._work.waiting, live, idle)
        if self._tell is not None:
            head = "" if self._waiting_head is None else self.collection[self._waiting_head]
            self._tell(self._work.waiting_by_priority(), head)

    def _idle(self) -> list[Node]:
        return [
            node
            for node in self._clean
            if node in self._work and not node.shutting_down and not self._work.holding(node).sent
        ]

    def _distance(self, node: Node) -> tuple[bool, bool]:
        """Return how well an idle worker suits the head, best first; the head waits for no other worker.

        A worker that has no chunk comes first, so that no module's fixtures are torn down for the head; then
        one that has idle containers such as it needs.
        """
        head = self._work.head
        serves = head is not None and self._gate.serves(node.gateway.id, self._facts[head].specification)
        return bool(self._work.holding(node).reserve), not serves

    def _feed(self, node: Node) -> None:
        """Send the best that *node* may start, if there is any."""
        plain = self._work.best_plain(node)
        head = self._work.head_before(plain)
        if head is not None and self._send_head(node, head):
            return
        if plain is not None and not self._holds_back(plain.index):
            self._send(node, self._work.hand_out_plain(node, plain, alone=head is not None))

    def _send_head(self, node: Node, index: int) -> bool:
        """Reserve for the head, which is *index*, and send it; return False if it has to wait."""
        if index == self._refused_head or self._holds_back(index):
            return False
        facts = self._facts[index]
        try:
            ticket = self._gate.try_reserve(
                index,
                facts.priority,
                facts.demand or {},
                worker=node.gateway.id,
                specification=facts.specification,
            )
        except ReservationError as error:
            ticket = Ticket(refusal=str(error))
        else:
            if ticket is None:
                self._refused_head = self._waiting_head = index
                return False
            self._granted[index] = ticket
        self._hand_out_head(node, index, ticket)
        return True

    def _hand_out_head(self, node: Node, index: int, ticket: Ticket) -> None:
        try:
            put_ticket(self._folder, index, ticket)
        except OSError:
            # The worker misses the ticket, and fails the item for it.
            self._release(index)
        self._work.hand_out_head(node)
        if index == self._waiting_head:
            self._waiting_head = None
        self._send(node, [index])

    def _holds_back(self, index: int) -> bool:
        """Tell whether an item has to wait until others have started, and remember that one had to."""
        waits = self._work.must_wait(index)
        self._held_back = self._held_back or waits
        return waits

    def _send(self, node: Node, indices: Sequence[int]) -> None:
        self._clean[node] = False
        node.send_runtest_some([*indices, self._keep])

    def _flush_fixtures(self, node: Node) -> None:
        """Let an idle worker tear down all fixtures but the session's: one may hold what the head needs."""
        if not self._clean[node]:
            self._clean[node] = True
            self._flushing.add(node)
            node.send_runtest_some([self._flush])

    def _make_way(self, head: int, idle: Sequence[Node]) -> None:
        """End a worker whose session fixtures hold what *head* needs; with the last one refuse *head*."""
        if any(node.shutting_down for node in self._clean) or not idle:
            return
        reason = self._gate.why_stuck(head)
        if not reason:
            return
        if len(idle) > 1:
            idle[-1].shutdown()
            return
        self._gate.give_up(head)
        self._hand_out_head(idle[0], head, Ticket(refusal=reason))

    def _release(self, index: int) -> None:
        ticket = self._granted.pop(index, None)
        if ticket is not None:
            self._gate.release(ticket)
            self._refused_head = None
