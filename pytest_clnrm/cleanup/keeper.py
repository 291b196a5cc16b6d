"""The process that keeps shared services of a run for the next run of the same project.

It is an owner of the runs that have started them: by that, and by nothing else, they are not swept. So if it
dies they are a dead owner's, as any others. It removes what nobody has used for its time, and ends once there
is nothing left: the next run has taken it over, or somebody has removed it.
"""

from __future__ import annotations

import json
import os
import select
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup import detached

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.ledger.folder import Folder
    from pytest_clnrm.ledger.ledger import Ledger

_LOOK_S = 1.0
_START_S = 20.0
_GIVE_UP_S = 90.0
_READY = b"ready"


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a keeper is told.

    :param folder: of the ledger.
    :param choice: how the engine has to be named: "auto" and its like, or a URL.
    :param identity: of the engine.
    :param url: of the engine.
    :param run: that has left something.
    :param origins: the runs that have started it.
    :param project: for whose next run it is kept.
    :param keeps_s: how long it is kept if nobody uses it.
    """

    folder: str
    choice: str
    identity: str
    url: str
    run: str
    origins: tuple[str, ...]
    project: str
    keeps_s: float


def start(told: Told) -> bool:
    """Start a keeper, and tell whether it has begun to keep."""
    import subprocess

    try:
        process = detached.start(__name__, json.dumps(asdict(told)), output=subprocess.PIPE)
    except OSError:
        return False
    assert process.stdout is not None  # noqa: S101 (it was asked for)
    with process.stdout as said:
        began = select.select([said], [], [], _START_S)[0] and said.read(len(_READY)) == _READY
    if not began:
        process.kill()
        process.wait()
        return False
    # Popen warns of a process that was not waited for, unless it has a return code.
    process.returncode = 0
    return True


def main(told: str) -> None:
    """Run as the keeper that is told *told*."""
    from pytest_clnrm.errors import LedgerError
    from pytest_clnrm.ledger.folder import open_folder

    asked = detached.asked_to_end()
    given = Told(**json.loads(told))
    folder = open_folder(Path(given.folder), os.environ)
    detached.join_embedded(folder.path, given.url)
    # Waiting does not mend a ledger that is not ours, damaged or full: what is kept is a dead owner's then.
    with suppress(LedgerError), Keeper(given, folder) as keeper:
        os.write(1, _READY)
        os.close(1)
        keeper.keep(asked)


class Keeper:
    """Keeps what one run has left, from its creation on."""

    def __init__(self, told: Told, folder: Folder) -> None:
        from pytest_clnrm.ledger.ledger import Ledger
        from pytest_clnrm.ledger.warm import NO_BUDGET

        self._told = told
        self._folder = folder
        self._engine: Engine | None = None
        self._stack = ExitStack()
        self._ledgers: dict[str, Ledger] = {}
        for run in dict.fromkeys((told.run, *told.origins)):
            ledger = self._stack.enter_context(Ledger(folder, told.identity, NO_BUDGET))
            ledger.open_run(run)
            self._ledgers[run] = ledger
        self._own.begin_keeping(told.project, told.keeps_s)

    @property
    def _own(self) -> Ledger:
        return self._ledgers[self._told.run]

    def __enter__(self) -> Keeper:  # noqa: PYI034 (typing.Self needs Python 3.11)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        if self._engine is not None:
            self._engine.close()

    def keep(self, asked: int) -> None:
        """Return once nothing is left to be kept, or nothing can be done any more.

        :param asked: can be read once this process was asked to end: nothing is kept any longer then.
        :raises LedgerError: if the ledger cannot be used.
        """
        from pytest_clnrm.errors import ClnrmError, LedgerError

        failing_since_s: float | None = None
        while True:
            ends = bool(select.select([asked], [], [], 0)[0])
            try:
                self._end_old(0.0 if ends else self._told.keeps_s)
                if not self._own.has_shared():
                    self._sweep()
                    return
                failing_since_s = None
            except LedgerError:
                raise
            except ClnrmError:
                # The engine may be starting again.
                self._engine = None
                failing_since_s = failing_since_s or time.monotonic()
                if time.monotonic() - failing_since_s > _GIVE_UP_S:
                    return
            select.select([] if ends else [asked], [], [], _LOOK_S)

    def _end_old(self, keeps_s: float) -> None:
        """Remove what nobody has used for so long."""
        from pytest_clnrm.cleanup.cleaner import Cleaner
        from pytest_clnrm.cleanup.keeping import end_kept

        now_s = time.monotonic()
        for each in self._own.idle_shared():
            if each.idle_since_s is not None and now_s - each.idle_since_s >= keeps_s:
                cleaner = Cleaner(self._folder, self._connected())
                end_kept(self._folder, self._own, cleaner, each, unused_for_s=keeps_s)

    def _sweep(self) -> None:
        """Remove the networks of the last containers, if nobody has taken any of them over."""
        from pytest_clnrm.cleanup.cleaner import Cleaner
        from pytest_clnrm.cleanup.keeping import sweep_unowned
        from pytest_clnrm.ledger.shared import run_owner

        owners = [run_owner(run) for run in self._ledgers]
        if not all(map(self._own.is_used, owners)):
            sweep_unowned(self._own, Cleaner(self._folder, self._connected()), owners)

    def _connected(self) -> Engine:
        if self._engine is None:
            self._engine = detached.connect(self._folder, self._told.choice, self._told.identity)
        return self._engine
