"""``traceparent`` of W3C Trace Context, level 1: how spans in different processes find each other."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import NamedTuple

# A later version may add fields behind these four; version ff is forbidden.
_PATTERN = r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"


class TraceParent(NamedTuple):
    """A span of another place.

    :param trace_id: 32 lower-case hex digits.
    :param span_id: 16 lower-case hex digits.
    """

    trace_id: str
    span_id: str


# Each span is the parent of others, which ask for the same again.
@lru_cache(maxsize=256)
def parse_traceparent(text: str | None) -> TraceParent | None:
    """Return what *text* names, None if it is none: such a header is to be ignored, not an error."""
    match = re.fullmatch(_PATTERN, text.strip()) if text else None
    if match is None:
        return None
    version, trace_id, span_id, _, more = match.groups()
    if (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceParent(trace_id=trace_id, span_id=span_id)


def new_traceparent(parent: str | None, ids: str = "") -> str:
    """Return the header's value for a span that is yet to be recorded, a child of *parent* if that is one.

    :param ids: 48 random lower-case hex digits: the trace's, unless the parent has one, and the span's;
        new ones by default.
    """
    found = parse_traceparent(parent)
    ids = ids or os.urandom(24).hex()
    return format_traceparent(found.trace_id if found else ids[:32], ids[32:48])


def format_traceparent(trace_id: str, span_id: str) -> str:
    """Return the header's value for a sampled span."""
    return f"00-{trace_id}-{span_id}-01"
