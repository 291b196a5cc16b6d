"""What a run writes down about itself, so that other processes can clean up after it.

``LEDGER_DIR/runs/SESSION.json`` names the engine, the controller and the run's own folder for temporary
files, in which each worker leaves ``process-WORKER.json``. Only the standard library is used: the watchdog
lives as long as a run, and should be small.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pytest_clnrm.cleanup import run_folder
from pytest_clnrm.util.files import write_whole
from pytest_clnrm.util.processes import Process, end, is_alive, let_go, this_process, wait_for_end

_FORMAT = 1
_MAX_NOTE_BYTES = 4096


@dataclass(frozen=True)
class RunRecord:
    """A run.

    :param folder: its own folder for temporary files.
    :param choice: how the watchdog has to name the engine: "auto" and its like, or a URL.
    :param identity: of the engine.
    :param url: of the engine.
    """

    session: str
    controller: Process
    folder: str
    choice: str
    identity: str
    url: str

    @property
    def is_dead(self) -> bool:
        """Tell whether this process can see that the run's controller has ended."""
        return self.controller.can_be_told and not is_alive(self.controller)


def lock_file(runs: Path, session: str) -> Path:
    """Return the file that the controller of a run holds where there is no /proc."""
    return runs / f"{session}.lock"


def note_process(folder: Path, worker: str) -> None:
    """Note in the run's own folder that this process is one of the run.

    :raises OSError: if the folder cannot be written.
    """
    _write(folder / f"process-{worker}.json", asdict(this_process(folder / f"process-{worker}.lock")))


def make_folder(runs: Path) -> None:
    """Make the folder of records if it is missing.

    :raises OSError: if that is not possible.
    """
    runs.mkdir(mode=0o700, exist_ok=True)


def write(runs: Path, record: RunRecord) -> Path:
    """Write a record, and return its path.

    :raises OSError: if it cannot be written.
    """
    make_folder(runs)
    path = runs / f"{record.session}.json"
    _write(path, {"format": _FORMAT, **asdict(record)})
    return path


def read(path: Path) -> RunRecord | None:
    """Return the record in a file, None if it cannot be read, or is of another run than the file's name."""
    try:
        data = json.loads(path.read_bytes())
        if data.pop("format") != _FORMAT:
            return None
        record = replace(RunRecord(**data), controller=Process(**data["controller"]))
        # By these it is decided which files and which folder are removed with the record, and what is opened.
        is_sound = (
            f"{record.session}.json" == path.name
            and isinstance(record.folder, str)
            and record.controller.lock in {"", str(lock_file(path.parent, record.session))}
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return record if is_sound else None


def records(runs: Path) -> Iterator[RunRecord]:
    """Yield the records of all runs."""
    for path in sorted(runs.glob("*.json")):
        record = read(path)
        if record is not None:
            yield record


def workers(record: RunRecord) -> list[Process]:
    """Return the workers of a run that have not ended."""
    return [worker for worker in _noted(record) if is_alive(worker)]


def orphans(record: RunRecord) -> list[Process]:
    """Return the workers of a run that have not ended though its controller has."""
    return workers(record) if record.is_dead else []


def end_orphans(record: RunRecord, wait_s: float) -> bool:
    """Kill the workers of a run whose controller has ended, and tell whether none of them is left.

    Nobody would see the results of a worker without its controller.
    """
    left = orphans(record)
    for worker in left:
        end(worker)
    deadline_s = time.monotonic() + wait_s
    return all(wait_for_end(worker, deadline_s) for worker in left)


def forget(runs: Path, record: RunRecord) -> None:
    """Remove the record of a run, and the run's own folder if the named one is that."""
    run_folder.remove(record.folder, record.session)
    (runs / f"{record.session}.json").unlink(missing_ok=True)
    # Last: without it the run looks dead.
    if record.controller.lock == str(lock_file(runs, record.session)):
        let_go(record.controller)


def remove_abandoned(above: Path | None = None) -> None:
    """Remove the folders of dead runs that no record names: they were killed before they used an engine.

    A run with a record of whatever ledger loses nothing by it: of its processes none is left either.

    :param above: where they are, None for the host's folder for temporary files.
    """
    nobody = Process(0, "")
    for folder, session in run_folder.abandoned(above):
        if not workers(RunRecord(session, nobody, folder, "", "", "")):
            run_folder.remove(folder, session)


def _noted(record: RunRecord) -> Iterator[Process]:
    own = run_folder.open_own(record.folder, record.session)
    if own is None:
        return
    with own:
        for name in own.names():
            if not (name.startswith("process-") and name.endswith(".json")):
                continue
            # The writer of a file that cannot be read had not begun to use the engine.
            with suppress(OSError, ValueError, TypeError), own.beneath(name) as file:
                process = Process(**json.loads(file.read(_MAX_NOTE_BYTES)))
                if process.lock in {"", str(Path(record.folder, name).with_suffix(".lock"))}:
                    yield process


def _write(path: Path, data: dict[str, object]) -> None:
    write_whole(path, json.dumps(data))
