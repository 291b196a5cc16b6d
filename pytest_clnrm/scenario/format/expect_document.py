"""``[expect]`` of a scenario file in its canonical form: the tables and keys that it may hold.

Types, patterns and descriptions here are also the source of the JSON Schema. What types cannot say is checked
by :mod:`pytest_clnrm.scenario.format.expect_rules`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pytest_clnrm.model.expectations import Origin
from pytest_clnrm.model.span import SpanKind, SpanStatus
from pytest_clnrm.model.units import DURATION_PATTERN

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


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class LiteralDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


class CountDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of a number of things."""

    eq: Amount | None = None
    gte: Amount | None = None
    lte: Amount | None = None


Count = CountDoc | Amount


class DurationDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of a duration."""

    gt: Duration | None = None
    gte: Duration | None = None
    lt: Duration | None = None
    lte: Duration | None = None


class EventsDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names of events that a span must have."""

    any: list[Name] = []
    all: list[Name] = []


class SelectDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


Select = SelectDoc | Glob


class SpanDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


class EdgeDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A child span has such a parent (or ancestor)."""

    parent: Select
    child: Select
    relation: Literal["child", "descendant"] = "child"
    every: bool = False


class GraphDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of all spans together."""

    must_include: Pairs = []
    must_not_cross: Pairs = []
    acyclic: bool = False
    single_root: bool = False
    no_orphans: bool = False
    max_depth: Annotated[int, Meta(ge=1, description="A root has depth 1.")] | None = None
    origin: From = msgspec.field(default="workload", name="from")


class CountsDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many spans, events and errors there are."""

    spans_total: Count | None = None
    events_total: Count | None = None
    errors_total: Count | None = None
    by_name: dict[Glob, Count] = {}
    by_service: dict[Glob, Count] = {}
    origin: From = msgspec.field(default="workload", name="from")


class WindowDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each span named by contains lies within a span named by outer."""

    outer: Name
    contains: Annotated[list[Name], Meta(min_length=1)]
    max_duration: Duration | None = None
    origin: From = msgspec.field(default="workload", name="from")


class OrderDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes after what."""

    must_precede: Pairs = []
    must_follow: Pairs = []
    every: bool = False
    origin: From = msgspec.field(default="workload", name="from")


class StatusDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The status of all spans, or of those with a name."""

    all: SpanStatus | None = None
    by_name: dict[Glob, SpanStatus] = {}
    origin: From = msgspec.field(default="workload", name="from")


class ResourceAttrsDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the resource of each span must say."""

    must_match: AttrTests = {}


class SpanAttrsDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What no span's attributes may say."""

    forbid_keys: list[Name] = []


class HermeticityDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who was talked to, and what spans and resources must and must not say."""

    no_external_services: bool = False
    allowed_peers: list[Name] = []
    resource_attrs: ResourceAttrsDoc | None = None
    span_attrs: SpanAttrsDoc | None = None
    origin: From = msgspec.field(default="workload", name="from")


class ExpectDoc(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
