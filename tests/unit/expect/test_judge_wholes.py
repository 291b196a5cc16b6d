"""Judging spans together: graph, counts, windows, order, status, hermeticity; when to stop waiting."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pytest_clnrm.expect.hermeticity import peers
from pytest_clnrm.expect.spans import judge_spans, lower_bound_only, satisfied_early
from pytest_clnrm.model.expectations import Expectations
from pytest_clnrm.model.result import Failure
from pytest_clnrm.model.span import Loss, Span, SpanEvent
from pytest_clnrm.scenario.format.expect_document import ExpectDoc
from pytest_clnrm.scenario.format.expect_rules import check_expectations

MS = 1_000_000


def make(name: str, parent: str | None = None, at: tuple[int, int] = (0, 10), **more: Any) -> Span:
    """Return a span whose id is its name unless said otherwise, from and to milliseconds."""
    fields: dict[str, Any] = {"trace_id": "t", "span_id": name, **more}
    return Span(
        name=name, parent_id=parent, start_ns=(1000 + at[0]) * MS, end_ns=(1000 + at[1]) * MS, **fields
    )


def build(expect: dict[str, Any]) -> Expectations:
    """Return what a scenario file expects."""
    doc = msgspec.convert(expect, ExpectDoc)
    assert check_expectations(doc, ("expect",)) == []
    return doc.built(lambda *keys: ("expect", *keys))


def judge(
    expect: dict[str, Any],
    *spans: Span,
    services: frozenset[str] = frozenset(),
    named: frozenset[str] = frozenset(),
    lost: tuple[Loss, ...] = (),
) -> list[Failure]:
    """Judge what a scenario file expects."""
    return list(
        judge_spans(
            build(expect),
            spans,
            where=lambda at: "f:" + ".".join(map(str, at)),
            services=services,
            named=named,
            lost=lost,
        )
    )


def messages(expect: dict[str, Any], *spans: Span, **more: Any) -> list[str]:
    """Return the messages alone."""
    return [failure.message for failure in judge(expect, *spans, **more)]


RUNNER = make("clnrm.step", origin="runner", status="error", at=(0, 99))
CHAIN = (make("a"), make("b", "a"), make("c", "b"))
CIRCLE = (make("a", "b"), make("b", "a"), make("c", "b"))


@pytest.mark.parametrize(
    "graph",
    [
        {"must_include": [["a", "b"], ["*", "c"]]},
        {"must_not_cross": [["c", "a"], ["b", "a"]]},
        {"acyclic": True},
        {"single_root": True},
        {"no_orphans": True},
        {"max_depth": 3},
    ],
)
def test_graph_that_is_expected(graph: dict[str, Any]) -> None:
    """Each check of the graph passes on a chain, whatever spans the runner has."""
    assert messages({"graph": graph}, *CHAIN, RUNNER) == []


@pytest.mark.parametrize(
    ("graph", "spans", "message", "detail"),
    [
        (
            {"must_include": [["a", "c"]]},
            CHAIN,
            "expect.graph.must_include: no edge a -> c",
            "a: 1 span of that name\nc: 1 span of that name\nthe parent of c is b",
        ),
        (
            {"must_include": [["a", "bb"]]},
            (*CHAIN, make("bbb", "lost")),
            "expect.graph.must_include: no edge a -> bb",
            "bb: no span of that name\nnearest: 'bbb' has a similar name",
        ),
        (
            {"must_include": [["a", "d"]]},
            (make("a"), make("d", "lost")),
            "expect.graph.must_include: no edge a -> d",
            "the parent of d is lost, which never arrived",
        ),
        (
            {"must_include": [["a", "b"]]},
            (make("a"), make("b")),
            "expect.graph.must_include: no edge a -> b",
            "the parent of b is none",
        ),
        (
            {"must_not_cross": [["a", "b"]]},
            CHAIN,
            "expect.graph.must_not_cross: 1 of 1 span named b below one named a",
            "b: above it is a",
        ),
        (
            {"must_not_cross": [["a", "c"]]},
            CHAIN,
            "expect.graph.must_not_cross: 1 of 1 span named c below one named a",
            "c: above it is b < a",
        ),
        (
            {"must_not_cross": [["*", "*"]]},
            CHAIN,
            "expect.graph.must_not_cross: 2 of 3 spans named * below one named *",
            "b: above it is a\nc: above it is b < a",
        ),
        (
            {"must_not_cross": [["a", "c"]]},
            (make("a"), make("b", "lost"), make("c", "b")),
            (
                "expect.graph.must_not_cross: "
                "cannot be judged, as what is above 1 of 1 span named c never arrived"
            ),
            "c: the parent of b is lost, which never arrived",
        ),
        (
            {"must_not_cross": [["a", "y"]]},
            CHAIN,
            "expect.graph.must_not_cross: no span is named y",
            "arrived",
        ),
        ({"acyclic": True}, CIRCLE, "expect.graph.acyclic: 2 spans in a circle", "a (a)\nb (b)"),
        (
            {"acyclic": True},
            (make("a", "a"),),
            "expect.graph.acyclic: 1 span in a circle",
            "a (a)",
        ),
        (
            {"single_root": True},
            (*CHAIN, make("d", "lost")),
            "expect.graph.single_root: 2 roots, expected 1",
            "a (a)\nd (d)",
        ),
        ({"single_root": True}, CIRCLE, "expect.graph.single_root: 0 roots, expected 1", "in a circle"),
        (
            {"no_orphans": True},
            (*CHAIN, make("d", "lost")),
            "expect.graph.no_orphans: 1 span without the parent that it names",
            "d (d)",
        ),
        ({"max_depth": 2}, CHAIN, "expect.graph.max_depth: depth 3, expected at most 2", "c (c)"),
        ({"acyclic": True}, (), "expect.graph: no span to judge", "no span of the workload arrived"),
        ({"max_depth": 1}, (), "expect.graph: no span to judge", "no span of the workload arrived"),
    ],
)
def test_graph_that_is_not_expected(
    graph: dict[str, Any], spans: tuple[Span, ...], message: str, detail: str
) -> None:
    """Each check of the graph fails with a message of its own; over no spans it proves nothing."""
    (failure,) = judge({"graph": graph}, *spans, RUNNER)
    assert failure.message == message
    assert detail in failure.details
    assert failure.where == "f:expect.graph"


def test_root_below_the_runners_step() -> None:
    """A workload that takes up our trace has a root, and no orphan."""
    spans = (make("a", "clnrm.step"), make("b", "a"))
    assert (
        messages({"graph": {"single_root": True, "no_orphans": True, "max_depth": 2}}, *spans, RUNNER) == []
    )
    assert messages({"graph": {"max_depth": 2, "from": "any"}}, *spans, RUNNER) == [
        "expect.graph.max_depth: depth 3, expected at most 2"
    ]


def test_huge_graphs_and_circles() -> None:
    """Depth and size cost neither recursion nor quadratic time."""
    deep = [make(f"s{number}", f"s{number - 1}" if number else None) for number in range(20000)]
    assert messages({"graph": {"acyclic": True, "max_depth": 20000, "single_root": True}}, *deep) == []
    ring = [make(f"s{number}", f"s{(number + 1) % 20000}") for number in range(20000)]
    assert messages({"graph": {"acyclic": True}}, *ring) == ["expect.graph.acyclic: 20000 spans in a circle"]
    assert messages({"span": [{"select": {"name": "s1", "under": "nothing"}, "count": 0}]}, *ring) == [
        "expect.span[s1]: none selected, but no span is selected by under = nothing"
    ]


COUNTED = (
    make("a", service="api", events=(SpanEvent(name="e"), SpanEvent(name="f"))),
    make("a2", service="api", status="error", status_message="boom", attributes={"event.count": 9}),
    make("b", service="db"),
)


@pytest.mark.parametrize(
    "counts",
    [
        {"spans_total": 3, "events_total": {"eq": 2}, "errors_total": {"gte": 1, "lte": 1}},
        {"by_name": {"a*": 2, "b": {"eq": 1}, "gone": 0}},
        {"by_service": {"api": 2, "*": {"gte": 3}, "gone": {"lte": 0}}},
        {"spans_total": 1, "errors_total": 1, "from": "runner"},
        {"spans_total": 4, "from": "any"},
    ],
)
def test_counts_that_are_expected(counts: dict[str, Any]) -> None:
    """Totals count spans, real events and the status error; a name that no span has counts 0."""
    assert messages({"counts": counts}, *COUNTED, COUNTED[0], RUNNER, named=frozenset({"gone"})) == []


@pytest.mark.parametrize("bounds", [0, {"lte": 0}, {"eq": 0}, {"lte": 9}])
def test_a_misspelt_service_never_sends_a_span(bounds: Any) -> None:
    """Beside other spans a name that is neither sent nor of the file is a failure, not a number of 0."""
    counts = {"counts": {"by_service": {"paymnets": bounds}}}
    (failure,) = judge(counts, *COUNTED, named=frozenset({"payments"}))
    assert failure.message == (
        "expect.counts.by_service[paymnets]: no span has this service.name, and no service of the file is "
        "called so"
    )
    assert "service 'api': 2 spans" in failure.details
    for glob, known in (("paymnets", "paymnets"), ("pay*", "payments")):
        assert judge({"counts": {"by_service": {glob: bounds}}}, *COUNTED, named=frozenset({known})) == []


def test_a_service_that_only_programs_name() -> None:
    """A name that the file does not know is as good, once a span has it; also one of the runner."""
    counts = {"counts": {"by_service": {"a?i": {"lte": 9}, "pytest": 0}}}
    assert judge(counts, *COUNTED, make("r", origin="runner", service="pytest")) == []


@pytest.mark.parametrize(
    ("counts", "message", "detail"),
    [
        ({"spans_total": 2}, "expect.counts.spans_total: got 3, expected exactly 2", "arrived"),
        ({"events_total": {"gte": 3}}, "expect.counts.events_total: got 2, expected at least 3", "arrived"),
        ({"errors_total": 0}, "expect.counts.errors_total: got 1, expected exactly 0", "a2: boom"),
        (
            {"by_name": {"aa": 1}},
            "expect.counts.by_name[aa]: got 0, expected exactly 1",
            "nearest: 'a' has a similar name",
        ),
        (
            {"by_service": {"ap": {"gte": 1}}},
            "expect.counts.by_service[ap]: got 0, expected at least 1",
            "service 'api': 2 spans\nservice 'db': 1 span",
        ),
    ],
)
def test_counts_that_are_not_expected(counts: dict[str, Any], message: str, detail: str) -> None:
    """A number out of bounds is told with its bounds."""
    (failure,) = judge({"counts": counts}, *COUNTED, RUNNER)
    assert failure.message == message
    assert detail in failure.details
    assert failure.where == "f:expect.counts"


def on(process: str) -> dict[str, Any]:
    """Return the resource of a process."""
    return {"resource": {"process.pid": process}}


@pytest.mark.parametrize(
    "spans",
    [
        (make("out", at=(0, 10)), make("in", at=(0, 10))),
        (make("out", at=(0, 1)), make("out", span_id="o2", at=(5, 9)), make("in", at=(6, 7))),
        (make("out", at=(0, 1), incomplete=True), make("in", at=(6, 7))),
    ],
    ids=["ends included", "any of several", "still open"],
)
def test_windows_that_are_expected(spans: tuple[Span, ...]) -> None:
    """A span within a window passes; ends count."""
    assert messages({"window": [{"outer": "out", "contains": ["in"]}]}, *spans) == []


def test_clocks_are_one_unless_the_file_says_otherwise() -> None:
    """Between two processes the file's tolerance holds, and none if it names none; within one never any."""
    within = {"window": [{"outer": "out", "contains": ["in"]}]}
    order = {"order": {"must_precede": [["in", "out"]]}}
    apart = (make("out", at=(0, 10), **on("1")), make("in", at=(-5, 15), **on("2")))
    one = (make("out", at=(0, 10), **on("1")), make("in", at=(-5, 15), **on("1")))
    assert messages(within, *apart) == ["expect.window[out]: 1 of 1 span named in outside"]
    assert messages({**within, "tolerance": "5ms"}, *apart) == []
    assert messages({**within, "tolerance": "4ms"}, *apart) != []
    assert messages({**within, "tolerance": "5ms"}, *one) != []
    late = (make("in", at=(0, 5), **on("1")), make("out", at=(1, 2), **on("2")))
    assert messages(order, *late) == ["expect.order.must_precede[in, out]: no in ends before any out starts"]
    assert messages({**order, "tolerance": 0.004}, *late) == []
    assert messages({**order, "tolerance": 0.003}, *late) != []


