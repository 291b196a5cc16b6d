"""``[[expect.span]]`` and ``[[expect.edge]]``: expectations about spans that are selected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pytest_clnrm.expect.conditions import (
    Fault,
    attribute_faults,
    bounds_hold,
    bounds_text,
    matches_any,
    number_of_spans,
)
from pytest_clnrm.expect.forest import Forest
from pytest_clnrm.expect.span_select import (
    near_misses,
    parent_faults,
    select_spans,
    select_text,
    unknown_names,
)
from pytest_clnrm.expect.texts import bounded_lines, duration_text, how_many_more
from pytest_clnrm.model.expectations import EdgeExpect, SpanExpect
from pytest_clnrm.model.span import Span
from pytest_clnrm.util.patterns import matches_glob

SHOWN = 10


def judge_span(expect: SpanExpect, forest: Forest) -> Iterator[Fault]:
    """Yield what is wrong: the number of spans selected, then what they are like."""
    title = f"expect.span[{expect.select.name}]"
    origin = expect.select.origin
    selected = select_spans(expect.select, forest)
    asked = f"selected by: {select_text(expect.select)}"
    if not bounds_hold(expect.count, len(selected)):
        message = f"{title}: {number_of_spans(len(selected))} selected, expected {bounds_text(expect.count)}"
        names = bounded_lines([f"selected: {each.name}" for each in selected], SHOWN)
        yield Fault(message, origin, (asked, *names, *near_misses(expect.select, forest)))
    elif not selected:
        # A misspelt name never has anything under it.
        for unknown in unknown_names(expect.select, forest):
            yield Fault(f"{title}: none selected, but {unknown}", origin)
        if expect.match == "any" and expect.asks_more:
            message = f'{title}: no span selected, and match = "any" needs one that is as expected'
            yield Fault(message, origin, (asked, *near_misses(expect.select, forest)))
    judged = [(span, _faults(expect, span, forest)) for span in selected]
    wrong = [(span, faults) for span, faults in judged if faults]
    if not wrong or (expect.match == "any" and len(wrong) < len(judged)):
        return
    first = min(wrong, key=lambda each: len(each[1]))[1][0]
    if len(judged) == 1:
        summary = first
    elif expect.match == "any":
        summary = f"none of {len(judged)} spans is as expected; the nearest: {first}"
    else:
        summary = f"{len(wrong)} of {len(judged)} spans not as expected; the nearest: {first}"
    lines = [f"{span.name}: {'; '.join(faults)}" for span, faults in wrong]
    yield Fault(f"{title}: {summary}", origin, tuple(bounded_lines(lines, SHOWN, "spans")))


def _faults(expect: SpanExpect, span: Span, forest: Forest) -> list[str]:
    """Return why a selected span is not as expected."""
    faults = []
    if expect.kind not in (None, span.kind):
        faults.append(f"kind is {span.kind}, expected {expect.kind}")
    if expect.status not in (None, span.status):
        faults.append(status_fault(span, str(expect.status)))
    if expect.parent is not None:
        faults.extend(parent_faults(expect.parent, span, forest))
    faults.extend(attribute_faults(expect.attrs, span.attributes, left_out=span.dropped_attributes))
    faults.extend(_any_attribute(expect, span))
    faults.extend(_events(expect, span))
    if expect.duration_s:
        wanted = bounds_text(expect.duration_s, duration_text)
        took_s = span.duration_s
        if took_s is None:
            why = "it has not ended" if span.incomplete else "its times are missing or in the wrong order"
            faults.append(f"{why}, expected a duration of {wanted}")
        elif not bounds_hold(expect.duration_s, took_s):
            faults.append(f"it took {duration_text(took_s)}, expected {wanted}")
    return faults


def status_fault(span: Span, expected: str) -> str:
    """Return what is wrong with a status."""
    said = f" ({span.status_message})" if span.status_message else ""
    note = "; a program has to set ok itself, unset means no error" if span.status == "unset" else ""
    return f"status is {span.status}{said}, expected {expected}{note if expected == 'ok' else ''}"


def _any_attribute(expect: SpanExpect, span: Span) -> list[str]:
    """Return why none of ``attrs_any`` holds, as one text; nothing if one does."""
    tried = [
        attribute_faults({key: tests}, span.attributes, left_out=span.dropped_attributes)
        for key, tests in expect.attrs_any
    ]
    if not tried or not all(tried):
        return []
    return [f"none of attrs_any holds: {', '.join(each for faults in tried for each in faults)}"]


def _events(expect: SpanExpect, span: Span) -> list[str]:
    names = [event.name for event in span.events]
    got = f"got {', '.join(bounded_lines(list(dict.fromkeys(names)), SHOWN, 'events')) or 'none'}"
    faults = [
        f"event {glob!r} is missing, {got}"
        for glob in expect.events_all
        if not any(matches_glob(name, glob) for name in names)
    ]
    if expect.events_any and not any(matches_any(name, expect.events_any) for name in names):
        faults.append(f"none of the events {', '.join(map(repr, expect.events_any))} is there, {got}")
    return faults


def judge_edge(expect: EdgeExpect, forest: Forest) -> Iterator[Fault]:
    """Yield what is wrong: no child at all, or children without such a parent."""
    title = f"expect.edge[{expect.parent.name} -> {expect.child.name}]"
    origin = expect.child.origin
    parents = select_spans(expect.parent, forest)
    children = select_spans(expect.child, forest)
    for what, select, found in (("parent", expect.parent, parents), ("child", expect.child, children)):
        if not found:
            message = f"{title}: no span selected as {what}"
            details = (f"selected by: {select_text(select)}", *near_misses(select, forest))
            yield Fault(message, select.origin, details)
    if not parents or not children:
        return
    if expect.relation == "descendant":
        below = forest.below(parents)
        without = [span for span in children if id(span) not in below]
    else:
        above = set(map(id, parents))
        without = [span for span in children if id(forest.parent(span)) not in above]
    if not without or (not expect.every and len(without) < len(children)):
        return
    relation = "a parent" if expect.relation == "child" else "an ancestor"
    message = f"{title}: {len(without)} of {number_of_spans(len(children))} without such {relation}"
    yield Fault(message, origin, told_of_first(without, lambda span: above_text(span, forest)))


def told_of_first(spans: Sequence[Span], tell: Callable[[Span], str]) -> tuple[str, ...]:
    """Return what is told of the first of *spans*, a line each, then how many more there are.

    :param tell: is asked for what is shown alone, as it may take long.
    """
    return (*map(tell, spans[:SHOWN]), *how_many_more(len(spans), SHOWN, "spans"))


def above_text(span: Span, forest: Forest) -> str:
    """Return *span* and the chain of what is above it."""
    names = [each.name for each in forest.ancestors(span)]
    gone = f"{span.parent_id}, which never arrived" if span.parent_id else "none"
    return f"{span.name}: above it is {' < '.join(bounded_lines(names, SHOWN, 'spans')) or gone}"
