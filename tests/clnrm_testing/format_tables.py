"""The tables of keys in docs/scenario-format.md, made from the types of the format.

``python -m clnrm_testing.format_tables``, started in ``tests``, writes them. A table stands between a mark
such as ``<!-- keys of StepDoc -->`` and ``<!-- end of keys -->``. ``StepExpectDoc with http`` has the keys
that go with that one, ``EndCheckDoc beyond CheckDoc`` those that the other table has not. Links to a table
lead to its first mark, or to ``<!-- place of CheckDoc -->``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec.inspect as types

from clnrm_testing.format_types import Key, keys, keys_by_owner, model_of, tables
from pytest_clnrm.model.units import DURATION_PATTERN, SIZE_PATTERN
from pytest_clnrm.scenario.format.check_document import BYTES_PATTERN
from pytest_clnrm.scenario.format.parts import NAME_PATTERN

DOCS = Path(__file__).parents[2] / "docs" / "scenario-format.md"
_MARK = re.compile(r"<!-- keys of (\w+)(?: (with|beyond) (\w+))? -->\n")
_PLACE = re.compile(r"<!-- place of (\w+) -->")
_END = "<!-- end of keys -->"
_UNITS = {DURATION_PATTERN: "time", SIZE_PATTERN: "size", BYTES_PATTERN: "bytes"}
_NAMES = {NAME_PATTERN: "name"}
_ABOUT_UNITS = "times-and-sizes"
_KEYS_SHOWN = 6
_BARE = re.compile("[A-Za-z0-9_-]+")


def with_tables(text: str) -> str:
    """Return the text of the page with each table between its marks as it should be."""
    anchors, done, place = _anchors(text), "", 0
    for mark in _MARK.finditer(text):
        end = text.index(_END, mark.end())
        rules = "" if mark[2] else _rules(tables()[mark[1]])
        done += text[place : mark.end()] + rules + _table(_chosen(mark), anchors)
        place = end
    return done + text[place:]


def keys_in(text: str) -> set[tuple[str, str]]:
    """Return the keys that the page has tables of, each with its table."""
    return {(mark[1], key.name) for mark in _MARK.finditer(text) for key in _chosen(mark)}


def _chosen(mark: re.Match[str]) -> list[Key]:
    """Return the keys that a mark asks for."""
    name, how, other = mark.groups()
    table = tables()[name]
    found = keys(table)
    if how == "beyond":
        known = {key.name for key in keys(tables()[other])}
        return [key for key in found if key.name not in known]
    if how == "with":
        return [key for key in found if key.name in {other, *keys_by_owner(table)[other]}]
    return found


def anchor_of(heading: str) -> str:
    """Return how links name a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _anchors(text: str) -> dict[str, str]:
    """Return under which heading the keys of each table are, as links name it."""
    found: dict[str, str] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading = anchor_of(line.lstrip("# "))
        elif mark := _PLACE.match(line) or _MARK.match(f"{line}\n"):
            found.setdefault(mark[1], heading)
    return found


def _rules(table: types.StructType) -> str:
    """Return which keys of a table go together."""
    one_of = model_of(table).ONE_OF
    said = f"Exactly one of {_listed(one_of)} is needed.\n" if one_of else ""
    owners: dict[str, list[str]] = {}
    for owner, with_it in keys_by_owner(table).items():
        for key in with_it:
            owners.setdefault(key, []).append(owner)
    together: dict[str, list[str]] = {}
    for key, found in owners.items():
        together.setdefault(_listed(found), []).append(key)
    for shown, with_it in together.items():
        said += f"{_listed(with_it)} {'go' if len(with_it) > 1 else 'goes'} with {shown} alone.\n"
    return f"{said}\n" if said else ""


def _listed(names: Sequence[str]) -> str:
    shown = [f"`{name}`" for name in names]
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]


def _table(chosen: list[Key], anchors: Mapping[str, str]) -> str:
    rows = [("key", "value", "meaning", "example"), ("---",) * 4]
    for key in chosen:
        value = _said(_forms(key.value, anchors))
        meaning = key.description
        if isinstance(key.default, (str, bool, int, float)) and key.default != "":
            meaning = f"{meaning[:-1]}; default: `{toml(key.default)}`."
        examples = ", ".join(f"`{toml(each)}`" for each in key.examples)
        rows.append((f"`{key.name}`", f"{value}, **required**" if key.required else value, meaning, examples))
    return "".join("| " + " | ".join(each.replace("|", "\\|") for each in row) + " |\n" for row in rows)


def _said(forms: Iterator[str]) -> str:
    """Return what a value may be: all its forms in a row."""
    found = list(dict.fromkeys(forms))
    if "number" in found and "whole number" in found:
        found.remove("whole number")
    return " or ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else found[0]


def _forms(value: types.Type, anchors: Mapping[str, str], allowed: str = "") -> Iterator[str]:
    """Yield what a value may be.

    :param allowed: what the pattern of a text allows, in words.
    """
    match value:
        case types.Metadata():
            yield from _forms(value.type, anchors, (value.extra or {}).get("allowed", allowed))
        case types.UnionType():
            # Where a pattern is put in words, these are about numbers too.
            worded = any(isinstance(each, types.Metadata) and each.extra for each in value.types)
            found: list[str] = []
            for each in value.types:
                bare = _bare(each)
                if isinstance(bare, types.ListType) and list(_forms(bare.item_type, anchors)) == found:
                    found.append("a list of these")
                elif not (worded and isinstance(bare, (types.IntType, types.FloatType))):
                    found.extend(_forms(each, anchors))
            yield from found
        case types.LiteralType():
            yield from (f"`{toml(each)}`" for each in value.values)
        case types.ListType():
            yield f"list of: {_said(_forms(value.item_type, anchors))}"
        case types.DictType():
            yield f"table of: {_said(_forms(value.value_type, anchors))}"
        case types.StructType():
            name = next(name for name, each in tables().items() if each.cls is value.cls)
            names = [key.name for key in keys(value)]
            shown = f"`{{ {', '.join(names)} }}`" if len(names) <= _KEYS_SHOWN else "table"
            yield f"[{shown}](#{anchors[name]})"
        case types.NoneType():
            pass
        case _:
            yield _plain(value, allowed)


def _plain(value: types.Type, allowed: str) -> str:
    """Return what a value that holds no other may be."""
    match value:
        case types.StrType():
            unit = _UNITS.get(value.pattern or "")
            name = _NAMES.get(value.pattern or "")
            return f"[{unit}](#{_ABOUT_UNITS})" if unit else name or allowed or "text"
        case types.BoolType():
            return "boolean"
        case types.IntType():
            return f"whole number{_range(value)}"
        case types.FloatType():
            return f"number{_range(value)}"
        case types.AnyType():
            return "any value"
    raise TypeError(value)


def _bare(value: types.Type) -> types.Type:
    while isinstance(value, types.Metadata):
        value = value.type
    return value


def _range(value: types.IntType | types.FloatType) -> str:
    if value.le is not None:
        return f", {value.ge} to {value.le}"
    return f", at least {value.ge}" if value.ge else ""


def toml(value: Any) -> str:
    """Return a value as TOML, in one line."""
    if isinstance(value, dict):
        pairs = (
            f"{key if _BARE.fullmatch(key) else toml(key)} = {toml(each)}" for key, each in value.items()
        )
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    DOCS.write_text(with_tables(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
