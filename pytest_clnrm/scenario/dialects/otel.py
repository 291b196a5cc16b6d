"""Wild ``[otel_validation]``, put into the canonical ``[expect]``.

Each constraint that has a canonical meaning becomes one; the others are noted as not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytest_clnrm.scenario.dialects.expect import lower
from pytest_clnrm.scenario.dialects.reader import MISSING, Reader, milliseconds, pairs, tables

_GRAPH = {"no_orphaned_spans": "no_orphans", "no_cycles": "acyclic", "single_root": "single_root"}
_COUNTS = {"count": "eq", "exact_count": "eq", "min_count": "gte", "max_count": "lte"}


def otel_validation(reader: Reader, key: str = "otel_validation") -> None:
    """Read the table *key* into ``expect``, unless it says that it is not enabled."""
    raw = reader.take(key)
    if raw is MISSING:
        return
    if not isinstance(raw, dict) or raw.get("enabled") is False:
        reader.give_up(key)
        return
    below = reader.child(key, raw, "expect")
    below.skip("enabled", *(name for name in raw if name.startswith("validate_")))
    for name, read in _SECTIONS.items():
        value = below.take(name)
        if value is MISSING:
            continue
        found = list(tables(value))
        if not found and value != []:
            below.give_up(name)
        elif isinstance(value, list):
            for index in (index for index, each in enumerate(value) if not isinstance(each, dict)):
                below.give_up(name, index)
        for path, each in found:
            # What one constraint says is read below its own path, into the whole [expect].
            one = Reader(below.notes, each, (*below.at, name, *path), below.out, below.to)
            one.skip("reason", "description")
            read(one)
            one.finish()
    below.finish()
    if reader.out["expect"] == {}:
        del reader.out["expect"]


def _expected_span(reader: Reader) -> None:
    span: dict[str, Any] = {"select": _selected(reader)}
    required = reader.take("required_attributes")
    names = required.get("attributes") if isinstance(required, dict) else required
    if isinstance(names, list):
        span["attrs"] = {str(name): {"exists": True} for name in names}
    elif names is not MISSING:
        reader.give_up("required_attributes")
    for key in ("kind", "status"):
        if key in reader:
            span[key] = lower(reader.take(key))
    if "parent" in reader:
        span["parent"] = {"name": reader.take("parent")}
    bounds = _taken(reader, {"min_duration_ms": "gte", "max_duration_ms": "lte"})
    duration = {op: milliseconds(each) for op, each in bounds.items()}
    count = _taken(reader, _COUNTS)
    if reader.take("required") is False and not count:
        count = {"gte": 0}
    span.update({key: each for key, each in (("duration", duration), ("count", count)) if each})
    # That it may be there, and nothing else, is no claim.
    if span.keys() != {"select", "count"} or span["count"] != {"gte": 0}:
        reader.append("span", span, ())


def _selected(reader: Reader) -> dict[str, Any]:
    """Return which spans an entry means: of one name, several entries tell spans apart by attributes."""
    select = _taken(reader, {"name": "name", "span_name": "name"})
    attributes = reader.take_if(dict, "attributes")
    if attributes:
        attrs = dict(attributes)
        # A resource and a kind are no attributes of a span; the file's author knows them under these names.
        if isinstance(attrs.get("service.name"), str):
            select["service"] = attrs.pop("service.name")
        if isinstance(attrs.get("span.kind"), str):
            select["kind"] = lower(attrs.pop("span.kind"))
        if attrs:
            select["attrs"] = attrs
    return select


def _taken(reader: Reader, names: Mapping[str, str]) -> dict[str, Any]:
    """Return those of the keys *names* that are there, under their canonical names.

    A second key of one meaning is given up if it says something else.
    """
    taken: dict[str, Any] = {}
    for key, name in names.items():
        value = reader.take(key)
        if value is not MISSING and taken.setdefault(name, value) != value:
            reader.give_up(key)
    return taken


def _expected_trace(reader: Reader) -> None:
    for index, name in enumerate(reader.take_if(list, "span_names") or ()):
        reader.append("span", {"select": {"name": name}}, ("span_names", index))
    for index, edge in enumerate(reader.take_if(list, "parent_child") or ()):
        ends = [edge.get("parent"), edge.get("child")] if isinstance(edge, dict) else edge
        if isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, str) for end in ends):  # noqa: PLR2004
            made = {"parent": {"name": ends[0]}, "child": {"name": ends[1]}}
            reader.append("edge", made, ("parent_child", index))
        else:
            reader.give_up("parent_child", index)
    reader.skip("complete")  # that each of its spans exists
    if reader.take_flag("is_tree"):
        for name in ("acyclic", "no_orphans"):
            reader.put(("graph", name), value=True, source=("is_tree",))


def _temporal(reader: Reader) -> None:
    name, later = reader.take("span_name"), reader.take("must_precede")
    if isinstance(name, str) and isinstance(later, list):
        for index, each in enumerate(later):
            reader.append(("order", "must_precede"), [name, each], ("must_precede", index))
    elif later is not MISSING:
        reader.give_up("must_precede")


def _span_count(reader: Reader) -> None:
    count = _taken(reader, _COUNTS)
    select = _taken(reader, {"span_name": "name", "service_name": "service"})
    if count:
        reader.append("span", {"select": select, "count": count}, ())


def _attribute(reader: Reader) -> None:
    name = reader.take("attribute_name")
    tests: dict[str, Any] = {}
    bounds = reader.take("valid_range")
    if isinstance(bounds, list) and len(bounds) == 2:  # noqa: PLR2004 from, to
        tests.update({"gte": bounds[0], "lte": bounds[1]})
    elif bounds is not MISSING:
        reader.give_up("valid_range")
    tests |= _taken(reader, {"allowed_values": "one_of", "pattern": "regex"})
    if isinstance(name, str) and tests:
        select = {"attrs": {name: {"exists": True}}}
        reader.append("span", {"select": select, "attrs": {name: tests}}, ())
    elif tests:
        reader.give_up()
    elif name is not MISSING:
        reader.give_up("attribute_name")


def _resource(reader: Reader) -> None:
    attributes = reader.take_if(dict, "attributes") or {}
    required = reader.take("required")
    for name, each in attributes.items():
        wanted = each if isinstance(each, dict) else {"eq": each}
        tests = {key: test for key, test in wanted.items() if key != "required"}
        if wanted.get("required", required) is not False:
            to = ("hermeticity", "resource_attrs", "must_match", str(name))
            reader.add(to, tests or {"exists": True}, ("attributes", name))
        elif tests:
            reader.give_up("attributes", name)


def _topology(reader: Reader) -> None:
    for key, name in _GRAPH.items():
        if reader.take_flag(key):
            reader.put(("graph", name), value=True, source=(key,))
    reader.move("max_depth", "graph", "max_depth")
    paths = reader.take("required_paths")
    for path, each in tables([] if paths is MISSING else paths):
        names = each.get("path")
        if isinstance(names, list) and len(names) > 1:
            for pair in pairs(names):
                reader.append(("graph", "must_include"), pair, ("required_paths", *path, "path"))
        else:
            reader.give_up("required_paths", *path)


def _hermeticity(reader: Reader) -> None:
    for key in ("no_external_network", "no_external_services"):
        if reader.take_flag(key):
            reader.put(("hermeticity", "no_external_services"), value=True, source=(key,))


def _siblings(reader: Reader) -> None:
    parent = reader.take("shared_parent")
    for key in ("span_a", "span_b"):
        child = reader.take(key)
        if isinstance(parent, str) and isinstance(child, str):
            reader.append("edge", {"parent": {"name": parent}, "child": {"name": child}}, (key,))
        elif child is not MISSING:
            reader.give_up(key)


_SECTIONS: dict[str, Callable[[Reader], None]] = {
    "expected_spans": _expected_span,
    "expected_traces": _expected_trace,
    "temporal_constraints": _temporal,
    "span_count_constraints": _span_count,
    "attribute_constraints": _attribute,
    "resource_attributes": _resource,
    "graph_topology_constraints": _topology,
    "hermeticity_constraints": _hermeticity,
    "sibling_constraints": _siblings,
}