@pytest.mark.parametrize(
    ("window", "spans", "message", "detail"),
    [
        (
            {"contains": ["in"]},
            (make("out", at=(5, 10)), make("in", at=(4, 12))),
            "expect.window[out]: 1 of 1 span named in outside",
            "in starts 1 ms before, ends 2 ms after",
        ),
        (
            {"contains": ["in"]},
            (make("out", at=(0, 10), **on("1")), make("in", at=(0, 16), **on("2"))),
            "expect.window[out]: 1 of 1 span named in outside",
            "in ends 6 ms after",
        ),
        (
            {"contains": ["in"]},
            (make("out"), make("in"), make("in", span_id="i2", at=(2, 11))),
            "expect.window[out]: 1 of 2 spans named in outside",
            "in ends 1 ms after",
        ),
        (
            {"contains": ["in"]},
            (make("out"), make("in", incomplete=True)),
            "expect.window[out]: 1 of 1 span named in outside",
            "in has not ended",
        ),
        (
            {"contains": ["out"]},
            (make("out"),),
            "expect.window[out]: 1 of 1 span named out outside",
            "out is itself the window",
        ),
        (
            {"contains": ["in"]},
            (make("out", incomplete=True, at=(5, 6)), make("in", at=(4, 12))),
            "expect.window[out]: 1 of 1 span named in outside",
            "in starts 1 ms before",
        ),
        ({"contains": ["in"]}, (make("in"),), "expect.window[out]: no span is named out", "arrived"),
        (
            {"contains": ["in"]},
            (make("out"), make("ins")),
            "expect.window[out]: no span is named in",
            "nearest: 'ins' has a similar name",
        ),
        (
            {"contains": ["in"], "max_duration": "5ms"},
            (make("out"), make("in")),
            "expect.window[out]: out took 10 ms, expected at most 5 ms",
            "arrived",
        ),
        (
            {"contains": ["in"], "max_duration": "5ms"},
            (make("out", incomplete=True), make("in")),
            "expect.window[out]: out has not ended, expected at most 5 ms",
            "arrived",
        ),
    ],
)
def test_windows_that_are_not_expected(
    window: dict[str, Any], spans: tuple[Span, ...], message: str, detail: str
) -> None:
    """A span outside says by how much; a name that selects nothing fails."""
    (failure,) = judge({"window": [{"outer": "out", **window}]}, *spans)
    assert failure.message == message
    assert detail in failure.details
    assert failure.where == "f:expect.window.0"


