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
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup import run_records
from pytest_clnrm.util.processes import wait_for_end

if TYPE_CHECKING:
    import subprocess

    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.ledger.folder import Folder

QUIET_S = 3.0
"""For so long after a process was killed the engine may still create what it had asked for."""
_ROUND_S = 0.25
_END_ORPHANS_S = 1.0
_ASKED_TO_END_S = 5.0
_GIVE_UP_S = 90.0

# Isolated: neither PYTHON* variables, nor the current folder, nor site's .pth files decide what it imports.
_CODE = (
    "import sys; sys.path += sys.argv[2:]; del sys.argv[2:]; from pytest_clnrm.cleanup.watchdog import main; "
    "main(sys.argv[1])"
)


def start(record: Path) -> subprocess.Popen[bytes]:
    """Start a watchdog for the run of the file *record*; if the run has one already, it ends at once.

    :raises OSError: if it cannot be started.
    """
    import subprocess

    package = str(Path(__file__).parents[2])
    paths = [package, *(os.path.abspath(each) for each in sys.path if each)]  # noqa: PTH100 (links stay)
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _CODE, str(record), *paths],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def main(record: str) -> None:
    """Run as the watchdog of the run of the file *record*."""
    asked = _asked_to_end()
    path = Path(record)
    run = run_records.read(path)
    if run is None or not _is_the_only_one(path):
        return
    _join_embedded(path, run)
    # Where all processes are asked to end, as at a shutdown, the controller may be about to end too.
    if wait_for_end(run.controller, None, asked) or wait_for_end(
        run.controller, time.monotonic() + _ASKED_TO_END_S
    ):
        clean_up(path, run)


def clean_up(path: Path, run: run_records.RunRecord) -> None:
    """Remove all that *run* left; what cannot be removed is swept by the next run."""
    run_records.end_orphans(run, _END_ORPHANS_S)
    from pytest_clnrm.cleanup.cleaner import Cleaner, caretaker
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
            engine = engine or _connect(folder, run)
            Cleaner(folder, engine).sweep_session(run.session)
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


def _connect(folder: Folder, run: run_records.RunRecord) -> Engine:
    """Return the engine of *run*.

    :raises EngineUnavailableError: if it does not answer, or another one does.
    """
    from pytest_clnrm.cleanup.cleaner import connect_with_locks
    from pytest_clnrm.errors import EngineUnavailableError

    engine = connect_with_locks(folder, run.choice)
    if engine.facts.identity != run.identity:
        engine.close()
        raise EngineUnavailableError("another engine answers", ())
    return engine


def _join_embedded(path: Path, run: run_records.RunRecord) -> None:
    """Join the embedded engine, if the run uses it: it must not end before it is swept."""
    folder = path.parents[1]
    if run.url == f"unix://{folder / 'engine' / 'engine.sock'}":
        from pytest_clnrm.engine.embedded import join
        from pytest_clnrm.errors import EngineUnavailableError

        try:
            join.join(folder, os.environ)
        except EngineUnavailableError:
            # The engine is gone, and with it all that ran there.
            return


def _is_the_only_one(path: Path) -> bool:
    """Tell whether no other process is this run's watchdog; if so, this one is until it ends."""
    try:
        # Never closed: this process keeps the lock until it ends.
        fcntl.flock(os.open(path, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _asked_to_end() -> int:
    """Return a descriptor that can be read once this process was asked to end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return reader


if __name__ == "__main__":
    main(sys.argv[1])
