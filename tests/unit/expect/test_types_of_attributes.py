"""Attributes of another type than what they are compared with: neither the same nor another value."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pytest_clnrm.expect.spans import judge_spans
from pytest_clnrm.model.span import Span
from pytest_clnrm.scenario.format.expect_document import ExpectDoc
from pytest_clnrm.scenario.format.expect_rules import check_expectations


def make(name: str = "a", **more: Any) -> Span:
    """Return a span of the service ``api`` whose id is its name unless said otherwise."""
    fields: dict[str, Any] = {"span_id": name, "service": "api", **more}
    return Span(trace_id="t", name=name, start_ns=1, end_ns=2, **fields)


def judge(expect: dict[str, Any], *spans: Span) -> list[str]:
    """Return the messages of what a ``[[expect.span]]`` finds."""
    doc = msgspec.convert({"span": [expect]}, ExpectDoc)
    assert check_expectations(doc, ("expect",)) == []
    return [each.message for each in judge_spans(doc.built(lambda *keys: keys), spans, where=str)]


def none(**select: Any) -> dict[str, Any]:
    """Return the expectation that no span is selected."""
    return {"select": select, "count": 0}


@pytest.mark.parametrize(
    ("condition", "found", "types"),
    [
        ({"gte": 500}, "500", "text"),
        (500, "500", "text"),
        ("500", 500, "number"),
        ({"one_of": [500, 503]}, "500", "text"),
        ({"regex": "^5"}, 500, "number"),
        ({"regex": "^5"}, ("500",), "list of text"),
        ({"contains": "5"}, 500, "number"),
        ({"contains": 5}, "500", "text"),
        ({"contains": "1"}, (1, 2), "list of number"),
        ({"contains": 1}, ("1", True), "list of boolean or text"),
        ({"gte": 500}, (500,), "list of number"),
        ([500], ("500",), "list of text"),
        ([500, "x"], (500, 7), "list of number"),
        ([500], "500", "text"),
        ({"ne": 500}, "500", "text"),
        ({"ne": [500]}, ("500",), "list of text"),
        ({"json": {"code": 500}}, 500, "number"),
        ({"json": {"code": 500}}, '{"code": "500"}', "text"),
    ],
    ids=str,
)
def test_none_is_no_proof_where_types_differ(condition: Any, found: Any, types: str) -> None:
    """That no span is selected by a condition which cannot hold for the values there says nothing."""
    expect = none(name="a", attrs={"code": condition})
    assert judge(expect, make(attributes={"code": found})) == [
        f"expect.span[a]: none selected, but attribute 'code' is of another type there: {types}"
    ]
    assert judge(expect, make()) == []


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ({"gte": 500}, 7),
        (500, 7),
        ("500", "x"),
        ({"one_of": [500, "503"]}, "x"),
        ({"regex": "^5"}, "x"),
        ({"contains": "5"}, "x"),
        ({"contains": "1"}, (1, "2")),
        ({"contains": "1"}, ()),
        ([500], ("500", "503")),
        ([500, "x"], ("500", "y")),
        ({"ne": 500}, 500),
        ({"ne": [500]}, (500,)),
        ({"json": {"code": 500}}, "no JSON"),
        ({"json": {"code": 500, "id": 1}}, '{"code": "500", "id": 2}'),
    ],
    ids=str,
)
def test_none_is_shown_by_values_that_could_be_compared(condition: Any, found: Any) -> None:
    """What differs in more than its type is not what must not be there."""
    assert judge(none(name="a", attrs={"code": condition}), make(attributes={"code": found})) == []


def test_one_value_that_could_be_compared_is_enough() -> None:
    """Spans of others may have an attribute of that name for something else."""
    values = ("x", 7, (7,))
    spans = [make(str(number), attributes={"code": each}) for number, each in enumerate(values)]
    for condition in ({"gte": 500}, 500, "500", {"one_of": [500, 503]}, {"regex": "^5"}, {"contains": "5"}):
        assert judge(none(name="*", attrs={"code": condition}), *spans) == []


WRONG = {"error": "false"}


@pytest.mark.parametrize(
    "other",
    [
        {"service": "legacy"},
        {"kind": "client"},
        {"origin": "runner"},
        {"scope": "elsewhere"},
        {"attributes": {**WRONG, "route": "/b"}},
        {"attributes": WRONG},
        {"resource": {"zone": "b"}},
    ],
    ids=str,
)
def test_only_spans_that_are_meant_count(other: dict[str, Any]) -> None:
    """A value of another type says nothing of spans that anything else tells apart."""
    meant: dict[str, Any] = {
        "kind": "server",
        "scope": "lib",
        "attributes": {**WRONG, "route": "/a"},
        "resource": {"zone": "a"},
    }
    expect = none(
        name="*",
        service="api",
        kind="server",
        scope="lib",
        attrs={"error": True, "route": "/a"},
        resource={"zone": "a"},
    )
    sound = make("sound", **{**meant, "attributes": {"error": False, "route": "/a"}})
    bare = make("bare", **{**meant, "attributes": {"route": "/a"}})
    misses = make("other", **{**meant, **other})
    assert judge(expect, bare, misses) == []
    assert judge(expect, make("meant", **meant), bare, misses) == [
        "expect.span[*]: none selected, but attribute 'error' is of another type there: text"
    ]
    assert judge(expect, make("meant", **meant), sound) == []


def test_two_of_another_type_do_not_hide_each_other() -> None:
    """Each is named, once: a span that both alone keep from being selected may be one that is meant."""
    expect = none(name="a", attrs={"code": {"gte": 500, "lt": 600}}, resource={"version": 2})
    span = make(attributes={"code": "500"}, resource={"version": "2"})
    assert judge(expect, span) == [
        "expect.span[a]: none selected, but attribute 'code' is of another type there: text",
        "expect.span[a]: none selected, but resource attribute 'version' is of another type there: text",
    ]


@pytest.mark.parametrize(
    ("value", "other", "words"),
    [
        (500, "500", "500 (number), expected not '500' (text)"),
        ("500", 500, "'500' (text), expected not 500 (number)"),
        (True, "true", "True (boolean), expected not 'true' (text)"),
        (2.5, "2.50", "2.5 (number), expected not '2.50' (text)"),
        (["500"], [500], "['500'], expected not [500]"),
        (["a", 500], ["a", "500"], "['a', 500], expected not ['a', '500']"),
        ('["500"]', [500], "'[\"500\"]' (text), expected not [500] (list)"),
    ],
    ids=str,
)
def test_what_is_written_differently_is_not_another_value(value: Any, other: Any, words: str) -> None:
    """Neither is it shown to be the same."""
    span = make(attributes={"code": value})
    expect = {"select": "a", "attrs": {"code": {"ne": other}}}
    assert judge(expect, span) == [f"expect.span[a]: attribute 'code' is {words}"]
    for another in ("x", ["x"], [*other, *other] if isinstance(other, list) else [other]):
        assert judge({"select": "a", "attrs": {"code": {"ne": another}}}, span) == []
