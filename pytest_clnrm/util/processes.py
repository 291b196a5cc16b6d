"""Processes that can be told from later ones with the same number, and ending those.

Linux says in /proc when a process has started. Where there is none, as on macOS, a process holds a lock file:
a record lock (fcntl(2)), which the kernel frees however the process ends, and which no forked child holds.

Only the standard library, and little of it: the watchdog lives as long as a run.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.25
_GONE = ("Z", "X")


@dataclass(frozen=True)
class Process:
    """A process.

    :param started: when, in the kernel's own unit since boot; "" where the kernel does not say.
    :param lock: the file that it holds then, "" if it holds none. Without both it is never ended by us.
    """

    pid: int
    started: str
    lock: str = ""

    @property
    def can_be_told(self) -> bool:
        """Tell whether others can know whether it runs."""
        return bool(self.started or self.lock)


# (device, inode) of a lock file -> its holder, and the descriptor: a forked child has these too.
_holding: dict[tuple[int, int], tuple[int, int]] = {}


def this_process(lock: Path) -> Process:
    """Return the process that asks, as others can tell it.

    :param lock: a file that it holds from now on, where the kernel does not say when it started.
    :raises OSError: if that file cannot be made or locked.
    """
    started = _started(os.getpid())
    if not started:
        _hold(lock)
    return Process(os.getpid(), started, "" if started else str(lock))


def let_go(process: Process) -> None:
    """Remove the file that a process holds, or held; one that runs on cannot be told any more."""
    if process.lock:
        lock = Path(process.lock)
        with suppress(OSError):
            _, handle = _holding.pop(_identity(lock), (0, -1))
            lock.unlink()
            if handle != -1:
                os.close(handle)


def parent_process() -> Process:
    """Return the process that has started the one that asks, or who has taken its place since it ended."""
    return Process(os.getppid(), _started(os.getppid()))


def is_alive(process: Process) -> bool:
    """Tell whether it runs; one that has ended and waits to be reaped does not.

    Of a process that cannot be told only its child knows, as it gets another parent then.
    """
    if process.started:
        return _started(process.pid) == process.started
    if process.lock:
        return _is_held(Path(process.lock), process.pid)
    return process.pid == os.getppid()


def is_running(pid: int) -> bool:
    """Tell whether a process with that number runs, whichever it is."""
    if _started(os.getpid()):
        return bool(_started(pid))
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def end(process: Process) -> None:
    """Kill it if it runs; another process with its number, or one that cannot be told, is left alone."""
    if not process.can_be_told:
        return
    handle = _pidfd(process.pid)
    try:
        # Looked at after the handle was taken: the handle stays with that very process.
        if is_alive(process):
            _kill(process.pid, handle)
    finally:
        if handle is not None:
            os.close(handle)


def wait_for_end(process: Process, deadline_s: float | None, wakeup: int | None = None) -> bool:
    """Return True once it has ended.

    False at *deadline_s*, a ``time.monotonic()`` moment, or when *wakeup* can be read.
    """
    handle = _pidfd(process.pid)
    poll = select.poll()
    if handle is not None:
        poll.register(handle, select.POLLIN)
    if wakeup is not None:
        poll.register(wakeup, select.POLLIN)
    try:
        while is_alive(process):
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return False
            # Without a handle nothing tells of its end, so look again and again.
            if handle is None:
                left_s = _POLL_S if left_s is None else min(left_s, _POLL_S)
            ready = poll.poll(None if left_s is None else left_s * 1000)
            if any(fd == wakeup for fd, _ in ready):
                return not is_alive(process)
        return True
    finally:
        if handle is not None:
            os.close(handle)


def _started(pid: int) -> str:
    """Return when a process started, "" if there is none that runs."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 (small)
            # The name in parentheses may hold spaces and parentheses; the state follows the last one.
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in _GONE else fields[19]


def _hold(lock: Path) -> None:
    """Lock a file until this process ends.

    Nobody else may open it here: whichever descriptor of the file is closed first frees the lock.
    """
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    _holding[_identity(lock)] = os.getpid(), handle


def _is_held(lock: Path, pid: int) -> bool:
    """Tell whether the process that made a lock file still holds it."""
    try:
        # Not opened where it is our own: closing it would free the lock.
        holder, _ = _holding.get(_identity(lock), (0, -1))
        if os.getpid() in {pid, holder}:
            return pid == holder
        handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        # It is removed at the end of the run alone.
        return False
    try:
        # Shared, so that two who ask at once do not take each other for the holder.
        fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _identity(lock: Path) -> tuple[int, int]:
    status = lock.stat(follow_symlinks=False)
    return status.st_dev, status.st_ino


def _pidfd(pid: int) -> int | None:
    """Return a handle of the process, None where the kernel has none or the process is gone."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _kill(pid: int, handle: int | None) -> None:
    try:
        if handle is None:
            os.kill(pid, signal.SIGKILL)
        else:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        # It has ended meanwhile.
        return
