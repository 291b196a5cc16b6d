"""What the controller asks for a reservation, and how that gets to the item on its worker.

The controller writes ``ticket-INDEX.json`` into the run's folder before it sends the item; the worker takes
it (reads and removes) before the item's setup, and lays it into the item's stash. Where no controller
reserves, :mod:`pytest_clnrm.scheduling.in_process` lays the ticket there itself: whoever needs it looks in
one place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest


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


def put_ticket(folder: Path, index: int, ticket: Ticket) -> None:
    """Leave the ticket of the item at *index*, replacing one of an earlier try.

    Nobody looks for it before the item is sent, so it is written in its place, which is many times cheaper
    than a rename.

    :raises OSError: if the folder cannot be written; then there is no ticket.
    """
    path = _path(folder, index)
    try:
        path.write_text(json.dumps(ticket), encoding="utf-8")
    except OSError:
        path.unlink(missing_ok=True)
        raise


def take_ticket(folder: Path, index: int) -> Ticket | None:
    """Return and remove the ticket of the item at *index*; None if it has none."""
    path = _path(folder, index)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    path.unlink()
    lease, waited_s, refusal, reuse, remove, position, is_infrastructure = json.loads(text)
    return Ticket(lease, waited_s, refusal, tuple(reuse), tuple(remove), position, is_infrastructure)


def why_missing(folder: Path, index: int) -> str:
    """Return why the item at *index* has no ticket, for a user: the controller could not write it."""
    path = _path(folder, index)
    try:
        path.write_bytes(bytes(4096))
        path.unlink()
    except OSError as error:
        return (
            f"its reservation did not arrive: {path} cannot be written: {error.strerror}; where the disk is "
            "full, make room or set TMPDIR to another folder"
        )
    return f"its reservation did not arrive: no ticket {index} in {folder}"


def _path(folder: Path, index: int) -> Path:
    return folder / f"ticket-{index}.json"


class RefusalReporter:
    """Fails items whose reservation was refused, before any of their fixtures is set up."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Fail with the reason of the refusal, and no traceback."""
        ticket = item.stash.get(TICKET, None)
        if ticket is not None and ticket.refusal:
            raise failed_plainly(ticket.refusal, is_infrastructure=ticket.is_infrastructure)
