"""The process that cleans up after a run whose controller died.

    python -m pytest_clnrm.cleanup.watchdog RECORD

It sleeps in the kernel until the controller has ended. It has a process session of its own, so that what the
terminal sends the run does not reach it. A controller that ends in order kills it. Otherwise it kills the
run's workers, which may still create containers, sweeps until some seconds after the last of them is gone,
gives the run's reservations back, and ends. What costs memory is imported once there is something to sweep.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup import detached, run_records
from pytest_clnrm.util.processes import wait_for_end

if TYPE_CHECKING:
    import subprocess

    from pytest_clnrm.engine.api import Engine

QUIET_S = 3.0
"""For so long after a process was killed the engine may still create what it had asked for."""
_ROUND_S = 0.25
_END_ORPHANS_S = 1.0
_ASKED_TO_END_S = 5.0
_GIVE_UP_S = 90.0


def start(record: Path) -> subprocess.Popen[bytes]:
    """Start a watchdog for the run of the file *record*; if the run has one already, it ends at once.

    :raises OSError: if it cannot be started.
    """
    return detached.start("pytest_clnrm.cleanup.watchdog", str(record))


def main(record: str) -> None:
    """Run as the watchdog of the run of the file *record*."""
    asked = detached.asked_to_end()
    path = Path(record)
    run = run_records.read(path)
    if run is None or not _is_the_only_one(path):
        return
    detached.join_embedded(path.parents[1], run.url)
    # Where all processes are asked to end, as at a shutdown, the controller may be about to end too.
    if wait_for_end(run.controller, None, asked) or wait_for_end(
        run.controller, time.monotonic() + _ASKED_TO_END_S
    ):
        clean_up(path, run)


def clean_up(path: Path, run: run_records.RunRecord) -> None:
    """Remove all that *run* left; what cannot be removed is swept by the next run."""
    run_records.end_orphans(run, _END_ORPHANS_S)
    from pytest_clnrm.cleanup.cleaner import Cleaner, caretaker
    from pytest_clnrm.cleanup.keeping import kept_ids
    from pytest_clnrm.errors import ClnrmError, LedgerError
    from pytest_clnrm.ledger.folder import open_folder

    folder = open_folder(path.parents[1], os.environ)
    engine: Engine | None = None
    ended_s = time.monotonic()
    give_up_s = ended_s + _GIVE_UP_S
    while time.monotonic() < give_up_s:
        if run_records.orphans(run):
            run_records.end_orphans(run, _END_ORPHANS_S)
            ended_s = time.monotonic()
        try:
            engine = engine or detached.connect(folder, run.choice, run.identity)
            but = kept_ids(folder, run.identity, run.session)
            Cleaner(folder, engine).sweep_session(run.session, but=but)
            if time.monotonic() >= ended_s + QUIET_S:
                with caretaker(folder, engine) as (ledger, cleaner):
                    cleaner.sweep_dead(ledger)
                run_records.forget(path.parent, run)
                return
        except LedgerError:
            # The engine is swept. Waiting does not mend a ledger that is not ours, damaged or full.
            return
        except ClnrmError:
            # The engine may be starting again.
            engine = None
        time.sleep(_ROUND_S)


def _is_the_only_one(path: Path) -> bool:
    """Tell whether no other process is this run's watchdog; if so, this one is until it ends."""
    try:
        # Never closed: this process keeps the lock until it ends.
        fcntl.flock(os.open(path, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1])
