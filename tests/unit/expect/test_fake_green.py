"""Attempts to have expectations about spans pass although nothing shows that they hold: none does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from pytest_clnrm.expect.spans import judge_spans
from pytest_clnrm.model.result import Failure
from pytest_clnrm.model.span import Loss, Span, SpanEvent, SpanLink
from pytest_clnrm.scenario.format.expect_document import ExpectDoc
from pytest_clnrm.scenario.format.expect_rules import check_expectations

MS = 1_000_000
REFUSED = (Loss(what="span", why="bad id", count=3),)
SILENCE = "no span of the workload arrived"


def make(name: str, parent: str | None = None, at: tuple[int, int] = (0, 10), **more: Any) -> Span:
    """Return a span whose id is its name unless said otherwise, from and to milliseconds."""
    fields: dict[str, Any] = {"trace_id": "t", "span_id": name, "service": "api", **more}
    return Span(name=name, parent_id=parent, start_ns=(at[0] + 1) * MS, end_ns=(at[1] + 1) * MS, **fields)


def attempt(name: str, step: str = "one", at: tuple[int, int] = (0, 10), *, failed: bool = False) -> Span:
    """Return the runner's span of an attempt of a step."""
    return make(
        "clnrm.step",
        at=at,
        span_id=name,
        origin="runner",
        attributes={"clnrm.step.name": step},
        service="",
        status="error" if failed else "unset",
    )


def judge(expect: dict[str, Any], *spans: Span, lost: tuple[Loss, ...] = ()) -> list[Failure]:
    """Judge what a scenario file expects."""
    doc = msgspec.convert(expect, ExpectDoc)
    assert check_expectations(doc, ("expect",)) == []
    found = judge_spans(doc.built(lambda *keys: ("expect", *keys)), spans, where=str, lost=lost)
    return list(found)


BY_ABSENCE: list[dict[str, Any]] = [
    {"counts": {"errors_total": 0}},
    {"counts": {"errors_total": {"lte": 3}}},
    {"counts": {"events_total": {"eq": 0}}},
    {"counts": {"spans_total": {"lte": 5}}},
    {"counts": {"by_name": {"retry": 0}}},
    {"counts": {"by_name": {"retry": {"lte": 2}}}},
    {"counts": {"by_service": {"api": {"lte": 0}}}},
    {"counts": {"errors_total": 0, "from": "any"}},
    {"span": [{"select": "payment faild", "count": 0}]},
    {"span": [{"select": {"status": "error"}, "count": {"eq": 0}}]},
    {"span": [{"select": "GET *", "count": {"lte": 5}, "attrs": {"http.response.status_code": 200}}]},
    {"span": [{"select": "GET *", "count": {"gte": 0}, "status": "ok"}]},
    {"span": [{"select": {"name": "x", "from": "any"}, "count": 0}]},
    {"span": [{"select": {"name": "x", "event": "exception"}, "count": 0}]},
    {"graph": {"must_not_cross": [["a", "b"]]}},
    {"graph": {"acyclic": True}},
    {"graph": {"single_root": True}},
    {"graph": {"no_orphans": True}},
    {"graph": {"max_depth": 3}},
    {"status": {"all": "ok"}},
    {"status": {"by_name": {"*": "ok"}}},
    {"hermeticity": {"no_external_services": True}},
    {"hermeticity": {"span_attrs": {"forbid_keys": ["db.password"]}}},
    {"hermeticity": {"resource_attrs": {"must_match": {"env": "test"}}}},
    {"window": [{"outer": "a", "contains": ["b"]}]},
    {"order": {"must_precede": [["a", "b"]], "every": True}},
    {"order": {"must_follow": [["a", "b"]]}},
    {"edge": [{"parent": "a", "child": "b", "every": True}]},
    {"edge": [{"parent": "a", "child": "b"}]},
]


