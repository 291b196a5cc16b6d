"""Locks on files that are held for a moment, and that say who holds them when they are not to be had."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import filelock

from pytest_clnrm.errors import LedgerError
from pytest_clnrm.ledger.folder import Folder, unusable

Report = Callable[[str], None]

# The ledger's lock is held for about a millisecond.
_POLL_S = 0.0005
_HOST_LOCK_POLL_S = 0.05
_HOST_LOCK_REPORT_S = 30.0


@contextlib.contextmanager
def hold(
    path: Path, what: str, *, report: Report, report_s: float, limit_s: float | None, poll_s: float = _POLL_S
) -> Iterator[None]:
    """Hold the lock on *path*.

    :param what: what is locked, for messages.
    :param report: called with who holds it, each *report_s* seconds of waiting.
    :param limit_s: give up after that many seconds; None to wait as long as it takes.

    :raises LedgerError: at the limit, or if the file cannot be opened.
    """
    waited_s = 0.0
    while True:
        try:
            fd = _locked(path, report_s, poll_s)
        except OSError as error:
            raise unusable(path.parent, error) from error
        if fd is not None:
            break
        waited_s += report_s
        message = f"{what} is locked by {_holder(path)} for {waited_s:g} s or more ({path})"
        if limit_s is not None and waited_s >= limit_s:
            raise LedgerError(f"{message}; end that process, or set clnrm_ledger_dir")
        report(f"{message}: waiting")
    try:
        yield
    finally:
        _unlock(fd)


# FileLock does what follows, too, and takes longer for it than is needed for all that is done under the lock.
_held: set[int] = set()


def _locked(path: Path, timeout_s: float, poll_s: float) -> int | None:
    """Return a descriptor of the file at *path* that holds its lock, None if *timeout_s* is over before.

    :raises OSError: if the file cannot be opened or locked.
    """
    ends_s = time.monotonic() + timeout_s
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _held.add(fd)
    try:
        while not filelock.lock_descriptor(fd, blocking=False):
            if time.monotonic() >= ends_s:
                _close(fd)
                return None
            time.sleep(poll_s)
        _sign(fd)
    except BaseException:
        _close(fd)
        raise
    return fd


def _unlock(fd: int) -> None:
    try:
        # Closing is not enough: a child that is forked in this moment has the descriptor, too.
        filelock.unlock_descriptor(fd)
    finally:
        _close(fd)


def _close(fd: int) -> None:
    _held.discard(fd)
    os.close(fd)


def _close_in_child() -> None:
    """Close what a forked child must not hold longer than its parent, which may be killed."""
    while _held:
        _close(next(iter(_held)))


os.register_at_fork(after_in_child=_close_in_child)


@contextlib.contextmanager
def hold_unless(path: Path, given_up: Callable[[], bool]) -> Iterator[str]:
    """Hold the lock on *path*, and yield ""; or yield who holds it once *given_up* returns True.

    :raises LedgerError: if the file cannot be opened.
    """
    lock = filelock.FileLock(path, poll_interval=_HOST_LOCK_POLL_S, fallback_to_soft=False, on_acquired=_sign)
    holder = ""
    try:
        lock.acquire(cancel_check=given_up)
    except filelock.Timeout:
        holder = _holder(path)
    except OSError as error:
        raise unusable(path.parent, error) from error
    try:
        yield holder
    finally:
        lock.release()


def host_lock(folder: Folder, name: str) -> AbstractContextManager[None]:
    """Return a lock called *name* that one process of this user on this machine holds at a time.

    It is waited for as long as it takes; every half minute the log says who holds it.
    """
    return hold(
        folder.host_lock_file(name),
        name,
        report=logging.getLogger("pytest_clnrm").warning,
        report_s=_HOST_LOCK_REPORT_S,
        limit_s=None,
        poll_s=_HOST_LOCK_POLL_S,
    )


def _sign(fd: int) -> None:
    # It only tells others who holds the lock: on a full disk the lock has to work without it.
    with suppress(OSError):
        os.pwrite(fd, b"%-20d\n" % os.getpid(), 0)


def _holder(path: Path) -> str:
    """Return who holds the lock on *path*, in words."""
    try:
        pid = int(path.read_bytes() or b"0")
        # The name in parentheses may hold spaces and parentheses; the state follows the last one.
        state = (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()[0]
        )
    except (OSError, ValueError, IndexError):
        return "another process"
    return f"process {pid}" + (" (stopped)" if state in {"T", "t"} else "")
