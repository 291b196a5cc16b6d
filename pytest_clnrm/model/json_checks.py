"""What is expected of a value in a JSON document.

The operators are those of :class:`pytest_clnrm.model.expectations.Condition`, and more for what JSON alone
has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pytest_clnrm.model.key_path import KeyPath

JsonType = Literal["object", "array", "string", "number", "integer", "boolean", "null"]
JsonOperator = Literal[
    "exists",
    "type",
    "eq",
    "ne",
    "lt",
    "lte",
    "gt",
    "gte",
    "one_of",
    "as_text",
    "regex",
    "contains",
    "not_contains",
    "starts_with",
    "ends_with",
    "length",
    "unique",
    "matches",
    "unordered",
    "includes",
    "each",
    "any",
    "none",
]
_OF_TEXT: frozenset[JsonOperator] = frozenset({"as_text", "regex", "starts_with", "ends_with"})
_ARRAY = frozenset({"array"})
_NUMBER = frozenset({"number"})
_STRING = frozenset({"string"})
KINDS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("lt", "lte", "gt", "gte"), _NUMBER),
    **dict.fromkeys(("regex", "starts_with", "ends_with"), _STRING),
    **dict.fromkeys(("unique", "unordered", "includes", "each", "any", "none"), _ARRAY),
    **dict.fromkeys(("contains", "not_contains"), _STRING | _ARRAY),
    "length": _STRING | _ARRAY | {"object"},
}
"""Of which kinds a value must be so that an operator says anything of it; of any for those not named here."""
_OF_A_PART: frozenset[JsonOperator] = frozenset(
    {"regex", "contains", "not_contains", "starts_with", "ends_with"}
)
JSON_OPERATORS: tuple[JsonOperator, ...] = get_args(JsonOperator)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonTest:
    """One test of one value.

    :param value: what the file says; of ``length`` a tuple of conditions, of ``type`` a tuple of types, of
        ``each``, ``any`` and ``none`` the :class:`JsonChecks` of an element; of a bound it may be the text
        of a number, which was captured.
    """

    op: JsonOperator
    value: Any
    at: KeyPath = ()

    @property
    def file_keys(self) -> Mapping[str, KeyPath]:
        """Return the keys of fields in a file, below :attr:`at`, where these are not their names."""
        return {"value": ()}

    @property
    def json_fields(self) -> tuple[str, ...]:
        """Return the fields of which strings stand for JSON values."""
        return () if self.op in _OF_TEXT else ("value",)

    @property
    def regex_fields(self) -> tuple[str, ...]:
        """Return the fields of which strings are regular expressions."""
        return ("value",) if self.op == "regex" else ()

    @property
    def blank_fields(self) -> tuple[str, ...]:
        """Return the fields of which an empty text says something."""
        return () if self.op in _OF_A_PART else ("value",)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonChecks:
    """What a value must be; all tests must hold.

    :param tolerance: by how much a number may differ from one that it is to be the same as.
    """

    tests: tuple[JsonTest, ...]
    tolerance: float = 0.0
    at: KeyPath = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonPathExpect:
    """What a JSONPath selects in a document.

    A path of names and indices alone selects one value, and the checks are about that; those of any other
    path are about the array of all values that it selects.
    """

    path: str
    checks: JsonChecks
    at: KeyPath = ()
