"""Wild spellings of ``[expect.*]``, put into the canonical ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.dialects.reader import MISSING, Reader, glob_of_regex, milliseconds, tables

_BOUNDS = {"min": "gte", "max": "lte", "exact": "eq"}
_NO_GLOB = "no name with * and ? means the same as this pattern, so it would not be checked: write a name"
_HOLDS_FOR_NOTHING = (
    "all in this table says itself whose spans are meant, so this holds for nothing: remove it"
)
_WORKLOAD = "workload"


def expectations(reader: Reader, key: str) -> None:
    """Read the table of expectations *key* into ``expect``."""
    raw = reader.take_if(dict, key, to="expect")
    if raw is None:
        return
    below = reader.child(key, raw, "expect")
    # Other tables add to these.
    below.move("edge")
    for name, (kinds, read) in _SECTIONS.items():
        value = below.take_if(kinds, name, to=name)
        if value is not None:
            read(below, name, value)
    below.finish("wait", "settle")


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
        span = _selecting(reader, each, key, *path)
        if span is None:
            continue
        for name in ("kind", "status"):
            span.move(name, by=lower)
        span.move("parent", by=lambda parent: {"name": parent} if isinstance(parent, str) else parent)
        span.move("count", by=bounds)
        _attributes(span)
        span.move("events")
        span.move("required_events", "events", "all")
        span.move("duration_ms", "duration", by=lambda given: _each(milliseconds, bounds(given)))
        span.move("duration", by=bounds)
        span.skip("description")
        span.finish("match", "attrs_any")
    reader.append_others(key, value)


def _selecting(reader: Reader, raw: dict[str, Any], *source: str | int) -> Reader | None:
    """Return the reader of a table about spans, which has read what selects them.

    None if that is a pattern that is no glob: of which spans the rest holds is not known, so all is given up.
    """
    of_pattern = "name_pattern" in raw and "name" not in raw
    if of_pattern and not _globs(reader.part(raw, *source), "name_pattern"):
        return None
    span = reader.appended("span", raw, source)
    span.move("name", "select", "name")
    pattern = span.take("name_pattern")
    if pattern is not MISSING:
        glob = glob_of_regex(pattern)
        if glob is None:
            span.give_up("name_pattern", why=_NO_GLOB)
        else:
            span.put(("select", "name"), glob, ("name_pattern",))
    span.move("service", "select", "service")
    return span


def _attributes(span: Reader) -> None:
    for key in ("attrs", "attributes"):
        attrs = span.take(key)
        grouped = isinstance(attrs, dict) and attrs and set(attrs) <= {"all", "any"}
        if grouped and all(isinstance(each, (dict, list)) for each in attrs.values()):
            for group, to, by in (("all", "attrs", _all_of), ("any", "attrs_any", any_of)):
                made = by(attrs.get(group, MISSING))
                if made is not MISSING:
                    span.put((to,), made, (key, group), alike=made is attrs[group])
        elif attrs is not MISSING:
            span.put(("attrs",), _all_of(attrs), (key,), alike=isinstance(attrs, dict))
    required = span.take("required_attributes")
    if isinstance(required, list) and all(isinstance(each, str) for each in required):
        for index, name in enumerate(required):
            span.add(("attrs", name), {"exists": True}, ("required_attributes", index))
    elif required is not MISSING:
        span.give_up("required_attributes")


def _all_of(value: Any) -> Any:
    """Return attributes, a table or a list of ``"key=value"``, as a table of conditions.

    A list that says two things of one key is returned as it is, for validation to refuse.
    """
    alternatives = any_of(value) if isinstance(value, list) else value
    if alternatives is value:
        return value
    made: dict[str, Any] = {}
    for each in alternatives:
        if made.setdefault(each.pop("key"), each) != each:
            return value
    return made


def _graph(reader: Reader, key: str, value: Any) -> None:
    labelled = {label for label, each in value.items() if isinstance(each, dict) and "parent_pattern" in each}
    for label in labelled:
        one = reader.part(value[label], key, label)
        names = _globs(one, "parent_pattern", "child_pattern")
        if names:
            edge = {"parent": {"name": names[0]}, "child": {"name": names[1]}}
            place = one.append("edge", edge, ())
            _hand_on_from(reader, key, value, edge, ("edge", place), "parent", "child")
            one.finish()
    edges = value.get("edges", [])
    for index, edge in enumerate(edges if isinstance(edges, list) else ()):
        place = reader.append("edge", edge, (key, "edges", index), alike=True)
        _hand_on_from(reader, key, value, edge, ("edge", place), "parent", "child")
    rest = {name: each for name, each in value.items() if name not in labelled}
    if isinstance(edges, list):
        rest.pop("edges", None)
    if rest:
        below = reader.child(key, rest)
        _pair_lists(below, "must_include", "must_not_cross")
        below.finish("acyclic", "single_root", "no_orphans", "max_depth", "from")
        _drop_if_empty(reader, below, key)


def _globs(reader: Reader, *keys: str) -> list[str]:
    """Read the patterns at *keys*, beside which a description may stand, and return them as globs.

    If one of them is none, all of the table is given up, and none returned.
    """
    reader.skip("description")
    given = {key: reader.take(key) for key in keys}
    there = [key for key in keys if given[key] is not MISSING]
    if len(there) < len(keys):
        missing = next(key for key in keys if given[key] is MISSING)
        reader.give_up(why=f"{missing} is missing, so this would not be checked: write it too", key=there[0])
        return []
    globs = []
    for key, pattern in given.items():
        glob = glob_of_regex(pattern)
        if glob is None:
            reader.give_up(why=_NO_GLOB, key=key)
            return []
        globs.append(glob)
    return globs


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
            made = {"select": {"kind": lower(kind)}, "count": bounds(count)}
            place = reader.append("span", made, (key, name, kind))
            _hand_on_from(reader, key, value, made, ("span", place), "select")
    for label, each in value.items():
        if label in below and isinstance(each, dict) and "description" in each:
            below.take(label)
            _labelled_count(below.part(each, label))
    below.finish("from")
    _drop_if_empty(reader, below, "counts")


def _labelled_count(reader: Reader) -> None:
    named = "name_pattern" in reader
    globs = _globs(reader, "name_pattern") if named else []
    reader.skip("description")
    if named and not globs:
        return
    low, high = ("min", "max") if named else ("total_spans_min", "total_spans_max")
    count = {op: reader.take(name) for name, op in ((low, "gte"), (high, "lte")) if name in reader}
    if count:
        reader.add(("by_name", *globs) if named else ("spans_total",), count, ())
        reader.finish()
    else:
        reader.give_up()


def _windows(reader: Reader, key: str, value: Any) -> None:
    for path, each in tables(value, ("outer", "contains")):
        patterned = reader.part(each, key, *path) if "container_pattern" in each else None
        globs = _globs(patterned, "container_pattern", "contained_pattern") if patterned else []
        if patterned and not globs:
            continue
        window = reader.appended("window", each, (key, *path))
        if globs:
            window.skip("container_pattern", "contained_pattern")
            window.put(("outer",), globs[0], ("container_pattern",))
            window.put(("contains",), globs[1:], ("contained_pattern",))
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
            one = below.part(each, label)
            pair = _globs(one, "before_pattern", "after_pattern")
            if pair:
                one.append("must_precede", pair, ())
                one.finish()
    below.finish("every", "from")
    _drop_if_empty(reader, below, key)


def _status(reader: Reader, key: str, value: Any) -> None:
    below = reader.child(key, value)
    below.move("all", by=lower)
    below.move("by_name", by=partial(_each, lower))
    if below.take_flag("all_ok"):
        below.put(("all",), "ok", ("all_ok",))
    add_errors = partial(_add_errors, reader, value)
    errors = bounds(below.take("error_count"))
    if errors is not MISSING:
        add_errors(errors if isinstance(errors, dict) else {"eq": errors}, (key, "error_count"))
    if below.take_flag("errors_allowed") is False:
        add_errors({"eq": 0}, (key, "errors_allowed"))
    for label, each in value.items():
        if label in below and isinstance(each, dict) and "expected_status" in each:
            below.take(label)
            one = below.part({"name_pattern": ".*", **each}, label)
            globs = _globs(one, "name_pattern")
            if not globs:
                continue
            one.put(("by_name", *globs), lower(one.take("expected_status")), ())
            most = one.take("max_errors")
            if most is not MISSING and globs == ["*"]:
                add_errors({"lte": most}, (key, label, "max_errors"))
            elif most is not MISSING:
                errors = {"select": {"name": globs[0], "status": "error"}, "count": {"lte": most}}
                place = reader.append("span", errors, (key, label, "max_errors"))
                _hand_on_from(reader, key, value, errors, ("span", place), "select")
            one.finish()
    below.finish("from")
    _drop_if_empty(reader, below, key)


def _add_errors(reader: Reader, value: dict[str, Any], count: dict[str, Any], source: KeyPath) -> None:
    """Add bounds of the number of errors to the one table of counts.

    :param value: the table that has them, whose ``from`` says among whose spans.
    """
    origin = value.get("from", _WORKLOAD)
    whose = (*reader.at, source[0], "from")
    if origin != _WORKLOAD and reader.put_default(("counts",), {"from": origin}, source):
        reader.notes.origins.update({(*reader.to, "counts", "from"): (whose, False)})
    counts = reader.out.get("counts", {})
    if isinstance(counts, dict) and counts.get("from", _WORKLOAD) != origin:
        reader.give_up(
            *source, why="expect.counts is of other spans, by its `from`: this would not be checked"
        )
    else:
        reader.notes.heeded.add(whose)
        reader.add(("counts", "errors_total"), count, source)


def _hermeticity(reader: Reader, key: str, value: Any) -> None:
    below = reader.child(key, value)
    resource = below.take("resource_attrs")
    if isinstance(resource, dict) and "must_match" not in resource:
        below.put(("resource_attrs", "must_match"), dict(resource), ("resource_attrs",), alike=True)
    elif resource is not MISSING:
        below.put(("resource_attrs",), resource, ("resource_attrs",), alike=True)
    required = below.take_if(dict, "resource_attributes")
    if required is not None:
        one = below.part(required, "resource_attributes")
        one.skip("description")
        names = one.take_if(list, "required_attributes") or ()
        for index, name in enumerate(names):
            to = ("resource_attrs", "must_match", str(name))
            one.add(to, {"exists": True}, ("required_attributes", index))
        one.finish()
    spans = below.take_if(dict, "span_attributes")
    span = None if spans is None else _selecting(reader, spans, key, "span_attributes")
    if span is not None:
        _attributes(span)
        span.skip("description")
        span.finish()
        if "from" in value:
            span.out.setdefault("select", {})
        _hand_on_from(reader, key, value, span.out, span.to[-2:], "select")
    below.finish("no_external_services", "allowed_peers", "span_attrs", "from")
    _drop_if_empty(reader, below, key)


def _hand_on_from(
    reader: Reader, key: str, value: dict[str, Any], made: Any, to: KeyPath, *names: str
) -> None:
    """Let *made*, which was read from the table *value*, be of the spans that the ``from`` of *value* names.

    :param key: of *value*.
    :param to: where *made* is, below the canonical table of *reader*.
    :param names: keys of *made* that select spans; one that says itself whose they are is left alone.
    """
    if "from" not in value or not isinstance(made, dict):
        return
    whose = (*reader.at, key, "from")
    for name in names:
        path = (*reader.to, *to, name)
        select = made.get(name)
        if isinstance(select, str):
            select = made[name] = {"name": select}
            reader.notes.came((*path, "name"), reader.notes.origin(path))
        if isinstance(select, dict) and "from" not in select:
            select["from"] = value["from"]
            reader.notes.came((*path, "from"), whose)
            reader.notes.heeded.add(whose)


def _drop_if_empty(reader: Reader, below: Reader, key: str) -> None:
    """Leave out what a wild table switches off or leaves empty, and a table of which nothing is left.

    One of which nothing was read anywhere else stays in a file of ours, for validation to refuse. A ``from``
    that is left is given up if it holds for nothing, unless the table is refused already.
    """
    if reader.notes.wild:
        for name in [name for name, each in below.out.items() if each is False or each in ({}, [])]:
            del below.out[name]
    is_done = reader.notes.is_told(below.at, below.to) or (reader.notes.wild and not below.out)
    if not is_done or not below.out.keys() <= {"from"} or reader.out.get(key) is not below.out:
        return
    is_refused = any(path[: len(below.at)] == below.at for path, _ in reader.notes.mistakes)
    if "from" in below.out and (*below.at, "from") not in reader.notes.heeded and not is_refused:
        below.give_up("from", why=_HOLDS_FOR_NOTHING)
    del reader.out[key]


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