@pytest.mark.parametrize("expect", BY_ABSENCE, ids=str)
def test_silence_proves_nothing(expect: dict[str, Any]) -> None:
    """A workload that sends nothing satisfies nothing, though the runner has spans of its own."""
    (failure, *_) = judge(expect, attempt("s"))
    assert SILENCE in f"{failure.message} {failure.details}" or "no span" in failure.message


@pytest.mark.parametrize("expect", BY_ABSENCE[:14], ids=str)
def test_the_file_may_say_that_nothing_is_sent(expect: dict[str, Any]) -> None:
    """``spans_total = { eq = 0 }`` makes of silence what was asked for, and of a span a failure."""
    counts = {**expect.get("counts", {}), "spans_total": {"eq": 0}}
    said = {**expect, "counts": {key: value for key, value in counts.items() if key != "from"}}
    assert judge(said, attempt("s")) == []
    assert "expect.counts.spans_total: got 1" in judge(said, attempt("s"), make("y"))[0].message


HARMLESS: list[tuple[dict[str, Any], tuple[Span, ...]]] = [
    (expect, (make("a"), make("b", parent="a", at=(2, 5))))
    for expect in (
        {"counts": {"errors_total": 0}},
        {"counts": {"spans_total": 2}},
        {"counts": {"by_name": {"retry": 0}}},
        {"counts": {"by_service": {"api": {"lte": 2}}}},
        {"span": [{"select": "a", "count": 1}]},
        {"span": [{"select": "b", "status": "unset"}]},
        {"graph": {"must_not_cross": [["b", "a"]]}},
        {"graph": {"single_root": True}},
        {"status": {"all": "unset"}},
        {"hermeticity": {"no_external_services": True}},
        {"hermeticity": {"span_attrs": {"forbid_keys": ["x"]}}},
        {"window": [{"outer": "a", "contains": ["b"]}]},
        {"edge": [{"parent": "a", "child": "b", "every": True}]},
    )
]


@pytest.mark.parametrize(("expect", "spans"), HARMLESS, ids=lambda each: str(each)[:60])
def test_what_was_lost_is_not_shown_to_be_absent(expect: dict[str, Any], spans: tuple[Span, ...]) -> None:
    """What holds for the spans that arrived is not shown where others were refused or cut."""
    assert judge(expect, *spans) == []
    (failure,) = judge(expect, *spans, lost=REFUSED)
    assert "cannot be judged, as not all spans arrived: 3 spans were refused: bad id" in failure.message
    assert failure.message.startswith("expect.")


def test_what_is_there_needs_no_more() -> None:
    """A lower bound that holds, and what is asked of the runner's own spans, does not mind a loss."""
    at_least = {"span": [{"select": "a", "count": {"gte": 1}}], "graph": {"must_include": [["a", "b"]]}}
    assert judge(at_least, make("a"), make("b", "a"), lost=REFUSED) == []
    runner = {"counts": {"errors_total": 0, "from": "runner"}}
    assert judge(runner, attempt("s"), lost=REFUSED) == []
    assert judge(runner, attempt("s")) == []


MISSPELT: list[tuple[dict[str, Any], str]] = [
    ({"graph": {"must_not_cross": [["a", "bb"]]}}, "no span is named bb"),
    ({"graph": {"must_not_cross": [["aa", "b"]]}}, "no span is named aa"),
    ({"span": [{"select": {"name": "x", "under": "aa"}, "count": 0}]}, "selected by under = aa"),
    ({"span": [{"select": {"name": "x", "parent": "aa"}, "count": 0}]}, "selected by parent = aa"),
    ({"span": [{"select": {"name": "x", "link": "aa"}, "count": 0}]}, "selected by link = aa"),
    ({"span": [{"select": {"service": "apii"}, "count": 0}]}, "no span is of service apii"),
    ({"span": [{"select": {"scope": "aa"}, "count": 0}]}, "no span is of scope aa"),
    (
        {"span": [{"select": {"resource": {"host.nme": "h1"}}, "count": 0}]},
        "no span has the resource attribute 'host.nme'",
    ),
    ({"status": {"by_name": {"aa": "ok"}}}, "no span is named so"),
    ({"order": {"must_precede": [["a", "bb"]]}}, "no span is named bb"),
    ({"window": [{"outer": "a", "contains": ["bb"]}]}, "no span is named bb"),
]


