"""What types cannot say of the checks of values in JSON.

A check that can never hold, whatever the document, is a mistake of the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from pytest_clnrm.expect.json_match import kind_of
from pytest_clnrm.model.json_checks import JSON_OPERATORS, KINDS
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.format.comparisons import COMPARISONS
from pytest_clnrm.scenario.format.expect_rules import BOUNDS, bounds
from pytest_clnrm.scenario.format.json_document import (
    AmountBounds,
    AmountDoc,
    JsonChecksDoc,
    JsonPathsDoc,
    checks_of,
)
from pytest_clnrm.scenario.format.parts import several
from pytest_clnrm.scenario.format.problems import Problem, regex
from pytest_clnrm.toml.checking import listed
from pytest_clnrm.toml.positions import leaves
from pytest_clnrm.util.jsonpaths import read_path

_COMPARED = ("eq", "one_of", "matches", "unordered", "includes")
_VALUES = (*_COMPARED, "ne", "contains", "not_contains")


def check_json_paths(doc: JsonPathsDoc, at: KeyPath, deferred: frozenset[str]) -> Iterator[Problem]:
    """Yield the mistakes of a table of paths.

    :param deferred: names that steps capture.
    """
    if not doc:
        yield Problem(at, "this checks nothing; name a JSONPath and what it must select")
    for path, value in doc.items():
        below = (*at, path)
        if "{{" in path:
            yield Problem(below, "a path is taken as it is: templates are filled in where a value stands")
            continue
        read = read_path(path)
        if read.problem:
            example = 'such as "$.items[0].id", "$.items[*].id" or "$..id"'
            yield Problem(below, f"is no JSONPath (RFC 9535), {example}: {read.problem}")
            continue
        checks = checks_of(value)
        yield from check_json_checks(checks, below, deferred)
        if not read.is_singular:
            yield from _of_array(checks, below)


def _of_array(doc: JsonChecksDoc, at: KeyPath) -> Iterator[Problem]:
    """Yield the mistakes of checks that are about the array of all values that a path selects."""
    about = "this path may select several values, and the checks are about the array of them"
    if not _kinds(doc) & {"array"}:
        remedy = "write each = { ... }, any = { ... }, or a path of names and indices alone"
        yield Problem(at, f"{about}; {remedy}")
        return
    given = doc.given()
    if "ne" in given and kind_of(given["ne"]) != "array":
        yield Problem((*at, "ne"), f"{about}, which is always another value; write each = {{ ne = ... }}")
    if "type" in given:
        yield Problem((*at, "type"), f"{about}, which is always an array; write each = {{ type = ... }}")


def check_json_checks(
    doc: JsonChecksDoc, at: KeyPath, deferred: frozenset[str], *, element: bool = False
) -> Iterator[Problem]:
    """Yield the mistakes of a table of checks.

    :param element: it is about the elements of an array.
    """
    given = doc.given()
    if not given:
        yield Problem(at, f"this checks nothing; set at least one of {', '.join(JSON_OPERATORS)}")
    elif not _kinds(doc):
        yield Problem(at, f"no value can be all of this: {', '.join(given)} ask for different kinds")
    if "exists" in given:
        yield from _exists(doc, at, element=element)
    yield from _without_effect(doc, at)
    if doc.regex:
        yield from regex(doc.regex, (*at, "regex"), deferred)
    if doc.length is not None:
        # With `each` the least length says that there may be no element.
        yield from check_amount(doc.length, (*at, "length"), any_is_said=doc.each is not None)
    for op in _VALUES:
        if op in given:
            yield from check_json_value(given[op], (*at, op))
    numbers = {op: value for op, value in given.items() if op in BOUNDS and kind_of(value) == "number"}
    yield from (Problem(*each) for each in bounds(numbers, at))
    for op in ("each", "any", "none"):
        if op in given:
            yield from check_json_checks(given[op], (*at, op), deferred, element=True)


def _exists(doc: JsonChecksDoc, at: KeyPath, *, element: bool) -> Iterator[Problem]:
    others = [op for op in doc.given() if op != "exists"]
    if element:
        yield Problem((*at, "exists"), "an element of an array is always there")
    elif others and not doc.exists:
        told = ", ".join(others)
        yield Problem((*at, "exists"), f"what must not be there cannot also be tested by {told}")


def _without_effect(doc: JsonChecksDoc, at: KeyPath) -> Iterator[Problem]:
    """Yield a mistake for each check that holds of everything."""
    given = doc.given()
    for op in ("regex", "starts_with", "ends_with", "contains", "not_contains"):
        if given.get(op) == "":
            yield Problem((*at, op), "is empty, so it says nothing")
    if doc.unique is False:
        yield Problem((*at, "unique"), "false checks nothing; leave it out")
    if doc.matches == {}:
        yield Problem((*at, "matches"), 'every object is so; write type = "object"')
    if doc.tolerance is not None and not any(op in given for op in _COMPARED):
        yield Problem((*at, "tolerance"), f"this has no effect without {listed(_COMPARED)}")


def check_amount(doc: AmountBounds | None, at: KeyPath, *, any_is_said: bool = False) -> Iterator[Problem]:
    """Yield the mistakes of a number of things.

    :param any_is_said: that every number is allowed has a meaning.
    """
    if not isinstance(doc, AmountDoc):
        return
    given = doc.given()
    if not given:
        yield Problem(at, f"this checks nothing; set at least one of {', '.join(COMPARISONS)}")
    elif given == {"gte": 0} and not any_is_said:
        yield Problem(at, "every number is so: this checks nothing")
    elif doc.lt == 0:
        yield Problem(at, "no number is below 0")
    yield from (Problem(*each) for each in bounds(given, at))


def check_json_value(value: Any, at: KeyPath) -> Iterator[Problem]:
    """Yield a mistake for each value that JSON does not have, such as a date."""
    for below, leaf in leaves(value, at):
        if isinstance(leaf, float) and not math.isfinite(leaf):
            yield Problem(below, f"JSON has no number {leaf}")
        elif not isinstance(leaf, (str, int, float, dict, list)):
            yield Problem(below, "JSON has no dates and times; write it as text")


def _kinds(doc: JsonChecksDoc) -> frozenset[str]:
    """Return the kinds of which a value may be that passes all checks."""
    kinds = frozenset({"object", "array", "string", "number", "boolean", "null"})
    for op, value in doc.given().items():
        kinds &= KINDS.get(op, kinds)
        if op == "type":
            kinds &= {"number" if each == "integer" else each for each in several(value)}
        elif op in {"eq", "matches"}:
            kinds &= {kind_of(value)}
        elif op == "one_of":
            kinds &= set(map(kind_of, value))
        elif op in {"contains", "not_contains"} and not isinstance(value, str):
            kinds &= {"array"}
    return kinds
