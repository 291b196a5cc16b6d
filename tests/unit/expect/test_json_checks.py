"""Judging values of a JSON document: each operator, what its failure says, and what it may take."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pytest_clnrm.expect import json_match
from pytest_clnrm.expect.json_checks import path_differences
from pytest_clnrm.model.json_checks import JSON_OPERATORS, JsonChecks, JsonPathExpect, JsonTest
from pytest_clnrm.scenario.format.json_document import JsonPathsDoc, built_paths
from pytest_clnrm.util import patterns

ORDER = {
    "id": 17,
    "state": "open",
    "paid": False,
    "note": None,
    "total": 12.5,
    "tags": ["red", "blue"],
    "items": [
        {"id": 1, "sku": "a-1", "price": 2.5},
        {"id": 2, "sku": "b-2", "price": 4},
        {"id": 3, "sku": "c-3", "price": 6.0},
    ],
    "none": [],
    "odd key": 1,
}


def differences(checks: dict[str, Any], document: Any = ORDER) -> list[str]:
    """Return what differs in *document* from a table of paths as a file has it."""
    expects = built_paths(msgspec.convert(checks, JsonPathsDoc), ("jsonpath",))
    found = path_differences(expects, json.dumps(document), document)
    return [each for _, told in found for each in told]


HOLD = [
    {"$.id": 17},
    {"$.id": 17.0},
    {"$.tags": ["red", "blue"]},
    {"$['odd key']": 1},
    {"$.items[-1].id": 3},
    {"$.items[*].id": [1, 2, 3]},
    {"$..sku": ["a-1", "b-2", "c-3"]},
    {"$.items[?@.price > 3].id": [2, 3]},
    {"$.items[1]": {"eq": {"id": 2, "sku": "b-2", "price": 4}}},
    {"$.id": {"exists": True}},
    {"$.missing": {"exists": False}},
    {"$.items[?@.price > 100]": {"exists": False}},
    {"$.note": {"type": "null", "as_text": "null"}},
    {"$.state": {"as_text": "open"}, "$.total": {"as_text": "12.5"}, "$.tags": {"as_text": '["red","blue"]'}},
    {"$.id": {"type": "integer"}},
    {"$.items[2].price": {"type": "integer"}},
    {"$.total": {"type": "number"}},
    {"$.id": {"type": ["null", "number"]}},
    {"$.state": {"type": "string", "ne": "done", "one_of": ["open", "new"]}},
    {"$": {"type": "object", "length": 9, "matches": {"id": 17, "items": ORDER["items"]}}},
    {"$.total": {"gt": 12, "gte": 12.5, "lt": 13, "lte": 12.5}},
    {"$.total": {"eq": 12.51, "tolerance": 0.02}},
    {"$.items[0]": {"matches": {"price": 2.4}, "tolerance": 0.2}},
    {"$.items[0].sku": {"regex": r"^\w-\d$", "starts_with": "a", "ends_with": "1", "length": 3}},
    {"$.state": {"contains": "pe", "not_contains": "x"}},
    {"$.tags": {"contains": "red", "not_contains": "green", "length": {"gte": 1, "lt": 3}, "unique": True}},
    {"$.tags": {"unordered": ["blue", "red"]}},
    {"$.items": {"unordered": [{"id": 3}, {"id": 1}, {"sku": "b-2"}], "includes": {"id": 2, "price": 4}}},
    {"$.items": {"each": {"matches": {"price": 4}, "tolerance": 2}, "length": 3}},
    {"$.items[*].price": {"each": {"gt": 0, "lt": 7}, "any": {"gt": 5}, "none": {"gt": 6}}},
    {"$.none": {"each": {"type": "integer"}, "length": {"gte": 0}}},
    {"$.none": {"none": {"eq": 1}, "unique": True, "unordered": []}},
]


@pytest.mark.parametrize("checks", HOLD, ids=str)
def test_what_holds(checks: dict[str, Any]) -> None:
    """Each operator holds of what it asks for; a path of several values is judged as their array."""
    assert differences(checks) == []


FAIL: dict[str, tuple[dict[str, Any], list[str]]] = {
    "value": ({"$.id": 18}, ["$.id: expected 18, got 17"]),
    "value of another kind": ({"$.id": "16"}, ['$.id: expected the string "16", got the number 17']),
    "text of a number": (
        {"$.id": "17"},
        ['$.id: expected the string "17", got the number 17; as_text would compare how it is written'],
    ),
    "values": (
        {"$.items[*].id": [1, 3, 3, 4]},
        ["$.items[*].id: expected 4 elements, got 3 (arrays are compared whole; jsonpath checks parts)"],
    ),
    "one of the values": ({"$.items[*].id": [1, 5, 3]}, ["$.items[1].id: expected 5, got 2"]),
    "a further member": (
        {"$.items[0]": {"eq": {"id": 1, "sku": "a-1"}}},
        ["$.items[0].price: expected nothing, got 2.5"],
    ),
    "all differences": (
        {"$.items[*]": {"each": {"matches": {"id": 0, "sku": "x"}}}},
        [
            "$.items[0].id: expected 0, got 1",
            '$.items[0].sku: expected "x", got "a-1"',
            "$.items[1].id: expected 0, got 2",
            '$.items[1].sku: expected "x", got "b-2"',
            "$.items[2].id: expected 0, got 3",
            "and 1 more",
        ],
    ),
    "nothing there": (
        {"$.stat": "open"},
        [
            (
                '$.stat: selects nothing; $ is an object with the keys: "id", "state", "paid", "note", '
                '"total", "tags", "items", "none", "odd key"'
            )
        ],
    ),
    "nothing below": (
        {"$.items[3].sku": {"exists": True}},
        ["$.items[3].sku: selects nothing; $.items is an array of 3 elements"],
    ),
    "nothing in a number": ({"$.id.x": 1}, ["$.id.x: selects nothing; $.id is the number 17"]),
    "nothing of an array": (
        {"$.none[*].id": {"each": {"type": "integer"}}},
        ["$.none[*].id: selects nothing; $.none is an array of 0 elements"],
    ),
    "something there": ({"$.note": {"exists": False}}, ["$.note: expected nothing, got null"]),
    "several there": (
        {"$.items[?@.id > 1].id": {"exists": False}},
        ["$.items[1].id: expected nothing, got 2", "$.items[2].id: expected nothing, got 3"],
    ),
    "type": ({"$.state": {"type": "integer"}}, ['$.state: expected integer, got the string "open"']),
    "types": ({"$.paid": {"type": ["string", "null"]}}, ["$.paid: expected string or null, got false"]),
    "integer": ({"$.total": {"type": "integer"}}, ["$.total: expected integer, got the number 12.5"]),
    "boolean is no number": ({"$.paid": {"type": "number"}}, ["$.paid: expected number, got false"]),
    "ne": ({"$.id": {"ne": 17}}, ["$.id: expected anything but 17, got just this"]),
    "lt": ({"$.id": {"lt": 17}}, ["$.id: expected < 17, got 17"]),
    "lte": ({"$.id": {"lte": 16}}, ["$.id: expected <= 16, got 17"]),
    "gt": ({"$.id": {"gt": 17}}, ["$.id: expected > 17, got 17"]),
    "lt no number": (
        {"$.id": {"lt": "{{ before }}"}},
        ['$.id: cannot be compared with "{{ before }}", which is no number'],
    ),
    "gte of text": ({"$.state": {"gte": 1}}, ['$.state: expected >= 1, got the string "open"']),
    "tolerance": ({"$.total": {"eq": 12.6, "tolerance": 0.01}}, ["$.total: expected 12.6 ± 0.01, got 12.5"]),
    "one of": ({"$.state": {"one_of": ["a", "b"]}}, ['$.state: expected one of ["a", "b"], got "open"']),
    "text": ({"$.id": {"as_text": "18"}}, ['$.id: expected the text "18", got the number 17']),
    "text of a string": ({"$.state": {"as_text": "x"}}, ['$.state: expected the text "x", got "open"']),
    "regex": ({"$.state": {"regex": "^x"}}, ["$.state: expected a match of '^x', got \"open\""]),
    "regex of a number": ({"$.id": {"regex": "1"}}, ["$.id: expected a match of '1', got the number 17"]),
    "starts with": (
        {"$.state": {"starts_with": "x"}},
        ['$.state: expected a string that starts with "x", got "open"'],
    ),
    "ends with": (
        {"$.state": {"ends_with": "x"}},
        ['$.state: expected a string that ends with "x", got "open"'],
    ),
    "contains": ({"$.state": {"contains": "x"}}, ['$.state: expected "x" in it, got the string "open"']),
    "contains an element": (
        {"$.tags": {"contains": 1}},
        ['$.tags: expected 1 in it, got the array ["red", "blue"]'],
    ),
    "not contains": (
        {"$.tags": {"not_contains": "red"}},
        ['$.tags: expected no "red" in it, got the array ["red", "blue"]'],
    ),
    "not contains in a number": (
        {"$.id": {"not_contains": "red"}},
        ["$.id: expected a string or an array, got the number 17"],
    ),
    "length": (
        {"$.tags": {"length": {"gt": 2, "lte": 9}}},
        ['$.tags: expected a length of more than 2 and at most 9, got 2: ["red", "blue"]'],
    ),
    "length of a number": (
        {"$.id": {"length": 2}},
        ["$.id: expected a length of exactly 2, got the number 17"],
    ),
    "matches": (
        {"$.items[0]": {"matches": {"id": 1, "name": "x"}}},
        ['$.items[0].name: missing, expected "x"'],
    ),
    "unordered": (
        {"$.tags": {"unordered": ["red", "green", "black"]}},
        [
            '$.tags: expected an element "green", got none',
            '$.tags: expected an element "black", got none',
            '$.tags[1]: expected nothing, got "blue"',
        ],
    ),
    "unordered, the nearest": (
        {"$.items": {"unordered": [{"id": 3}, {"id": 1}, {"id": 2, "sku": "x"}]}},
        ['$.items[1].sku: expected "x", got "b-2"'],
    ),
    "unordered of no array": ({"$.id": {"unordered": [1]}}, ["$.id: expected an array, got the number 17"]),
    "includes": (
        {"$.items": {"includes": {"id": 2, "sku": "x"}}},
        [
            (
                '$.items: expected an element that matches {"id": 2, "sku": "x"}; of 3 the nearest is '
                '$.items[1].sku: expected "x", got "b-2"'
            )
        ],
    ),
    "includes in nothing": (
        {"$.none": {"includes": 1}},
        ["$.none: expected an element that matches 1, got an empty array"],
    ),
    "each": (
        {"$.items[*].price": {"each": {"type": "integer"}}},
        ["$.items[0].price: expected integer, got the number 2.5"],
    ),
    "each of nothing": (
        {"$.none": {"each": {"type": "integer"}}},
        ["$.none: expected elements, got an empty array (length = { gte = 0 } beside each allows it)"],
    ),
    "each of no array": ({"$.id": {"each": {"eq": 1}}}, ["$.id: expected an array, got the number 17"]),
    "any": (
        {"$.items[*].price": {"any": {"gt": 9, "type": "integer"}}},
        [
            (
                "$.items[*].price: expected an element that is as expected; of 3 the nearest is "
                "$.items[1].price: expected > 9, got 4"
            )
        ],
    ),
    "none": (
        {"$.tags": {"none": {"starts_with": "b"}}},
        ['$.tags[1]: expected no such element, got "blue"'],
    ),
    "none of no array": ({"$.id": {"none": {"eq": 1}}}, ["$.id: expected an array, got the number 17"]),
    "two paths": (
        {"$.id": 1, "$.state": "x"},
        ["$.id: expected 1, got 17", '$.state: expected "x", got "open"'],
    ),
}


@pytest.mark.parametrize(("checks", "told"), FAIL.values(), ids=FAIL)
def test_what_does_not_hold(checks: dict[str, Any], told: list[str]) -> None:
    """Each operator says expected and got in one line, with the path of the value that differs."""
    assert differences(checks) == told


def test_each_operator_is_made_to_fail() -> None:
    """There is a case above for every operator."""
    failing = {
        op for checks, _ in FAIL.values() for each in checks.values() if isinstance(each, dict) for op in each
    }
    assert failing - {"tolerance"} == set(JSON_OPERATORS) - {"unique"}


WRITTEN = (
    "are only written differently; write the value in its kind, which it keeps if it is captured by json, or "
    "compare how it is written, by as_text"
)
IN_STRING = (
    'is no text that a string may hold; write it as text, "{{ name|string }}" if it was captured by json'
)


def leaves_out(op: str, got: str, kinds: str) -> str:
    """Return what is said of an operator and a value of another kind."""
    told = f"{op} says nothing of {got}; type = {kinds} beside {op} leaves other kinds out"
    return f"could not be compared: {told}"


NOT_COMPARED: dict[str, tuple[dict[str, Any], Any, list[str]]] = {
    "ne": (
        {"ne": "17"},
        17,
        [f'$: could not be compared: the string "17" and the number 17 {WRITTEN}'],
    ),
    "ne of a number": (
        {"ne": 12.5},
        "12.50",
        [f'$: could not be compared: the number 12.5 and the string "12.50" {WRITTEN}'],
    ),
    "ne of a boolean": (
        {"ne": "true"},
        True,
        [f'$: could not be compared: the string "true" and true {WRITTEN}'],
    ),
    "ne of null": ({"ne": "null"}, None, [f'$: could not be compared: the string "null" and null {WRITTEN}']),
    "ne of an array": (
        {"ne": [1, "2"]},
        [1, 2],
        [f'$[1]: could not be compared: the string "2" and the number 2 {WRITTEN}'],
    ),
    "ne of an object": (
        {"ne": '{"b": 2, "a": [1.0]}'},
        {"a": [1], "b": 2},
        [
            (
                '$: could not be compared: the string "{\\"b\\": 2, \\"a\\": [1.0]}" and '
                f'the object {{"a": [1], "b": 2}} {WRITTEN}'
            )
        ],
    ),
    "no element": (
        {"not_contains": "17"},
        [16, 17],
        [f'$[1]: could not be compared: the string "17" and the number 17 {WRITTEN}'],
    ),
    "no part": (
        {"not_contains": 17},
        "order 17",
        [f"$: could not be compared: the number 17 {IN_STRING}"],
    ),
    "none": (
        {"none": {"eq": "17"}},
        [16, 17, "18"],
        [f'$[1]: could not be compared: the string "17" and the number 17 {WRITTEN}'],
    ),
    "none is one of": (
        {"none": {"one_of": [1, "17"]}},
        [17],
        [f'$[0]: could not be compared: the string "17" and the number 17 {WRITTEN}'],
    ),
    "none matches": (
        {"none": {"matches": {"id": "17", "state": "open"}}},
        [{"id": 17, "state": "done"}, {"id": 17, "state": "open", "more": 1}],
        [f'$[1].id: could not be compared: the string "17" and the number 17 {WRITTEN}'],
    ),
    "none within a tolerance": (
        {"none": {"eq": 17, "tolerance": 1}},
        ["17.5", "19"],
        [f'$[0]: could not be compared: the number 17 and the string "17.5" {WRITTEN}'],
    ),
    "none above no number": (
        {"none": {"gt": "{{ limit }}"}},
        [5, 1000],
        [f'$[{at}]: could not be compared: "{{{{ limit }}}}", which is no number' for at in (0, 1)],
    ),
    "none above": (
        {"none": {"gt": 10}},
        ["1000", 5],
        ["$[0]: " + leaves_out("gt", 'the string "1000"', '"number"')],
    ),
    "none matches a pattern": (
        {"none": {"regex": "^1"}},
        ["2", 17],
        ["$[1]: " + leaves_out("regex", "the number 17", '"string"')],
    ),
    "none is long": (
        {"none": {"length": {"gt": 3}}},
        ["a", None],
        ["$[1]: " + leaves_out("length", "null", '["array", "object", "string"]')],
    ),
    "none contains": (
        {"none": {"contains": "a"}},
        [{}],
        ["$[0]: " + leaves_out("contains", "the object {}", '["array", "string"]')],
    ),
    "none contains the number": (
        {"none": {"contains": 1}},
        [[2, "1"], "1"],
        [
            f'$[0][1]: could not be compared: the number 1 and the string "1" {WRITTEN}',
            f"$[1]: could not be compared: the number 1 {IN_STRING}",
        ],
    ),
    "none does not contain": (
        {"none": {"not_contains": "17"}},
        [["17"], [17]],
        [f'$[1][0]: could not be compared: the string "17" and the number 17 {WRITTEN}'],
    ),
    "none is another": (
        {"none": {"ne": "17"}},
        ["17", 17],
        [f'$[1]: could not be compared: the string "17" and the number 17 {WRITTEN}'],
    ),
    "none has none": (
        {"none": {"none": {"eq": "17"}}},
        [["17"], [17]],
        [f'$[1][0]: could not be compared: the string "17" and the number 17 {WRITTEN}'],
    ),
    "none has any": (
        {"none": {"any": {"gt": 10}}},
        [[1], ["11", 1]],
        ["$[1][0]: " + leaves_out("gt", 'the string "11"', '"number"')],
    ),
    "none includes": (
        {"none": {"includes": {"id": "17"}}},
        [[{"id": 1}], [{"id": 17}]],
        [f'$[1][0].id: could not be compared: the string "17" and the number 17 {WRITTEN}'],
    ),
    "none has each": (
        {"none": {"each": {"eq": "17"}}},
        [["17", 17], [17, "1"], []],
        [
            f'$[0][1]: could not be compared: the string "17" and the number 17 {WRITTEN}',
            (
                "$[2]: could not be compared: each says nothing of an empty array; "
                "length = { gte = 1 } beside each leaves it out"
            ),
        ],
    ),
    "none has any order": (
        {"none": {"unordered": ["17", 1, 2]}},
        [[2, 1, 17], [2, 1, 16], [2, 1], [2, 2, 17]],
        [f'$[0][2]: could not be compared: the string "17" and the number 17 {WRITTEN}'],
    ),
    "none has another order": (
        # Each of the two that are left could be the other one's.
        {"none": {"unordered": ["1", {"a": 1}]}},
        [[1, '{"a": 1}']],
        [f'$[0][0]: could not be compared: the string "1" and the number 1 {WRITTEN}'],
    ),
    "none has an array": (
        {"none": {"unique": True}},
        [[1, 1], 1],
        ["$[1]: " + leaves_out("unique", "the number 1", '"array"')],
    ),
}


@pytest.mark.parametrize(("checks", "document", "told"), NOT_COMPARED.values(), ids=NOT_COMPARED)
def test_what_could_not_be_compared_is_not_absent(
    checks: dict[str, Any], document: Any, told: list[str]
) -> None:
    """That a value is not so is not proven by a comparison that could not be made."""
    assert differences({"$": checks}, document) == told


@pytest.mark.parametrize(
    ("checks", "document"),
    [
        ({"ne": "x"}, 5),
        ({"ne": "17"}, 18),
        ({"ne": 17}, "-"),
        ({"ne": "17"}, [17]),
        ({"ne": "nothing"}, None),
        ({"ne": {"id": "17", "state": "open"}}, {"id": 17, "state": "done"}),
        ({"not_contains": "17"}, [1, "x", None, [17]]),
        ({"none": {"matches": {"id": 3}}}, [1, "x", {"id": 4}, {}]),
        ({"none": {"type": "number", "gt": 10}}, ["1000", None, 5]),
        ({"none": {"gt": 10, "type": "number"}}, ["1000", None, 5]),
        ({"none": {"length": {"gte": 1}, "each": {"eq": 1}}}, [[], [2]]),
        ({"none": {"as_text": "17"}}, [18, "x"]),
        ({"none": {"unordered": [{"a": 1}, 2]}}, [['{"a": 1}', '{"a": 1}']]),
    ],
    ids=str,
)
def test_what_is_plainly_another_value_is_absent(checks: dict[str, Any], document: Any) -> None:
    """Of another kind and of another content, or left out by a check beside the one that says nothing."""
    assert differences({"$": checks}, document) == []


def test_values_that_several_paths_select_are_compared_where_they_stand() -> None:
    """The path of each is told, as in checks that need no negation."""
    assert differences({"$.items[*].id": {"none": {"eq": "2"}}}) == [
        f'$.items[1].id: could not be compared: the string "2" and the number 2 {WRITTEN}'
    ]


def test_parsing_texts_is_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long text that is compared with many values is not parsed for ever."""
    monkeypatch.setattr(json_match, "MAX_STEPS", 1000)
    told = differences({"$[0]": {"none": {"eq": [0]}}}, [["[" + "1," * 10_000 + "1]"] * 20])
    assert told == ["$[0]: comparing takes more than 1000 steps; check a smaller part of the document"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([1, 2, 1.0], ["$[2]: expected each element once, got 1.0 as at $[0]"]),
        (
            [{"a": [1], "b": 2}, {"b": 2, "a": [1.0]}],
            ['$[1]: expected each element once, got {"b": 2, "a": [1.0]} as at $[0]'],
        ),
        ([True, 1, "1", None, [], {}, "", 0, False], []),
        ([[1, 2], [2, 1]], []),
    ],
)
def test_unique(document: list[Any], told: list[str]) -> None:
    """Elements are the same if they are the same JSON: numbers by value, objects in any order."""
    assert differences({"$": {"unique": True}}, document) == told


