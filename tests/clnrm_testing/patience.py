"""How long tests wait for what should happen soon: `CLNRM_PATIENCE=10` where all takes ten times longer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

FACTOR = float(os.environ.get("CLNRM_PATIENCE") or 1)


def patient_s(seconds: float) -> float:
    """Return the time for something that takes much less than *seconds* on a usual machine."""
    return seconds * FACTOR


def patient_until(seconds: float) -> float:
    """Return the moment, of the monotonic clock, until which to wait for it."""
    return time.monotonic() + patient_s(seconds)


def wait_until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Wait for a condition that nothing announces."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what}: not within {within_s:g} s"
        time.sleep(0.05)
