"""Judging spans: each kind of expectation in both directions, and what each failure says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pytest_clnrm.expect.spans import judge_spans
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.result import Failure
from pytest_clnrm.model.span import Span, SpanEvent
from pytest_clnrm.scenario.format.expect_document import ExpectDoc
from pytest_clnrm.scenario.format.expect_rules import check_expectations

MS = 1_000_000


def where(at: KeyPath) -> str:
    """Return a place that shows the key path it was asked for."""
    return "f.toml:" + ".".join(map(str, at))


def make(name: str, parent: str | None = None, at: tuple[int, int] = (0, 10), **more: Any) -> Span:
    """Return a span whose id is its name, from and to milliseconds."""
    fields: dict[str, Any] = {"trace_id": "t", "span_id": name, "service": "api", **more}
    return Span(
        name=name, parent_id=parent, start_ns=(1000 + at[0]) * MS, end_ns=(1000 + at[1]) * MS, **fields
    )


def judge(expect: dict[str, Any], *spans: Span, services: frozenset[str] = frozenset()) -> list[Failure]:
    """Judge what a scenario file expects."""
    doc = msgspec.convert(expect, ExpectDoc)
    assert check_expectations(doc, ("expect",)) == []
    return list(
        judge_spans(doc.built(lambda *keys: ("expect", *keys)), spans, where=where, services=services)
    )


def messages(expect: dict[str, Any], *spans: Span, **more: Any) -> list[str]:
    """Return the messages alone."""
    return [failure.message for failure in judge(expect, *spans, **more)]


STEP = make("clnrm.step", origin="runner", kind="client", trace_id="r", attributes={"clnrm.step.name": "one"})
GOOD = make(
    "GET /x",
    kind="server",
    status="ok",
    at=(0, 20),
    attributes={"code": 200, "url": "http://a", "ok": True, "tags": ["a", "b"], "ratio": 0.5, "raw": b"x"},
    events=(SpanEvent(name="retry"), SpanEvent(name="done")),
)


@pytest.mark.parametrize(
    "span",
    [
        {},
        {"select": "GET *"},
        {"select": {"name": "GET ?x", "kind": "server", "service": "a*", "status": "ok"}},
        {"select": {"attrs": {"code": 200}}, "count": 1},
        {"select": "POST *", "count": 0},
        {"select": "GET *", "count": {"gte": 1, "lte": 1}},
        {"kind": "server", "status": "ok"},
        {"attrs": {"code": {"lt": 201, "lte": 200, "gt": 199, "gte": 200, "ne": 404, "one_of": [1, 200]}}},
        {"attrs": {"code": 200.0, "ok": True, "tags": ["a", "b"], "ratio": {"gt": 0}}},
        {"attrs": {"url": {"regex": "^http", "contains": "://"}, "tags": {"contains": "b"}}},
        {"attrs": {"gone": {"exists": False}, "code": {"exists": True}}},
        {"attrs_any": [{"key": "gone", "eq": 1}, {"key": "code", "gte": 200, "lt": 300}]},
        {"events": {"any": ["nothing", "re*"], "all": ["retry", "done"]}},
        {"duration": {"gt": 0.01, "gte": "20ms", "lt": "1m", "lte": 0.02}},
    ],
)
def test_span_that_is_expected(span: dict[str, Any]) -> None:
    """Each thing that may be asked of a span passes on one that has it."""
    assert messages({"span": [span]}, GOOD) == []


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ({"select": "POST *"}, "expect.span[POST *]: no span selected, expected at least 1"),
        ({"count": 0}, "expect.span[*]: 1 span selected, expected exactly 0"),
        (
            {"count": {"gte": 2, "lte": 3}},
            "expect.span[*]: 1 span selected, expected at least 2 and at most 3",
        ),
        ({"kind": "client"}, "expect.span[*]: kind is server, expected client"),
        ({"status": "error"}, "expect.span[*]: status is ok, expected error"),
        ({"parent": "x"}, "expect.span[*]: it has no parent, expected x"),
        (
            {"attrs": {"code": "200"}},
            "expect.span[*]: attribute 'code' is 200 (number), expected '200' (text)",
        ),
        ({"attrs": {"ok": 1}}, "expect.span[*]: attribute 'ok' is True (boolean), expected 1 (number)"),
        ({"attrs": {"raw": "x"}}, "expect.span[*]: attribute 'raw' is b'x' (bytes), expected 'x' (text)"),
        ({"attrs": {"tags": ["a"]}}, "expect.span[*]: attribute 'tags' is ['a', 'b'], expected ['a']"),
        ({"attrs": {"code": {"lt": 200}}}, "expect.span[*]: attribute 'code' is 200, expected < 200"),
        ({"attrs": {"code": {"lte": 199}}}, "expect.span[*]: attribute 'code' is 200, expected <= 199"),
        ({"attrs": {"code": {"gt": 200}}}, "expect.span[*]: attribute 'code' is 200, expected > 200"),
        ({"attrs": {"code": {"gte": 201}}}, "expect.span[*]: attribute 'code' is 200, expected >= 201"),
        (
            {"attrs": {"ok": {"gte": 0}}},
            "expect.span[*]: attribute 'ok' is True (boolean), expected >= 0 (number)",
        ),
        ({"attrs": {"code": {"ne": 200}}}, "expect.span[*]: attribute 'code' is 200, expected not 200"),
        (
            {"attrs": {"url": {"regex": "^ftp"}}},
            "expect.span[*]: attribute 'url' is 'http://a', expected a match of '^ftp'",
        ),
        (
            {"attrs": {"code": {"regex": "2"}}},
            "expect.span[*]: attribute 'code' is 200, expected a match of '2'",
        ),
        (
            {"attrs": {"url": {"contains": "b"}}},
            "expect.span[*]: attribute 'url' is 'http://a', expected something with 'b'",
        ),
        (
            {"attrs": {"code": {"one_of": [1, "200"]}}},
            "expect.span[*]: attribute 'code' is 200, expected one of 1, '200'",
        ),
        (
            {"attrs": {"code": {"exists": False}}},
            "expect.span[*]: attribute 'code' is 200, expected not to be there",
        ),
        (
            {"attrs": {"gone": {"exists": True}}},
            "expect.span[*]: attribute 'gone' is missing, expected to be there",
        ),
        ({"attrs": {"gone": {"ne": 1}}}, "expect.span[*]: attribute 'gone' is missing, expected not 1"),
        (
            {"attrs_any": [{"key": "gone", "eq": 1}, {"key": "code", "eq": 1}]},
            (
                "expect.span[*]: none of attrs_any holds: attribute 'gone' is missing, expected 1, attribute "
                "'code' is 200, expected 1"
            ),
        ),
        (
            {"events": {"all": ["retry", "stop"]}},
            "expect.span[*]: event 'stop' is missing, got retry, done",
        ),
        (
            {"events": {"any": ["stop", "end"]}},
            "expect.span[*]: none of the events 'stop', 'end' is there, got retry, done",
        ),
        ({"duration": {"lt": "20ms"}}, "expect.span[*]: it took 20 ms, expected less than 20 ms"),
        ({"duration": {"gt": 1.5}}, "expect.span[*]: it took 20 ms, expected more than 1.5 s"),
    ],
)
def test_span_that_is_not_expected(span: dict[str, Any], message: str) -> None:
    """Each thing that may be asked of a span fails with a message of its own, at its place."""
    (failure,) = judge({"span": [{"select": "*"}, span]}, GOOD)
    assert failure.message == message
    assert failure.where == "f.toml:expect.span.1"
    assert failure.kind == "expectation"
    assert failure.details.endswith("1 span of the workload arrived:\n    GET /x [server, api, 20 ms, ok]")


def test_nothing_arrived() -> None:
    """A workload that emits nothing fails, and the failure says that nothing arrived."""
    (failure,) = judge({"span": [{"select": "clnrm.run"}]}, STEP)
    assert failure.message == "expect.span[clnrm.run]: no span selected, expected at least 1"
    assert failure.details == "selected by: clnrm.run\nno span of the workload arrived"


def test_unset_status_is_explained() -> None:
    """Unset is not ok, and the failure says who has to set it."""
    assert messages({"span": [{"status": "ok"}]}, make("a")) == [
        "expect.span[*]: status is unset, expected ok; a program has to set ok itself, unset means no error"
    ]


def test_status_message_is_told() -> None:
    """A failing span's own words are in the failure."""
    span = make("a", status="error", status_message="boom")
    assert messages({"span": [{"status": "unset"}]}, span) == [
        "expect.span[*]: status is error (boom), expected unset"
    ]


