"""The public collector of spans."""

from __future__ import annotations

import dataclasses
import threading
from datetime import datetime, timezone

import pytest

from pytest_clnrm.model.span import Span
from pytest_clnrm.telemetry.merge.collector import CollectedSpan, SpanCollector, from_span

SPAN = Span(
    trace_id="1" * 32,
    span_id="2" * 16,
    parent_id="3" * 16,
    name="a",
    start_ns=1_700_000_000_123_456_789,
    end_ns=2**63,
    attributes={"k": 1},
)


def test_a_collected_span_has_eight_fields() -> None:
    """It is frozen, with the fields that are documented, from a span of a scenario."""
    collected = from_span(SPAN, "orders")
    assert [field.name for field in dataclasses.fields(CollectedSpan)] == [
        "trace_id",
        "span_id",
        "parent_span_id",
        "name",
        "attributes",
        "start_time",
        "end_time",
        "scenario_name",
    ]
    assert collected == CollectedSpan(
        trace_id="1" * 32,
        span_id="2" * 16,
        parent_span_id="3" * 16,
        name="a",
        attributes={"k": 1},
        start_time=datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=timezone.utc),
        end_time=datetime(2262, 4, 11, 23, 47, 16, 854775, tzinfo=timezone.utc),
        scenario_name="orders",
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        collected.name = "b"  # type: ignore[misc]
    with pytest.raises(TypeError):
        collected.attributes["k"] = 2  # type: ignore[index]


def test_times_beyond_the_calendar() -> None:
    """A program's nonsense time does not raise."""
    late = from_span(dataclasses.replace(SPAN, end_ns=10**30), "orders")
    assert late.end_time == datetime.max.replace(tzinfo=timezone.utc)


def test_collecting_by_scenario() -> None:
    """Spans are kept in order, found by scenario, and forgotten when asked; lists are the caller's."""
    collector = SpanCollector()
    one, two = from_span(SPAN, "one"), from_span(SPAN, "two")
    for span in (one, two, one):
        collector.collect_span(span)
    assert collector.get_spans() == [one, two, one]
    assert collector.get_scenario_spans("one") == [one, one]
    assert collector.get_scenario_spans("none") == []
    collector.get_spans().clear()
    assert len(collector.get_spans()) == 3
    collector.clear()
    assert collector.get_spans() == []


def test_many_threads_collect() -> None:
    """No span is lost when threads collect at once."""
    collector = SpanCollector()
    span = from_span(SPAN, "one")

    def work() -> None:
        for _ in range(500):
            collector.collect_span(span)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(collector.get_spans()) == 2000