@pytest.mark.parametrize(("expect", "words"), MISSPELT, ids=str)
def test_a_name_that_nothing_has_proves_nothing(expect: dict[str, Any], words: str) -> None:
    """Where the truth depends on a name, one that no span has is named."""
    found = judge(expect, make("a"), make("b", "a"), make("c"))
    assert any(words in each.message for each in found), found


def test_spans_without_a_step_are_under_the_only_one() -> None:
    """A program's own trace is under the step that ran it only if no other step ran."""
    under = {"span": [{"select": {"name": "work", "under": "clnrm.step"}}]}
    work = make("work", trace_id="own", attempt="s")
    assert judge(under, attempt("s"), work) == []
    (failure,) = judge(under, attempt("s"), attempt("s2", "two"), work)
    assert "no span selected" in failure.message
    linked = make("work", parent="s", attempt="s")
    assert judge(under, attempt("s"), attempt("s2", "two"), linked) == []
    sent = replace(work, sent_by_step=True)
    assert judge(under, attempt("s"), attempt("s2", "two"), sent) == []


@pytest.mark.parametrize("told", ["by its parent", "by who sent it", "by its time"])
def test_spans_of_a_failed_attempt_do_not_count(told: str) -> None:
    """What an attempt did that failed is no deed of the one that passed; the tree says so, by their names."""
    linked = told == "by its parent"
    attempts = [attempt("one", at=(0, 10), failed=True), attempt("two", at=(20, 30))]
    if told != "by its time":
        attempts.append(attempt("three", "another", at=(40, 50)))
    first = make("pay", at=(1, 2), attempt="one", **({"parent": "one"} if linked else {"trace_id": "own"}))
    first = replace(first, sent_by_step=told == "by who sent it")
    (failure,) = judge({"span": [{"select": "pay"}]}, *attempts, first)
    assert "no span selected" in failure.message
    assert "no span of the workload arrived that counts, and 1 of attempts of steps that" in failure.details
    assert failure.details.endswith("which do not count: pay")
    second = make(
        "pay",
        at=(21, 22),
        span_id="p2",
        attempt="two",
        **({"parent": "two"} if linked else {"trace_id": "o2"}),
    )
    assert judge({"span": [{"select": "pay", "count": 1}]}, *attempts, first, second) == []
    (failure,) = judge({"span": [{"select": "pay", "count": 2}]}, *attempts, first, second)
    assert "and 1 of attempts of steps that failed, which do not count: pay" in failure.details


def test_many_names_of_failed_attempts_are_told_as_a_number() -> None:
    """Five of them are shown."""
    attempts = (attempt("one", failed=True), attempt("two"))
    spans = [make(f"n{number}", parent="one") for number in range(7)]
    (failure,) = judge({"span": [{"select": "pay"}]}, *attempts, *spans)
    assert failure.details.endswith("which do not count: n0, n1, n2, n3, n4, ... 2 more names")


def test_steps_of_one_name_are_no_attempts() -> None:
    """What the first of two steps did counts, though the second is called the same."""
    first = make("pay", parent="one")
    assert judge({"span": [{"select": "pay"}]}, attempt("one"), attempt("two"), first) == []


