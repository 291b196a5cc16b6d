"""The tables and keys that a scenario file may hold, as the types of the format say them.

The JSON Schema (:mod:`clnrm_testing.schema`) and the tables of docs/scenario-format.md
(:mod:`clnrm_testing.format_tables`) are made of this.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import msgspec.inspect as types

from pytest_clnrm.scenario.format.document import FileDoc
from pytest_clnrm.scenario.format.parts import Table


@dataclass(frozen=True)
class Key:
    """A key of a table.

    :param value: what it takes, without null, which TOML lacks.
    :param examples: values, as JSON has them.
    """

    name: str
    value: types.Type
    description: str
    examples: tuple[Any, ...]
    required: bool
    default: Any


@functools.cache
def tables() -> dict[str, types.StructType]:
    """Return all tables below that of a file, by the names that they have in the schema."""
    found: dict[type, types.StructType] = {}
    _collect(types.type_info(FileDoc), found)
    names = [each.__name__ for each in found]
    return {
        cls.__name__ if names.count(cls.__name__) == 1 else f"{cls.__module__}.{cls.__qualname__}": each
        for cls, each in found.items()
    }


def model_of(table: types.StructType) -> type[Table]:
    """Return the class of a table."""
    assert issubclass(table.cls, Table)
    return table.cls


def keys_by_owner(table: types.StructType) -> dict[str, list[str]]:
    """Return the keys that go with each key that says what a step or check does, if the table is of these."""
    model = model_of(table)
    in_file = {field.name: field.encode_name for field in table.fields}
    owners = {**getattr(model, "KINDS", {}), **getattr(model, "OF_ACTION", {})}
    return {owner: [in_file.get(each, each) for each in with_it] for owner, with_it in owners.items()}


def keys(table: types.StructType) -> list[Key]:
    """Return the keys of a table."""
    return [
        Key(
            name=field.encode_name,
            value=_value(field.type),
            description=said.get("description", ""),
            examples=tuple(said.get("examples", ())),
            required=field.required,
            default=None if field.default is msgspec.NODEFAULT else field.default,
        )
        for field in table.fields
        for said in [_said(field.type)]
    ]


def choices(value: types.Type) -> Iterator[types.Type]:
    """Yield what a value may be, without null."""
    while isinstance(value, types.Metadata):
        value = value.type
    if isinstance(value, types.UnionType):
        for each in value.types:
            yield from choices(each)
    elif not isinstance(value, types.NoneType):
        yield value


def _value(declared: types.Type) -> types.Type:
    if isinstance(declared, types.UnionType):
        rest = [each for each in declared.types if not isinstance(each, types.NoneType)]
        return rest[0] if len(rest) == 1 else types.UnionType(tuple(rest))
    return declared


def _said(declared: types.Type) -> dict[str, Any]:
    """Return the description and examples of what stands in a key, whether or not it may be left out."""
    said: dict[str, Any] = {}
    value = _value(declared)
    while isinstance(value, types.Metadata):
        said = {**(value.extra_json_schema or {}), **said}
        value = value.type
    return said


def _collect(value: types.Type, found: dict[type, types.StructType]) -> None:
    for each in choices(value):
        if isinstance(each, types.StructType):
            if each.cls not in found:
                found[each.cls] = each
                for field in each.fields:
                    _collect(field.type, found)
        elif isinstance(each, types.ListType):
            _collect(each.item_type, found)
        elif isinstance(each, types.DictType):
            _collect(each.value_type, found)
