"""From the document of ``[expect]`` to :class:`~pytest_clnrm.model.expectations.Expectations`."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping

from msgspec import UNSET

from pytest_clnrm.model.expectations import (
    OPERATORS,
    Condition,
    CountsExpect,
    EdgeExpect,
    Expectations,
    GraphExpect,
    HermeticityExpect,
    KeyPath,
    OrderExpect,
    Origin,
    SpanExpect,
    SpanSelect,
    StatusExpect,
    WindowExpect,
)
from pytest_clnrm.model.units import parse_duration_s
from pytest_clnrm.scenario.format.expect_document import (
    AttrAnyDoc,
    ConditionDoc,
    Count,
    CountDoc,
    CountsDoc,
    DurationDoc,
    EdgeDoc,
    ExpectDoc,
    GraphDoc,
    HermeticityDoc,
    LiteralDoc,
    Name,
    OrderDoc,
    Scalar,
    Select,
    SpanDoc,
    StatusDoc,
    WindowDoc,
)


def build_expectations(doc: ExpectDoc, at: KeyPath) -> Expectations:
    """Return what *doc* expects.

    :param doc: in which :func:`~pytest_clnrm.scenario.format.expect_rules.check_expectations` finds none.
    :param at: the path of the table.
    """
    defaults = Expectations()
    tolerance_s = 0.0 if doc.tolerance is None else parse_duration_s(doc.tolerance)
    return Expectations(
        spans=tuple(_span(each, (*at, "span", index)) for index, each in enumerate(doc.span)),
        edges=tuple(_edge(each, (*at, "edge", index)) for index, each in enumerate(doc.edge)),
        graph=_graph(doc.graph, (*at, "graph")) if doc.graph else None,
        counts=_counts(doc.counts, (*at, "counts")) if doc.counts else None,
        windows=tuple(
            _window(each, (*at, "window", index), tolerance_s) for index, each in enumerate(doc.window)
        ),
        order=_order(doc.order, (*at, "order"), tolerance_s) if doc.order else None,
        status=_status(doc.status, (*at, "status")) if doc.status else None,
        hermeticity=_hermeticity(doc.hermeticity, (*at, "hermeticity")) if doc.hermeticity else None,
        wait_s=defaults.wait_s if doc.wait is None else parse_duration_s(doc.wait),
        settle_s=defaults.settle_s if doc.settle is None else parse_duration_s(doc.settle),
    )


def _span(doc: SpanDoc, at: KeyPath) -> SpanExpect:
    return SpanExpect(
        select=_select(doc.select),
        count=SpanExpect().count if doc.count is None else _count(doc.count),
        match=doc.match,
        kind=doc.kind,
        status=doc.status,
        parent=None if doc.parent is None else _select(doc.parent, "any"),
        attrs=_attrs(doc.attrs),
        attrs_any=tuple((each.key, _comparisons(each)) for each in doc.attrs_any),
        events_any=_names(doc.events.any) if doc.events else (),
        events_all=_names(doc.events.all) if doc.events else (),
        duration_s=_duration(doc.duration) if doc.duration else (),
        at=at,
    )


def _select(doc: Select, origin: Origin = "workload") -> SpanSelect:
    """Build a selection.

    :param origin: whose spans it means if it does not say so.
    """
    if isinstance(doc, str):
        return SpanSelect(name=doc, origin=origin)
    return SpanSelect(
        name=_name(doc.name),
        kind=doc.kind,
        service=None if doc.service is None else _name(doc.service),
        status=doc.status,
        attrs=_attrs(doc.attrs),
        under=None if doc.under is None else _select(doc.under, "any"),
        parent=None if doc.parent is None else _select(doc.parent, "any"),
        event=None if doc.event is None else _name(doc.event),
        link=None if doc.link is None else _select(doc.link, "any"),
        scope=None if doc.scope is None else _name(doc.scope),
        resource=_attrs(doc.resource),
        status_message=() if doc.status_message is None else _attrs({"": doc.status_message})[""],
        origin=doc.origin or origin,
    )


def _name(doc: Name) -> str:
    """Return a name as a glob."""
    return glob.escape(doc.equals) if isinstance(doc, LiteralDoc) else doc


def _names(doc: Iterable[Name]) -> tuple[str, ...]:
    return tuple(map(_name, doc))


def _attrs(
    tests: Mapping[str, ConditionDoc | Scalar | list[Scalar]],
) -> dict[str, tuple[Condition, ...]]:
    """Build the tests of attributes; a bare value means ``eq``."""
    return {
        key: _comparisons(test)
        if isinstance(test, ConditionDoc)
        else (Condition(op="eq", value=_frozen(test)),)
        for key, test in tests.items()
    }


def _comparisons(doc: ConditionDoc | AttrAnyDoc | CountDoc) -> tuple[Condition, ...]:
    """Build a condition for each operator that is set."""
    given = ((op, getattr(doc, op, None)) for op in OPERATORS if op != "json")
    found = [Condition(op=op, value=_frozen(value)) for op, value in given if value is not None]
    if not isinstance(doc, CountDoc) and doc.json is not UNSET:
        found.append(Condition(op="json", value=doc.json))
    return tuple(found)


def _frozen(value: Scalar | list[Scalar]) -> Scalar | tuple[Scalar, ...]:
    return tuple(value) if isinstance(value, list) else value


def _count(doc: Count) -> tuple[Condition, ...]:
    """Build bounds of a number; a bare number means ``eq``."""
    return _comparisons(doc) if isinstance(doc, CountDoc) else (Condition(op="eq", value=doc),)


def _counts_by(doc: Mapping[str, Count]) -> dict[str, tuple[Condition, ...]]:
    return {name: _count(count) for name, count in doc.items()}


def _duration(doc: DurationDoc) -> tuple[Condition, ...]:
    """Build bounds of a duration, in seconds."""
    given = ((op, getattr(doc, op, None)) for op in OPERATORS)
    return tuple(Condition(op=op, value=parse_duration_s(value)) for op, value in given if value is not None)


def _edge(doc: EdgeDoc, at: KeyPath) -> EdgeExpect:
    return EdgeExpect(
        parent=_select(doc.parent),
        child=_select(doc.child),
        relation=doc.relation,
        every=doc.every,
        at=at,
    )


def _pairs(doc: list[list[Name]]) -> tuple[tuple[str, str], ...]:
    return tuple((_name(first), _name(second)) for first, second in doc)


def _graph(doc: GraphDoc, at: KeyPath) -> GraphExpect:
    return GraphExpect(
        must_include=_pairs(doc.must_include),
        must_not_cross=_pairs(doc.must_not_cross),
        acyclic=doc.acyclic,
        single_root=doc.single_root,
        no_orphans=doc.no_orphans,
        max_depth=doc.max_depth,
        origin=doc.origin,
        at=at,
    )


def _counts(doc: CountsDoc, at: KeyPath) -> CountsExpect:
    return CountsExpect(
        spans_total=() if doc.spans_total is None else _count(doc.spans_total),
        events_total=() if doc.events_total is None else _count(doc.events_total),
        errors_total=() if doc.errors_total is None else _count(doc.errors_total),
        by_name=_counts_by(doc.by_name),
        by_service=_counts_by(doc.by_service),
        origin=doc.origin,
        at=at,
    )


def _window(doc: WindowDoc, at: KeyPath, tolerance_s: float) -> WindowExpect:
    return WindowExpect(
        outer=_name(doc.outer),
        contains=_names(doc.contains),
        tolerance_s=tolerance_s,
        max_duration_s=None if doc.max_duration is None else parse_duration_s(doc.max_duration),
        origin=doc.origin,
        at=at,
    )


def _order(doc: OrderDoc, at: KeyPath, tolerance_s: float) -> OrderExpect:
    return OrderExpect(
        must_precede=_pairs(doc.must_precede),
        must_follow=_pairs(doc.must_follow),
        every=doc.every,
        tolerance_s=tolerance_s,
        origin=doc.origin,
        at=at,
    )


def _status(doc: StatusDoc, at: KeyPath) -> StatusExpect:
    return StatusExpect(all=doc.all, by_name=dict(doc.by_name), origin=doc.origin, at=at)


def _hermeticity(doc: HermeticityDoc, at: KeyPath) -> HermeticityExpect:
    return HermeticityExpect(
        no_external_services=doc.no_external_services,
        allowed_peers=_names(doc.allowed_peers),
        resource_attrs=_attrs(doc.resource_attrs.must_match) if doc.resource_attrs else {},
        forbid_keys=_names(doc.span_attrs.forbid_keys) if doc.span_attrs else (),
        origin=doc.origin,
        at=at,
    )