def test_pairs_are_found_where_the_first_choice_is_wrong() -> None:
    """An element that several shapes match goes to the one that has no other."""
    shapes = [{}, {"a": 1}, {"a": 1, "b": 1}]
    document = [{"a": 1, "b": 1}, {"a": 1}, {"c": 1}]
    assert differences({"$": {"unordered": shapes}}, document) == []
    assert differences({"$": {"unordered": [*shapes, {"a": 1}]}}, [*document, {"a": 2}]) == [
        "$[3].a: expected 1, got 2"
    ]


def test_what_could_not_be_judged_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern that takes too long, or is none once a value is filled in, fails `none` too."""
    assert differences({"$": {"none": {"regex": "("}}}, ["a"]) == [
        "$: '(' is no regular expression: missing ), unterminated subpattern at position 0"
    ]
    monkeypatch.setattr(patterns, "LIMIT_S", 0.3)
    (told,) = differences({"$": {"none": {"regex": "(a+)+$"}}}, ["a" * 40 + "b"])
    assert told.startswith("$: the regular expression '(a+)+$' took longer than 0.3 s")


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing ends, for all paths of a text together."""
    monkeypatch.setattr(json_match, "MAX_STEPS", 100)
    many = list(range(50))
    assert differences({"$[0]": 0, "$": {"unordered": many[::-1]}, "$[1]": 1}, many) == [
        "$: comparing takes more than 100 steps; check a smaller part of the document",
        "$[1]: comparing takes more than 100 steps; check a smaller part of the document",
    ]


def test_numbers_that_no_float_holds() -> None:
    """A tolerance of a huge integer is no error."""
    (told,) = differences({"$": {"eq": 0.5, "tolerance": 1}}, 10**400)
    assert told.startswith("$: expected 0.5 ± 1.0, got 1000")


def test_a_bound_that_was_captured() -> None:
    """It is text, and compared as the number that it is."""

    def judged(op: Any, text: str) -> list[str]:
        checks = JsonChecks(tests=(JsonTest(op=op, value=text),))
        found = path_differences([JsonPathExpect(path="$.id", checks=checks)], json.dumps(ORDER), ORDER)
        return [each for _, told in found for each in told]

    assert judged("gt", "16.5") == judged("lte", "17") == judged("lt", "1e3") == []
    assert judged("gt", "17") == ["$.id: expected > 17, got 17"]
    for text in ("", "open", "true", '"17"', "17 "):
        told = (
            [] if text == "17 " else [f"$.id: cannot be compared with {json.dumps(text)}, which is no number"]
        )
        assert judged("gte", text) == told
