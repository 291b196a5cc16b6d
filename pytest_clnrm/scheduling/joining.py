"""When a worker that has run nothing yet begins containers of which other workers have some already.

Where the processors have no time left, one more container makes nothing faster: its start takes the time of
those that are used again and again. So such a worker stays out for a moment. It joins when processors are
idle, and when nobody has taken the item for a while: others may keep the processors busy.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from pytest_clnrm.util.processors import IdleTime, count_processors

_WINDOW_S = 0.1
"""How long the processors are watched for one decision: ten of the kernel's ticks on each."""
_ENOUGH = 0.75
"""So much of a processor has to be idle for one more worker."""
_PATIENCE_S = 2.0
"""How long an item waits for a worker that has its containers: longer than one takes to start."""


class Joining:
    """Decides for the workers of a run.

    :param wake: has the scheduling ask again; may be called from any thread.
    :param processors: how many there are: containers of one kind more than that begin without a question.
    :param idle: returns how many of them were idle since the last question.
    :param now: the monotonic clock, seconds.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        *,
        processors: int | None = None,
        idle: Callable[[], float] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wake = wake
        self._processors = count_processors() if processors is None else processors
        self._idle = IdleTime(now=now).since_last if idle is None else idle
        self._now = now
        self._look_s = -math.inf
        self._may_join = 0
        self._item: int | None = None
        self._since_s = 0.0
        self._stays_out_of = ""
        self._is_to_wake = False

    def stays_out(self, item: int, specification: str, users: Callable[[], int]) -> bool:
        """Tell whether a worker that has run nothing yet is to leave *item* to those who have its containers.

        If so, the scheduling is woken when the answer may be another one.

        :param item: the first that waits.
        :param specification: of its containers.
        :param users: returns how many workers use such containers, or have idle ones.
        """
        now_s = self._now()
        if item != self._item:
            self._item, self._since_s = item, now_s
        if now_s >= self._since_s + _PATIENCE_S:
            return False
        # Users are not counted again for each item that they take meanwhile.
        if self._may_join or specification != self._stays_out_of or now_s >= self._look_s:
            if users() <= self._processors:
                return False
            self._watch(now_s)
            if self._may_join:
                self._may_join -= 1
                return False
            self._stays_out_of = specification
        self._wake_in(self._look_s - now_s)
        return True

    def _watch(self, now_s: float) -> None:
        """Look how many processors were idle, once in a while and while somebody stays out."""
        if now_s < self._look_s:
            return
        idle = self._idle()
        has_watched = now_s < self._look_s + _PATIENCE_S
        self._may_join = max(0, int(idle + 1 - _ENOUGH)) if has_watched else 0
        self._look_s = now_s + _WINDOW_S

    def _wake_in(self, wait_s: float) -> None:
        """Wake the scheduling once, after *wait_s* seconds."""
        if not self._is_to_wake:
            self._is_to_wake = True
            timer = threading.Timer(wait_s, self._time_is_over)
            timer.name, timer.daemon = "clnrm-joining", True
            timer.start()

    def _time_is_over(self) -> None:
        self._is_to_wake = False
        self._wake()