def test_windows_are_told_up_to_a_number() -> None:
    """Of many spans outside, and of many windows that are too long, the first are told."""
    outers = [make("out", span_id=f"o{number}", at=(0, 10 + number)) for number in range(30)]
    inner = [make("in", span_id=f"i{number}", at=(50, 60)) for number in range(30)]
    expect = {"window": [{"outer": "out", "contains": ["in"], "max_duration": "5ms"}]}
    outside, long = judge(expect, *outers, *inner)
    assert outside.details.count("in ends 21 ms after") == 10
    assert "... 20 more spans" in outside.details
    assert long.details.splitlines()[-1] == "... 20 more spans"


def test_window_that_is_short_enough() -> None:
    """A window may take exactly as long as it may."""
    expect = {"window": [{"outer": "out", "contains": ["in"], "max_duration": "10ms"}]}
    assert messages(expect, make("out"), make("in")) == []


@pytest.mark.parametrize(
    ("order", "spans"),
    [
        ({"must_precede": [["a", "b"]]}, (make("a", at=(0, 5)), make("b", at=(5, 6)))),
        ({"must_follow": [["b", "a"]]}, (make("a", at=(0, 5)), make("b", at=(5, 6)))),
        (
            {"must_precede": [["a", "b"]]},
            (make("a", at=(0, 5)), make("a", span_id="a2", at=(8, 9)), make("b", at=(5, 6))),
        ),
        (
            {"must_precede": [["*", "b"]], "every": True},
            (make("a", at=(0, 5)), make("c", at=(1, 5)), make("b", at=(5, 6))),
        ),
        (
            {"must_precede": [["*", "*"]]},
            (make("a", at=(0, 5)), make("b", at=(5, 6))),
        ),
    ],
)
def test_orders_that_are_expected(order: dict[str, Any], spans: tuple[Span, ...]) -> None:
    """One ends before the other starts: some pair, or every one; a span is not compared with itself."""
    assert messages({"order": order}, *spans) == []


