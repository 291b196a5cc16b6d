"""``[expect]`` of a scenario file in its canonical form: the tables and keys that it may hold.

Types, patterns and descriptions here are also the source of the JSON Schema. What types cannot say is checked
by :mod:`pytest_clnrm.scenario.format.expect_rules`.

What a file may say in several ways, the model says in one: ``built()`` of each table returns its part of
:class:`~pytest_clnrm.model.expectations.Expectations`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pytest_clnrm.model.expectations import (
    CountsExpect,
    EdgeExpect,
    Expectations,
    GraphExpect,
    HermeticityExpect,
    OrderExpect,
    SpanExpect,
    StatusExpect,
    WindowExpect,
)
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.span import SpanKind, SpanStatus
from pytest_clnrm.model.units import parse_duration_s
from pytest_clnrm.scenario.format.parts import At, Duration, Table, seconds
from pytest_clnrm.scenario.format.span_document import (
    AttrAnyDoc,
    AttrTests,
    Count,
    DurationDoc,
    EventsDoc,
    From,
    Glob,
    Name,
    Pairs,
    Select,
    SelectDoc,
    by_key,
    conditions_of,
    glob_of,
    globs_of,
    pairs_of,
    select_of,
)


class SpanDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many spans are selected, and what they are like."""

    select: Annotated[
        Select,
        Meta(
            description="Which spans; default: all of the workload.",
            examples=["GET *", {"name": "GET *", "kind": "server"}],
        ),
    ] = SelectDoc()
    count: (
        Annotated[
            Count, Meta(description="How many there are; default: at least one.", examples=[2, {"gte": 1}])
        ]
        | None
    ) = None
    match: Annotated[
        Literal["all", "any"],
        Meta(description="Whether each of them is as below, or one at least.", examples=["any"]),
    ] = "all"
    kind: Annotated[SpanKind, Meta(description="What they are.", examples=["server"])] | None = None
    status: Annotated[SpanStatus, Meta(description="As the program set it.", examples=["ok"])] | None = None
    parent: Annotated[Select, Meta(description="What their parent is.", examples=["GET *"])] | None = None
    attrs: Annotated[
        AttrTests,
        Meta(
            description="Their attributes: values, or tables of tests.",
            examples=[{"http.response.status_code": {"lt": 400}}],
        ),
    ] = {}
    attrs_any: Annotated[
        list[AttrAnyDoc],
        Meta(
            description="One of these tests holds.",
            examples=[[{"key": "db.system", "eq": "mysql"}, {"key": "db.system", "eq": "postgresql"}]],
        ),
    ] = []
    events: (
        Annotated[EventsDoc, Meta(description="Which events they have.", examples=[{"any": ["retry"]}])]
        | None
    ) = None
    duration: (
        Annotated[DurationDoc, Meta(description="How long they take.", examples=[{"lt": "500ms"}])] | None
    ) = None

    def built(self, at: KeyPath) -> SpanExpect:
        """Return the expectation, which stands at *at*."""
        return SpanExpect(
            select=select_of(self.select),
            count=SpanExpect().count if self.count is None else conditions_of(self.count),
            match=self.match,
            kind=self.kind,
            status=self.status,
            parent=select_of(self.parent, "any"),
            attrs=by_key(self.attrs),
            attrs_any=tuple((each.key, conditions_of(each)) for each in self.attrs_any),
            events_any=globs_of(self.events.any) if self.events else (),
            events_all=globs_of(self.events.all) if self.events else (),
            duration_s=conditions_of(self.duration),
            at=at,
        )


class EdgeDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A child span has such a parent (or ancestor)."""

    parent: Annotated[Select, Meta(description="The span above.", examples=["POST /orders"])]
    child: Annotated[
        Select, Meta(description="The span below.", examples=[{"name": "db.*", "kind": "client"}])
    ]
    relation: Annotated[
        Literal["child", "descendant"], Meta(description="How far below.", examples=["descendant"])
    ] = "child"
    every: Annotated[
        bool,
        Meta(description="true: every such child has such a parent; else one is enough.", examples=[True]),
    ] = False

    def built(self, at: KeyPath) -> EdgeExpect:
        """Return the expectation, which stands at *at*."""
        parent, child = select_of(self.parent), select_of(self.child)
        return EdgeExpect(parent=parent, child=child, relation=self.relation, every=self.every, at=at)


class GraphDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of all spans together."""

    must_include: Annotated[
        Pairs,
        Meta(
            description="Some span of the second name is a child of one of the first.",
            examples=[[["POST /orders", "db.insert"]]],
        ),
    ] = []
    must_not_cross: Annotated[
        Pairs,
        Meta(
            description="No span of the second name is below one of the first, at any distance.",
            examples=[[["GET *", "db.insert"]]],
        ),
    ] = []
    acyclic: Annotated[bool, Meta(description="true: no span is above itself.", examples=[True])] = False
    single_root: Annotated[bool, Meta(description="true: one span alone has no parent.", examples=[True])] = (
        False
    )
    no_orphans: Annotated[
        bool, Meta(description="true: every parent that is named has arrived.", examples=[True])
    ] = False
    max_depth: (
        Annotated[int, Meta(ge=1, description="How deep they are at most; a root has depth 1.", examples=[5])]
        | None
    ) = None
    origin: From = msgspec.field(default="workload", name="from")

    def built(self, at: KeyPath) -> GraphExpect:
        """Return the expectation, which stands at *at*."""
        return GraphExpect(
            must_include=pairs_of(self.must_include),
            must_not_cross=pairs_of(self.must_not_cross),
            acyclic=self.acyclic,
            single_root=self.single_root,
            no_orphans=self.no_orphans,
            max_depth=self.max_depth,
            origin=self.origin,
            at=at,
        )


class CountsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many spans, events and errors there are."""

    spans_total: Annotated[Count, Meta(description="How many spans.", examples=[{"lte": 100}])] | None = None
    events_total: (
        Annotated[Count, Meta(description="How many events they have.", examples=[{"gte": 1}])] | None
    ) = None
    errors_total: (
        Annotated[Count, Meta(description="How many of them have status error.", examples=[0])] | None
    ) = None
    by_name: Annotated[
        dict[Glob, Count], Meta(description="How many of a name.", examples=[{"db.*": {"eq": 2}}])
    ] = {}
    by_service: Annotated[
        dict[Glob, Count], Meta(description="How many of a service.name.", examples=[{"api": {"gte": 1}}])
    ] = {}
    origin: From = msgspec.field(default="workload", name="from")

    def built(self, at: KeyPath) -> CountsExpect:
        """Return the expectation, which stands at *at*."""
        return CountsExpect(
            spans_total=conditions_of(self.spans_total),
            events_total=conditions_of(self.events_total),
            errors_total=conditions_of(self.errors_total),
            by_name=by_key(self.by_name),
            by_service=by_key(self.by_service),
            origin=self.origin,
            at=at,
        )


class WindowDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each span named by contains lies within a span named by outer."""

    outer: Annotated[Name, Meta(description="The name of the spans around.", examples=["POST /orders"])]
    contains: Annotated[
        list[Name], Meta(min_length=1, description="The names of the spans within.", examples=[["db.*"]])
    ]
    max_duration: (
        Annotated[Duration, Meta(description="How long a span around takes at most.", examples=["2s"])] | None
    ) = None
    origin: From = msgspec.field(default="workload", name="from")

    def built(self, at: KeyPath, tolerance_s: float) -> WindowExpect:
        """Return the expectation, which stands at *at*."""
        return WindowExpect(
            outer=glob_of(self.outer),
            contains=globs_of(self.contains),
            tolerance_s=tolerance_s,
            max_duration_s=None if self.max_duration is None else parse_duration_s(self.max_duration),
            origin=self.origin,
            at=at,
        )


class OrderDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes after what."""

    must_precede: Annotated[
        Pairs,
        Meta(
            description="Some span of the first name ends before some of the second starts.",
            examples=[[["pay", "ship"]]],
        ),
    ] = []
    must_follow: Annotated[
        Pairs,
        Meta(
            description="Some span of the first name starts after some of the second has ended.",
            examples=[[["ship", "pay"]]],
        ),
    ] = []
    every: Annotated[bool, Meta(description="true: each, not some.", examples=[True])] = False
    origin: From = msgspec.field(default="workload", name="from")

    def built(self, at: KeyPath, tolerance_s: float) -> OrderExpect:
        """Return the expectation, which stands at *at*."""
        return OrderExpect(
            must_precede=pairs_of(self.must_precede),
            must_follow=pairs_of(self.must_follow),
            every=self.every,
            tolerance_s=tolerance_s,
            origin=self.origin,
            at=at,
        )


class StatusDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The status of all spans, or of those with a name."""

    all: (
        Annotated[SpanStatus, Meta(description="Of all spans, as the program set it.", examples=["ok"])]
        | None
    ) = None
    by_name: Annotated[
        dict[Glob, SpanStatus], Meta(description="Of those of a name.", examples=[{"pay*": "error"}])
    ] = {}
    origin: From = msgspec.field(default="workload", name="from")

    def built(self, at: KeyPath) -> StatusExpect:
        """Return the expectation, which stands at *at*."""
        return StatusExpect(all=self.all, by_name=dict(self.by_name), origin=self.origin, at=at)


class ResourceAttrsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the resource of each span must say."""

    must_match: Annotated[
        AttrTests,
        Meta(
            description="Attributes of the resource of each span.",
            examples=[{"deployment.environment.name": "test"}],
        ),
    ] = {}


class SpanAttrsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What no span's attributes may say."""

    forbid_keys: Annotated[
        list[Name], Meta(description="No span has such an attribute.", examples=[["db.password"]])
    ] = []


class HermeticityDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who was talked to, and what spans and resources must and must not say."""

    no_external_services: Annotated[
        bool,
        Meta(description="true: who is called is a service of the scenario, or allowed.", examples=[True]),
    ] = False
    allowed_peers: Annotated[
        list[Name], Meta(description="Who else may be called.", examples=[["*.internal"]])
    ] = []
    resource_attrs: (
        Annotated[
            ResourceAttrsDoc,
            Meta(
                description="What the resource of each span must say.",
                examples=[{"must_match": {"deployment.environment.name": "test"}}],
            ),
        ]
        | None
    ) = None
    span_attrs: (
        Annotated[
            SpanAttrsDoc,
            Meta(description="What no span may say.", examples=[{"forbid_keys": ["db.password"]}]),
        ]
        | None
    ) = None
    origin: From = msgspec.field(default="workload", name="from")

    def built(self, at: KeyPath) -> HermeticityExpect:
        """Return the expectation, which stands at *at*."""
        return HermeticityExpect(
            no_external_services=self.no_external_services,
            allowed_peers=globs_of(self.allowed_peers),
            resource_attrs=by_key(self.resource_attrs.must_match) if self.resource_attrs else {},
            forbid_keys=globs_of(self.span_attrs.forbid_keys) if self.span_attrs else (),
            origin=self.origin,
            at=at,
        )


class ExpectDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the spans of a scenario must look like."""

    span: Annotated[
        list[SpanDoc],
        Meta(
            description="How many spans there are of a kind, and what they are like.",
            examples=[[{"select": {"name": "GET *"}, "count": {"gte": 1}}]],
        ),
    ] = []
    edge: Annotated[
        list[EdgeDoc],
        Meta(description="Which span is below which.", examples=[[{"parent": "POST *", "child": "db.*"}]]),
    ] = []
    graph: (
        Annotated[
            GraphDoc, Meta(description="The shape of all spans together.", examples=[{"single_root": True}])
        ]
        | None
    ) = None
    counts: (
        Annotated[
            CountsDoc,
            Meta(description="How many spans, events and errors there are.", examples=[{"errors_total": 0}]),
        ]
        | None
    ) = None
    window: Annotated[
        list[WindowDoc],
        Meta(
            description="Which spans lie within which, in time.",
            examples=[[{"outer": "POST *", "contains": ["db.*"]}]],
        ),
    ] = []
    order: (
        Annotated[
            OrderDoc,
            Meta(description="What comes after what.", examples=[{"must_precede": [["pay", "ship"]]}]),
        ]
        | None
    ) = None
    status: (
        Annotated[
            StatusDoc,
            Meta(description="The status of all spans, or of those of a name.", examples=[{"all": "ok"}]),
        ]
        | None
    ) = None
    hermeticity: (
        Annotated[
            HermeticityDoc,
            Meta(
                description="Who was talked to, and what spans must and must not say.",
                examples=[{"no_external_services": True}],
            ),
        ]
        | None
    ) = None
    wait: (
        Annotated[
            Duration,
            Meta(description="How long spans are waited for at most; default: 5 s.", examples=["10s"]),
        ]
        | None
    ) = None
    settle: (
        Annotated[
            Duration,
            Meta(
                description="How long it must be quiet once enough has arrived; default: 400 ms.",
                examples=["1s"],
            ),
        ]
        | None
    ) = None
    tolerance: (
        Annotated[
            Duration,
            Meta(
                description="How far the clocks of two processes may be apart, for `order` and `window`.",
                examples=["5ms"],
            ),
        ]
        | None
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
