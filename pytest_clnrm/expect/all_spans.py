"""Expectations about all spans together: graph, windows, order, counts, status."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import product

from pytest_clnrm.expect.conditions import Fault, number_fault, number_of_spans
from pytest_clnrm.expect.forest import Forest
from pytest_clnrm.expect.selected_spans import SHOWN, above_text, status_fault, told_of_first
from pytest_clnrm.expect.span_select import near_misses
from pytest_clnrm.expect.texts import bounded_lines, duration_text
from pytest_clnrm.model.expectations import (
    CountsExpect,
    GraphExpect,
    OrderExpect,
    Origin,
    SpanSelect,
    StatusExpect,
    WindowExpect,
)
from pytest_clnrm.model.span import Span
from pytest_clnrm.util.patterns import matches_glob

NO_TIMES = "has times that are missing or in the wrong order"


def _missing(title: str, glob: str, origin: Origin, forest: Forest) -> Fault:
    select = SpanSelect(name=glob, origin=origin)
    return Fault(f"{title}: no span is named {glob}", origin, tuple(near_misses(select, forest)))


def judge_graph(expect: GraphExpect, forest: Forest) -> Iterator[Fault]:
    """Yield what is wrong with the shape of the whole."""
    origin = expect.origin
    spans = forest.of(origin)
    edges = [(parent, span) for span in spans if (parent := forest.parent_within(span, origin))]
    for pair in expect.must_include:
        if not _has_edge(pair, edges):
            message = f"expect.graph.must_include: no edge {pair[0]} -> {pair[1]}"
            yield Fault(message, origin, tuple(_ends(pair, origin, forest)))
    for pair in expect.must_not_cross:
        yield from _crossed(pair, origin, forest)
    if spans:
        yield from _form(expect, forest)
    elif expect.acyclic or expect.single_root or expect.no_orphans or expect.max_depth is not None:
        yield Fault("expect.graph: no span to judge", origin)


def _has_edge(pair: tuple[str, str], edges: list[tuple[Span, Span]]) -> bool:
    """Tell whether an edge leads from a span named by the first to one named by the second of *pair*."""
    first, second = pair
    return any(
        matches_glob(parent.name, first) and matches_glob(child.name, second) for parent, child in edges
    )


def _crossed(pair: tuple[str, str], origin: Origin, forest: Forest) -> Iterator[Fault]:
    """Yield the spans of the second name of *pair* that are below one of the first, or may be.

    What lies above a span whose parent never arrived is not known.
    """
    title = "expect.graph.must_not_cross"
    above, below = (forest.named(name, origin) for name in pair)
    for name, found in zip(pair, (above, below), strict=True):
        # A misspelt pair would never cross.
        if not found:
            yield _missing(title, name, origin, forest)
    within = forest.below(above)
    crossing = [span for span in below if id(span) in within]
    torn = [span for span in forest.spans if _lacks_parent(span, forest)]
    unsure = forest.below(torn).union(map(id, torn))
    unknown = [span for span in below if id(span) in unsure] if above else []
    total = f"{number_of_spans(len(below))} named {pair[1]}"
    if crossing:
        message = f"{title}: {len(crossing)} of {total} below one named {pair[0]}"
        yield Fault(message, origin, told_of_first(crossing, lambda span: above_text(span, forest)))
    elif unknown:
        message = f"{title}: cannot be judged, as what is above {len(unknown)} of {total} never arrived"
        yield Fault(message, origin, told_of_first(unknown, lambda span: _torn_text(span, forest)))


def _torn_text(span: Span, forest: Forest) -> str:
    """Return where what is above *span* is not known."""
    lost = next(each for each in (span, *forest.ancestors(span)) if _lacks_parent(each, forest))
    return f"{span.name}: the parent of {lost.name} is {lost.parent_id}, which never arrived"


def _lacks_parent(span: Span, forest: Forest) -> bool:
    """Tell whether a program's span names a parent that never arrived; above the runner's own is the run."""
    return span.origin != "runner" and forest.is_orphan(span)


def _ends(pair: tuple[str, str], origin: Origin, forest: Forest) -> Iterator[str]:
    """Yield what is known of the two ends of an edge that is missing."""
    for name in pair:
        found = forest.named(name, origin)
        yield f"{name}: {number_of_spans(len(found))} of that name"
        if not found:
            yield from near_misses(SpanSelect(name=name, origin=origin), forest)
    children = forest.named(pair[1], origin)[:SHOWN]
    for child in children:
        parent = forest.parent(child)
        gone = f"{child.parent_id}, which never arrived" if child.parent_id else "none"
        yield f"the parent of {child.name} is {parent.name if parent else gone}"


def _form(expect: GraphExpect, forest: Forest) -> Iterator[Fault]:
    """Yield what is wrong with circles, roots, orphans and depth."""
    origin = expect.origin
    if expect.acyclic and (circle := forest.cyclic(origin)):
        yield _listed(f"expect.graph.acyclic: {number_of_spans(len(circle))} in a circle", origin, circle)
    if expect.single_root and len(roots := forest.roots(origin)) != 1:
        yield _listed(f"expect.graph.single_root: {len(roots)} roots, expected 1", origin, roots)
    elif expect.single_root and (circle := forest.cyclic(origin)):
        message = f"expect.graph.single_root: {number_of_spans(len(circle))} in a circle, below no root"
        yield _listed(message, origin, circle)
    if expect.no_orphans and (orphans := [span for span in forest.of(origin) if forest.is_orphan(span)]):
        message = f"expect.graph.no_orphans: {number_of_spans(len(orphans))} without the parent that it names"
        yield _listed(message, origin, orphans)
    if expect.max_depth is not None:
        depths = forest.depths(origin)
        # Spans in or below a circle have no depth: they count as infinitely deep.
        deep = [span for span in forest.of(origin) if depths.get(id(span), math.inf) > expect.max_depth]
        if deep:
            deepest = max(depths.get(id(span), math.inf) for span in deep)
            told = (
                "depth without end, as spans are in a circle" if deepest == math.inf else f"depth {deepest}"
            )
            yield _listed(
                f"expect.graph.max_depth: {told}, expected at most {expect.max_depth}", origin, deep
            )


def _listed(message: str, origin: Origin, spans: list[Span]) -> Fault:
    """Return a fault that names the spans it is about."""
    lines = [f"{span.name} ({span.span_id})" for span in spans]
    return Fault(message, origin, tuple(bounded_lines(lines, SHOWN, "spans")))


def _process(span: Span) -> str:
    """Return what tells processes, and so clocks, apart."""
    return repr(sorted(span.resource.items()))


def judge_window(expect: WindowExpect, forest: Forest) -> Iterator[Fault]:
    """Yield what is wrong: names that select nothing, spans outside, windows that are too long."""
    title = f"expect.window[{expect.outer}]"
    outers = forest.named(expect.outer, expect.origin)
    if not outers:
        yield _missing(title, expect.outer, expect.origin, forest)
        return
    for name in expect.contains:
        inner = forest.named(name, expect.origin)
        if not inner:
            yield _missing(title, name, expect.origin, forest)
        tolerance_ns = int(expect.tolerance_s * 1e9)
        outside = [span for span in inner if not any(_within(span, outer, tolerance_ns) for outer in outers)]
        if outside:
            message = f"{title}: {len(outside)} of {number_of_spans(len(inner))} named {name} outside"
            details = told_of_first(outside, lambda span: _outside_text(span, outers))
            yield Fault(message, expect.origin, details)
    yield from _too_long(expect, title, outers)


def _too_long(expect: WindowExpect, title: str, outers: list[Span]) -> Iterator[Fault]:
    """Yield the windows that took longer than they may, or have not ended."""
    if expect.max_duration_s is None:
        return
    wanted = f"expected at most {duration_text(expect.max_duration_s)}"
    lines = []
    for outer in outers:
        took_s = outer.duration_s
        if took_s is None:
            why = "has not ended" if outer.incomplete else NO_TIMES
            lines.append(f"{outer.name} {why}")
        elif took_s > expect.max_duration_s:
            lines.append(f"{outer.name} took {duration_text(took_s)}")
    if lines:
        details = tuple(bounded_lines(lines, SHOWN, "spans"))
        yield Fault(f"{title}: {lines[0]}, {wanted}", expect.origin, details)


def _within(inner: Span, outer: Span, tolerance_ns: int) -> bool:
    """Tell whether *inner* lies within *outer*, ends included; a span is no window for itself.

    :param tolerance_ns: how far the clocks of two processes may be apart; one clock needs none.
    """
    if inner is outer or (inner.incomplete and not outer.incomplete):
        return False
    if any(span.duration_s is None and not span.incomplete for span in (inner, outer)):
        return False
    early_ns = outer.start_ns - inner.start_ns
    late_ns = early_ns if outer.incomplete else inner.end_ns - outer.end_ns
    out_ns = max(early_ns, late_ns)
    # Comparing times first is cheap and nearly always decides; comparing processes is expensive.
    return out_ns <= 0 or (out_ns <= tolerance_ns and _process(inner) != _process(outer))


def _outside_text(span: Span, outers: list[Span]) -> str:
    """Return by how much *span* sticks out of the window that fits it best."""

    def before_after_ns(outer: Span) -> tuple[int, int]:
        after = 0 if outer.incomplete else max(span.end_ns - outer.end_ns, 0)
        return max(outer.start_ns - span.start_ns, 0), after

    before, after = min(map(before_after_ns, outers), key=sum)
    parts = (
        (before, f"starts {duration_text(before / 1e9)} before"),
        (after, f"ends {duration_text(after / 1e9)} after"),
        (span.incomplete, "has not ended"),
        (not span.incomplete and span.duration_s is None, NO_TIMES),
    )
    told = ", ".join(text for much, text in parts if much)
    return f"{span.name} {told or 'is itself the window'}"


def judge_order(expect: OrderExpect, forest: Forest) -> Iterator[Fault]:
    """Yield the pairs that are not in order, or of which a name selects nothing."""
    for first, second in expect.must_precede:
        yield from _ordered(expect, (first, second), f"expect.order.must_precede[{first}, {second}]", forest)
    for later, earlier in expect.must_follow:
        yield from _ordered(expect, (earlier, later), f"expect.order.must_follow[{later}, {earlier}]", forest)


def _ordered(expect: OrderExpect, pair: tuple[str, str], title: str, forest: Forest) -> Iterator[Fault]:
    """Yield a fault unless some (or every) span named first ends before some (or every) other starts."""
    earlier, later = (forest.named(name, expect.origin) for name in pair)
    for name, found in zip(pair, (earlier, later), strict=True):
        if not found:
            yield _missing(title, name, expect.origin, forest)
    if not earlier or not later:
        return
    if expect.every:
        ends = _outermost(earlier, lambda span: (span.duration_s is not None, -span.end_ns))
        starts = _outermost(later, lambda span: (span.start_ns > 0, span.start_ns))
    else:
        ends = _outermost(earlier, lambda span: (span.duration_s is None, span.end_ns))
        starts = _outermost(later, lambda span: (span.start_ns <= 0, -span.start_ns))
    tolerance_ns = int(expect.tolerance_s * 1e9)
    pairs = [
        (one, other, _precedes(one, other, 0 if process == another else tolerance_ns))
        for (process, one), (another, other) in product(ends, starts)
        if one is not other
    ]
    wrong = [(one, other) for one, other, ordered in pairs if not ordered]
    if not pairs:
        yield Fault(f"{title}: one span alone has both names", expect.origin)
    elif wrong and (expect.every or len(wrong) == len(pairs)):
        nearest = min(wrong, key=lambda pair: (pair[0].duration_s is None, pair[0].end_ns - pair[1].start_ns))
        said = f"not every {pair[0]} ends before every" if expect.every else f"no {pair[0]} ends before any"
        yield Fault(f"{title}: {said} {pair[1]} starts", expect.origin, (_order_text(*nearest),))


def _outermost(spans: list[Span], key: Callable[[Span], tuple[bool, int]]) -> list[tuple[str, Span]]:
    """Return the first two by *key* of each process: all that can decide about an order.

    Two, since one of them may be the very span that it would be compared with.
    """
    groups: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        groups[_process(span)].append(span)
    return [(process, span) for process, group in groups.items() for span in sorted(group, key=key)[:2]]


def _precedes(one: Span, other: Span, slack_ns: int) -> bool:
    """Tell whether *one* has ended before *other* starts; times that are missing tell nothing."""
    return one.duration_s is not None and 0 < other.start_ns >= one.end_ns - slack_ns


def _order_text(one: Span, other: Span) -> str:
    """Return by how much two spans are not in order."""
    if one.incomplete:
        return f"{one.name} has not ended"
    for span in (one, other):
        if span.start_ns <= 0 or (span is one and span.duration_s is None):
            return f"{span.name} {NO_TIMES}"
    late = duration_text((one.end_ns - other.start_ns) / 1e9)
    return f"nearest: {one.name} ends {late} after {other.name} starts"


def judge_counts(expect: CountsExpect, forest: Forest, named: frozenset[str]) -> Iterator[Fault]:
    """Yield the numbers that are out of bounds; a name that no span has counts 0.

    :param named: names of services that the file knows, whether or not they send spans.
    """
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
        number = sum(count for name, count in names.items() if matches_glob(name, glob))
        if fault := number_fault(bounds, number):
            misses = near_misses(SpanSelect(name=glob, origin=origin), forest)
            yield Fault(f"expect.counts.by_name[{glob}]: {fault}", origin, tuple(misses))
    services = Counter(span.service for span in spans)
    known = named | {span.service for span in forest.spans}
    for glob, bounds in expect.by_service.items():
        number = sum(count for name, count in services.items() if matches_glob(name, glob))
        fault = number_fault(bounds, number)
        if not fault and spans and not any(matches_glob(name, glob) for name in known):
            # A misspelt name never has a span.
            fault = "no span has this service.name, and no service of the file is called so"
        if fault:
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