def test_status_does_not_come_from_attributes() -> None:
    """Attributes named like a status are only attributes."""
    span = make("a", attributes={"otel.status_code": "OK", "status": "ok"})
    assert messages({"span": [{"select": {"status": "ok"}}]}, span) != []


def test_runner_spans_count_only_when_asked_for() -> None:
    """The runner's own spans satisfy nothing about the workload, and the failure says how to ask."""
    (failure,) = judge({"span": [{"select": "clnrm.step"}]}, STEP)
    assert (
        'nearest: clnrm.step: it is a span of the runner, which counts only with from = "runner"'
        in failure.details
    )
    assert messages({"span": [{"select": {"name": "clnrm.step", "from": "runner"}}]}, STEP) == []
    assert messages({"span": [{"select": {"name": "clnrm.step", "from": "any"}}]}, STEP) == []


@pytest.mark.parametrize(
    ("select", "line"),
    [
        ({"name": "GET *", "kind": "client"}, "nearest: GET /x: kind is server, expected client"),
        ({"name": "GET *", "service": "db"}, "nearest: GET /x: service is 'api', expected 'db'"),
        ({"name": "GET *", "status": "error"}, "nearest: GET /x: status is ok, expected error"),
        ({"name": "GET *", "attrs": {"code": 1}}, "nearest: GET /x: attribute 'code' is 200, expected 1"),
        ({"name": "GET *", "under": "up"}, "nearest: GET /x: it is under nothing, expected under up"),
        ({"name": "GET *", "parent": "up"}, "nearest: GET /x: it has no parent, expected up"),
        ({"name": "GET /y"}, "nearest: 'GET /x' has a similar name"),
        (
            {"name": "GET *", "kind": "client", "under": {"name": "up", "kind": "server"}},
            "selected by: GET * (kind client, under up (kind server))",
        ),
    ],
)
def test_near_misses_say_why(select: dict[str, Any], line: str) -> None:
    """A selection that selects nothing names the spans that came near, and what was different."""
    (failure,) = judge({"span": [{"select": select}]}, GOOD)
    assert line in failure.details.splitlines()


