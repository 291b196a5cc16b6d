"""Processes that can be told from later ones with the same number, and ending those.

Only the standard library, and little of it: the watchdog lives as long as a run.
"""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass

_POLL_S = 0.25
_GONE = ("Z", "X")


@dataclass(frozen=True)
class Process:
    """A process.

    :param started: when, in the kernel's own unit since boot; "" where the kernel does not say, and then
        the process is never ended by us.
    """

    pid: int
    started: str


def this_process() -> Process:
    """Return the process that asks."""
    return Process(os.getpid(), _started(os.getpid()))


def parent_process() -> Process:
    """Return the process that has started the one that asks, or who has taken its place since it ended."""
    return Process(os.getppid(), _started(os.getppid()))


def is_alive(process: Process) -> bool:
    """Tell whether it runs; one that has ended and waits to be reaped does not."""
    return bool(process.started) and _started(process.pid) == process.started


def is_running(pid: int) -> bool:
    """Tell whether a process with that number runs, whichever it is."""
    return bool(_started(pid))


def end(process: Process) -> None:
    """Kill it if it runs; another process with its number is left alone."""
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
