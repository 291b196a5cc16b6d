"""Feeds xdist's workers from the one queue: strict priority, nothing prefetched, reserved before it starts.

The worker's side (:mod:`pytest_clnrm.scheduling.parking`) asks what comes next when an item's fixtures are to
be torn down. The answer binds: the worker tears down what that item does not need, and then runs it. What may
not start at once, as it waits for its reservation, is told as ``~index`` first, and as ``index`` when it may.
After what may start there follows, as ``~index`` too, what is foreseen to come next. With nothing queued on
workers there is nothing to steal from them: every worker that is free takes from the one queue, but for those
that :mod:`pytest_clnrm.scheduling.joining` leaves out for the moment. The public names are those of xdist's
Scheduling protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from pytest_clnrm.errors import ReservationError
from pytest_clnrm.scheduling.facts import ItemFacts
from pytest_clnrm.scheduling.joining import Joining
from pytest_clnrm.scheduling.parking import flush_order
from pytest_clnrm.scheduling.tickets import Gate, Ticket, send
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
    :param workers: how many there are at the start.
    :param max_chunk: ``--maxschedchunk``.
    :param adjust: called after each change; starts and retires workers.
    :param tell: called after each change with how many items wait, by priority, and the node id of the head
        if that waits for its reservation, else "".
    :param joining: asked before a worker that has run nothing yet begins containers that others have too.
    """

    collection_is_completed = True

    def __init__(
        self,
        collection: Sequence[str],
        facts: Sequence[ItemFacts],
        *,
        gate: Gate,
        workers: int,
        max_chunk: int | None = None,
        adjust: AdjustWorkers | None = None,
        tell: TellQueue | None = None,
        joining: Joining | None = None,
    ) -> None:
        self.collection = list(collection)
        self._facts = facts
        self._gate = gate
        self._adjust = adjust
        self._tell = tell
        self._joining = joining
        together = [
            nodeid.split("::", 1)[0] if each.together is None else each.together
            for nodeid, each in zip(self.collection, facts, strict=True)
        ]
        self._work: WorkQueue[Node] = WorkQueue(together, facts, workers=workers, max_chunk=max_chunk)
        self._flush = flush_order(self.collection)
        # None until the worker has collected; True while it holds no fixture but those of session scope.
        self._clean: dict[Node, bool | None] = {}
        self._granted: dict[int, Ticket] = {}
        # The gate has no room for it now, and is not asked again before something has changed.
        self._refused_head: int | None = None
        # The same for those who watch the run: it goes on waiting when something has changed.
        self._waiting_head: int | None = None
        # Workers that have been told to tear down fixtures, and have not yet.
        self._flushing: set[Node] = set()
        # Workers that ask what comes next, in the order in which they did.
        self._asking: dict[Node, None] = {}
        # What workers may start, and are not told yet.
        self._starts: dict[Node, list[int]] = {}
        # Of items that are about to start: sent with them.
        self._tickets: dict[int, Ticket] = {}
        self._index: dict[str, int] = {}
        for index, nodeid in enumerate(self.collection):
            self._index.setdefault(nodeid, index)
        self._held_back = False
        # A worker that has run nothing leaves the head to others.
        self._left_out = False

    # what DSession asks

    @property
    def nodes(self) -> list[Node]:
        """Return all workers."""
        return list(self._clean)

    @property
    def has_pending(self) -> bool:
        """Tell whether anything waits or runs."""
        return bool(self._work.waiting or self._work.bound or self._work.running)

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
        self._asking.pop(node, None)
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
        """Note that an item has ended, or that a worker has torn its fixtures down."""
        if item_index == self._flush:
            self._flushing.discard(node)
            # It may have given back what its fixtures held.
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

    def remove_pending_tests_from_node(self, node: Node, indices: Sequence[int]) -> None:  # noqa: ARG002 - xdist's
        """Answer a worker that asks what comes next: nothing else is sent as if it were stolen."""
        if self._work.holding(node).sent:
            self._asking[node] = None
        # Else its item has ended already, in a child process, and it is fed as one that has run nothing.
        self.schedule()

    def wake(self) -> None:
        """Ask the gate again: its answer may have changed."""
        self._refused_head = None
        self.schedule()

    def schedule(self) -> None:
        """Let start what may, and answer those who ask."""
        try:
            self._schedule()
        finally:
            self._gate.settle()

    def _schedule(self) -> None:
        self._held_back = False
        for node in sorted(self._parked(), key=self._bound_to):
            self._start_bound(node)
        self._feed_fresh()
        free = [*self._fresh(), *self._asking]
        if self._work.waiting and self._adjust is not None and not self._left_out:
            live = [node for node in self._clean if node in self._work and not node.shutting_down]
            self._adjust(self._work.waiting, live, free)
        for node in free:
            if node in self._asking and not node.shutting_down:
                self._answer(node)
        self._asking.clear()
        self._tell_starts()
        if not self._work.waiting:
            for node in self._fresh():
                node.shutdown()
        if self._refused_head is not None:
            for node in self._parked():
                self._flush_fixtures(node)
            if not self._work.running and not self._flushing:
                self._make_way(self._refused_head)
        if self._tell is not None:
            head = "" if self._waiting_head is None else self.collection[self._waiting_head]
            self._tell(self._work.waiting_by_priority(), head)

    def _idle(self) -> list[Node]:
        return [
            node
            for node in self._clean
            if node in self._work and not node.shutting_down and not self._work.holding(node).sent
        ]

    def _parked(self) -> list[Node]:
        """Return the workers that wait until they may start what they are bound to."""
        return [node for node in self._idle() if self._work.holding(node).bound is not None]

    def _fresh(self) -> list[Node]:
        """Return the workers that have not run anything yet: they are bound to nothing."""
        return [node for node in self._idle() if self._work.holding(node).bound is None]

    def _bound_to(self, node: Node) -> int:
        bound: int = self._work.holding(node).bound  # type: ignore[assignment]
        return bound

    def _distance(self, node: Node) -> bool:
        """Return how well a worker suits the head, best first: with idle containers such as that needs."""
        head = self._work.head(node)
        return head is None or not self._gate.serves(node.gateway.id, self._facts[head].specification)

    def _start_bound(self, node: Node) -> None:
        """Let *node* start what it is bound to, if that may start."""
        index = self._bound_to(node)
        if self._holds_back(index):
            return
        if self._work.demands(index):
            ticket = self._ticket_for(node, index)
            if ticket is None:
                if self._refused_head is not None:
                    self._work.held_up(index)
                return
            self._leave_ticket(index, ticket)
        self._work.hand_out_bound(node)
        self._start(node, [index])

    def _feed_fresh(self) -> None:
        """Let fresh workers start what they may, those first that suit the head best."""
        self._left_out = False
        fresh = self._fresh()
        while fresh:
            node = min(fresh, key=self._distance)
            fresh.remove(node)
            if not self._feed(node):
                self._left_out = True
                # The others that have run nothing suit the head no better.
                fresh = [each for each in fresh if self._has_run(each)]

    def _feed(self, node: Node) -> bool:
        """Let a fresh worker start the best that it may, if there is any; return False if it stays out."""
        plain = self._work.best_plain(node)
        head = self._work.before(self._work.head(node), plain)
        if head is not None:
            if self._stays_out(node, head):
                return False
            if self._start_head(node, head):
                return True
        if plain is not None and not self._holds_back(plain.index):
            self._start(node, self._work.hand_out_plain(node, plain, alone=head is not None))
        return True

    def _has_run(self, node: Node) -> bool:
        """Tell whether an item has ended on a worker: where that was in a child process it is fresh again."""
        return self._work.holding(node).pace_s is not None

    def _stays_out(self, node: Node, head: int) -> bool:
        """Tell whether a fresh worker leaves the head, which may start, to those who have its containers."""
        specification = self._facts[head].specification
        if self._joining is None or not specification or self._has_run(node):
            return False
        if head == self._refused_head or self._work.must_wait(head) or self._work.comes_after_bound(head):
            return False
        if self._gate.serves(node.gateway.id, specification):
            return False
        return self._joining.stays_out(head, specification, lambda: self._users(specification))

    def _users(self, specification: str) -> int:
        """Return how many workers use containers of *specification*, or have idle ones."""
        return sum(
            self._gate.serves(node.gateway.id, specification)
            or any(self._facts[index].specification == specification for index in self._work.held_by(node))
            for node in self._clean
            if node in self._work
        )

    def _answer(self, node: Node) -> None:
        """Tell a worker what comes next, whose last item is about to tear its fixtures down."""
        plain = self._work.best_plain(node)
        head = self._work.before(self._work.head(node), plain)
        if head is not None:
            if self._frees_room(node):
                self._bind_head(node, head)
                return
            if self._start_head(node, head):
                return
            if plain is None or self._refused_head is None or self._work.must_wait(head):
                self._bind_head(node, head)
                return
        if plain is None:
            node.shutdown()
        elif self._holds_back(plain.index):
            self._work.bind_plain(node, plain)
            node.send_runtest_some([~self._bound_to(node)])
        else:
            self._start(node, self._work.hand_out_plain(node, plain, alone=head is not None))

    def _frees_room(self, node: Node) -> bool:
        """Tell whether the item that *node* ends has a reservation that is the head's when it has ended."""
        if not any(map(self._work.demands, self._work.holding(node).sent)):
            return False
        refused = self._refused_head
        if refused is None:
            return True
        # A fresh worker might leave it to those who have its containers.
        by_fresh = self._fresh() and (self._joining is None or not self._facts[refused].specification)
        return self._work.waits(refused) and not by_fresh

    def _bind_head(self, node: Node, index: int) -> None:
        self._work.bind_demanding(node, index)
        if index == self._refused_head:
            self._work.held_up(index)
        node.send_runtest_some([~index])

    def _start_head(self, node: Node, index: int) -> bool:
        """Reserve for an item of the queue and let it start; return False if it has to wait."""
        if self._holds_back(index):
            return False
        ticket = self._ticket_for(node, index)
        if ticket is None:
            return False
        self._leave_ticket(index, ticket)
        self._work.hand_out_demanding(node, index)
        self._start(node, [index])
        return True

    def _ticket_for(self, node: Node, index: int) -> Ticket | None:
        """Reserve for an item, or return None: it has to wait, or others come first."""
        if self._work.comes_after_bound(index) or (
            self._refused_head is not None and index >= self._refused_head
        ):
            return None
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
            return Ticket(refusal=str(error), is_infrastructure=error.is_infrastructure)
        if ticket is None:
            self._refused_head = self._waiting_head = index
            return None
        self._granted[index] = ticket
        return ticket

    def _leave_ticket(self, index: int, ticket: Ticket) -> None:
        self._tickets[index] = ticket
        if index == self._waiting_head:
            self._waiting_head = None

    def _holds_back(self, index: int) -> bool:
        """Tell whether an item has to wait until others have started, and remember that one had to."""
        waits = self._work.must_wait(index)
        self._held_back = self._held_back or waits
        return waits

    def _start(self, node: Node, indices: list[int]) -> None:
        self._clean[node] = False
        self._starts[node] = indices

    def _tell_starts(self) -> None:
        """Tell workers what they may start, and what is foreseen to come then: all have their work now."""
        starts, self._starts = self._starts, {}
        for node, indices in starts.items():
            foreseen = self._work.foresee(node, passing=self._refused_head is not None)
            tickets = {each: self._tickets.pop(each) for each in indices if each in self._tickets}
            send(node, indices if foreseen is None else [*indices, ~foreseen], tickets)
            if foreseen is None:
                node.shutdown()

    def _flush_fixtures(self, node: Node) -> None:
        """Let a parked worker tear down all fixtures but the session's: one may hold what the head needs."""
        if not self._clean[node]:
            self._clean[node] = True
            self._flushing.add(node)
            node.send_runtest_some([self._flush])

    def _make_way(self, head: int) -> None:
        """End a worker whose session fixtures hold what *head* needs; with the last one refuse *head*."""
        parked, fresh = self._parked(), self._fresh()
        if any(node.shutting_down for node in self._clean) or not (parked or fresh):
            return
        reason = self._gate.why_stuck(head)
        if not reason:
            return
        owner = next((node for node in parked if self._bound_to(node) == head), None)
        others = [node for node in parked if node is not owner]
        if others or (owner is not None and fresh):
            [owner, *others][-1].shutdown()
            return
        self._gate.give_up(head)
        self._leave_ticket(head, Ticket(refusal=reason))
        if owner is None:
            self._work.hand_out_demanding(fresh[0], head)
        else:
            self._work.hand_out_bound(owner)
        self._start(owner or fresh[0], [head])
        self._tell_starts()

    def _release(self, index: int) -> None:
        ticket = self._granted.pop(index, None)
        if ticket is not None:
            self._gate.release(ticket)
            self._refused_head = None
