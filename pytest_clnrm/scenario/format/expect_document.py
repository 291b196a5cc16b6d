"""``[expect]`` of a scenario file in its canonical form: the tables and keys that it may hold.

Types, patterns and descriptions here are also the source of the JSON Schema. What types cannot say is checked
by :mod:`pytest_clnrm.scenario.format.expect_rules`.

What a file may say in several ways, the model says in one: ``built()`` of each table returns its part of
:class:`~pytest_clnrm.model.expectations.Expectations`.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from typing import Annotated, Any, Literal, overload

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pytest_clnrm.model.expectations import (
    OPERATORS,
    Condition,
    CountsExpect,
    EdgeExpect,
    Expectations,
    GraphExpect,
    HermeticityExpect,
    OrderExpect,
    Origin,
    SpanExpect,
    SpanSelect,
    StatusExpect,
    WindowExpect,
)
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.span import SpanKind, SpanStatus
from pytest_clnrm.model.units import DURATION_PATTERN, parse_duration_s
from pytest_clnrm.scenario.format.parts import At, Table, seconds

Glob = Annotated[
    str, Meta(min_length=1, description="A name; *, ? and [...] are wildcards, [*], [?] and [[] are not.")
]
Key = Annotated[str, Meta(min_length=1, description="The key of an attribute.")]
Scalar = str | int | float | bool
Number = int | float
Amount = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0, description="Seconds.")]
DurationText = Annotated[str, Meta(pattern=DURATION_PATTERN, description='Such as "500ms", "90s", "1.5m".')]
Duration = Seconds | DurationText


class LiteralDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name as it is, without wildcards."""

    equals: Annotated[str, Meta(min_length=1)]


Name = Glob | LiteralDoc
# Lengths are for the schema only: `check_expectations` says in words what a pair is.
Pair = Annotated[list[Name], Meta(extra_json_schema={"minItems": 2, "maxItems": 2})]
Pairs = list[Pair]
From = Annotated[Origin, Meta(description="Whose spans: the workload's, the runner's own, or any.")]


