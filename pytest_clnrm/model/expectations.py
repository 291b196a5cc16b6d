"""The vocabulary of ``[expect]``: what the spans of a scenario must look like, as frozen values.

Names (of spans, services, keys) are globs. Judged by :mod:`pytest_clnrm.expect`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from pytest_clnrm.model.key_path import KeyPath

if TYPE_CHECKING:
    from pytest_clnrm.model.span import SpanKind, SpanStatus

Operator = Literal["eq", "ne", "lt", "lte", "gt", "gte", "regex", "contains", "one_of", "json", "exists"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)
Origin = Literal["workload", "runner", "any"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One test of one value; typed: ``1`` is not ``"1"``, ``True`` is no number, ``1`` is ``1.0``.

    Only ``exists = false`` holds for an attribute that is not there. A list is a tuple here, except in the
    plain JSON of ``json``.
    """

    op: Operator
    value: Any

    @property
    def file_keys(self) -> Mapping[str, KeyPath]:
        """Return the keys of fields in a file, where these are not their names."""
        return {"value": (self.op,)}

    @property
    def regex_fields(self) -> tuple[str, ...]:
        """Return the fields of which strings are regular expressions."""
        return ("value",) if self.op == "regex" else ()

    @property
    def blank_fields(self) -> tuple[str, ...]:
        """Return the fields of which an empty text says something."""
        return () if self.op in {"regex", "contains"} else ("value",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanSelect:
    """Which spans are meant; everything that is set must hold.

    :param under: an ancestor, at any distance, must match it.
    :param parent: the direct parent must match it. In ``under`` and ``parent`` the default of ``origin``
        is "any", so that a step of the runner can be named there.
    :param event: one of its events has such a name.
    :param link: one of its links leads to such a span.
    :param scope: name of the instrumentation scope that made it.
    :param resource: what its resource says.
    :param status_message: what its status says.
    :param origin: whose spans: the workload's unless the file says ``from = "runner"`` or ``"any"``.
    """

    name: str = "*"
    kind: SpanKind | None = None
    service: str | None = None
    status: SpanStatus | None = None
    attrs: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    under: SpanSelect | None = None
    parent: SpanSelect | None = None
    event: str | None = None
    link: SpanSelect | None = None
    scope: str | None = None
    resource: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    status_message: tuple[Condition, ...] = ()
    origin: Origin = "workload"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanExpect:
    """``[[expect.span]]``: how many spans are selected, and what each (or any) of them is like.

    :param attrs_any: (key, conditions); one of these must hold as a whole.
    :param events_any: globs; one of these events must be there.
    :cvar file_keys: as of :class:`Condition`.
    """

    file_keys: ClassVar = {"events_any": ("events", "any"), "events_all": ("events", "all")}

    select: SpanSelect = field(default_factory=SpanSelect)
    count: tuple[Condition, ...] = (Condition(op="gte", value=1),)
    match: Literal["all", "any"] = "all"
    kind: SpanKind | None = None
    status: SpanStatus | None = None
    parent: SpanSelect | None = None
    attrs: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    attrs_any: tuple[tuple[str, tuple[Condition, ...]], ...] = ()
    events_any: tuple[str, ...] = ()
    events_all: tuple[str, ...] = ()
    duration_s: tuple[Condition, ...] = ()
    at: KeyPath = ()

    @property
    def asks_more(self) -> bool:
        """Tell whether it says what the spans are like, and not only how many there are."""
        return bool(
            self.kind
            or self.status
            or self.parent
            or self.attrs
            or self.attrs_any
            or self.events_any
            or self.events_all
            or self.duration_s
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeExpect:
    """``[[expect.edge]]``: some (or every) child selected has such a parent (or ancestor)."""

    parent: SpanSelect
    child: SpanSelect
    relation: Literal["child", "descendant"] = "child"
    every: bool = False
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphExpect:
    """``[expect.graph]``: the shape of the whole.

    :param must_include: (a, b): some b is a direct child of an a.
    :param must_not_cross: (a, b): no b is below an a, at any distance.
    :param single_root: exactly one span has no parent among the spans looked at.
    :param no_orphans: each parent that is named did arrive.
    :param max_depth: a root has depth 1.
    """

    must_include: tuple[tuple[str, str], ...] = ()
    must_not_cross: tuple[tuple[str, str], ...] = ()
    acyclic: bool = False
    single_root: bool = False
    no_orphans: bool = False
    max_depth: int | None = None
    origin: Origin = "workload"
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CountsExpect:
    """``[expect.counts]``."""

    spans_total: tuple[Condition, ...] = ()
    events_total: tuple[Condition, ...] = ()
    errors_total: tuple[Condition, ...] = ()
    by_name: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    by_service: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    origin: Origin = "workload"
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowExpect:
    """``[[expect.window]]``: each span of ``contains`` lies within a span of ``outer``, ends included.

    :param tolerance_s: how far the clocks of two processes may be apart.
    """

    outer: str
    contains: tuple[str, ...]
    max_duration_s: float | None = None
    tolerance_s: float = 0.0
    origin: Origin = "workload"
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderExpect:
    """``[expect.order]``: what comes after what.

    :param must_precede: (a, b): some a ends before some b starts.
    :param must_follow: (a, b): some a starts after some b has ended.
    :param every: this holds for each a and each b.
    :param tolerance_s: how far the clocks of two processes may be apart.
    """

    must_precede: tuple[tuple[str, str], ...] = ()
    must_follow: tuple[tuple[str, str], ...] = ()
    every: bool = False
    tolerance_s: float = 0.0
    origin: Origin = "workload"
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusExpect:
    """``[expect.status]``."""

    all: SpanStatus | None = None
    by_name: Mapping[str, SpanStatus] = field(default_factory=dict)
    origin: Origin = "workload"
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HermeticityExpect:
    """``[expect.hermeticity]``: who was talked to, and what the spans' attributes must and must not say.

    :param allowed_peers: globs of hosts that may be talked to besides the scenario's services.
    :param resource_attrs: what the resource of each span must say.
    :param forbid_keys: globs of attribute keys that no span may have.
    """

    no_external_services: bool = False
    allowed_peers: tuple[str, ...] = ()
    resource_attrs: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    forbid_keys: tuple[str, ...] = ()
    origin: Origin = "workload"
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """Everything that a scenario expects of spans; in the order in which it is judged.

    :param wait_s: how long spans are waited for as long as a program runs that could send more, seconds.
    :param settle_s: how long it must be quiet once what is expected has arrived, seconds.
    """

    spans: tuple[SpanExpect, ...] = ()
    edges: tuple[EdgeExpect, ...] = ()
    graph: GraphExpect | None = None
    counts: CountsExpect | None = None
    windows: tuple[WindowExpect, ...] = ()
    order: OrderExpect | None = None
    status: StatusExpect | None = None
    hermeticity: HermeticityExpect | None = None
    wait_s: float = 5.0
    settle_s: float = 0.4

    def __bool__(self) -> bool:
        """Tell whether anything is expected of spans."""
        single = (self.graph, self.counts, self.order, self.status, self.hermeticity)
        return bool(self.spans or self.edges or self.windows) or any(each is not None for each in single)
