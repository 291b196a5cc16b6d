"""``[expect.counts]`` and ``[expect.status]``: sums and states over all spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pytest_clnrm.expect.conditions import matches_any, number_fault
from pytest_clnrm.expect.faults import Fault, number_of_spans
from pytest_clnrm.expect.forest import Forest
from pytest_clnrm.expect.selected_spans import status_fault
from pytest_clnrm.expect.span_select import near_misses
from pytest_clnrm.expect.texts import bounded_lines
from pytest_clnrm.model.expectations import CountsExpect, SpanSelect, StatusExpect
from pytest_clnrm.model.span import Span

SHOWN = 10


def judge_counts(expect: CountsExpect, forest: Forest) -> Iterator[Fault]:
    """Yield the numbers that are out of bounds; a name that no span has counts 0."""
    origin = expect.origin
    spans = forest.of(origin)
    errors = [span for span in spans if span.status == "error"]
    totals = (
        ("spans_total", expect.spans_total, len(spans)),
        ("events_total", expect.events_total, sum(len(span.events) for span in spans)),
        ("errors_total", expect.errors_total, len(errors)),
    )
    for name, bounds, number in totals:
        fault = number_fault(bounds, number)
        if fault:
            lines = [f"{span.name}: {span.status_message}" for span in errors if name == "errors_total"]
            yield Fault(f"expect.counts.{name}: {fault}", origin, tuple(bounded_lines(lines, SHOWN)))
    names = Counter(span.name for span in spans)
    for glob, bounds in expect.by_name.items():
        number = sum(count for name, count in names.items() if matches_any(name, [glob]))
        if fault := number_fault(bounds, number):
            misses = near_misses(SpanSelect(name=glob, origin=origin), forest)
            yield Fault(f"expect.counts.by_name[{glob}]: {fault}", origin, tuple(misses))
    services = Counter(span.service for span in spans)
    for glob, bounds in expect.by_service.items():
        number = sum(count for name, count in services.items() if matches_any(name, [glob]))
        if fault := number_fault(bounds, number):
            seen = [f"service {name!r}: {number_of_spans(count)}" for name, count in services.most_common()]
            lines = bounded_lines(seen, SHOWN, "services")
            yield Fault(f"expect.counts.by_service[{glob}]: {fault}", origin, tuple(lines))


def judge_status(expect: StatusExpect, forest: Forest) -> Iterator[Fault]:
    """Yield the names of which a span has another status, and those that no span has."""
    if expect.all is not None:
        spans = forest.of(expect.origin)
        if spans:
            yield from _other_status("expect.status.all", expect.all, expect, spans)
        else:
            yield Fault("expect.status.all: no span to judge", expect.origin)
    for glob, status in expect.by_name.items():
        title = f"expect.status.by_name[{glob}]"
        spans = forest.named(glob, expect.origin)
        if spans:
            yield from _other_status(title, status, expect, spans)
        else:
            misses = near_misses(SpanSelect(name=glob, origin=expect.origin), forest)
            yield Fault(f"{title}: no span is named so", expect.origin, tuple(misses))


def _other_status(title: str, status: str, expect: StatusExpect, spans: list[Span]) -> Iterator[Fault]:
    """Yield a fault if one of *spans* has another status."""
    wrong = [f"{span.name}: {status_fault(span, status)}" for span in spans if span.status != status]
    if wrong:
        message = f"{title}: {len(wrong)} of {number_of_spans(len(spans))} not {status}; {wrong[0]}"
        yield Fault(message, expect.origin, tuple(bounded_lines(wrong, SHOWN, "spans")))