class _Comparisons(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The operators on the value of an attribute."""

    eq: Scalar | list[Scalar] | None = None
    ne: Scalar | list[Scalar] | None = None
    lt: Number | None = None
    lte: Number | None = None
    gt: Number | None = None
    gte: Number | None = None
    regex: Annotated[str, Meta(description="Searched anywhere in the text; Python's syntax.")] | None = None
    contains: Annotated[Scalar, Meta(description="A part of a text, or an element of a list.")] | None = None
    one_of: Annotated[list[Scalar], Meta(min_length=1)] | None = None
    json: (
        Annotated[Any, Meta(description="The text, read as JSON, has these members; lists must be the same.")]
        | UnsetType
    ) = UNSET
    exists: bool | None = None


class ConditionDoc(_Comparisons, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tests of one attribute; all of them must hold."""


class AttrAnyDoc(_Comparisons, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One alternative of attrs_any: an attribute and its tests."""

    key: Key


AttrTests = dict[Key, ConditionDoc | Scalar | list[Scalar]]


class CountDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of a number of things."""

    eq: Amount | None = None
    gte: Amount | None = None
    lte: Amount | None = None


Count = CountDoc | Amount


class DurationDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of a duration."""

    gt: Duration | None = None
    gte: Duration | None = None
    lt: Duration | None = None
    lte: Duration | None = None


class EventsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names of events that a span must have."""

    any: list[Name] = []
    all: list[Name] = []


class SelectDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which spans are meant; everything that is set must hold."""

    name: Name = "*"
    kind: SpanKind | None = None
    service: Name | None = None
    status: SpanStatus | None = None
    attrs: AttrTests = {}
    under: SelectDoc | Glob | None = None
    parent: SelectDoc | Glob | None = None
    event: Annotated[Name, Meta(description="One of its events has this name.")] | None = None
    link: SelectDoc | Glob | None = None
    scope: Annotated[Name, Meta(description="The instrumentation scope (tracer) that made it.")] | None = None
    resource: AttrTests = {}
    status_message: ConditionDoc | str | None = None
    origin: From | None = msgspec.field(default=None, name="from")

    def built(self, origin: Origin) -> SpanSelect:
        """Return the selection.

        :param origin: whose spans it means if it does not say so.
        """
        return SpanSelect(
            name=_glob(self.name),
            kind=self.kind,
            service=_glob(self.service),
            status=self.status,
            attrs=_by_key(self.attrs),
            under=_select(self.under, "any"),
            parent=_select(self.parent, "any"),
            event=_glob(self.event),
            link=_select(self.link, "any"),
            scope=_glob(self.scope),
            resource=_by_key(self.resource),
            status_message=_conditions(self.status_message),
            origin=self.origin or origin,
        )


Select = SelectDoc | Glob


class SpanDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many spans are selected, and what they are like."""

    select: Select = SelectDoc()
    count: Count | None = None
    match: Literal["all", "any"] = "all"
    kind: SpanKind | None = None
    status: SpanStatus | None = None
    parent: Select | None = None
    attrs: AttrTests = {}
    attrs_any: list[AttrAnyDoc] = []
    events: EventsDoc | None = None
    duration: DurationDoc | None = None

    def built(self, at: KeyPath) -> SpanExpect:
        """Return the expectation, which stands at *at*."""
        return SpanExpect(
            select=_select(self.select),
            count=SpanExpect().count if self.count is None else _conditions(self.count),
            match=self.match,
            kind=self.kind,
            status=self.status,
            parent=_select(self.parent, "any"),
            attrs=_by_key(self.attrs),
            attrs_any=tuple((each.key, _conditions(each)) for each in self.attrs_any),
            events_any=_globs(self.events.any) if self.events else (),
            events_all=_globs(self.events.all) if self.events else (),
            duration_s=_conditions(self.duration),
            at=at,
        )


class EdgeDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A child span has such a parent (or ancestor)."""

    parent: Select
    child: Select
    relation: Literal["child", "descendant"] = "child"
    every: bool = False

    def built(self, at: KeyPath) -> EdgeExpect:
        """Return the expectation, which stands at *at*."""
        parent, child = _select(self.parent), _select(self.child)
        return EdgeExpect(parent=parent, child=child, relation=self.relation, every=self.every, at=at)


class GraphDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of all spans together."""

    must_include: Pairs = []
    must_not_cross: Pairs = []
    acyclic: bool = False
    single_root: bool = False
    no_orphans: bool = False
    max_depth: Annotated[int, Meta(ge=1, description="A root has depth 1.")] | None = None
    origin: From = msgspec.field(default="workload", name="from")

    def built(self, at: KeyPath) -> GraphExpect:
        """Return the expectation, which stands at *at*."""
        return GraphExpect(
            must_include=_pairs(self.must_include),
            must_not_cross=_pairs(self.must_not_cross),
            acyclic=self.acyclic,
            single_root=self.single_root,
            no_orphans=self.no_orphans,
            max_depth=self.max_depth,
            origin=self.origin,
            at=at,
        )


class CountsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many spans, events and errors there are."""

    spans_total: Count | None = None
    events_total: Count | None = None
    errors_total: Count | None = None
    by_name: dict[Glob, Count] = {}
    by_service: dict[Glob, Count] = {}
    origin: From = msgspec.field(default="workload", name="from")

    def built(self, at: KeyPath) -> CountsExpect:
        """Return the expectation, which stands at *at*."""
        return CountsExpect(
            spans_total=_conditions(self.spans_total),
            events_total=_conditions(self.events_total),
            errors_total=_conditions(self.errors_total),
            by_name=_by_key(self.by_name),
            by_service=_by_key(self.by_service),
            origin=self.origin,
            at=at,
        )


class WindowDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each span named by contains lies within a span named by outer."""

    outer: Name
    contains: Annotated[list[Name], Meta(min_length=1)]
    max_duration: Duration | None = None
    origin: From = msgspec.field(default="workload", name="from")

    def built(self, at: KeyPath, tolerance_s: float) -> WindowExpect:
        """Return the expectation, which stands at *at*."""
        return WindowExpect(
            outer=_glob(self.outer),
            contains=_globs(self.contains),
            tolerance_s=tolerance_s,
            max_duration_s=None if self.max_duration is None else parse_duration_s(self.max_duration),
            origin=self.origin,
            at=at,
        )


class OrderDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes after what."""

    must_precede: Pairs = []
    must_follow: Pairs = []
    every: bool = False
    origin: From = msgspec.field(default="workload", name="from")

    def built(self, at: KeyPath, tolerance_s: float) -> OrderExpect:
        """Return the expectation, which stands at *at*."""
        return OrderExpect(
            must_precede=_pairs(self.must_precede),
            must_follow=_pairs(self.must_follow),
            every=self.every,
            tolerance_s=tolerance_s,
            origin=self.origin,
            at=at,
        )


class StatusDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The status of all spans, or of those with a name."""

    all: SpanStatus | None = None
    by_name: dict[Glob, SpanStatus] = {}
    origin: From = msgspec.field(default="workload", name="from")

    def built(self, at: KeyPath) -> StatusExpect:
        """Return the expectation, which stands at *at*."""
        return StatusExpect(all=self.all, by_name=dict(self.by_name), origin=self.origin, at=at)


class ResourceAttrsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the resource of each span must say."""

    must_match: AttrTests = {}


class SpanAttrsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What no span's attributes may say."""

    forbid_keys: list[Name] = []


class HermeticityDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who was talked to, and what spans and resources must and must not say."""

    no_external_services: bool = False
    allowed_peers: list[Name] = []
    resource_attrs: ResourceAttrsDoc | None = None
    span_attrs: SpanAttrsDoc | None = None
    origin: From = msgspec.field(default="workload", name="from")

    def built(self, at: KeyPath) -> HermeticityExpect:
        """Return the expectation, which stands at *at*."""
        return HermeticityExpect(
            no_external_services=self.no_external_services,
            allowed_peers=_globs(self.allowed_peers),
            resource_attrs=_by_key(self.resource_attrs.must_match) if self.resource_attrs else {},
            forbid_keys=_globs(self.span_attrs.forbid_keys) if self.span_attrs else (),
            origin=self.origin,
            at=at,
        )


class ExpectDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the spans of a scenario must look like."""

    span: list[SpanDoc] = []
    edge: list[EdgeDoc] = []
    graph: GraphDoc | None = None
    counts: CountsDoc | None = None
    window: list[WindowDoc] = []
    order: OrderDoc | None = None
    status: StatusDoc | None = None
    hermeticity: HermeticityDoc | None = None
    wait: Annotated[Duration, Meta(description="How long spans are waited for at most; 5 s.")] | None = None
    settle: (
        Annotated[Duration, Meta(description="How long it must be quiet once enough has arrived; 400 ms.")]
        | None
    ) = None
    tolerance: (
        Annotated[Duration, Meta(description="How far the clocks of two processes may be apart; 0.")] | None
    ) = None

    def built(self, at: At) -> Expectations:
        """Return what is expected."""
        tolerance_s = 0.0 if self.tolerance is None else parse_duration_s(self.tolerance)
        return Expectations(
            spans=tuple(each.built(at("span", index)) for index, each in enumerate(self.span)),
            edges=tuple(each.built(at("edge", index)) for index, each in enumerate(self.edge)),
            graph=self.graph.built(at("graph")) if self.graph else None,
            counts=self.counts.built(at("counts")) if self.counts else None,
            windows=tuple(
                each.built(at("window", index), tolerance_s) for index, each in enumerate(self.window)
            ),
            order=self.order.built(at("order"), tolerance_s) if self.order else None,
            status=self.status.built(at("status")) if self.status else None,
            hermeticity=self.hermeticity.built(at("hermeticity")) if self.hermeticity else None,
            **seconds(wait=self.wait, settle=self.settle),
        )


@overload
def _glob(name: Name) -> str: ...
@overload
def _glob(name: Name | None) -> str | None: ...
def _glob(name: Name | None) -> str | None:
    """Return a name as a glob."""
    return glob.escape(name.equals) if isinstance(name, LiteralDoc) else name


def _globs(names: list[Name]) -> tuple[str, ...]:
    return tuple(map(_glob, names))


def _pairs(pairs: Pairs) -> tuple[tuple[str, str], ...]:
    return tuple((_glob(first), _glob(second)) for first, second in pairs)


@overload
def _select(select: Select, origin: Origin = "workload") -> SpanSelect: ...
@overload
def _select(select: Select | None, origin: Origin = "workload") -> SpanSelect | None: ...
def _select(select: Select | None, origin: Origin = "workload") -> SpanSelect | None:
    """Return a selection; a name alone selects the spans of *origin* that are called so."""
    if select is None:
        return None
    return SpanSelect(name=select, origin=origin) if isinstance(select, str) else select.built(origin)


def _conditions(test: Any) -> tuple[Condition, ...]:
    """Return a condition for each operator that is set, durations in seconds; a bare value means ``eq``."""
    if test is None:
        return ()
    if not isinstance(test, msgspec.Struct):
        return (Condition(op="eq", value=_frozen(test)),)
    given = {op: getattr(test, op, None) for op in OPERATORS if op != "json"}
    read = parse_duration_s if isinstance(test, DurationDoc) else _frozen
    found = [Condition(op=op, value=read(value)) for op, value in given.items() if value is not None]
    # Null is a value in JSON, and its lists stay lists.
    json = getattr(test, "json", UNSET)
    return (*found, *(() if json is UNSET else (Condition(op="json", value=json),)))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _by_key(tests: Mapping[str, Any]) -> dict[str, tuple[Condition, ...]]:
    return {key: _conditions(test) for key, test in tests.items()}
