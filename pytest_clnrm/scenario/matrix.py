"""The combinations of ``[matrix]``, and the rows of ``[[parametrize]]``: each makes items of its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.names import item_name_problem

MAX_COMBINATIONS = 1000
_COUNTED = 10**12
MAX_ITEMS = 10_000
"""Items of one file: its scenarios times the combinations."""
_RULES = ("include", "exclude")
_Row = Mapping[str, Any]
_NO_TEMPLATE = "are no templates, and would be taken as they stand: write them out"


def as_text(value: Any) -> str:
    """Return a TOML scalar as the text that programs get: ``true``, not ``True``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, kw_only=True)
class Combination:
    """Of what one item of each scenario of a file is made.

    :param matrix: axis -> value, as the file has it.
    :param param: name -> value of a row of ``[[parametrize]]``.
    :param id: of the row, as items' names have it; "" without rows.
    """

    matrix: _Row = field(default_factory=dict)
    param: _Row = field(default_factory=dict)
    id: str = ""

    def texts(self) -> dict[str, str]:
        """Return the values of the matrix as programs get them."""
        return texts(self.matrix)

    def suffix(self) -> str:
        """Return what it adds to the name of its item: ``[database=16,empty]``, "" for nothing."""
        told = ",".join(filter(None, (_named(self.matrix), self.id)))
        return f"[{told}]" if told else ""


def _named(row: _Row) -> str:
    return ",".join(f"{name}={value}" for name, value in texts(row).items())


def row_id(row: _Row) -> str:
    """Return what a row adds to the name of its item: its id, or else its values."""
    return str(row["id"]) if "id" in row else _named(row)


def _values(row: _Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "id"}


def texts(row: _Row) -> dict[str, str]:
    """Return each value of a row as the text that programs get."""
    return {name: as_text(value) for name, value in row.items()}


def split(table: Mapping[str, list[Any]]) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Return the axes of ``[matrix]``, and ``include`` and ``exclude``, which hold tables.

    An axis may have one of these names: it holds values.
    """
    rules = {
        name: table[name]
        for name in _RULES
        if isinstance(table.get(name), list) and any(isinstance(each, dict) for each in table[name])
    }
    return {name: values for name, values in table.items() if name not in rules}, rules


def combinations(table: Mapping[str, list[Any]], rows: list[_Row]) -> list[Combination]:
    """Return each combination of a ``[matrix]`` with each of *rows*; one empty one without both.

    :param table: without mistakes, as are *rows*.
    """
    return [
        Combination(matrix=values, param=_values(row), id=row_id(row))
        for values in _matrix(table)
        for row in rows or [{}]
    ]


def _matrix(table: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Return the combinations of the axes, the last axis turning fastest, then those that are included.

    What an entry of ``include`` holds is added to each combination of the axes that it does not contradict;
    if there is none, it is a combination of its own. (So it is in workflows of GitHub Actions.)
    """
    axes, rules = split(table)
    product = (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))
    kept = [each for each in product if not any(_agree(rule, each) for rule in rules.get("exclude", ()))]
    made = kept if axes else []
    own: list[dict[str, Any]] = []
    for rule in rules.get("include", ()):
        named = {name: value for name, value in rule.items() if name in axes}
        fitting = [each for each in made if _agree(named, each)]
        for each in fitting:
            each.update({name: value for name, value in rule.items() if name not in axes})
        own += [] if fitting else [dict(rule)]
    return [*made, *own] if axes or own else [{}]


def _agree(rule: _Row, combination: _Row) -> bool:
    return all(name in combination and as_text(combination[name]) == as_text(rule[name]) for name in rule)


def check(
    table: Mapping[str, list[Any]], rows: list[_Row], taken: frozenset[str]
) -> Iterator[tuple[KeyPath, str]]:
    """Yield the mistakes of ``[matrix]`` and ``[[parametrize]]`` whose types are right.

    :param taken: names of variables, and of what steps capture.
    """
    found = [*_check_matrix(table), *_check_rows(rows, taken)]
    yield from found
    if not found and (count := len(_matrix(table)) * len(rows)) > MAX_ITEMS:
        yield ("parametrize",), f"{count} rows and combinations; at most {MAX_ITEMS} are allowed"