@pytest.mark.parametrize(
    "span",
    [
        make("a", at=(10, 0)),
        Span(trace_id="t", span_id="a", name="a", start_ns=0, end_ns=5 * MS),
        Span(trace_id="t", span_id="a", name="a", start_ns=5 * MS, end_ns=0),
    ],
    ids=["ends before it starts", "no start", "no end"],
)
def test_wrong_times_are_no_short_duration(span: Span) -> None:
    """A duration that cannot be told satisfies no bound."""
    (failure,) = judge({"span": [{"select": "a", "duration": {"lt": "1s"}}]}, span)
    assert (
        "its times are missing or in the wrong order, expected a duration of less than 1 s" in failure.message
    )
    (failure,) = judge(
        {"window": [{"outer": "a", "contains": ["b"], "max_duration": "1s"}]}, span, make("b")
    )[-1:]
    assert "times that are missing or in the wrong order" in failure.message


LINKED = make(
    "use",
    scope="http.client",
    resource={"host.name": "h1"},
    status="error",
    status_message="out of stock",
    events=(SpanEvent(name="exception"),),
    links=(SpanLink(trace_id="t", span_id="job"),),
    attributes={"params": '{"sku": 7, "tags": ["a"]}', "text": "no json"},
)


@pytest.mark.parametrize(
    "select",
    [
        {"scope": "http.*"},
        {"resource": {"host.name": "h1"}},
        {"status_message": "out of stock"},
        {"status_message": {"contains": "stock"}},
        {"event": "exc*"},
        {"link": "job"},
        {"link": {"name": {"equals": "job"}}},
        {"attrs": {"params": {"json": {"sku": 7}}}},
    ],
    ids=str,
)
def test_what_else_selects(select: dict[str, Any]) -> None:
    """Scope, resource, status message, events, links and JSON in attributes select a span."""
    job = make("job")
    assert judge({"span": [{"select": {"name": "use", **select}}]}, LINKED, job) == []
    wrong = {
        "scope": "grpc",
        "resource": {"host.name": "h2"},
        "status_message": "sold",
        "event": "ended",
        "link": "use",
        "attrs": {"params": {"json": {"sku": 8}}},
    }
    ((key, _),) = select.items()
    (failure,) = judge({"span": [{"select": {"name": "use", key: wrong[key]}}]}, LINKED, job)
    assert "no span selected" in failure.message
    assert "nearest: use: " in failure.details


def test_json_in_an_attribute() -> None:
    """A value that differs is told by its place, one that is no JSON as such."""
    (failure,) = judge({"span": [{"attrs": {"params": {"json": {"sku": 8}}}}]}, LINKED)
    assert "expected JSON with {'sku': 8}: $.sku: expected 8, got 7" in failure.message
    (failure,) = judge({"span": [{"attrs": {"text": {"json": {}}}}]}, LINKED)
    assert "it is no JSON" in failure.message


def test_literal_names() -> None:
    """A name can be said as it is, where * ? and [ mean themselves; a glob that looks like it says how."""
    item = make("GET /items[1]")
    for name in ({"equals": "GET /items[1]"}, "GET /items[[]1]"):
        assert judge({"span": [{"select": {"name": name}}]}, item) == []
    assert (
        judge({"graph": {"must_include": [[{"equals": "GET /items[1]"}, "b"]]}}, item, make("b", item.name))
        == []
    )
    (failure,) = judge({"span": [{"select": "GET /items[1]"}]}, item)
    assert "'GET /items[1]' is this to the letter, but *, ? and [ are wildcards" in failure.details
    (failure,) = judge({"span": [{"select": "GET /item"}]}, make("GET /items"))
    assert "'GET /items' has a similar name" in failure.details


def test_forbidden_keys_and_peers_within_values() -> None:
    """What a map, a list or an event holds is looked at too."""
    forbid = {"hermeticity": {"span_attrs": {"forbid_keys": ["*password"]}}}
    hidden = ({"db": {"password": "x"}}, {"list": [{"a": {"password": 1}}]}, {"db.password": "x"})
    for attributes in hidden:
        assert "forbid_keys" in judge(forbid, make("a", attributes=attributes))[0].message
    event = SpanEvent(name="e", attributes={"password": "x"})
    assert "forbid_keys" in judge(forbid, make("a", events=(event,)))[0].message
    peers = {"hermeticity": {"no_external_services": True}}
    called = SpanEvent(name="e", attributes={"server.address": "evil.example"})
    for span in (
        make("a", kind="server", attributes={"url.full": ["http://evil.example"]}),
        make("a", events=(called,)),
    ):
        assert "external peers evil.example" in judge(peers, span)[0].message


