"""The processors that this process may use, and how much of their time nobody used."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

_STAT = Path("/proc/stat")


def count_processors() -> int:
    """Return how many processors this process may use."""
    allowed = _allowed()
    return len(allowed) if allowed else os.cpu_count() or 1


def is_among_first(worker: str, number: int) -> bool:
    """Tell whether a process is one of the first *number* workers of xdist, or none of its numbered ones.

    :param worker: such as "gw0".
    """
    own = worker.removeprefix("gw")
    return not own.isdecimal() or int(own) < number


def _allowed() -> set[int]:
    """Return the numbers of the processors that this process may use; empty where the system does not say."""
    allowed = getattr(os, "sched_getaffinity", None)
    return allowed(0) if allowed else set()


class IdleTime:
    """How many processors nobody used, as Linux counts it in /proc/stat.

    :param stat: the file.
    :param now: the monotonic clock, seconds.
    """

    def __init__(self, stat: Path = _STAT, now: Callable[[], float] = time.monotonic) -> None:
        self._stat = stat
        self._now = now
        self._names = frozenset(f"cpu{number}" for number in _allowed())
        self._last = (now(), self._idle_s())

    def since_last(self) -> float:
        """Return how many processors were idle on average since the last question, or since this was made.

        All of them where the system does not say.
        """
        (before_s, idle_before_s), self._last = self._last, (self._now(), self._idle_s())
        at_s, idle_s = self._last
        if idle_s is None or idle_before_s is None or at_s <= before_s:
            return float(count_processors())
        return (idle_s - idle_before_s) / (at_s - before_s)

    def _idle_s(self) -> float | None:
        """Return the idle seconds of all processors since the system's start, None where nobody counts."""
        try:
            lines = self._stat.read_text(encoding="ascii").splitlines()
            # user, nice, system, idle, waiting for the disk, ...
            of_ours = [line.split() for line in lines if line.split(" ", 1)[0] in self._names]
            ticks = sum(int(fields[4]) + int(fields[5]) for fields in of_ours)
        except (OSError, ValueError, IndexError):
            return None
        return ticks / os.sysconf("SC_CLK_TCK") if of_ours else None
