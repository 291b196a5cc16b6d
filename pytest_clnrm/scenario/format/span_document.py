"""Which spans are meant, and tests of their attributes: parts of ``[expect]`` of a scenario file."""

import glob
from collections.abc import Mapping
from typing import Annotated, Any, overload

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pytest_clnrm.model.expectations import OPERATORS, Condition, Origin, SpanSelect
from pytest_clnrm.model.span import SpanKind, SpanStatus
from pytest_clnrm.model.units import parse_duration_s
from pytest_clnrm.scenario.format.parts import Duration, Table

Glob = Annotated[
    str, Meta(min_length=1, description="A name; *, ? and [...] are wildcards, [*], [?] and [[] are not.")
]
Key = Annotated[str, Meta(min_length=1, description="The key of an attribute.", examples=["http.route"])]
Scalar = str | int | float | bool
Number = int | float
Amount = Annotated[int, Meta(ge=0)]


class LiteralDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name as it is, without wildcards."""

    equals: Annotated[
        str,
        Meta(min_length=1, description="The name, with *, ? and [ as they are.", examples=["GET /items[1]"]),
    ]


Name = Glob | LiteralDoc
# Lengths are for the schema only: `check_expectations` says in words what a pair is.
Pair = Annotated[list[Name], Meta(extra_json_schema={"minItems": 2, "maxItems": 2})]
Pairs = list[Pair]
From = Annotated[
    Origin, Meta(description="Whose spans: the workload's, the runner's own, or any.", examples=["runner"])
]


class _Comparisons(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The operators on the value of an attribute."""

    eq: (
        Annotated[
            Scalar | list[Scalar], Meta(description="The same value, of the same type.", examples=["tea"])
        ]
        | None
    ) = None
    ne: Annotated[Scalar | list[Scalar], Meta(description="Any other value.", examples=["tea"])] | None = None
    lt: Annotated[Number, Meta(description="A smaller number.", examples=[400])] | None = None
    lte: Annotated[Number, Meta(description="At most this number.", examples=[400])] | None = None
    gt: Annotated[Number, Meta(description="A greater number.", examples=[0])] | None = None
    gte: Annotated[Number, Meta(description="At least this number.", examples=[1])] | None = None
    regex: (
        Annotated[
            str, Meta(description="Searched anywhere in the text; Python's syntax.", examples=["^http"])
        ]
        | None
    ) = None
    contains: (
        Annotated[Scalar, Meta(description="A part of a text, or an element of a list.", examples=["orders"])]
        | None
    ) = None
    one_of: (
        Annotated[list[Scalar], Meta(min_length=1, description="One of these values.", examples=[[200, 201]])]
        | None
    ) = None
    json: (
        Annotated[
            Any,
            Meta(
                description="The text, read as JSON, has these members; lists must be the same.",
                examples=[{"sku": 7}],
            ),
        ]
        | UnsetType
    ) = UNSET
    exists: (
        Annotated[bool, Meta(description="false: there is no such attribute.", examples=[False])] | None
    ) = None


