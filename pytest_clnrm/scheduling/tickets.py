"""What the controller asks for a reservation, and how that gets to the item on its worker.

The controller sends the ticket with the order to run the item; the worker lays it into the item's stash
before the item's setup. Where no controller reserves, :mod:`pytest_clnrm.scheduling.in_process` lays the
ticket there itself: whoever needs it looks in one place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import pytest

_SENT = "clnrm_tickets"
"""The key beside xdist's own in its command."""


class Ticket(NamedTuple):
    """What became of an item's demand.

    :param lease: id in the ledger, "" if it has none.
    :param waited_s: seconds waited for it.
    :param refusal: why it will never be granted, "" if it was.
    :param reuse: ids of leases whose idle containers in this process are to be used.
    :param remove: ids of containers to be removed before any is created.
    :param position: its place among the waiters of all runs when its wait began, 1 for the first; 0 if it did
        not wait.
    :param is_infrastructure: the refusal is no fault of the item.
    """

    lease: str = ""
    waited_s: float = 0.0
    refusal: str = ""
    reuse: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    position: int = 0
    is_infrastructure: bool = False


TICKET: pytest.StashKey[Ticket] = pytest.StashKey()
"""Where an item that demands something holds its ticket while it runs."""


class Gate(Protocol):
    """Grants reservations to items before they are sent to a worker.

    All calls come from the controller's main thread. An implementation is given a function ``wake()`` when it
    is made and calls it, from any thread, whenever its answer may have changed: something was released, by
    anyone, or a waiter's time is over. Then it is asked again; it is not asked in between without a
    reason.
    """

    def try_reserve(
        self, index: int, priority: int, demand: Mapping[str, Any], *, worker: str, specification: str | None
    ) -> Ticket | None:
        """Reserve for the item at *index* of the session, or return None: it has to wait.

        :param worker: id of the worker that it would be sent to.
        :param specification: of its containers; that worker's idle ones of the same are used again.

        Only the head of the queue is asked for. Another index may be asked for while one waits: a crashed
        item that is to be run again comes first.

        :raises pytest_clnrm.errors.ReservationError: if it will never be granted (too large, waited too
            long): the item is then sent without, and fails with this message.
        """
        ...

    def serves(self, worker: str, specification: str | None) -> bool:
        """Tell whether *worker* has idle containers of *specification*."""
        ...

    def why_stuck(self, index: int) -> str:
        """Return why the item at *index*, which waits, never comes to its turn; "" if it may.

        Asked when none of the run's items runs: what fixtures of its workers hold by then, they hold until
        the workers end.
        """
        ...

    def give_up(self, index: int) -> None:
        """Forget that the item at *index* waits."""
        ...

    def release(self, ticket: Ticket) -> None:
        """Give a reservation back: its item has ended, or its worker is dead.

        It may take effect with the next :meth:`try_reserve`, and does at the latest by :meth:`settle`.
        """
        ...

    def settle(self) -> None:
        """Let all that was given back be free for others now."""
        ...


def failed_plainly(message: str, *, is_infrastructure: bool) -> BaseException:
    """Return what fails a test of which pytest shows the message alone.

    :param is_infrastructure: it is no fault of the test.
    """
    failure = pytest.fail.Exception(message, pytrace=False)
    failure.clnrm_is_infrastructure = is_infrastructure  # type: ignore[attr-defined]
    return failure


def lease_of(item: pytest.Item) -> str:
    """Return the id of an item's reservation, "" if it has none."""
    ticket = item.stash.get(TICKET, None)
    return ticket.lease if ticket else ""


def waited_s_of(item: pytest.Item) -> float:
    """Return how many seconds an item has waited for its reservation."""
    ticket = item.stash.get(TICKET, None)
    return ticket.waited_s if ticket else 0.0


def send(node: Any, orders: Sequence[int], tickets: Mapping[int, Ticket]) -> None:
    """Send a worker what to run, with the tickets of the items at these indices.

    xdist leaves alone what it does not know of its own command. A ticket goes as text: what it holds may come
    from anywhere, and execnet refuses some texts.

    :param node: xdist's controller of the worker.
    """
    if tickets:
        texts = {index: json.dumps(ticket) for index, ticket in tickets.items()}
        node.sendcommand("runtests", indices=orders, **{_SENT: texts})
    else:
        node.send_runtest_some(orders)


class ReceivedTickets:
    """The tickets that a worker has been sent."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def listen(self, interactor: Any) -> None:
        """Take the tickets of all that the controller sends from now on.

        :param interactor: xdist's WorkerInteractor, whose loop has not begun.
        """
        handle = interactor.handle_command

        def taking(command: Any) -> None:
            # What ends the worker is no command.
            if isinstance(command, tuple):
                self._texts.update(command[1].pop(_SENT, {}))
            handle(command)

        interactor.handle_command = taking

    def take(self, index: int) -> Ticket | None:
        """Return the last ticket of the item at *index*, once; None if it was sent none."""
        text = self._texts.pop(index, None)
        if text is None:
            return None
        lease, waited_s, refusal, reuse, remove, position, is_infrastructure = json.loads(text)
        return Ticket(lease, waited_s, refusal, tuple(reuse), tuple(remove), position, is_infrastructure)


class RefusalReporter:
    """Fails items whose reservation was refused, before any of their fixtures is set up."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Fail with the reason of the refusal, and no traceback."""
        ticket = item.stash.get(TICKET, None)
        if ticket is not None and ticket.refusal:
            raise failed_plainly(ticket.refusal, is_infrastructure=ticket.is_infrastructure)
