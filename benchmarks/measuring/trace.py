"""What a run's spans say of its time."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

__all__ = ["spans_of"]


def spans_of(trace: Path) -> dict[str, list[tuple[float, float]]]:
    """Return begin and end of our spans, in seconds since 1970, by name."""
    found = defaultdict(list)
    for resource in json.loads(trace.read_text(encoding="utf-8"))["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                times = (int(span["startTimeUnixNano"]) / 1e9, int(span["endTimeUnixNano"]) / 1e9)
                found[span["name"]].append(times)
    return {name: times for name, times in sorted(found.items()) if name.startswith("clnrm.")}
