"""Checks of JSON that could never hold, or never fail, are mistakes of the file."""

from __future__ import annotations

from typing import Any

import pytest

AT = "step[0].expect.stdout.jsonpath"
KINDS = "ask for different kinds"
ARRAY = (
    "this path may select several values, and the checks are about the array of them; write each = { ... }, "
    "any = { ... }, or a path of names and indices alone"
)
OTHER = (
    "this path may select several values, and the checks are about the array of them, which {0}; "
    "write each = {{ {1} = ... }}"
)
OPERATORS = (
    "exists, type, eq, ne, lt, lte, gt, gte, one_of, as_text, regex, contains, not_contains, starts_with, "
    "ends_with, length, unique, matches, unordered, includes, each, any, none"
)
CASES = {
    "no path": ("{}", f"FILE:3:19: {AT}: this checks nothing; name a JSONPath and what it must select"),
    "nothing": (
        '{ "$.a" = {} }',
        f'FILE:3:32: {AT}."$.a": this checks nothing; set at least one of {OPERATORS}',
    ),
    "nothing of each": (
        '{ "$.a" = { each = {} } }',
        f'FILE:3:42: {AT}."$.a".each: this checks nothing; set at least one of {OPERATORS}',
    ),
    "no JSONPath": (
        '{ "a.b" = 1 }',
        (
            f'FILE:3:32: {AT}."a.b": is no JSONPath (RFC 9535), such as "$.items[0].id", '
            '"$.items[*].id" or "$..id": '
            "it must begin with $, the whole document"
        ),
    ),
    "a template in a path": (
        '{ "$.{{ x }}" = 1 }',
        (
            f'FILE:3:32: {AT}."$.{{{{ x }}}}": a path is taken as it is: '
            "templates are filled in where a value stands"
        ),
    ),
    "unknown operator": (
        '{ "$.a" = { equals = 1 } }',
        f'FILE:3:42: {AT}."$.a".equals: unknown key "equals"; allowed here: ',
    ),
    "wrong type": (
        '{ "$.a" = { lt = "1" } }',
        f'FILE:3:42: {AT}."$.a".lt: "1" is not allowed: a number, or a template that gives one',
    ),
    "several values": ('{ "$.a[*]" = 1 }', f'FILE:3:32: {AT}."$.a[*]": {ARRAY}'),
    "type of several values": ('{ "$..a" = { type = "string" } }', f'FILE:3:32: {AT}."$..a": {ARRAY}'),
    "ne of several values": (
        '{ "$.a[*]" = { ne = "failed" } }',
        f'FILE:3:45: {AT}."$.a[*]".ne: {OTHER.format("is always another value", "ne")}',
    ),
    "an array of several values": (
        '{ "$.a[?@.b]" = { type = ["array", "null"] } }',
        f'FILE:3:48: {AT}."$.a[?@.b]".type: {OTHER.format("is always an array", "type")}',
    ),
    "exists and more": (
        '{ "$.a" = { exists = false, eq = 1 } }',
        f'FILE:3:42: {AT}."$.a".exists: what must not be there cannot also be tested by eq',
    ),
    "exists of an element": (
        '{ "$.a" = { any = { exists = true } } }',
        f'FILE:3:50: {AT}."$.a".any.exists: an element of an array is always there',
    ),
    "empty": (
        '{ "$.a" = { starts_with = "" } }',
        f'FILE:3:42: {AT}."$.a".starts_with: is empty, so it says nothing',
    ),
    "pattern": (
        '{ "$.a" = { regex = "(" } }',
        (
            f'FILE:3:42: {AT}."$.a".regex: not a regular expression: missing ), '
            "unterminated subpattern at position 0"
        ),
    ),
    "not unique": (
        '{ "$.a" = { unique = false } }',
        f'FILE:3:42: {AT}."$.a".unique: false checks nothing; leave it out',
    ),
    "any shape": (
        '{ "$.a" = { matches = {} } }',
        f'FILE:3:42: {AT}."$.a".matches: every object is so; write type = "object"',
    ),
    "tolerance": (
        '{ "$.a" = { gt = 1, tolerance = 0.1 } }',
        (
            f'FILE:3:50: {AT}."$.a".tolerance: this has no effect without eq, '
            "one_of, matches, unordered or includes"
        ),
    ),
    "any length": (
        '{ "$.a" = { length = { gte = 0 } } }',
        f'FILE:3:42: {AT}."$.a".length: every number is so: this checks nothing',
    ),
    "no length": (
        '{ "$.a" = { length = {} } }',
        f'FILE:3:42: {AT}."$.a".length: this checks nothing; set at least one of eq, ne, lt, lte, gt, gte',
    ),
    "length below 0": (
        '{ "$.a" = { length = { lt = 0 } } }',
        f'FILE:3:42: {AT}."$.a".length: no number is below 0',
    ),
    "bounds of a length": (
        '{ "$.a" = { length = { gt = 3, lt = 2 } } }',
        f'FILE:3:42: {AT}."$.a".length: no value can be lt = 2 and gt = 3',
    ),
    "bounds": ('{ "$.a" = { gt = 3, lt = 2 } }', f'FILE:3:32: {AT}."$.a": no value can be lt = 2 and gt = 3'),
    "kinds": (
        '{ "$.a" = { gt = 3, each = { eq = 1 } } }',
        f'FILE:3:32: {AT}."$.a": no value can be all of this: gt, each {KINDS}',
    ),
    "kinds of a type": (
        '{ "$.a" = { type = ["integer", "null"], contains = "x" } }',
        f'FILE:3:32: {AT}."$.a": no value can be all of this: type, contains {KINDS}',
    ),
    "kinds of a value": (
        '{ "$.a" = { one_of = ["a", 1], contains = 3 } }',
        f'FILE:3:32: {AT}."$.a": no value can be all of this: one_of, contains {KINDS}',
    ),
    "a date": (
        '{ "$.a" = { eq = [1979-05-27] } }',
        f'FILE:3:48: {AT}."$.a".eq[0]: JSON has no dates and times; write it as text',
    ),
    "no number": ('{ "$.a" = { ne = nan } }', f'FILE:3:42: {AT}."$.a".ne: JSON has no number nan'),
}


