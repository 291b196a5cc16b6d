"""The checks of values in JSON, see :mod:`pytest_clnrm.scenario.format.document`."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.json_checks import (
    JSON_OPERATORS,
    JsonChecks,
    JsonPathExpect,
    JsonTest,
    JsonType,
)
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.format.comparisons import COMPARISONS, bounds_of
from pytest_clnrm.scenario.format.parts import Table, several, words

Number = (
    int
    | float
    | Annotated[
        str,
        Meta(
            pattern=r"\{\{.*\}\}",
            description="A template that names what was captured.",
            examples=["{{ before }}"],
            extra=words("a number, or a template that gives one"),
        ),
    ]
)
Amount = Annotated[int, Meta(ge=0)]


class AmountDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of a number of things; all of them must hold."""

    eq: Annotated[Amount, Meta(description="So many.", examples=[3])] | None = None
    ne: Annotated[Amount, Meta(description="Any other number.", examples=[0])] | None = None
    lt: Annotated[Amount, Meta(description="Fewer.", examples=[10])] | None = None
    lte: Annotated[Amount, Meta(description="At most so many.", examples=[10])] | None = None
    gt: Annotated[Amount, Meta(description="More.", examples=[0])] | None = None
    gte: Annotated[Amount, Meta(description="At least so many.", examples=[1])] | None = None

    def given(self) -> dict[str, int]:
        """Return the bounds that are set."""
        return {op: bound for op in COMPARISONS if (bound := getattr(self, op)) is not None}


AmountBounds = Amount | AmountDoc


def amount_conditions(bounds: AmountBounds | None) -> tuple[Condition, ...]:
    """Return what must hold of a number; a bare one means ``eq``."""
    if isinstance(bounds, AmountDoc):
        return bounds_of(bounds, int)
    return () if bounds is None else (Condition(op="eq", value=bounds),)


class JsonChecksDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a value in JSON must be; all checks must hold."""

    exists: Annotated[bool, Meta(description="false: the path selects nothing.", examples=[False])] | None = (
        None
    )
    type: (
        Annotated[
            JsonType | Annotated[list[JsonType], Meta(min_length=1)],
            Meta(
                description="What JSON calls its kind, or a list of these; an integer, 1.0 too, is a number.",
                examples=["integer", ["string", "null"]],
            ),
        ]
        | None
    ) = None
    eq: (
        Annotated[
            Any,
            Meta(
                description="The same value: an object with no other keys, a number whether 1 or 1.0.",
                examples=["open"],
            ),
        ]
        | UnsetType
    ) = UNSET
    ne: Annotated[Any, Meta(description="Any other value.", examples=["failed"])] | UnsetType = UNSET
    lt: Annotated[Number, Meta(description="A smaller number.", examples=[100])] | None = None
    lte: Annotated[Number, Meta(description="At most this number.", examples=[100])] | None = None
    gt: Annotated[Number, Meta(description="A greater number.", examples=[0, "{{ before }}"])] | None = None
    gte: Annotated[Number, Meta(description="At least this number.", examples=[1])] | None = None
    tolerance: (
        Annotated[
            float,
            Meta(
                ge=0,
                description="How far numbers may be from those of eq, one_of, matches, unordered, includes.",
                examples=[0.01],
            ),
        ]
        | None
    ) = None
    one_of: (
        Annotated[list[Any], Meta(min_length=1, description="One of these values.", examples=[["a", "b"]])]
        | None
    ) = None
    as_text: (
        Annotated[
            str,
            Meta(
                description='This text, or another value that is written so: 17 is "17".',
                examples=["{{ id }}"],
            ),
        ]
        | None
    ) = None
    regex: (
        Annotated[
            str,
            Meta(
                description="Searched anywhere in the string; Python's syntax.", examples=["^[0-9a-f]{32}$"]
            ),
        ]
        | None
    ) = None
    contains: (
        Annotated[Any, Meta(description="A part of a string, or an element of an array.", examples=["red"])]
        | UnsetType
    ) = UNSET
    not_contains: (
        Annotated[Any, Meta(description="No part of a string, or no element of an array.", examples=["red"])]
        | UnsetType
    ) = UNSET
    starts_with: Annotated[str, Meta(description="How a string begins.", examples=["https://"])] | None = None
    ends_with: Annotated[str, Meta(description="How a string ends.", examples=[".png"])] | None = None
    length: (
        Annotated[
            AmountBounds,
            Meta(
                description="How many characters a string, elements an array or members an object has.",
                examples=[3, {"gte": 1}],
            ),
        ]
        | None
    ) = None
    unique: (
        Annotated[bool, Meta(description="true: no two elements of an array are the same.", examples=[True])]
        | None
    ) = None
    matches: (
        Annotated[
            Any,
            Meta(
                description="Its shape: objects have at least these members, all else is the same.",
                examples=[{"state": "open"}],
            ),
        ]
        | UnsetType
    ) = UNSET
    unordered: (
        Annotated[
            list[Any],
            Meta(
                description="An array whose elements match these in any order, and no more.",
                examples=[["b", "a"]],
            ),
        ]
        | None
    ) = None
    includes: (
        Annotated[
            Any,
            Meta(description="An element of an array matches this, as matches does.", examples=[{"id": 3}]),
        ]
        | UnsetType
    ) = UNSET
    each: (
        Annotated[
            "JsonChecksDoc",
            Meta(
                description="What each element of an array must be; of an empty one, if `length` allows it.",
                examples=[{"type": "integer"}],
            ),
        ]
        | None
    ) = None
    any: (
        Annotated[
            "JsonChecksDoc",
            Meta(description="What some element of an array must be.", examples=[{"gt": 100}]),
        ]
        | None
    ) = None
    none: (
        Annotated[
            "JsonChecksDoc",
            Meta(description="What no element of an array may be.", examples=[{"eq": "failed"}]),
        ]
        | None
    ) = None

    def given(self) -> dict[str, Any]:
        """Return the operators that are set, with what the file says."""
        values = {op: getattr(self, op) for op in JSON_OPERATORS}
        return {op: value for op, value in values.items() if value is not None and value is not UNSET}

    def built(self, at: KeyPath) -> JsonChecks:
        """Return the checks."""
        tests = (
            JsonTest(op=op, value=_built(op, value, (*at, op)), at=(*at, op))  # type: ignore[arg-type]
            for op, value in self.given().items()
        )
        return JsonChecks(tests=tuple(tests), tolerance=self.tolerance or 0.0, at=at)


def _built(op: str, value: Any, at: KeyPath) -> Any:
    if op == "length":
        return amount_conditions(value)
    if op == "type":
        return tuple(several(value))
    return value.built(at) if isinstance(value, JsonChecksDoc) else value


JsonValueDoc = JsonChecksDoc | str | int | float | bool | list[Any]
"""A table is one of checks, anything else the value that is expected."""
JsonPathText = Annotated[str, Meta(min_length=1, description="A JSONPath (RFC 9535) such as $.items[*].id")]
JsonPathsDoc = dict[JsonPathText, JsonValueDoc]


def built_paths(doc: JsonPathsDoc, at: KeyPath) -> tuple[JsonPathExpect, ...]:
    """Return what is expected of what each path selects."""
    return tuple(
        JsonPathExpect(path=path, checks=checks_of(value).built((*at, path)), at=(*at, path))
        for path, value in doc.items()
    )


def checks_of(value: JsonValueDoc) -> JsonChecksDoc:
    """Return a value that is expected as a table of checks."""
    return value if isinstance(value, JsonChecksDoc) else JsonChecksDoc(eq=value)
