"""Shared containers give up their room where the engine has it for others too, whom the ledger does not know.

Who uses one holds a lock on a file of its lease, from before it is joined until it is left. Who waits for
room in vain ends those that nobody holds: their next users start them anew, as where the ledger has lent the
room of one.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.runner.sharing.places import FOLDER
from pytest_clnrm.runner.sharing.record import SharedRecord
from pytest_clnrm.util.use_lock import if_unused, in_use

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_clnrm.ledger.state import Lease
    from pytest_clnrm.runtime.runtime import Runtime


def using(runtime: Runtime, lease: Lease, folder: Path) -> AbstractContextManager[None]:
    """Keep a shared container from being ended for the room that it has.

    :param folder: of what the run notes of shared containers.
    """
    is_lent = runtime.engine().facts.room_is_shared
    return in_use(_users(folder, lease.id)) if is_lent else nullcontext()


def end_unused(runtime: Runtime) -> None:
    """End the shared containers of the run that nobody uses at the moment."""
    assert runtime.run_folder is not None  # noqa: S101 (whoever waits for room has one)
    folder = runtime.run_folder() / FOLDER
    for file in folder.glob("*.json"):
        # What cannot be ended now is when the run ends.
        with suppress(OSError, ClnrmError), if_unused(_users(folder, file.stem)) as is_unused:
            record = SharedRecord.read(file) if is_unused else None
            if record is not None and not record.failed:
                # Whoever comes next starts another one, which has another id.
                file.unlink()
                runtime.remove([record.id])


def _users(folder: Path, lease: str) -> Path:
    return folder / f"{lease}.users"
