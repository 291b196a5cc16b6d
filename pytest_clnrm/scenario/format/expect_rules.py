"""Mistakes in ``[expect]`` that types cannot say: each with the path of its key.

A check that could never fail, or never pass, is a mistake of the file, not an outcome of its run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import UNSET

from pytest_clnrm.model.expectations import OPERATORS
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.units import parse_duration_s
from pytest_clnrm.scenario.format.expect_document import (
    CountsDoc,
    ExpectDoc,
    GraphDoc,
    HermeticityDoc,
    SpanDoc,
)
from pytest_clnrm.scenario.format.span_document import (
    AttrAnyDoc,
    ConditionDoc,
    DurationDoc,
    Name,
    SelectDoc,
    SpanCountDoc,
)
from pytest_clnrm.util.patterns import problem_of

Mistakes = Iterator[tuple[KeyPath, str]]


def check_expectations(doc: ExpectDoc, at: KeyPath) -> list[tuple[KeyPath, str]]:
    """Return the mistakes in *doc*, each a key path and what is wrong with what stands there.

    :param at: the path of the table.
    """
    return list(_expect(doc, at))


def _expect(doc: ExpectDoc, at: KeyPath) -> Mistakes:
    for key in ("wait", "settle", "tolerance"):
        yield from _duration_value(getattr(doc, key), (*at, key))
    for index, span in enumerate(doc.span):
        yield from _span(span, (*at, "span", index))
    for index, edge in enumerate(doc.edge):
        yield from _select(edge.parent, (*at, "edge", index, "parent"))
        yield from _select(edge.child, (*at, "edge", index, "child"))
    if doc.graph:
        yield from _graph(doc.graph, (*at, "graph"))
    if doc.counts:
        yield from _counts(doc.counts, (*at, "counts"))
    for index, window in enumerate(doc.window):
        yield from _duration_value(window.max_duration, (*at, "window", index, "max_duration"))
    if doc.order:
        yield from _pairs(doc.order.must_precede, (*at, "order", "must_precede"), "[first, second]")
        yield from _pairs(doc.order.must_follow, (*at, "order", "must_follow"), "[later, earlier]")
        if not (doc.order.must_precede or doc.order.must_follow):
            yield (*at, "order"), _nothing("must_precede, must_follow")
    if doc.status and not (doc.status.all or doc.status.by_name):
        yield (*at, "status"), _nothing("all, by_name")
    if doc.hermeticity:
        yield from _hermeticity(doc.hermeticity, (*at, "hermeticity"))


def _nothing(allowed: str) -> str:
    """Return what is said of a table that checks nothing."""
    return f"this checks nothing; set at least one of {allowed}"


def _span(doc: SpanDoc, at: KeyPath) -> Mistakes:
    yield from _select(doc.select, (*at, "select"))
    if doc.parent is not None:
        yield from _select(doc.parent, (*at, "parent"))
    yield from _attrs(doc.attrs, (*at, "attrs"))
    for index, each in enumerate(doc.attrs_any):
        yield from _condition(each, (*at, "attrs_any", index))
    if doc.events and not (doc.events.any or doc.events.all):
        yield (*at, "events"), _nothing("any, all")
    if doc.duration:
        yield from _duration(doc.duration, (*at, "duration"))
    if doc.count is None:
        return
    checks = ("kind", "status", "parent", "attrs", "attrs_any", "events", "duration")
    idle = [key for key in checks if getattr(doc, key)]
    yield from _count(doc.count, (*at, "count")) if idle else _total(doc.count, (*at, "count"))
    most = doc.count if isinstance(doc.count, int) else _most(doc.count)
    if most == 0 and idle:
        yield (*at, "count"), f"this allows no span, so these are never judged: {', '.join(idle)}"


def _most(count: SpanCountDoc) -> int | None:
    return count.lte if count.eq is None else count.eq


def _select(doc: SelectDoc | str, at: KeyPath) -> Mistakes:
    if isinstance(doc, str):
        return
    yield from _attrs(doc.attrs, (*at, "attrs"))
    yield from _attrs(doc.resource, (*at, "resource"))
    if isinstance(doc.status_message, ConditionDoc):
        yield from _condition(doc.status_message, (*at, "status_message"))
    for key in ("under", "parent", "link"):
        nested = getattr(doc, key)
        if nested is not None:
            yield from _select(nested, (*at, key))


def _attrs(tests: Mapping[str, Any], at: KeyPath) -> Mistakes:
    for key, test in tests.items():
        if isinstance(test, ConditionDoc):
            yield from _condition(test, (*at, key))


def _condition(doc: ConditionDoc | AttrAnyDoc, at: KeyPath) -> Mistakes:
    given = _given(doc)
    if not given:
        yield at, _nothing(", ".join(OPERATORS))
    if doc.exists is False and len(given) > 1:
        others = ", ".join(op for op in given if op != "exists")
        yield (*at, "exists"), f"an attribute that must not be there cannot also be tested by {others}"
    for op in ("regex", "contains"):
        if given.get(op) == "":
            yield (*at, op), "is empty, so it says nothing"
    if doc.regex is not None:
        problem = problem_of(doc.regex)
        if problem:
            yield (*at, "regex"), f"not a regular expression: {problem}"
    yield from bounds({op: value for op, value in given.items() if op in BOUNDS and _is_number(value)}, at)


BOUNDS = ("eq", "lt", "lte", "gt", "gte")


def _is_number(value: Any) -> bool:
    """Tell whether *value* is a number; a boolean is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _given(doc: ConditionDoc | AttrAnyDoc | SpanCountDoc | DurationDoc) -> dict[str, Any]:
    """Return the operators that are set, with their values."""
    given = {op: getattr(doc, op, None) for op in OPERATORS}
    return {op: value for op, value in given.items() if value is not None and value is not UNSET}


