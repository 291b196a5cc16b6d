"""What types cannot say of the checks of a text."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.format.json_rules import check_amount, check_json_paths, check_json_value
from pytest_clnrm.scenario.format.parts import several
from pytest_clnrm.scenario.format.problems import Problem, each_text, regex
from pytest_clnrm.scenario.format.text_document import TextDoc


def check_text(doc: TextDoc | None, path: KeyPath, deferred: frozenset[str]) -> Iterator[Problem]:
    """Yield the mistakes of the checks at *path*.

    :param deferred: names that steps capture.
    """
    if doc is None:
        return
    given = {name: getattr(doc, name) for name in doc.__struct_fields__}
    del given["redact"]
    if all(value is None or value is msgspec.UNSET for value in given.values()):
        yield Problem(path, f"this checks nothing; set at least one of {', '.join(given)}")
    yield from _files(doc, path, deferred)
    yield from _parts(doc, path, deferred)
    for key in ("lines", "length"):
        if given[key] is not None:
            yield from check_amount(given[key], (*path, key))
    yield from _lines(doc, (*path, "line"), deferred)
    yield from _count(doc, (*path, "count"), deferred)
    if doc.json is not msgspec.UNSET:
        yield from check_json_value(doc.json, (*path, "json"))
    if doc.jsonpath is not None:
        yield from check_json_paths(doc.jsonpath, (*path, "jsonpath"), deferred)


def _parts(doc: TextDoc, path: KeyPath, deferred: frozenset[str]) -> Iterator[Problem]:
    for key in ("contains", "not_contains", "regex", "not_regex"):
        for below, text in each_text(getattr(doc, key), (*path, key)):
            if not text:
                yield Problem(below, "is empty, so it says nothing")
            elif key.endswith("regex"):
                yield from regex(text, below, deferred)


def _lines(doc: TextDoc, path: KeyPath, deferred: frozenset[str]) -> Iterator[Problem]:
    if doc.line == {}:
        yield Problem(path, "this checks nothing: it names no line")
    for number, line in (doc.line or {}).items():
        if isinstance(line, TextDoc):
            yield from check_text(line, (*path, number), deferred)


def _count(doc: TextDoc, path: KeyPath, deferred: frozenset[str]) -> Iterator[Problem]:
    if doc.count == []:
        yield Problem(path, "this checks nothing: it counts nothing")
    for index, each in enumerate(several(doc.count)):
        at = (*path, index) if isinstance(doc.count, list) else path
        yield from regex(each.regex, (*at, "regex"), deferred)
        yield from check_amount(each, at)


def _files(doc: TextDoc, path: KeyPath, deferred: frozenset[str]) -> Iterator[Problem]:
    """Yield the mistakes of the files that it is compared with."""
    for key, file in (("file", doc.file), ("json_file", doc.json_file)):
        if file is not None and (file.startswith("/") or "\0" in file):
            yield Problem(
                (*path, key), "a path beside the scenario file is needed, such as golden/orders.txt"
            )
    if doc.redact and doc.file is None and doc.json_file is None:
        yield Problem((*path, "redact"), "this has no effect without file or json_file")
    for index, each in enumerate(doc.redact):
        yield from regex(each.regex, (*path, "redact", index, "regex"), deferred)