def test_near_misses_are_bounded() -> None:
    """Only the nearest few of many are told."""
    spans = [make("a", span_id=str(number), kind="client") for number in range(100)]
    (failure,) = judge({"span": [{"select": {"name": "a", "kind": "server"}}]}, *spans)
    assert failure.details.count("nearest: ") == 5
    assert "... 95 more of that name" in failure.details


def test_all_selected_spans_are_judged() -> None:
    """By match = all each span is judged, not the first alone; any asks for one."""
    spans = [make("a", span_id=str(code), attributes={"code": code}) for code in (200, 500, 404)]
    wanted = {"select": "a", "attrs": {"code": 200}}
    (failure,) = judge({"span": [wanted]}, *spans)
    assert failure.message == (
        "expect.span[a]: 2 of 3 spans not as expected; the nearest: attribute 'code' is 500, expected 200"
    )
    assert "a: attribute 'code' is 404, expected 200" in failure.details
    assert messages({"span": [{**wanted, "match": "any"}]}, *spans) == []
    wanted["attrs"] = {"code": 1}
    assert messages({"span": [{**wanted, "match": "any"}]}, *spans) == [
        "expect.span[a]: none of 3 spans is as expected; the nearest: attribute 'code' is 200, expected 1"
    ]


def test_parent_and_under() -> None:
    """Parents and ancestors are followed, and may be asked of what is selected or of what it is like."""
    spans = (make("a"), make("b", "a"), make("c", "b", kind="client"))
    good: dict[str, Any] = {
        "span": [
            {"select": {"name": "c", "under": "a", "parent": {"name": "b"}}},
            {"select": "c", "parent": "b"},
            {"select": {"name": "*", "under": "b"}, "count": 1},
        ]
    }
    assert messages(good, *spans) == []
    assert messages({"span": [{"select": "c", "parent": {"name": "b", "kind": "client"}}]}, *spans) == [
        "expect.span[c]: of its parent: kind is internal, expected client"
    ]
    assert messages({"span": [{"select": "c", "parent": "a"}]}, *spans) == [
        "expect.span[c]: of its parent: its name is 'b', expected 'a'"
    ]
    (failure,) = judge({"span": [{"select": {"name": "c", "under": "d"}}]}, *spans)
    assert "nearest: c: it is under 'b' < 'a', expected under d" in failure.details
    orphan = make("c", "lost")
    assert messages({"span": [{"select": "c", "parent": "b"}]}, orphan) == [
        "expect.span[c]: its parent lost never arrived, expected b"
    ]


@pytest.mark.parametrize(
    "root",
    [
        make("root", "clnrm.step", trace_id="r"),
        make("root", attempt=STEP.span_id),
        make("root", "lost", attempt=STEP.span_id),
    ],
    ids=["joined to our trace", "a trace of its own", "below a parent that never arrived"],
)
def test_under_the_step_that_ran_it(root: Span) -> None:
    """A program's spans are under the runner's step, whether or not it takes up our trace."""
    leaf = make("leaf", "root", trace_id=root.trace_id)
    expect = {"select": {"name": "leaf", "under": {"name": "clnrm.step"}}}
    assert messages({"span": [expect]}, STEP, root, leaf) == []
    other = {"select": {"name": "leaf", "under": {"name": "clnrm.step", "from": "workload"}}}
    assert len(messages({"span": [other]}, STEP, root, leaf)) == 1


def test_incomplete_span_has_no_duration() -> None:
    """A span that was still running proves nothing about its duration."""
    assert messages({"span": [{"duration": {"lt": 5}}]}, make("a", incomplete=True)) == [
        "expect.span[*]: it has not ended, expected a duration of less than 5 s"
    ]


