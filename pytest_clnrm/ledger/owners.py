"""Owners: processes that hold a lock file of their own for as long as they live.

However a process ends, the kernel frees its lock: whoever gets that lock knows that the owner is dead. Ids
are random, so a process id that is used again misleads nobody. A forked child does not hold its parent's
lock (filelock closes it there), nor does a program that the process starts.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import filelock

from pytest_clnrm.errors import LedgerError


class Owner:
    """This process as an owner, from its creation to :meth:`close`.

    Make it under the ledger's lock, and ask :func:`is_alive` under it: between the making of the file and the
    locking of it a new owner would look dead.

    :param directory: where the owners of the ledger have their files.
    """

    def __init__(self, directory: Path) -> None:
        self.pid = os.getpid()
        self.id = f"{self.pid}-{secrets.token_hex(6)}"
        self._lock = filelock.FileLock(
            directory / f"{self.id}.lock", thread_local=False, fallback_to_soft=False, blocking=False
        )
        self._lock.acquire()

    def is_this_process(self) -> bool:
        """Return False in a forked child."""
        return os.getpid() == self.pid

    def check_process(self) -> None:
        """Check that this is the process that made it.

        :raises LedgerError: in a forked child, to which nothing of the ledger belongs.
        """
        if not self.is_this_process():
            raise LedgerError(
                f"process {os.getpid()} was forked from {self.pid}, which owns the reservations; "
                "the child has to open a ledger of its own"
            )

    def close(self) -> None:
        """Stop being an owner: from now on what it still holds counts like a dead owner's."""
        if self.is_this_process():
            self._lock.release()


def is_alive(directory: Path, owner: str) -> bool:
    """Return True if the process of *owner* lives; to be called under the ledger's lock."""
    try:
        fd = os.open(directory / f"{owner}.lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return not filelock.lock_descriptor(fd, blocking=False)
    finally:
        os.close(fd)


def share_file(directory: Path, owner: str) -> Path:
    """Return where the leases and waiters of *owner* are kept for a rebuild of the ledger."""
    return directory / f"{owner}.json"


def known_owners(directory: Path) -> list[str]:
    """Return the owners that have such a file, living or dead."""
    return sorted(path.stem for path in directory.glob("*.json"))


def forget(directory: Path, owner: str) -> None:
    """Remove all files of *owner*, which is dead and holds nothing; the lock file last."""
    share_file(directory, owner).unlink(missing_ok=True)
    for fifo in directory.glob(f"{owner}.*.fifo"):
        fifo.unlink(missing_ok=True)
    (directory / f"{owner}.lock").unlink(missing_ok=True)


def boot_id() -> str:
    """Return what tells this boot of the machine from all others, "" where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