BROKEN = {"no end": (5 * MS, 0), "end before start": (5 * MS, MS)}


@pytest.mark.parametrize("times_ns", BROKEN.values(), ids=BROKEN)
def test_missing_times_are_no_order_and_no_window(times_ns: tuple[int, int]) -> None:
    """A span whose times are missing has neither ended before another one nor within another one."""
    start_ns, end_ns = times_ns
    broken = Span(trace_id="t", span_id="a", name="a", start_ns=start_ns, end_ns=end_ns)
    said = "a has times that are missing or in the wrong order"
    for every in (False, True):
        order = {"order": {"must_precede": [["a", "b"]], "every": every}}
        (failure,) = judge(order, broken, make("b", at=(20, 30)))
        assert said in failure.details
    (failure,) = judge({"window": [{"outer": "b", "contains": ["a"]}]}, broken, make("b", at=(0, 30)))
    assert said in failure.details
    (failure,) = judge({"window": [{"outer": "a", "contains": ["b"]}]}, broken, make("b", at=(6, 6)))
    assert "1 of 1 span named b outside" in failure.message
    # Among those that have times, some may well be in order.
    ended = make("a", span_id="a2", at=(5, 9))
    order = {"order": {"must_precede": [["a", "b"]]}}
    assert judge(order, broken, replace(broken, span_id="a3"), ended, make("b", at=(20, 30))) == []
    (failure,) = judge({"order": {"must_precede": [["b", "a"]]}}, make("b"), replace(ended, start_ns=0))
    assert said in failure.details


def test_a_circle_is_too_deep() -> None:
    """Spans that are their own ancestors, and what is below them, have no depth that is small enough."""
    (failure,) = judge({"graph": {"max_depth": 5}}, make("a", "b"), make("b", "a"), make("c", "a"), make("d"))
    assert failure.message == (
        "expect.graph.max_depth: depth without end, as spans are in a circle, expected at most 5"
    )
    assert failure.details.startswith("a (a)\nb (b)\nc (c)\n")


def test_an_error_is_one_whatever_was_sent_before_with_its_id() -> None:
    """A second span of one id counts if it ended otherwise; one that was sent as it began does not."""
    fine = make("a", status="ok")
    for second in (replace(fine, status="error"), replace(fine, status="error", end_ns=fine.end_ns + 1)):
        for order in ((fine, second), (second, fine)):
            (failure,) = judge({"counts": {"errors_total": 0}}, *order)
            assert failure.message == "expect.counts.errors_total: got 1, expected exactly 0"
    begun = replace(fine, end_ns=0, status="unset")
    for order in ((begun, fine), (fine, begun), (fine, fine)):
        assert judge({"counts": {"spans_total": 1}, "status": {"all": "ok"}}, *order) == []


def test_what_is_in_a_circle_is_below_no_root() -> None:
    """One root beside a circle is not the root of all."""
    (failure,) = judge({"graph": {"single_root": True}}, make("a", "b"), make("b", "a"), make("c"))
    assert failure.message == "expect.graph.single_root: 2 spans in a circle, below no root"


@pytest.mark.parametrize(
    "value",
    [
        "api:9092,evil.example:9092",
        "PLAINTEXT://api:9092,PLAINTEXT://evil.example:9092",
        "mongodb://user:a,b@api:1,evil.example:2/name?x=1,2",
        "//api,evil.example",
    ],
)
def test_each_host_of_a_cluster_is_looked_at(value: str) -> None:
    """A client may be given several hosts at once, one of which is from outside."""
    hermetic = {"hermeticity": {"no_external_services": True, "allowed_peers": ["api"]}}
    (failure,) = judge(hermetic, make("a", attributes={"messaging.url": value}))
    assert failure.message.endswith("external peers evil.example")
    assert judge(hermetic, make("a", attributes={"url.full": "http://api/x,http//y?z=1,2"})) == []


