"""The ledger: can it be used, what have dead runs left, and who else counts containers on this engine."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.doctor.finding import Finding, broken, good, warning
from pytest_clnrm.errors import LedgerError
from pytest_clnrm.util.own_command import own_command

if TYPE_CHECKING:
    from pytest_clnrm.doctor.patient import Patient

MOUNTS = Path("/proc/self/mounts")
_NETWORK = frozenset({"9p", "afs", "ceph", "cifs", "fuse.sshfs", "nfs", "nfs4", "smb3", "smbfs", "virtiofs"})
"""File systems on which locks may not hold between hosts, or at all."""


def folder(patient: Patient) -> Finding:
    """Open the folder of the ledger, made if it is not there."""
    try:
        path = patient.runtime.folder().path
    except LedgerError as error:
        return broken(str(error), "")
    kind = _file_system(path)
    if kind in _NETWORK:
        return warning(
            f"{path} is on {kind}, where locks may not hold",
            "set clnrm_ledger_dir, or XDG_RUNTIME_DIR, to a folder of this machine",
        )
    return good(f"{path} can be used")


def ledger(patient: Patient) -> Finding:
    """Open the engine's ledger as a run does: lock it, read its state, write it."""
    log, told = logging.getLogger("pytest_clnrm"), _Told()
    log.addHandler(told)
    try:
        found = patient.runtime.ledger().snapshot()
    finally:
        log.removeHandler(told)
    if told.messages:
        return warning(
            told.messages[0], "look after the disk, if it happens again: runs go on with the new one"
        )
    others = len(found.runs) - 1 if found else 0
    return good(
        f"it can be written; {others} other runs, in use: {found.used.describe() if found else 'nothing'}"
    )


def _file_system(path: Path) -> str:
    """Return the kind of file system that holds *path*, "" if that is not told."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    mounts = [line.split()[1:3] for line in lines if len(line.split()) > 2]  # noqa: PLR2004 (place and kind)
    above = [(place, kind) for place, kind in mounts if path.resolve().is_relative_to(place)]
    return max(above, key=lambda each: len(each[0]), default=("", ""))[1]


class _Told(logging.Handler):
    """Holds what the ledger has to say of itself, which is else a line of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take a message."""
        self.messages.append(record.getMessage())


def leftovers(patient: Patient) -> Finding:
    """Look what dead runs, and --clnrm-keep, have left."""
    from pytest_clnrm.cleanup import run_records

    folder = patient.runtime.folder()
    dead = sum(record.is_dead for record in run_records.records(folder.runs))
    kept_folder = folder.kept(patient.facts.identity)
    kept = len(list(kept_folder.iterdir())) if kept_folder.is_dir() else 0
    told = [f"{dead} dead runs"] if dead else []
    told += [f"{kept} objects that --clnrm-keep left"] if kept else []
    if told:
        words = ["sweep", *(["--kept"] if kept else [])]
        return warning(f"there are {' and '.join(told)}", f"remove what they left: {own_command(words)}")
    return good("no run has left anything")


def others(patient: Patient) -> Finding:
    """Look for containers that other ledgers count on this engine."""
    cleaner = patient.runtime.cleaner()
    cleaner.load()
    if cleaner.foreign:
        return warning(
            cleaner.foreign,
            "of one user, set clnrm_ledger_dir alike everywhere; of others, lower --clnrm-max-containers",
        )
    return good("no other ledger has containers on this engine")
