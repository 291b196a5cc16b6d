"""``[expect]``: its document, the mistakes that types cannot say, and what is built of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pytest_clnrm.model.expectations import (
    Condition,
    CountsExpect,
    EdgeExpect,
    Expectations,
    GraphExpect,
    HermeticityExpect,
    OrderExpect,
    SpanExpect,
    SpanSelect,
    StatusExpect,
    WindowExpect,
)
from pytest_clnrm.scenario.format.expect_document import ExpectDoc
from pytest_clnrm.scenario.format.expect_rules import check_expectations

AT = ("expect",)


def build(data: dict[str, Any]) -> Expectations:
    """Build from plain data."""
    return msgspec.convert(data, ExpectDoc).built(lambda *keys: (*AT, *keys))


def test_nothing_expected() -> None:
    """An empty document expects nothing, and has the documented times."""
    assert build({}) == Expectations(wait_s=5.0, settle_s=0.4)
    assert not build({})


def test_every_key_is_built() -> None:
    """Each key of the canonical form arrives in the vocabulary."""
    data = {
        "wait": "2s",
        "settle": 0.5,
        "span": [
            {
                "select": {
                    "name": "GET *",
                    "kind": "server",
                    "service": "api",
                    "status": "ok",
                    "attrs": {"a": 1},
                    "under": {"name": "clnrm.step"},
                    "parent": "p",
                    "from": "any",
                },
                "count": {"gte": 1, "lte": 2},
                "match": "any",
                "kind": "client",
                "status": "error",
                "parent": {"name": "q", "from": "workload"},
                "attrs": {"c": {"lt": 400, "exists": True}, "l": ["x", 1]},
                "attrs_any": [{"key": "k", "one_of": [1, "x"]}],
                "events": {"any": ["e"], "all": ["f"]},
                "duration": {"gt": 0, "gte": 0.25, "lt": "500ms", "lte": "1m"},
            },
            {"select": "short", "count": 3},
        ],
        "edge": [{"parent": "a", "child": {"name": "b"}, "relation": "descendant", "every": True}],
        "graph": {
            "must_include": [["a", "b"]],
            "must_not_cross": [["c", "d"]],
            "acyclic": True,
            "single_root": True,
            "no_orphans": True,
            "max_depth": 4,
            "from": "any",
        },
        "counts": {
            "spans_total": 1,
            "events_total": {"gte": 1},
            "errors_total": 0,
            "by_name": {"x": {"eq": 2}},
            "by_service": {"y": 3},
            "from": "runner",
        },
        "window": [{"outer": "a", "contains": ["b"], "max_duration": "1s", "from": "any"}],
        "order": {"must_precede": [["a", "b"]], "must_follow": [["d", "c"]], "every": True, "from": "any"},
        "status": {"all": "ok", "by_name": {"x*": "error"}, "from": "any"},
        "hermeticity": {
            "no_external_services": True,
            "allowed_peers": ["h"],
            "resource_attrs": {"must_match": {"env": "test"}},
            "span_attrs": {"forbid_keys": ["k"]},
            "from": "any",
        },
    }
    assert build(data) == Expectations(
        wait_s=2.0,
        settle_s=0.5,
        spans=(
            SpanExpect(
                select=SpanSelect(
                    name="GET *",
                    kind="server",
                    service="api",
                    status="ok",
                    attrs={"a": (Condition(op="eq", value=1),)},
                    under=SpanSelect(name="clnrm.step", origin="any"),
                    parent=SpanSelect(name="p", origin="any"),
                    origin="any",
                ),
                count=(Condition(op="lte", value=2), Condition(op="gte", value=1)),
                match="any",
                kind="client",
                status="error",
                parent=SpanSelect(name="q"),
                attrs={
                    "c": (Condition(op="lt", value=400), Condition(op="exists", value=True)),
                    "l": (Condition(op="eq", value=("x", 1)),),
                },
                attrs_any=(("k", (Condition(op="one_of", value=(1, "x")),)),),
                events_any=("e",),
                events_all=("f",),
                duration_s=(
                    Condition(op="lt", value=0.5),
                    Condition(op="lte", value=60.0),
                    Condition(op="gt", value=0.0),
                    Condition(op="gte", value=0.25),
                ),
                at=("expect", "span", 0),
            ),
            SpanExpect(
                select=SpanSelect(name="short"),
                count=(Condition(op="eq", value=3),),
                at=("expect", "span", 1),
            ),
        ),
        edges=(
            EdgeExpect(
                parent=SpanSelect(name="a"),
                child=SpanSelect(name="b"),
                relation="descendant",
                every=True,
                at=("expect", "edge", 0),
            ),
        ),
        graph=GraphExpect(
            must_include=(("a", "b"),),
            must_not_cross=(("c", "d"),),
            acyclic=True,
            single_root=True,
            no_orphans=True,
            max_depth=4,
            origin="any",
            at=("expect", "graph"),
        ),
        counts=CountsExpect(
            spans_total=(Condition(op="eq", value=1),),
            events_total=(Condition(op="gte", value=1),),
            errors_total=(Condition(op="eq", value=0),),
            by_name={"x": (Condition(op="eq", value=2),)},
            by_service={"y": (Condition(op="eq", value=3),)},
            origin="runner",
            at=("expect", "counts"),
        ),
        windows=(
            WindowExpect(
                outer="a", contains=("b",), max_duration_s=1.0, origin="any", at=("expect", "window", 0)
            ),
        ),
        order=OrderExpect(
            must_precede=(("a", "b"),),
            must_follow=(("d", "c"),),
            every=True,
            origin="any",
            at=("expect", "order"),
        ),
        status=StatusExpect(all="ok", by_name={"x*": "error"}, origin="any", at=("expect", "status")),
        hermeticity=HermeticityExpect(
            no_external_services=True,
            allowed_peers=("h",),
            resource_attrs={"env": (Condition(op="eq", value="test"),)},
            forbid_keys=("k",),
            origin="any",
            at=("expect", "hermeticity"),
        ),
    )
    assert check_expectations(msgspec.convert(data, ExpectDoc), AT) == []


def test_a_span_without_a_count_means_at_least_one() -> None:
    """The default of count is part of what is judged."""
    assert build({"span": [{}]}).spans[0].count == (Condition(op="gte", value=1),)


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        (
            {"graph": {}},
            "graph",
            (
                "this checks nothing; set at least one of must_include, must_not_cross, acyclic, "
                "single_root, no_orphans, max_depth"
            ),
        ),
        (
            {"graph": {"acyclic": False, "must_include": []}},
            "graph",
            "this checks nothing; set at least one of must_include",
        ),
        (
            {"counts": {}},
            "counts",
            (
                "this checks nothing; set at least one of spans_total, events_total, errors_total, by_name, "
                "by_service"
            ),
        ),
        (
            {"order": {"every": True}},
            "order",
            "this checks nothing; set at least one of must_precede, must_fo",
        ),
        ({"status": {"from": "any"}}, "status", "this checks nothing; set at least one of all, by_name"),
        (
            {"hermeticity": {"resource_attrs": {}, "span_attrs": {}}},
            "hermeticity",
            (
                "this checks nothing; set at least one of no_external_services, resource_attrs.must_match, "
                "span_attrs.forbid_keys"
            ),
        ),
        (
            {"hermeticity": {"allowed_peers": ["a"], "span_attrs": {"forbid_keys": ["k"]}}},
            "hermeticity.allowed_peers",
            "this has no effect without no_external_services = true",
        ),
        (
            {"hermeticity": {"resource_attrs": {"must_match": {"a": {}}}}},
            "hermeticity.resource_attrs.must_match.a",
            (
                "this checks nothing; set at least one of eq, ne, lt, lte, gt, gte, regex, contains, "
                "one_of, json, exists"
            ),
        ),
        ({"span": [{"events": {}}]}, "span.0.events", "this checks nothing; set at least one of any, all"),
        ({"span": [{"count": {}}]}, "span.0.count", "this checks nothing; set at least one of eq, gte, lte"),
        (
            {"span": [{"duration": {}}]},
            "span.0.duration",
            "this checks nothing; set at least one of gt, gte, lt, lte",
        ),
        ({"span": [{"attrs": {"a": {}}}]}, "span.0.attrs.a", "this checks nothing"),
        ({"span": [{"attrs_any": [{"key": "a"}]}]}, "span.0.attrs_any.0", "this checks nothing"),
        ({"span": [{"select": {"attrs": {"a": {}}}}]}, "span.0.select.attrs.a", "this checks nothing"),
        (
            {"span": [{"select": {"under": {"parent": {"attrs": {"a": {}}}}}}]},
            "span.0.select.under.parent.attrs.a",
            "this checks nothing",
        ),
        ({"span": [{"parent": {"attrs": {"a": {}}}}]}, "span.0.parent.attrs.a", "this checks nothing"),
        (
            {"edge": [{"parent": {"attrs": {"a": {}}}, "child": "b"}]},
            "edge.0.parent.attrs.a",
            "this checks nothing",
        ),
        (
            {"edge": [{"parent": "a", "child": {"attrs": {"a": {}}}}]},
            "edge.0.child.attrs.a",
            "this checks nothing",
        ),
        (
            {"span": [{"attrs": {"a": {"regex": "("}}}]},
            "span.0.attrs.a.regex",
            "not a regular expression: missing ), unterminated subpattern at position 0",
        ),
        ({"span": [{"attrs": {"a": {"regex": ""}}}]}, "span.0.attrs.a.regex", "is empty, so it says nothing"),
        (
            {"span": [{"attrs_any": [{"key": "a", "contains": ""}]}]},
            "span.0.attrs_any.0.contains",
            "is empty, so it says nothing",
        ),
        (
            {"span": [{"attrs": {"a": {"exists": False, "eq": 1}}}]},
            "span.0.attrs.a.exists",
            "an attribute that must not be there cannot also be tested by eq",
        ),
        (
            {"span": [{"attrs": {"a": {"gte": 3, "lte": 1.5}}}]},
            "span.0.attrs.a",
            "no value can be lte = 1.5 and gte = 3",
        ),
        (
            {"span": [{"attrs": {"a": {"gt": 3, "lte": 3}}}]},
            "span.0.attrs.a",
            "no value can be lte = 3 and gt = 3",
        ),
        (
            {"span": [{"attrs": {"a": {"eq": 3, "lt": 3}}}]},
            "span.0.attrs.a",
            "no value can be eq = 3 and lt = 3",
        ),
        (
            {"span": [{"count": {"gte": 3, "lte": 1}}]},
            "span.0.count",
            "no value can be lte = 1 and gte = 3",
        ),
        (
            {"counts": {"spans_total": {"eq": 3, "lte": 1}}},
            "counts.spans_total",
            "no value can be eq = 3 and lte",
        ),
        ({"counts": {"by_name": {"x": {}}}}, "counts.by_name.x", "this checks nothing"),
        ({"counts": {"by_service": {"x": {}}}}, "counts.by_service.x", "this checks nothing"),
        (
            {"span": [{"duration": {"gt": "2s", "lt": "500ms"}}]},
            "span.0.duration",
            "no value can be lt = 500ms and gt = 2s",
        ),
        (
            {"span": [{"duration": {"lt": "99999h"}}]},
            "span.0.duration.lt",
            "'99999h' is longer than a year",
        ),
        ({"wait": "99999h"}, "wait", "'99999h' is longer than a year"),
        ({"settle": "99999h"}, "settle", "'99999h' is longer than a year"),
        (
            {"window": [{"outer": "a", "contains": ["b"], "max_duration": "99999h"}]},
            "window.0.max_duration",
            "'99999h' is longer than a year",
        ),
        (
            {"span": [{"count": 0, "kind": "client", "attrs": {"a": 1}}]},
            "span.0.count",
            "this allows no span, so these are never judged: kind, attrs",
        ),
        (
            {"span": [{"count": {"lte": 0}, "status": "ok"}]},
            "span.0.count",
            "this allows no span, so these are never judged: status",
        ),
        (
            {"graph": {"must_include": [["a", "b"], ["a"]]}},
            "graph.must_include.1",
            "expected a pair [parent, child], got 1 names",
        ),
        (
            {"graph": {"must_not_cross": [["a", "b", "c"]]}},
            "graph.must_not_cross.0",
            "expected a pair [parent, child], got 3 names",
        ),
        (
            {"graph": {"must_include": [["a", "b"]], "must_not_cross": [["x", "y"], ["a", "b"]]}},
            "graph.must_not_cross.1",
            "must_include asks for the same edge ['a', 'b']",
        ),
        (
            {"order": {"must_precede": [[]]}},
            "order.must_precede.0",
            "expected a pair [first, second], got 0 names",
        ),
        (
            {"order": {"must_follow": [["a"]]}},
            "order.must_follow.0",
            "expected a pair [later, earlier], got 1 names",
        ),
    ],
)
def test_mistakes(data: dict[str, Any], path: str, message: str) -> None:
    """Each mistake is told once, at its key, in words."""
    ((at, text),) = check_expectations(msgspec.convert(data, ExpectDoc), AT)
    assert ".".join(map(str, at)) == f"expect.{path}"
    assert text.startswith(message)


def test_all_mistakes_at_once() -> None:
    """One mistake does not hide another."""
    data: dict[str, Any] = {"graph": {}, "status": {}, "span": [{"count": {}, "events": {}}]}
    assert len(check_expectations(msgspec.convert(data, ExpectDoc), AT)) == 4


@pytest.mark.parametrize(
    "data",
    [
        {"spans": []},
        {"span": [{"name": "a"}]},
        {"span": [{"select": ""}]},
        {"span": [{"select": {"kind": "SERVER"}}]},
        {"span": [{"count": -1}]},
        {"span": [{"duration": {"eq": 1}}]},
        {"span": [{"duration": {"lt": "soon"}}]},
        {"span": [{"attrs": {"a": {"one_of": []}}}]},
        {"span": [{"attrs": {"a": {"equals": 1}}}]},
        {"window": [{"outer": "a", "contains": []}]},
        {"graph": {"max_depth": 0}},
        {"status": {"all": "good"}},
        {"hermeticity": {"from": "everyone"}},
        {"counts": {"spans_total": True}},
    ],
)
def test_what_the_types_refuse(data: dict[str, Any]) -> None:
    """Unknown keys, other names and numbers out of range do not become a document."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(data, ExpectDoc)
