"""One clock a process: the wall's time at its creation plus what the monotonic clock has run since."""

from __future__ import annotations

import time


class Clock:
    """Nanoseconds since the epoch that never run backwards, whatever happens to the wall's clock."""

    def __init__(self) -> None:
        self._anchor_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        return self._anchor_ns + time.monotonic_ns()