LATE = (make("a", at=(0, 9)), make("b", at=(5, 6)))


@pytest.mark.parametrize(
    ("order", "spans", "message", "detail"),
    [
        (
            {"must_precede": [["a", "b"]]},
            LATE,
            "expect.order.must_precede[a, b]: no a ends before any b starts",
            "nearest: a ends 4 ms after b starts",
        ),
        (
            {"must_follow": [["b", "a"]]},
            LATE,
            "expect.order.must_follow[b, a]: no a ends before any b starts",
            "nearest: a ends 4 ms after b starts",
        ),
        (
            {"must_precede": [["a", "b"]]},
            (make("a", at=(0, 10), **on("1")), make("b", at=(4, 6), **on("2"))),
            "expect.order.must_precede[a, b]: no a ends before any b starts",
            "nearest: a ends 6 ms after b starts",
        ),
        (
            {"must_precede": [["a", "b"]], "every": True},
            (*LATE, make("b", span_id="b2", at=(20, 30))),
            "expect.order.must_precede[a, b]: not every a ends before every b starts",
            "nearest: a ends 4 ms after b starts",
        ),
        (
            {"must_precede": [["a", "b"]], "every": True},
            (make("a", at=(0, 1), incomplete=True), make("a", span_id="a2", at=(0, 2)), make("b", at=(5, 6))),
            "expect.order.must_precede[a, b]: not every a ends before every b starts",
            "a has not ended",
        ),
        (
            {"must_precede": [["a", "*"]], "every": True},
            (make("a", at=(0, 1)), make("a", span_id="a2", at=(5, 6))),
            "expect.order.must_precede[a, *]: not every a ends before every * starts",
            "nearest: a ends 6 ms after a starts",
        ),
        (
            {"must_precede": [["a", "*"]]},
            (make("a", at=(0, 0)),),
            "expect.order.must_precede[a, *]: one span alone has both names",
            "arrived",
        ),
        (
            {"must_precede": [["a", "x"]]},
            LATE,
            "expect.order.must_precede[a, x]: no span is named x",
            "arrived",
        ),
        (
            {"must_follow": [["a", "x"]]},
            LATE,
            "expect.order.must_follow[a, x]: no span is named x",
            "arrived",
        ),
    ],
)
def test_orders_that_are_not_expected(
    order: dict[str, Any], spans: tuple[Span, ...], message: str, detail: str
) -> None:
    """A pair out of order says by how much; a name that selects nothing fails."""
    (failure,) = judge({"order": order}, *spans)
    assert failure.message == message
    assert detail in failure.details
    assert failure.where == "f:expect.order"