def _check_matrix(table: Mapping[str, list[Any]]) -> Iterator[tuple[KeyPath, str]]:
    axes, rules = split(table)
    count = math.prod(map(len, axes.values())) + len(rules.get("include", ()))
    if count > MAX_COMBINATIONS:
        shown = str(count) if count < _COUNTED else f"more than {_COUNTED}"
        yield ("matrix",), f"{shown} combinations; at most {MAX_COMBINATIONS} are allowed"
        return
    if len(rules.get("exclude", ())) > MAX_COMBINATIONS:
        yield ("matrix", "exclude"), f"more than {MAX_COMBINATIONS} entries"
        return
    found = [*_axes(axes), *_rules(axes, rules)]
    yield from found
    if not found:
        yield from _left(table)


def _axes(axes: Mapping[str, list[Any]]) -> Iterator[tuple[KeyPath, str]]:
    for axis, values in axes.items():
        seen: set[str] = set()
        for index, text in enumerate(map(as_text, values)):
            yield from _value(text, ("matrix", axis, index), "values of a matrix")
            if text in seen:
                yield ("matrix", axis, index), f'"{text}" is there twice'
            seen.add(text)


def _rules(axes: Mapping[str, list[Any]], rules: Mapping[str, list[Any]]) -> Iterator[tuple[KeyPath, str]]:
    entries = [(kind, *each) for kind, found in rules.items() for each in enumerate(found)]
    for kind, index, rule in entries:
        path: KeyPath = ("matrix", kind, index)
        if not rule:
            yield path, "is empty: a value of an axis is needed"
        for name, text in texts(rule).items():
            if kind == "include":
                yield from _value(text, (*path, name), "values of a matrix")
            elif name not in axes:
                yield (*path, name), f'there is no axis "{name}"; there are: {", ".join(axes) or "none"}'
            elif text not in map(as_text, axes[name]):
                known = ", ".join(map(as_text, axes[name]))
                yield (*path, name), f'the axis "{name}" has no value "{text}", but: {known}'


def _left(table: Mapping[str, list[Any]]) -> Iterator[tuple[KeyPath, str]]:
    made = _matrix(table)
    if not made:
        yield ("matrix", "exclude"), "leaves no combination"
    seen: set[str] = set()
    for name in map(_named, made):
        if name in seen:
            yield ("matrix", "include"), f"makes [{name}] twice"
        seen.add(name)


def _check_rows(rows: list[_Row], taken: frozenset[str]) -> Iterator[tuple[KeyPath, str]]:
    if len(rows) > MAX_COMBINATIONS:
        yield ("parametrize",), f"{len(rows)} rows; at most {MAX_COMBINATIONS} are allowed"
        return
    if "param" in taken:
        yield ("parametrize",), "its values are named {{ param.NAME }}: nothing else can be called param"
    seen: set[str] = set()
    wanted = rows[0].keys() - {"id"} if rows else set()
    for index, row in enumerate(rows):
        path: KeyPath = ("parametrize", index)
        if not _values(row):
            yield path, "holds no value"
        for name in sorted(row.keys() - {"id"} ^ wanted):
            other = "has, and the first one lacks" if name in row else "lacks, and the first one has"
            yield path, f'every row has the same names: this one {other}, "{name}"'
        for name, text in texts(row).items():
            problem = item_name_problem(text) if name == "id" or "id" not in row else ""
            if problem:
                yield (*path, name), problem if name == "id" else f"{problem} in a name: give the row an id"
            yield from _no_template(text, (*path, name), "values of [[parametrize]]")
        ident = row_id(row)
        if ident in seen:
            yield path, f'"{ident}" is there twice'
        seen.add(ident)


def _value(text: str, path: KeyPath, what: str) -> Iterator[tuple[KeyPath, str]]:
    problem = item_name_problem(text)
    if problem:
        yield path, problem
    yield from _no_template(text, path, what)


def _no_template(text: str, path: KeyPath, what: str) -> Iterator[tuple[KeyPath, str]]:
    if "{{" in text or "{%" in text:
        yield path, f"{what} {_NO_TEMPLATE}"
