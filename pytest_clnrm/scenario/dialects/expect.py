"""Wild spellings of ``[expect.*]``, put into the canonical ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pytest_clnrm.scenario.dialects.reader import MISSING, Reader, glob_of_regex, milliseconds, tables

_BOUNDS = {"min": "gte", "max": "lte", "exact": "eq"}


def expectations(reader: Reader, key: str) -> None:
    """Read the table of expectations *key* into ``expect``."""
    raw = reader.take_if(dict, key, to="expect")
    if raw is None:
        return
    below = reader.child(key, raw, "expect")
    for name, (kinds, read) in _SECTIONS.items():
        value = below.take_if(kinds, name, to=name)
        if value is not None:
            read(below, name, value)
    below.finish("edge", "wait", "settle")


def bounds(value: Any) -> Any:
    """Return bounds with ``min`` and ``max`` as ``gte`` and ``lte``."""
    return {_BOUNDS.get(key, key): each for key, each in value.items()} if isinstance(value, dict) else value


def lower(value: Any) -> Any:
    """Return the name of a kind or a status in lower case."""
    return value.lower() if isinstance(value, str) else value


def any_of(value: Any) -> Any:
    """Return alternatives, a table or a list of ``"key=value"``, as a list of conditions."""
    if isinstance(value, dict):
        found = []
        for key, each in value.items():
            if isinstance(each, dict):
                found.append({**each, "key": key})
            else:
                found.append({"key": key, "one_of" if isinstance(each, list) else "eq": each})
        return found
    if isinstance(value, list) and all(isinstance(each, str) and "=" in each for each in value):
        return [
            {"key": key, "one_of": _typed(text)} for key, _, text in (each.partition("=") for each in value)
        ]
    return value


def _typed(text: str) -> list[Any]:
    """Return what the text of ``key=value`` may stand for: itself, a number, a truth value."""
    meant: list[Any] = [text]
    if text in {"true", "false"}:
        meant.append(text == "true")
    for number in (int, float):
        try:
            meant.append(number(text))
        except ValueError:
            continue
        break
    return meant


def _spans(reader: Reader, key: str, value: Any) -> None:
    for path, each in tables(value, ("name", "select", "count", "kind", "status", "attrs", "name_pattern")):
        if "select" in each and "name" not in each:
            reader.append("span", each, (key, *path), alike=True)
            continue
        span = reader.appended("span", each, (key, *path))
        _selected(span)
        for name in ("kind", "status"):
            span.move(name, by=lower)
        span.move("parent", by=lambda parent: {"name": parent} if isinstance(parent, str) else parent)
        span.move("count", by=bounds)
        _attributes(span)
        span.move("required_events", "events", "all")
        span.move("duration_ms", "duration", by=lambda given: _each(milliseconds, bounds(given)))
        span.move("duration", by=bounds)
        span.skip("description")
        span.finish("match", "events", "attrs_any")
    reader.append_others(key, value)


def _selected(span: Reader) -> None:
    span.move("name", "select", "name")
    pattern = span.take("name_pattern")
    if pattern is not MISSING:
        glob = glob_of_regex(pattern)
        if glob is None or not span.put(("select", "name"), glob, ("name_pattern",)):
            span.give_up("name_pattern")
    span.move("service", "select", "service")


def _attributes(span: Reader) -> None:
    for key in ("attrs", "attributes"):
        attrs = span.take(key)
        grouped = isinstance(attrs, dict) and attrs and set(attrs) <= {"all", "any"}
        if grouped and all(isinstance(each, (dict, list)) for each in attrs.values()):
            for group, to, by in (("all", "attrs", _all_of), ("any", "attrs_any", any_of)):
                made = by(attrs.get(group, MISSING))
                if made is not MISSING:
                    span.put_or_give_up((to,), made, (key, group), alike=made is attrs[group])
        elif attrs is not MISSING:
            span.put_or_give_up(("attrs",), _all_of(attrs), (key,), alike=isinstance(attrs, dict))
    required = span.take("required_attributes")
    if isinstance(required, list) and all(isinstance(each, str) for each in required):
        for index, name in enumerate(required):
            span.put(("attrs", name), {"exists": True}, ("required_attributes", index))
    elif required is not MISSING:
        span.give_up("required_attributes")


def _all_of(value: Any) -> Any:
    """Return attributes, a table or a list of ``"key=value"``, as a table of conditions."""
    alternatives = any_of(value) if isinstance(value, list) else value
    if alternatives is value:
        return value
    return {each.pop("key"): each for each in alternatives}


def _graph(reader: Reader, key: str, value: Any) -> None:
    labelled = {label for label, each in value.items() if isinstance(each, dict) and "parent_pattern" in each}
    for label in labelled:
        edge = value[label]
        names = glob_of_regex(edge["parent_pattern"]), glob_of_regex(edge.get("child_pattern"))
        if None in names:
            reader.give_up(key, label)
        else:
            made = {"parent": {"name": names[0]}, "child": {"name": names[1]}}
            reader.append("edge", made, (key, label))
    edges = value.get("edges", [])
    for index, edge in enumerate(edges if isinstance(edges, list) else ()):
        reader.append("edge", edge, (key, "edges", index), alike=True)
    rest = {name: each for name, each in value.items() if name not in labelled}
    if isinstance(edges, list):
        rest.pop("edges", None)
    if rest:
        below = reader.child(key, rest)
        _pair_lists(below, "must_include", "must_not_cross")
        below.finish("acyclic", "single_root", "no_orphans", "max_depth", "from")
        _drop_if_empty(reader, below, key)


def _pair_lists(reader: Reader, *keys: str) -> None:
    for key in keys:
        value = reader.take(key)
        if value is not MISSING and not (value == [] and reader.notes.wild):
            reader.put((key,), value, (key,), alike=True)


def _counts(reader: Reader, key: str, value: Any) -> None:
    below = reader.child(key, value, "counts")
    for name in ("spans_total", "events_total", "errors_total"):
        below.move(name, by=bounds)
        below.move(name.removesuffix("_total"), name, by=bounds)
    below.move("by_name", by=partial(_each, bounds))
    for name in ("by_service", "spans_per_service"):
        below.move(name, "by_service", by=partial(_each, bounds))
    for name in ("by_kind", "spans_per_kind"):
        kinds = below.take_if(dict, name) or {}
        for kind, count in kinds.items():
            reader.append(
                "span", {"select": {"kind": lower(kind)}, "count": bounds(count)}, (key, name, kind)
            )
    for label, each in value.items():
        if label in below and isinstance(each, dict) and "description" in each:
            _labelled_count(below, label, each)
    below.finish("from")
    _drop_if_empty(reader, below, "counts")


def _labelled_count(reader: Reader, label: str, value: dict[str, Any]) -> None:
    reader.take(label)
    low, high = ("min", "max") if "name_pattern" in value else ("total_spans_min", "total_spans_max")
    count = {op: value[name] for name, op in ((low, "gte"), (high, "lte")) if name in value}
    glob = glob_of_regex(value["name_pattern"]) if "name_pattern" in value else None
    to = ("spans_total",) if glob is None else ("by_name", glob)
    if not count or (glob is None and "name_pattern" in value) or not reader.put(to, count, (label,)):
        reader.give_up(label)


def _windows(reader: Reader, key: str, value: Any) -> None:
    for path, each in tables(value, ("outer", "contains")):
        if "container_pattern" in each:
            outer, inner = (
                glob_of_regex(each["container_pattern"]),
                glob_of_regex(each.get("contained_pattern")),
            )
            if outer and inner:
                reader.append("window", {"outer": outer, "contains": [inner]}, (key, *path))
            else:
                reader.give_up(key, *path)
            continue
        window = reader.appended("window", each, (key, *path))
        window.move("max_duration")
        window.move("max_duration_ms", "max_duration", by=milliseconds)
        window.skip("description")
        window.finish("outer", "contains", "from")
    reader.append_others(key, value)


def _order(reader: Reader, key: str, value: Any) -> None:
    below = reader.child(key, value)
    _pair_lists(below, "must_precede", "must_follow")
    for label, each in value.items():
        if label in below and isinstance(each, dict) and "before_pattern" in each:
            below.take(label)
            pair = [glob_of_regex(each["before_pattern"]), glob_of_regex(each.get("after_pattern"))]
            if None in pair:
                below.give_up(label)
            else:
                below.append("must_precede", pair, (label,))
    below.finish("every", "from")
    _drop_if_empty(reader, below, key)


def _status(reader: Reader, key: str, value: Any) -> None:
    below = reader.child(key, value)
    below.move("all", by=lower)
    below.move("by_name", by=partial(_each, lower))
    if below.take("all_ok") is True:
        below.put(("all",), "ok", ("all_ok",))
    errors = below.take("error_count")
    if errors is not MISSING:
        reader.put_or_give_up(("counts", "errors_total"), errors, (key, "error_count"))
    if below.take("errors_allowed") is False:
        reader.put(("counts", "errors_total"), {"eq": 0}, (key, "errors_allowed"))
    for label, each in value.items():
        if label in below and isinstance(each, dict) and "expected_status" in each:
            below.take(label)
            glob = glob_of_regex(each.get("name_pattern", ".*"))
            if glob is None or not below.put(("by_name", glob), lower(each["expected_status"]), (label,)):
                below.give_up(label)
            if "max_errors" in each:
                reader.put(
                    ("counts", "errors_total"), {"lte": each["max_errors"]}, (key, label, "max_errors")
                )
    below.finish("from")
    _drop_if_empty(reader, below, key)


def _hermeticity(reader: Reader, key: str, value: Any) -> None:
    below = reader.child(key, value)
    resource = below.take("resource_attrs")
    if isinstance(resource, dict) and "must_match" not in resource:
        below.put(("resource_attrs", "must_match"), dict(resource), ("resource_attrs",), alike=True)
    elif resource is not MISSING:
        below.put(("resource_attrs",), resource, ("resource_attrs",), alike=True)
    required = below.take("resource_attributes")
    names = required.get("required_attributes") if isinstance(required, dict) else None
    for name in names if isinstance(names, list) else ():
        to = ("resource_attrs", "must_match", str(name))
        below.put(to, {"exists": True}, ("resource_attributes", "required_attributes"))
    if required is not MISSING and not isinstance(names, list):
        below.give_up("resource_attributes")
    spans = below.take_if(dict, "span_attributes")
    if spans is not None:
        span = reader.appended("span", spans, (key, "span_attributes"))
        _selected(span)
        _attributes(span)
        span.skip("description")
        span.finish()
    below.finish("no_external_services", "allowed_peers", "span_attrs", "from")
    _drop_if_empty(reader, below, key)


def _drop_if_empty(reader: Reader, below: Reader, key: str) -> None:
    """Leave out what a wild table switches off or leaves empty, and the table if nothing else is in it."""
    if reader.notes.wild:
        for name in [name for name, each in below.out.items() if each is False or each in ({}, [])]:
            del below.out[name]
        if not below.out:
            reader.out.pop(key, None)


def _count(reader: Reader, key: str, value: Any) -> None:
    if reader.notes.wild:
        _counts(reader, key, value)
    else:
        reader.put((key,), value, (key,), alike=True)


def _each(by: Callable[[Any], Any], value: Any) -> Any:
    """Return a table with each of its values changed *by* a function; anything else as it is."""
    return {key: by(each) for key, each in value.items()} if isinstance(value, dict) else value


_SECTIONS: dict[str, tuple[type | tuple[type, ...], Callable[[Reader, str, Any], None]]] = {
    "span": ((dict, list), _spans),
    "graph": (dict, _graph),
    "counts": (dict, _counts),
    "count": (dict, _count),
    "window": ((dict, list), _windows),
    "order": (dict, _order),
    "status": (dict, _status),
    "hermeticity": (dict, _hermeticity),
}