def test_short_spans_of_one_process_have_no_tolerance() -> None:
    """Within one process a millisecond is enough to be late."""
    spans = (make("b", at=(0, 1), **on("1")), make("a", at=(1, 2), **on("1")))
    assert len(messages({"order": {"must_precede": [["a", "b"]]}}, *spans)) == 1


@pytest.mark.parametrize(
    "status",
    [{"all": "ok"}, {"by_name": {"a*": "ok"}}, {"all": "error", "from": "runner"}],
)
def test_statuses_that_are_expected(status: dict[str, Any]) -> None:
    """The spans' own status is judged, of the workload unless asked otherwise."""
    assert messages({"status": status}, make("a", status="ok"), make("a2", status="ok"), RUNNER) == []


@pytest.mark.parametrize(
    ("status", "spans", "message", "detail"),
    [
        (
            {"all": "ok"},
            (make("a", status="ok"), make("b", status="error", status_message="boom"), make("c")),
            "expect.status.all: 2 of 3 spans not ok; b: status is error (boom), expected ok",
            "c: status is unset, expected ok; a program has to set ok itself, unset means no error",
        ),
        ({"all": "unset"}, (), "expect.status.all: no span to judge", "no span of the workload arrived"),
        (
            {"by_name": {"a*": "error"}},
            (make("a", status="error"), make("a2")),
            "expect.status.by_name[a*]: 1 of 2 spans not error; a2: status is unset, expected error",
            "a2: status is unset",
        ),
        (
            {"by_name": {"checkout": "ok"}},
            (make("check-out", status="ok"),),
            "expect.status.by_name[checkout]: no span is named so",
            "nearest: 'check-out' has a similar name",
        ),
    ],
)
def test_statuses_that_are_not_expected(
    status: dict[str, Any], spans: tuple[Span, ...], message: str, detail: str
) -> None:
    """Each span with another status is told; a name that selects nothing fails."""
    (failure,) = judge({"status": status}, *spans, RUNNER)
    assert failure.message == message
    assert detail in failure.details


