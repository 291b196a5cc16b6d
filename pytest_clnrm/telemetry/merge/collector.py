"""The public Python API to what was recorded: a thread-safe list of :class:`CollectedSpan`.

collector = SpanCollector()
collector.collect_span(CollectedSpan(trace_id="...", ..., scenario_name="orders"))
for span in collector.get_scenario_spans("orders"):
    assert span.end_time >= span.start_time
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_clnrm.model.span import AttributeValue, Span

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedSpan:
    """One span of one scenario.

    :param trace_id: 32 lower-case hex digits.
    :param span_id: 16 lower-case hex digits.
    :param parent_span_id: the same, None for a root.
    :param attributes: read-only, with the types that the program gave.
    :param start_time: aware, UTC, cut to microseconds.
    :param end_time: the same.
    :param scenario_name: the scenario it belongs to.
    """

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    start_time: datetime
    end_time: datetime
    scenario_name: str


def from_span(span: Span, scenario_name: str) -> CollectedSpan:
    """Return *span* as a collected one of the scenario *scenario_name*."""
    return CollectedSpan(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_id,
        name=span.name,
        attributes=MappingProxyType(dict(span.attributes)),
        start_time=_time(span.start_ns),
        end_time=_time(span.end_ns),
        scenario_name=scenario_name,
    )


def _time(time_ns: int) -> datetime:
    # A program may send any 64-bit number; datetime ends with the year 9999, long before them.
    try:
        return _EPOCH + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        return datetime.max.replace(tzinfo=timezone.utc)


class SpanCollector:
    """Collects spans; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[CollectedSpan] = []

    def collect_span(self, span: CollectedSpan) -> None:
        """Add *span*."""
        with self._lock:
            self._spans.append(span)

    def get_spans(self) -> list[CollectedSpan]:
        """Return all spans in the order in which they were collected; the list is the caller's."""
        with self._lock:
            return list(self._spans)

    def get_scenario_spans(self, name: str) -> list[CollectedSpan]:
        """Return the spans of the scenario *name* in the same order."""
        with self._lock:
            return [span for span in self._spans if span.scenario_name == name]

    def clear(self) -> None:
        """Forget all spans."""
        with self._lock:
            self._spans.clear()
