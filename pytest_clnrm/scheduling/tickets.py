"""How a reservation gets from the controller to the item on its worker.

The controller writes ``ticket-INDEX.json`` into the run's folder before it sends the item; the worker takes
it (reads and removes) before the item's setup, and lays it into the item's stash. Where no controller
reserves, :mod:`pytest_clnrm.scheduling.in_process` lays the ticket there itself: whoever needs it looks in
one place.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from pytest_clnrm.scheduling.gate import Admission
from pytest_clnrm.util.files import write_whole

RUN_FOLDER = "clnrm_run_folder"
"""The key of the run's folder in ``workerinput``."""


class Ticket(NamedTuple):
    """What admission said of one item.

    :param lease: id of the lease to be adopted; None if it was refused.
    :param waited_s: seconds waited for it.
    :param refusal: why it will never be granted, "" if it was.
    :param reuse: ids of leases whose idle containers in this process are to be used.
    :param remove: ids of containers to be removed before any is created.
    :param position: its place among the waiters of all runs when its wait began, 1 for the first; 0 if it did
        not wait.
    """

    lease: str | None
    waited_s: float = 0.0
    refusal: str = ""
    reuse: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    position: int = 0

    @classmethod
    def of(cls, admission: Admission) -> Ticket:
        """Return the ticket of what was granted."""
        return cls(
            admission.lease,
            admission.waited_s,
            reuse=admission.reuse,
            remove=admission.remove,
            position=admission.position,
        )


TICKET: pytest.StashKey[Ticket] = pytest.StashKey()


def lease_of(item: pytest.Item) -> str:
    """Return the id of an item's reservation, "" if it has none."""
    ticket = item.stash.get(TICKET, None)
    return (ticket.lease if ticket else None) or ""


def is_hidden(item: pytest.Item) -> bool:
    """Tell whether *item* is one of those on which a worker waits, and no test."""
    return getattr(item, "clnrm_hidden", False)


def put_ticket(folder: Path, index: int, ticket: Ticket) -> None:
    """Leave the ticket of the item at *index*, replacing one of an earlier try.

    :raises OSError: if the folder cannot be written.
    """
    write_whole(_path(folder, index), json.dumps(ticket))


def take_ticket(folder: Path, index: int) -> Ticket | None:
    """Return and remove the ticket of the item at *index*; None if it has none."""
    path = _path(folder, index)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    path.unlink()
    lease, waited_s, refusal, reuse, remove, position = json.loads(text)
    return Ticket(lease, waited_s, refusal, reuse=tuple(reuse), remove=tuple(remove), position=position)


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
        """Fail with admission's message, and no traceback."""
        ticket = item.stash.get(TICKET, None)
        if ticket is not None and ticket.refusal:
            pytest.fail(ticket.refusal, pytrace=False)