def call(kind: str = "client", **attributes: Any) -> Span:
    """Return a span that called somebody."""
    return make(
        "call", kind=kind, attributes={key.replace("__", "."): each for key, each in attributes.items()}
    )


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (call(server__address="DB"), [("server.address", "db")]),
        (call(url__full="https://user:p@API.example:8443/x?y"), [("url.full", "api.example")]),
        (call(http__url="http://[::1]:80/"), [("http.url", "::1")]),
        (call(http__host="db:5432"), [("http.host", "db")]),
        (call("producer", net__peer__name="mq."), [("net.peer.name", "mq")]),
        (call("consumer", server__address="mq"), [("server.address", "mq")]),
        (call(peer__service="pay", net__peer__ip="10.0.0.1"), [("peer.service", "pay")]),
        (call(network__peer__address="fe80::1"), [("network.peer.address", "fe80::1")]),
        (call(server__address="/run/db.sock"), [("server.address", "/run/db.sock")]),
        (call(url__full="http://[broken"), [("url.full", "http://[broken")]),
        (call(server__address="", peer__service="pay"), [("peer.service", "pay")]),
        (call(server__address=5), []),
        (call("server", server__address="me"), [("server.address", "me")]),
        (call("internal", url__full=["http://a/", "http://b/"]), [("url.full", "a"), ("url.full", "b")]),
        (call(to={"server.address": "me"}), [("server.address", "me")]),
        (call(a={"server": [{"address": "me"}]}), [("server.address", "me")]),
        (call(), []),
    ],
)
def test_peers(span: Span, expected: list[tuple[str, str]]) -> None:
    """A caller's span names its peer under present and former keys; the nearest to a host is believed."""
    assert peers(span) == expected


@pytest.mark.parametrize(
    "host",
    ["DB", "db:5432", "localhost", "a.localhost", "127.0.0.9", "[::1]:80", "0.0.0.0", "/x.sock", "s3.lab"],  # noqa: S104
)
def test_peers_that_are_no_strangers(host: str) -> None:
    """Services, loopback and allowed peers are not external."""
    expect = {"hermeticity": {"no_external_services": True, "allowed_peers": ["*.LAB"]}}
    assert messages(expect, call(server__address=host), services=frozenset({"Db"})) == []


def test_external_peers() -> None:
    """A peer from outside is told with its span and key, and who would be allowed."""
    expect = {"hermeticity": {"no_external_services": True, "allowed_peers": ["*.lab"]}}
    (failure,) = judge(
        expect, call(url__full="https://api.example/x"), make("ok"), services=frozenset({"db"})
    )
    assert failure.message == "expect.hermeticity.no_external_services: external peers api.example"
    assert "call: url.full is api.example\nservices and allowed peers: *.lab, db" in failure.details
    (failure,) = judge({"hermeticity": {"no_external_services": True}}, call(server__address="8.8.8.8"))
    assert failure.message == "expect.hermeticity.no_external_services: external peers 8.8.8.8"
    assert "services and allowed peers: none" in failure.details
    assert failure.where == "f:expect.hermeticity"


