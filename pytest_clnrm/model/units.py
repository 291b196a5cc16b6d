"""Sizes and times as users write them: ``512``, ``"512m"``, ``90``, ``"1.5m"``.

The patterns are also part of the JSON Schema of scenario files, so they keep to what JavaScript's regular
expressions know.
"""

from __future__ import annotations

import math
import re

DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)?$"
DURATION_ALLOWED = 'a number of seconds such as 90, or text such as "90s", "1.5m", "500ms", "1h"'
MAX_DURATION_S = 365 * 24 * 3600.0
"""Longer than any run, and short enough for every clock and timer of the platform."""

SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)?([bB]|[kKmMgG]([iI]?[bB])?)?$"
SIZE_ALLOWED = 'a whole number of MB such as 512, or text such as "512m", "1g", "64k"'
MAX_SIZE_BYTES = 2**63 - 1
_MAX_BARE_BYTES = 2**44
"""A number without a unit that means more is meant as bytes: 16 TiB, more than an engine's host has."""

# Compiled when first used: every pytest run imports this, few read a size.
_DURATION = r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?"
_SIZE = r"([0-9]+(?:\.[0-9]+)?)(?:(b)|([kmg])(?:i?b)?)?"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def parse_duration_s(value: object) -> float:
    """Return the seconds that *value* means: a number is seconds, text may end in ms, s, m or h.

    :raises ValueError: if it is none, is negative, or is longer than a year; the message says what is
        allowed.
    """
    seconds: float | None = None
    if isinstance(value, str):
        match = re.fullmatch(_DURATION, value.strip(" "), re.ASCII)
        if match:
            seconds = float(match[1]) * _SECONDS[match[2] or "s"]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        # Clamped first: a whole number of TOML may be too large for a float.
        seconds = float(min(max(value, -1), MAX_DURATION_S + 1))
    if seconds is None or math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{value!r} is not a time: {DURATION_ALLOWED}")
    if seconds > MAX_DURATION_S:
        raise ValueError(f"{value!r} is longer than a year: {DURATION_ALLOWED}")
    return seconds


def parse_size_bytes(value: object) -> int:
    """Return the bytes that *value* means: a number is MB (1024 x 1024 bytes), text may end in b, k, m or g.

    :raises ValueError: if it is none, is zero, negative or absurdly large; the message says what is
        allowed.
    """
    size: int | None = None
    bare = not isinstance(value, str)
    if isinstance(value, str):
        match = re.fullmatch(_SIZE, value.strip(" "), re.ASCII | re.IGNORECASE)
        if match:
            bare = not (match[2] or match[3])
            unit = (match[2] or match[3] or "m").lower()
            number = float(match[1]) * _BYTES[unit]
            size = int(min(number, 2.0**63))
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value * _BYTES["m"]
    if size is None or size <= 0:
        raise ValueError(f"{value!r} is not a size: {SIZE_ALLOWED}")
    if bare and size > _MAX_BARE_BYTES:
        raise ValueError(
            f'{value!r} is larger than any memory: a number without a unit is MB; write "1000000b" for bytes'
        )
    if size > MAX_SIZE_BYTES:
        raise ValueError(f"{value!r} is larger than any memory: {SIZE_ALLOWED}")
    return size