def test_a_url_without_a_scheme_is_no_file() -> None:
    """``//host/path`` names a host of outside, ``/run/socket`` a file."""
    hermetic = {"hermeticity": {"no_external_services": True}}
    (failure,) = judge(hermetic, make("a", attributes={"url.full": "//evil.example/x"}))
    assert failure.message.endswith("external peers evil.example")
    assert judge(hermetic, make("a", attributes={"server.address": "/run/socket"})) == []


LEAVES_OUT = make(
    "a",
    dropped_attributes=2,
    dropped_events=1,
    dropped_links=3,
    events=(SpanEvent(name="retry", dropped_attributes=4),),
)


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ({"counts": {"events_total": {"lte": 1}}}, "left out 1 events"),
        (
            {"hermeticity": {"span_attrs": {"forbid_keys": ["x"]}}},
            "2 attributes and 1 events and 4 event attributes of",
        ),
        (
            {"hermeticity": {"no_external_services": True}},
            "2 attributes and 1 events and 4 event attributes of",
        ),
        ({"span": [{"select": {"event": "exception"}, "count": 0}]}, "left out 1 events"),
        ({"span": [{"select": {"attrs": {"error.type": {"exists": True}}}, "count": 0}]}, "left out 2 attr"),
        ({"span": [{"select": {"link": {"name": "a"}}, "count": 0}]}, "left out 3 links"),
    ],
    ids=str,
)
def test_what_a_program_left_out_is_not_shown_to_be_absent(expect: dict[str, Any], words: str) -> None:
    """Attributes and events beyond an SDK's limits may be those that must not be there; other forms stand."""
    assert judge(expect, make("a")) == []
    (failure,) = judge(expect, LEAVES_OUT)
    assert words in failure.message
    assert judge({"counts": {"errors_total": 0, "spans_total": 1}}, LEAVES_OUT) == []


@pytest.mark.parametrize(
    ("select", "words"),
    [
        ({"under": {"attrs": {"x": 1}}}, "left out 2 attributes"),
        ({"parent": {"event": "happened"}}, "left out 1 events"),
        ({"link": {"attrs": {"x": 1}}}, "left out 2 attributes and 3 links"),
    ],
    ids=str,
)
def test_what_a_span_around_left_out_may_hide_one(select: dict[str, Any], words: str) -> None:
    """An upper bound is of spans that are told by those above them, or linked to, as well."""
    link = SpanLink(trace_id="t", span_id="x")
    spans = [
        make("x", attributes={"x": 1}, events=(SpanEvent(name="happened"),)),
        make("y", "x", links=(link,)),
    ]
    bounded = {"span": [{"select": select, "count": {"lte": 1}}]}
    assert judge(bounded, *spans) == []
    (failure,) = judge(bounded, *spans, LEAVES_OUT)
    assert set(words.split()) <= set(failure.message.split())


def test_every_child_is_selected_by_all_that_it_had() -> None:
    """One whose attribute was left out would be a child without such a parent."""
    every = {"edge": [{"parent": "a", "child": {"attrs": {"x": 1}}, "every": True}]}
    spans = (make("a"), make("b", "a", attributes={"x": 1}))
    assert judge(every, *spans) == []
    (failure,) = judge(every, *spans, make("c", dropped_attributes=1))
    assert failure.message == (
        "expect.edge[a -> *]: cannot be judged, as programs left out 1 attributes of their spans (SDK limits)"
    )