def test_resources_and_keys() -> None:
    """Each span's resource must say what is asked, and no span may have a key that is forbidden."""
    expect = {
        "hermeticity": {
            "resource_attrs": {"must_match": {"env": "test", "service.name": {"regex": "^a"}}},
            "span_attrs": {"forbid_keys": ["http.*"]},
        }
    }
    resource = {"env": "test", "service.name": "api"}
    assert messages(expect, make("a", resource=resource, attributes={"https": 1})) == []
    bad = make("b", resource={"env": "prod"}, attributes={"http.url": "x"})
    assert messages(expect, make("a", resource=resource), bad) == [
        (
            "expect.hermeticity.resource_attrs: 1 of 2 spans; b: resource attribute 'env' is 'prod', "
            "expected 'test'; resource attribute 'service.name' is missing, expected a match of '^a'"
        ),
        "expect.hermeticity.span_attrs.forbid_keys: found http.url",
    ]


@pytest.mark.parametrize(
    "hermeticity",
    [
        {"no_external_services": True},
        {"resource_attrs": {"must_match": {"a": 1}}},
        {"span_attrs": {"forbid_keys": ["a"]}},
    ],
)
def test_hermeticity_of_nothing(hermeticity: dict[str, Any]) -> None:
    """Over no spans nothing is proven."""
    assert messages({"hermeticity": hermeticity}, RUNNER) == ["expect.hermeticity: no span to judge"]


@pytest.mark.parametrize(
    "expect",
    [
        {"span": [{"select": "a"}]},
        {"span": [{"select": "a", "count": {"gte": 2}}]},
        {"span": [{"select": "a", "match": "any", "attrs": {"a": 1}}]},
        {"edge": [{"parent": "a", "child": "b"}]},
        {"graph": {"must_include": [["a", "b"]]}},
        {"counts": {"spans_total": {"gte": 2}, "by_name": {"a": {"gte": 1}}}},
        {"order": {"must_precede": [["a", "b"]]}},
    ],
)
def test_lower_bounds(expect: dict[str, Any]) -> None:
    """What further spans cannot undo may be satisfied early, but not before it holds."""
    assert lower_bound_only(build(expect))
    spans = (
        make("a", at=(0, 1), attributes={"a": 1}),
        make("a", span_id="a2", at=(0, 1)),
        make("b", "a", at=(2, 3)),
    )
    assert satisfied_early(build(expect), spans)
    assert not satisfied_early(build(expect), spans[:1]) or "span" in expect
    assert not satisfied_early(build(expect), ())


@pytest.mark.parametrize(
    "expect",
    [
        {"span": [{"select": "a", "count": 1}]},
        {"span": [{"select": "a", "count": {"gte": 1, "lte": 2}}]},
        *(
            {"span": [{"select": "a", **asked}]}
            for asked in (
                {"attrs": {"a": 1}},
                {"kind": "internal"},
                {"status": "unset"},
                {"attrs_any": [{"key": "a", "eq": 1}]},
                {"duration": {"lt": 1}},
            )
        ),
        {"edge": [{"parent": "a", "child": "b", "every": True}]},
        *({"graph": {check: True}} for check in ("acyclic", "single_root", "no_orphans")),
        {"graph": {"max_depth": 9}},
        {"graph": {"must_not_cross": [["b", "a"]]}},
        {"counts": {"errors_total": 0}},
        {"counts": {"by_name": {"a": {"lte": 5}}}},
        {"window": [{"outer": "a", "contains": ["b"]}]},
        {"order": {"must_precede": [["a", "b"]], "every": True}},
        {"status": {"all": "unset"}},
        {"hermeticity": {"no_external_services": True}},
    ],
)
def test_what_must_be_waited_for(expect: dict[str, Any]) -> None:
    """What a later span may still break is never satisfied early, even where it holds now."""
    assert not lower_bound_only(build(expect))
    spans = (make("a", attributes={"a": 1}), make("b", "a"))
    assert not satisfied_early(build(expect), spans)


