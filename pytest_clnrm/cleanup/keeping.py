"""Removing what keepers keep, and sparing it: see :mod:`pytest_clnrm.ledger.warm`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup.cleaner import caretaker
from pytest_clnrm.cleanup.labels import OWNER
from pytest_clnrm.errors import EngineError, LedgerError
from pytest_clnrm.ledger.warm import NO_BUDGET, origins_of, record_file, recorded_ids

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_clnrm.cleanup.cleaner import Cleaner
    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.ledger.folder import Folder
    from pytest_clnrm.ledger.ledger import Ledger
    from pytest_clnrm.ledger.state import Lease


def end_kept(folder: Folder, ledger: Ledger, cleaner: Cleaner, lease: Lease, *, unused_for_s: float) -> None:
    """Remove what is kept under a lease, unless somebody has taken it over.

    :raises EngineError: if it stays: it is counted until it is gone.
    """
    taken = ledger.take_over(lease.id, unused_for_s=unused_for_s)
    if taken is None:
        return
    record_file(folder.warm(ledger.engine), lease.id).unlink(missing_ok=True)
    if not cleaner.remove(taken):
        raise EngineError(f"the container of {lease.label} could not be removed")
    cleaner.swept["container"] += 1
    ledger.release(lease.id)


def end_all_kept(folder: Folder, engine: Engine) -> Counter[str]:
    """Remove what keepers keep for the next runs of whatever project, and return how much that was.

    :raises EngineError: if something stays.
    :raises LedgerError: if the ledger cannot be used.
    """
    if not _kept(folder, engine.facts.identity):
        return Counter()
    with caretaker(folder, engine) as (ledger, cleaner):
        kept = ledger.kept_for()
        for each in kept:
            end_kept(folder, ledger, cleaner, each, unused_for_s=0.0)
        sweep_unowned(ledger, cleaner, (each.owner for each in kept))
    return cleaner.swept


def sweep_unowned(ledger: Ledger, cleaner: Cleaner, owners: Iterable[str]) -> None:
    """Remove the networks that are left of runs which have no shared containers any more.

    :param owners: which owner each of the runs is.
    :raises EngineError: if something stays.
    """
    for owner in sorted(set(owners)):
        if not ledger.is_used(owner):
            cleaner.sweep({OWNER: owner})


def kept_ids(folder: Folder, engine: str, run: str) -> set[str]:
    """Return the ids of containers and networks of a run that outlive it, if there is a keeper of it.

    :param engine: the engine's identity.
    """
    try:
        kept = _kept(folder, engine)
    except LedgerError:
        # Nobody can keep anything in it.
        return set()
    return recorded_ids(folder.warm(engine), run) if run in origins_of(kept) else set()


def _kept(folder: Folder, engine: str) -> tuple[Lease, ...]:
    from pytest_clnrm.ledger.ledger import Ledger

    return Ledger(folder, engine, NO_BUDGET).kept_for()