def bounds(given: Mapping[str, float], at: KeyPath, written: Mapping[str, Any] | None = None) -> Mistakes:
    """Yield a mistake if no number is within *given*.

    :param written: the bounds as the file has them, if that is not how they are compared.
    """
    lowest = max(given.get(op, float("-inf")) for op in ("eq", "gt", "gte"))
    highest = min(given.get(op, float("inf")) for op in ("eq", "lt", "lte"))
    open_ended = given.get("gt") == lowest or given.get("lt") == highest
    if lowest > highest or (lowest == highest and open_ended):
        shown = " and ".join(f"{op} = {value}" for op, value in (written or given).items())
        yield at, f"no value can be {shown}"


def _count(doc: SpanCountDoc | int, at: KeyPath) -> Mistakes:
    if isinstance(doc, SpanCountDoc):
        given = _given(doc)
        if not given:
            yield at, _nothing("eq, gte, lte")
        yield from bounds(given, at)


def _total(doc: SpanCountDoc | int, at: KeyPath) -> Mistakes:
    """Yield the mistakes of a number that nothing else is asked of."""
    yield from _count(doc, at)
    if isinstance(doc, SpanCountDoc) and _given(doc) == {"gte": 0}:
        yield at, "every number is so: this checks nothing"


def _duration(doc: DurationDoc, at: KeyPath) -> Mistakes:
    given = _given(doc)
    if not given:
        yield at, _nothing("gt, gte, lt, lte")
    wrong = [each for op, value in given.items() for each in _duration_value(value, (*at, op))]
    yield from wrong
    if not wrong:
        yield from bounds({op: parse_duration_s(value) for op, value in given.items()}, at, given)


def _duration_value(value: object, at: KeyPath) -> Mistakes:
    """Yield a mistake if *value* is neither None nor a duration."""
    if value is not None:
        try:
            parse_duration_s(value)
        except ValueError as error:
            yield at, str(error)


def _pairs(pairs: list[list[Name]], at: KeyPath, form: str) -> Mistakes:
    """Yield a mistake for each of *pairs* that is none."""
    for index, pair in enumerate(pairs):
        if len(pair) != 2:  # noqa: PLR2004 - a pair is two
            yield (*at, index), f"expected a pair {form}, got {len(pair)} names"


def _graph(doc: GraphDoc, at: KeyPath) -> Mistakes:
    checks = ("must_include", "must_not_cross", "acyclic", "single_root", "no_orphans", "max_depth")
    if not any(getattr(doc, key) for key in checks):
        yield at, _nothing(", ".join(checks))
    for key in ("must_include", "must_not_cross"):
        yield from _pairs(getattr(doc, key), (*at, key), "[parent, child]")
    for index, pair in enumerate(doc.must_not_cross):
        if pair in doc.must_include:
            yield (*at, "must_not_cross", index), f"must_include asks for the same edge {pair}"


def _counts(doc: CountsDoc, at: KeyPath) -> Mistakes:
    totals = ("spans_total", "events_total", "errors_total")
    for key in totals:
        if getattr(doc, key) is not None:
            yield from _total(getattr(doc, key), (*at, key))
    for key in ("by_name", "by_service"):
        for name, count in getattr(doc, key).items():
            yield from _total(count, (*at, key, name))
    if all(getattr(doc, key) is None for key in totals) and not (doc.by_name or doc.by_service):
        yield at, _nothing(f"{', '.join(totals)}, by_name, by_service")


def _hermeticity(doc: HermeticityDoc, at: KeyPath) -> Mistakes:
    if doc.resource_attrs:
        yield from _attrs(doc.resource_attrs.must_match, (*at, "resource_attrs", "must_match"))
    required = doc.resource_attrs and doc.resource_attrs.must_match
    forbidden = doc.span_attrs and doc.span_attrs.forbid_keys
    if doc.allowed_peers and not doc.no_external_services:
        yield (*at, "allowed_peers"), "this has no effect without no_external_services = true"
    elif not (doc.no_external_services or required or forbidden):
        yield at, _nothing("no_external_services, resource_attrs.must_match, span_attrs.forbid_keys")