LOST = (Loss(what="span", why="bad id"), Loss(what="request", why="400, no JSON", count=2))
PARTS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"span": [{"select": "a", "count": 1}]}, "expect.span[a]"),
    ({"span": [{"select": "a", "attrs": {"a": 1}}]}, "expect.span[a]"),
    ({"edge": [{"parent": "a", "child": "b", "every": True}]}, "expect.edge[a -> b]"),
    *(
        ({"graph": {check: True}}, f"expect.graph.{check}")
        for check in ("acyclic", "single_root", "no_orphans")
    ),
    ({"graph": {"max_depth": 9}}, "expect.graph.max_depth"),
    ({"graph": {"must_not_cross": [["b", "a"]]}}, "expect.graph.must_not_cross"),
    (
        {"counts": {"errors_total": 0, "spans_total": {"gte": 1}, "by_name": {"a": {"lte": 5}}}},
        "expect.counts.errors_total, expect.counts.by_name[a]",
    ),
    ({"counts": {"by_service": {"shop": {"lte": 5}}}}, "expect.counts.by_service[shop]"),
    ({"window": [{"outer": "a", "contains": ["b"]}]}, "expect.window[a]"),
    ({"order": {"must_precede": [["a", "c"]], "every": True}}, "expect.order.must_precede[a, c]"),
    ({"order": {"must_follow": [["c", "a"]], "every": True}}, "expect.order.must_follow[c, a]"),
    ({"status": {"all": "unset", "by_name": {"a": "unset"}}}, "expect.status.all, expect.status.by_name[a]"),
    ({"hermeticity": {"no_external_services": True}}, "expect.hermeticity.no_external_services"),
    ({"hermeticity": {"resource_attrs": {"must_match": {"r": 1}}}}, "expect.hermeticity.resource_attrs"),
    ({"hermeticity": {"span_attrs": {"forbid_keys": ["x"]}}}, "expect.hermeticity.span_attrs.forbid_keys"),
)


@pytest.mark.parametrize(("expect", "titles"), PARTS)
def test_what_was_lost_is_not_shown_to_be_absent(expect: dict[str, Any], titles: str) -> None:
    """What holds only as long as no other span arrives fails where something did not, and says what."""
    spans = (
        make("a", at=(0, 10), attributes={"a": 1}, resource={"r": 1}),
        make("b", "a", at=(1, 2), resource={"r": 1}),
        make("c", "a", at=(20, 21), resource={"r": 1}),
    )
    named = frozenset({"shop"})
    assert messages(expect, *spans, named=named) == []
    why = "cannot be judged, as not all spans arrived: 1 span was refused: bad id; 2 requests were refused: "
    assert messages(expect, *spans, named=named, lost=LOST) == [f"{titles}: {why}400, no JSON"]


def test_what_is_there_is_shown_whatever_was_lost() -> None:
    """A lower bound that holds needs nothing else, what fails already is told once, ours are never lost."""
    spans = (make("a"), make("b", "a", status="error"))
    assert (
        messages({"span": [{"select": "a"}], "counts": {"spans_total": {"gte": 2}}}, *spans, lost=LOST) == []
    )
    (told,) = messages({"counts": {"errors_total": 0}}, *spans, lost=LOST)
    assert told == "expect.counts.errors_total: got 1, expected exactly 0"
    ours = {"counts": {"errors_total": 0, "from": "runner"}}
    assert messages(ours, make("clnrm.step", origin="runner"), lost=LOST) == []


def test_complete_span_replaces_its_open_record() -> None:
    """The same span, first as it was running and then as it ended, is one span, the ended one."""
    running = make("a", incomplete=True)
    expect = {"span": [{"select": "a", "count": 1, "duration": {"lte": "10ms"}}]}
    assert messages(expect, running, make("a")) == []
    assert messages(expect, make("a"), running) == []