def text_of(jsonpath: str) -> str:
    """Return a file with this table of paths."""
    return f'[[step]]\nrun = "true"\nexpect.stdout = {{ jsonpath = {jsonpath} }}\n'


@pytest.mark.parametrize(("jsonpath", "message"), CASES.values(), ids=CASES)
def test_a_mistake_is_told(project: Any, head: Any, jsonpath: str, message: str) -> None:
    """Each rule has its message, at its place, and no other."""
    (told,) = head(project.refuse(text_of(jsonpath)))
    assert told.startswith(message)
    assert message.endswith(": ") or told == message


@pytest.mark.parametrize(
    "jsonpath",
    [
        '{ "$.a" = { ne = "failed", type = "string" } }',
        '{ "$.a[*]" = { ne = ["failed"] } }',
        '{ "$.a[*]" = { each = { ne = "failed", type = "string" } } }',
    ],
)
def test_what_can_fail_is_none(project: Any, jsonpath: str) -> None:
    """An array may be another one, and a value or an element of another kind."""
    project.one(text_of(jsonpath))


def test_amounts_and_values_of_a_text(project: Any, head: Any) -> None:
    """Lines, length and json have the same rules."""
    text = '[[step]]\nrun = "true"\nexpect.stdout = { lines = { gte = 0 }, length = {}, json = [inf] }\n'
    assert [each.partition("stdout.")[2] for each in head(project.refuse(text))] == [
        "lines: every number is so: this checks nothing",
        "length: this checks nothing; set at least one of eq, ne, lt, lte, gt, gte",
        "json[0]: JSON has no number inf",
    ]


def test_captured_values_are_filled_in(project: Any) -> None:
    """A value, a pattern and a nested check may name what an earlier step has captured; a place is kept."""
    scenario = project.one(
        '[[step]]\nrun = "true"\ncapture.id = { regex = "x" }\n'
        + text_of(
            '{ "$.a" = "{{ id }}", "$.b" = { regex = "({{ id }}", each = { eq = "{{ id }}" } } }'
        ).replace(", each = { eq", ' }, "$.c" = { each = { eq')
    )
    assert scenario.steps[1].templated
    a, b, c = scenario.steps[1].expect.stdout.jsonpath
    assert a.at == ("step", 1, "expect", "stdout", "jsonpath", "$.a")
    assert (a.checks.tests[0].value, b.checks.tests[0].value) == ("{{ id }}", "({{ id }}")
    assert c.checks.tests[0].value.tests[0].value == "{{ id }}"