@pytest.mark.parametrize(
    "edge",
    [
        {"parent": "a", "child": "b"},
        {"parent": {"name": "a"}, "child": {"name": "b"}, "every": True},
        {"parent": "a", "child": "c", "relation": "descendant"},
        {"parent": "b", "child": "*"},
    ],
)
def test_edges_that_are_expected(edge: dict[str, Any]) -> None:
    """A child has such a parent, or ancestor; some child, or every one."""
    assert messages({"edge": [edge]}, make("a"), make("b", "a"), make("c", "b")) == []


@pytest.mark.parametrize(
    ("edge", "message", "detail"),
    [
        (
            {"parent": "a", "child": "c"},
            "expect.edge[a -> c]: 1 of 1 span without such a parent",
            "c: above it is b < a",
        ),
        (
            {"parent": "c", "child": "*", "relation": "descendant"},
            "expect.edge[c -> *]: 3 of 3 spans without such an ancestor",
            "a: above it is none",
        ),
        (
            {"parent": "a", "child": "*", "every": True},
            "expect.edge[a -> *]: 2 of 3 spans without such a parent",
            "c: above it is b < a",
        ),
        ({"parent": "a", "child": "x"}, "expect.edge[a -> x]: no span selected as child", "selected by: x"),
        ({"parent": "x", "child": "a"}, "expect.edge[x -> a]: no span selected as parent", "selected by: x"),
    ],
)
def test_edges_that_are_not_expected(edge: dict[str, Any], message: str, detail: str) -> None:
    """An edge that is missing fails, and so does one of which an end selects nothing."""
    (failure,) = judge({"edge": [edge]}, make("a"), make("b", "a"), make("c", "b"))
    assert failure.message == message
    assert detail in failure.details
    assert failure.where == "f.toml:expect.edge.0"


def test_edge_below_an_orphan() -> None:
    """A parent that never arrived is named."""
    (failure,) = judge({"edge": [{"parent": "a", "child": "b"}]}, make("a"), make("b", "lost"))
    assert "b: above it is lost, which never arrived" in failure.details


def test_one_tree_for_all_failures() -> None:
    """The tree of what arrived is shown once, with the first failure."""
    first, second = judge({"span": [{"select": "x"}, {"select": "y"}]}, GOOD)
    assert "arrived:" in first.details
    assert "arrived:" not in second.details


def test_attack_without_spans() -> None:
    """A workload that sets variables and emits nothing fails at the first span, then at the graph's edge."""
    expect = {
        "span": [
            {
                "select": "clnrm.run",
                "kind": "internal",
                "attrs": {"result": "pass"},
                "duration": {"gte": "1ms"},
            },
            {"select": "clnrm.plugin.registry", "parent": "clnrm.run"},
        ],
        "graph": {"must_include": [["clnrm.run", "clnrm.plugin.registry"]]},
    }
    assert messages(expect, STEP) == [
        "expect.span[clnrm.run]: no span selected, expected at least 1",
        "expect.span[clnrm.plugin.registry]: no span selected, expected at least 1",
        "expect.graph.must_include: no edge clnrm.run -> clnrm.plugin.registry",
    ]


def test_tree_of_what_arrived() -> None:
    """The tree shows nesting, durations, status, orphans and circles, each span once."""
    spans = (
        make("a", at=(0, 1500), service=""),
        make("b", "a", at=(1, 2), status="error", status_message="bad\nthing"),
        make("c", "lost", at=(2, 3), incomplete=True),
        make("d", "e", at=(3, 4)),
        make("e", "d", at=(4, 5)),
        make("e", "d", at=(4, 5)),
    )
    (failure,) = judge({"span": [{"select": "x"}]}, *spans)
    assert failure.details.splitlines() == [
        "selected by: x",
        "5 spans of the workload arrived:",
        "    a [internal, 1.5 s]",
        "      b [internal, api, 1 ms, error: 'bad\\nthing']",
        "    c [internal, api, 1 ms, not ended, its parent lost never arrived]",
        "    in a circle:",
        "    d [internal, api, 1 ms]",
        "      e [internal, api, 1 ms]",
    ]


@pytest.mark.parametrize(
    "parent_of", [lambda _: None, lambda number: str(number - 1) if number else None], ids=["flat", "deep"]
)
def test_tree_is_bounded(parent_of: Callable[[int], str | None]) -> None:
    """However many spans arrive, and however deep, the tree stays short and says how many are left out."""
    spans = [make(f"s{number}", parent_of(number), span_id=str(number)) for number in range(5000)]
    (failure,) = judge({"span": [{"select": "nothing"}]}, *spans)
    assert len(failure.details.splitlines()) <= 64
    assert failure.details.splitlines()[-1].endswith(" more")