@pytest.mark.parametrize(
    "span",
    [
        {"attrs": {"x": {"exists": False}}},
        {"attrs": {"x": {"exists": False}}, "match": "any"},
        {"attrs_any": [{"key": "x", "exists": False}, {"key": "y", "eq": 1}]},
        {"attrs_any": [{"key": "x", "exists": False}], "match": "any", "count": {"gte": 0}},
        {"select": {"name": "a", "attrs": {"x": {"exists": False}}}},
        {"select": "b", "parent": {"name": "a", "attrs": {"x": {"exists": False}}}},
    ],
    ids=str,
)
def test_an_attribute_that_must_not_be_there_may_be_among_those_left_out(span: dict[str, Any]) -> None:
    """Of each span that is looked at, and of it alone, all attributes must be known."""
    expect = {"span": [{"select": "a", **span}]}
    below = make("b", "a")
    assert judge(expect, make("a"), below, make("c", dropped_attributes=2)) == []
    of_event = make("a", events=(SpanEvent(name="retry", dropped_attributes=2),))
    assert judge(expect, of_event, below) == []
    (failure,) = judge(expect, make("a", dropped_attributes=2), below)
    told = f"{failure.message}\n{failure.details}"
    assert (
        "attribute 'x' may be among the 2 that its program left out (SDK limits), expected not to be" in told
    )
    under = {"name": "b", "under": {"name": "a", "attrs": {"x": {"exists": False}}}}
    assert judge({"span": [{"select": under}]}, make("a"), below) == []
    assert judge({"span": [{"select": under}]}, make("a", dropped_attributes=2), below) != []


def test_any_needs_a_span() -> None:
    """Of no span none is as expected, however many are allowed; what says nothing more only counts."""
    expect: dict[str, Any] = {"select": "pay", "match": "any", "count": {"lte": 3}}
    (failure,) = judge({"span": [{**expect, "status": "ok"}]}, make("pays"))
    assert failure.message == (
        'expect.span[pay]: no span selected, and match = "any" needs one that is as expected'
    )
    assert "selected by: pay\nnearest: 'pays' has a similar name" in failure.details
    (failure,) = judge({"span": [{"select": "pay", "match": "any", "status": "ok"}]}, make("x"))
    assert failure.message == "expect.span[pay]: no span selected, expected at least 1"
    assert judge({"span": [{**expect, "status": "ok"}]}, make("pay", status="ok"), make("pay")) == []
    assert judge({"span": [expect]}, make("x")) == []
    assert judge({"span": [{**expect, "match": "all", "status": "ok"}]}, make("x")) == []


def test_the_address_behind_an_own_name() -> None:
    """Who calls itself local and has an outside address is outside, unless the file allows the name."""
    called = {"server.address": "localhost", "network.peer.address": "93.184.216.34"}
    span = make("a", kind="client", attributes=called)
    peers: dict[str, Any] = {"no_external_services": True}
    assert "external peers 93.184.216.34" in judge({"hermeticity": peers}, span)[0].message
    assert judge({"hermeticity": {**peers, "allowed_peers": ["localhost"]}}, span) == []
    inside = {"server.address": "localhost", "network.peer.address": "127.0.0.1"}
    assert judge({"hermeticity": peers}, make("a", attributes=inside)) == []


def test_a_total_that_is_always_so_is_a_mistake() -> None:
    """At least none says nothing."""
    doc = msgspec.convert({"counts": {"spans_total": {"gte": 0}, "by_name": {"x": {"gte": 0}}}}, ExpectDoc)
    said = [message for _, message in check_expectations(doc, ("expect",))]
    assert said == ["every number is so: this checks nothing"] * 2
    doc = msgspec.convert({"span": [{"select": "a", "count": {"gte": 0}}]}, ExpectDoc)
    assert check_expectations(doc, ()) == [(("span", 0, "count"), "every number is so: this checks nothing")]
    doc = msgspec.convert({"span": [{"select": "a", "count": {"gte": 0}, "status": "ok"}]}, ExpectDoc)
    assert check_expectations(doc, ()) == []