class ConditionDoc(_Comparisons, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tests of one attribute; all of them must hold."""


class AttrAnyDoc(_Comparisons, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One alternative of attrs_any: an attribute and its tests."""

    key: Key


AttrTests = dict[Key, ConditionDoc | Scalar | list[Scalar]]


class SpanCountDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of a number of things."""

    eq: Annotated[Amount, Meta(description="So many.", examples=[2])] | None = None
    gte: Annotated[Amount, Meta(description="At least so many.", examples=[1])] | None = None
    lte: Annotated[Amount, Meta(description="At most so many.", examples=[100])] | None = None


Count = SpanCountDoc | Amount


class DurationDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of a duration."""

    gt: Annotated[Duration, Meta(description="A longer time.", examples=["10ms"])] | None = None
    gte: Annotated[Duration, Meta(description="At least this time.", examples=["10ms"])] | None = None
    lt: Annotated[Duration, Meta(description="A shorter time.", examples=["500ms"])] | None = None
    lte: Annotated[Duration, Meta(description="At most this time.", examples=["500ms"])] | None = None


class EventsDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names of events that a span must have."""

    any: Annotated[
        list[Name], Meta(description="One of these, or more.", examples=[["retry", "give up"]])
    ] = []
    all: Annotated[list[Name], Meta(description="Each of these.", examples=[["start", "end"]])] = []


class SelectDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which spans are meant; everything that is set must hold."""

    name: Annotated[
        Name, Meta(description="Its name, a glob.", examples=["GET *", {"equals": "GET /items[1]"}])
    ] = "*"
    kind: Annotated[SpanKind, Meta(description="As the program said.", examples=["server"])] | None = None
    service: Annotated[Name, Meta(description="service.name of its resource.", examples=["api"])] | None = (
        None
    )
    status: Annotated[SpanStatus, Meta(description="As the program set it.", examples=["ok"])] | None = None
    attrs: Annotated[
        AttrTests,
        Meta(
            description="Its attributes: values, or tables of tests.",
            examples=[{"http.route": "/orders", "http.response.status_code": {"lt": 400}}],
        ),
    ] = {}
    under: (
        Annotated[
            "SelectDoc | Glob",
            Meta(description="A span that it is below, however far.", examples=[{"name": "clnrm.step"}]),
        ]
        | None
    ) = None
    parent: Annotated["SelectDoc | Glob", Meta(description="Its parent.", examples=["GET *"])] | None = None
    event: (
        Annotated[Name, Meta(description="One of its events has this name.", examples=["retry"])] | None
    ) = None
    link: (
        Annotated[
            "SelectDoc | Glob", Meta(description="A span that it has a link to.", examples=[{"name": "job"}])
        ]
        | None
    ) = None
    scope: (
        Annotated[
            Name, Meta(description="The instrumentation scope (tracer) that made it.", examples=["http.*"])
        ]
        | None
    ) = None
    resource: Annotated[
        AttrTests,
        Meta(description="Attributes of its resource, as in `attrs`.", examples=[{"host.name": "h1"}]),
    ] = {}
    status_message: (
        Annotated[
            ConditionDoc | str,
            Meta(
                description="What the program said of its status.",
                examples=["sold out", {"contains": "sold"}],
            ),
        ]
        | None
    ) = None
    origin: From | None = msgspec.field(default=None, name="from")

    def built(self, origin: Origin) -> SpanSelect:
        """Return the selection.

        :param origin: whose spans it means if it does not say so.
        """
        return SpanSelect(
            name=glob_of(self.name),
            kind=self.kind,
            service=glob_of(self.service),
            status=self.status,
            attrs=by_key(self.attrs),
            under=select_of(self.under, "any"),
            parent=select_of(self.parent, "any"),
            event=glob_of(self.event),
            link=select_of(self.link, "any"),
            scope=glob_of(self.scope),
            resource=by_key(self.resource),
            status_message=conditions_of(self.status_message),
            origin=self.origin or origin,
        )


Select = SelectDoc | Glob


@overload
def glob_of(name: Name) -> str: ...
@overload
def glob_of(name: Name | None) -> str | None: ...
def glob_of(name: Name | None) -> str | None:
    """Return a name as a glob."""
    return glob.escape(name.equals) if isinstance(name, LiteralDoc) else name


def globs_of(names: list[Name]) -> tuple[str, ...]:
    """Return names as globs."""
    return tuple(map(glob_of, names))


def pairs_of(pairs: Pairs) -> tuple[tuple[str, str], ...]:
    """Return pairs of names as pairs of globs."""
    return tuple((glob_of(first), glob_of(second)) for first, second in pairs)


@overload
def select_of(select: Select, origin: Origin = "workload") -> SpanSelect: ...
@overload
def select_of(select: Select | None, origin: Origin = "workload") -> SpanSelect | None: ...
def select_of(select: Select | None, origin: Origin = "workload") -> SpanSelect | None:
    """Return a selection; a name alone selects the spans of *origin* that are called so."""
    if select is None:
        return None
    return SpanSelect(name=select, origin=origin) if isinstance(select, str) else select.built(origin)


def conditions_of(test: Any) -> tuple[Condition, ...]:
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


def by_key(tests: Mapping[str, Any]) -> dict[str, tuple[Condition, ...]]:
    """Return the conditions on what each key names."""
    return {key: conditions_of(test) for key, test in tests.items()}
