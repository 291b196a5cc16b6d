"""Spans of a shared service: whose they are, and what can be judged by them."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from clnrm_testing.receiving import protobuf_body
from clnrm_testing.spans import to_request

from pytest_clnrm.ledger.shared import container_name
from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.model.service import Service
from pytest_clnrm.model.span import AttributeValue, Loss, Span
from pytest_clnrm.names import RUN_ENDS
from pytest_clnrm.runner import judge_spans
from pytest_clnrm.runner.judge_spans import SpanJudge
from pytest_clnrm.runner.sharing.places import FOLDER, book_of
from pytest_clnrm.runner.sharing.receiving import _end, received_again
from pytest_clnrm.runner.sharing.record import SharedRecord
from pytest_clnrm.runner.sharing.spans import SharedSpans
from pytest_clnrm.runtime.network import Network
from pytest_clnrm.scenario.format.expect_document import ExpectDoc
from pytest_clnrm.telemetry.environment import PROBE
from pytest_clnrm.telemetry.receive import shared_book
from pytest_clnrm.telemetry.receive.body import PROTOBUF
from pytest_clnrm.telemetry.traceparent import TraceParent, format_traceparent, parse_traceparent
from pytest_clnrm.telemetry.tracing import ScenarioTrace, Tracing


class Shop:
    """Two processes of a run, ``gw0`` with the shared service ``db``, and a user of it in ``gw1``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "spans"
        parent = format_traceparent("f" * 32, "e" * 16)
        self.tracings = [Tracing(self.folder, worker, parent) for worker in ("gw0", "gw1")]
        self.book = folder / "db.spans"
        self.db = self.tracings[0].scenario("shared service db", {}, book=self.book)
        self.trace = self.tracings[1].scenario("a.toml::a", {})
        self.spans = SharedSpans(self.trace, self.folder)
        self.number = 0

    def begin(self) -> None:
        self.spans.begin("db", self.book, time.time_ns())

    def step_of(self, trace: ScenarioTrace) -> TraceParent:
        with trace.span("clnrm.step", {"clnrm.step.name": "call"}, kind="client") as span:
            trace.begin_step("call", span.traceparent)
        found = parse_traceparent(span.traceparent)
        assert found is not None
        return found

    def send(
        self,
        trace: ScenarioTrace,
        name: str,
        trace_id: str,
        parent: str | None = None,
        *,
        resource: Mapping[str, AttributeValue] | None = None,
        **more: Any,
    ) -> Span:
        self.number += 1
        now_ns = time.time_ns()
        given = {"start_ns": now_ns, "end_ns": now_ns + 1000, "span_id": f"{self.number:016x}", **more}
        span = Span(
            name=name,
            trace_id=trace_id,
            parent_id=parent,
            resource={"service.name": "db" if trace is self.db else "app", **(resource or {})},
            **given,
        )
        assert trace.inbox is not None
        trace.inbox.add(to_request([span]))
        return span

    def names(self, spans: list[Span]) -> list[str]:
        return [each.name for each in spans]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Return a run that is under way."""
    made = Shop(tmp_path)
    yield made
    for each in made.tracings:
        each.close()


def test_whose_they_are(shop: Shop) -> None:
    """Below what a user did they are its own; below what others did they are theirs; else nobody can tell."""
    shop.send(shop.db, "before", "1" * 32)
    shop.begin()
    other = shop.tracings[0].scenario("b.toml::b", {})
    step, of_other = shop.step_of(shop.trace), shop.step_of(other)
    run = step.trace_id
    shop.send(shop.db, "below the step", run, step.span_id)
    client = shop.send(shop.trace, "client", run, step.span_id)
    server = shop.send(shop.db, "below the client", run, client.span_id)
    shop.send(shop.db, "below that", run, server.span_id)
    shop.send(shop.db, "of its own trace", "2" * 32, "9" * 16)
    shop.send(shop.trace, "root", "2" * 32)
    shop.send(shop.db, "of the other", run, of_other.span_id)
    theirs = shop.send(other, "client of the other", run, of_other.span_id)
    deep = shop.send(shop.db, "of the other's client", run, theirs.span_id)
    shop.send(shop.db, "below that one", run, deep.span_id)
    shop.send(shop.db, "of the other's trace", "3" * 32, "9" * 16)
    shop.send(other, "root", "3" * 32)
    shop.send(shop.db, "timer", "4" * 32)
    shop.send(shop.db, "below a client that is not known", run, "a" * 16)
    shop.send(shop.db, "from before", "5" * 32, start_ns=time.time_ns() - 3_600_000_000_000)
    shop.send(shop.db, "of a shell, without times", "6" * 32, start_ns=1, end_ns=2)
    shop.send(shop.db, "probe", "7" * 32, resource={PROBE: "true"})
    own = shop.spans.own()
    assert shop.names(own) == ["below the step", "below the client", "below that", "of its own trace"]
    assert (own[0].step, own[0].attempt) == ("call", step.span_id)
    assert shop.names(shop.spans.doubtful()) == [
        "timer",
        "below a client that is not known",
        "from before",
        "of a shell, without times",
    ]
    text = shop.spans.text("db")
    assert text.startswith("in its own trace:\n    below the step [internal, db, ")
    assert "\n      below that [" in text
    assert "\nbegun while it was used, in no trace of a scenario or test, so not counted:\n" in text
    assert "timer [" in text
    assert "other" not in text


def test_of_readiness_checks(shop: Shop) -> None:
    """What this user's own readiness checks have caused in it is not its own, and nobody's doubt."""
    shop.begin()
    probe = shop.send(shop.trace, "probe", "7" * 32, resource={PROBE: "true"})
    shop.send(shop.db, "probed", probe.trace_id, probe.span_id)
    assert shop.spans.own() == []
    assert shop.spans.doubtful() == []


def test_what_was_lost(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever uses it meanwhile learns of it; what came twice counts once."""
    monkeypatch.setattr(shared_book, "REMEMBERED_SPANS", 1)
    assert shop.db.inbox is not None
    shop.db.inbox.lose("request", "413, too large")
    shop.begin()
    step = shop.step_of(shop.trace)
    span = shop.send(shop.db, "a", step.trace_id, step.span_id)
    shop.db.inbox.add(to_request([span]))
    assert shop.spans.losses() == []
    assert shop.names(shop.spans.own()) == ["a"]
    shop.db.inbox.lose("request", "400, cannot decode JSON")
    assert shop.spans.losses() == [Loss(what="request", why="400, cannot decode JSON")]
    monkeypatch.setattr(shared_book, "MAX_READ_SPANS", 1)
    shop.begin()
    shop.send(shop.db, "b", step.trace_id, step.span_id)
    shop.send(shop.db, "c", step.trace_id, step.span_id)
    assert shop.names(shop.spans.own()) == ["c"]
    (forgotten,) = shop.spans.losses()
    assert str(forgotten) == "1 span was refused: only the last 1 spans of a shared service are looked at"
    book = shop.db.inbox._book
    assert book is not None
    book._left_bytes = 0
    assert book.is_full(1) == "the limit of 512 MiB of spans of a shared service is reached"
    assert not book.is_full(0)


def test_secrets_are_judged_and_not_stored(shop: Shop, tmp_path: Path) -> None:
    """The users of a shared service see its spans as they are; the run's trace does not."""
    book = tmp_path / "secret.spans"
    db = shop.tracings[0].scenario("shared service s", {}, redact=lambda x: x.replace("hush", "*"), book=book)
    shop.spans.begin("s", book, time.time_ns())
    step = shop.step_of(shop.trace)
    shop.send(db, "SELECT 'hush'", step.trace_id, step.span_id)
    assert shop.names(shop.spans.own()) == ["SELECT 'hush'"]
    stored = b"".join(each.read_bytes() for each in shop.folder.iterdir())
    assert b"SELECT '*'" in stored
    assert b"hush" not in stored
    assert book.stat().st_mode & 0o077 == 0


def test_they_are_received_until_others_have_ended(shop: Shop, tmp_path: Path) -> None:
    """Whoever has started the service stays while it is used elsewhere; not when the run is broken off."""

    def runtime(users: list[bool]) -> Any:
        ledger = SimpleNamespace(is_used_elsewhere=lambda _: users.pop() if len(users) > 1 else users[0])
        settings = SimpleNamespace(timeout_s=600)
        return SimpleNamespace(settings=settings, ledger=lambda: ledger, run_folder=lambda: tmp_path)

    lease: Any = SimpleNamespace(id="l1")
    users = [False, True, True]
    _end(runtime(users), lease, shop.db)
    assert users == [False]
    assert shop.db._finished
    other = shop.tracings[0].scenario("shared service b", {}, book=tmp_path / "b.spans")
    ends = threading.Timer(0.2, (tmp_path / RUN_ENDS).touch)
    ends.start()
    _end(runtime([True]), lease, other)
    ends.join()
    assert other._finished


def test_those_of_one_that_stayed_are_received_again(shop: Shop, tmp_path: Path) -> None:
    """Under its token, where it sends them; where nobody can, nobody is named; a taken port is left."""
    gone = Tracing(tmp_path / "earlier", "gw0", "")
    earlier = gone.scenario("shared service db", {}).inbox
    assert earlier is not None
    port = gone.port
    record = SharedRecord(owner="earlier", receiver=("127.0.0.1", port), token=earlier.token)
    (tmp_path / FOLDER).mkdir()
    runtime: Any = SimpleNamespace(
        tracing=lambda: shop.tracings[1],
        ledger=lambda: SimpleNamespace(owner_id="ours"),
        run_folder=lambda: tmp_path,
        at_end=[],
    )
    lease: Any = SimpleNamespace(id="o-1")

    def again(network: Network | None, record: SharedRecord = record) -> SharedRecord | None:
        return received_again(runtime, Service(name="db"), lease, record, network, trace=shop.trace)

    here, elsewhere = Network("n", "127.0.0.1"), Network("n", "127.0.0.2")
    assert again(here) is None
    gone.close()
    # It reaches nobody, has never been told where to send spans, or has no network.
    assert [each and each.owner for each in (again(elsewhere), again(here, SharedRecord()), again(None))] == [
        "",
        "",
        "ours",
    ]
    assert runtime.at_end == []
    found = again(here)
    assert found is not None
    assert (found.owner, len(runtime.at_end)) == ("ours", 1)
    shop.tracings[1].allow("127.0.0.1")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": PROTOBUF}
    connection.request("POST", f"/t/{record.token}/v1/traces", protobuf_body("late"), headers)
    assert connection.getresponse().status == 200
    connection.close()
    assert b'"late"' in book_of(runtime, container_name("o-1", "db")).read_bytes()


def judge_of(shop: Shop, expect: dict[str, Any]) -> SpanJudge:
    """Return what judges the user's spans; nothing of its own runs any more."""
    doc = msgspec.convert({"wait": 0.3, "settle": 0.05, **expect}, ExpectDoc)
    shared = SimpleNamespace(id="c1", service=Service(name="db"), spec=SimpleNamespace(no_proxy=()))
    networks = SimpleNamespace(reach_us=True)
    engine = SimpleNamespace(state=lambda _: SimpleNamespace(addresses={"n": "172.18.0.2"}))
    runtime = SimpleNamespace(
        networks=lambda: networks, board=SimpleNamespace(at=print), engine=lambda: engine
    )
    return SpanJudge(
        runtime=cast("Any", runtime),
        scenario=Scenario(
            name="s",
            file="/f",
            services=(Service(name="db", scope="run"),),
            expect=doc.built(lambda *keys: ("expect", *keys)),
        ),
        trace=shop.trace,
        captured={},
        containers={},
        shared=cast("Any", {"db": shared}),
        shared_spans=shop.spans,
        unseen=lambda: tuple(shop.spans.losses()),
        where=lambda at: "f:1",
        began_s=time.monotonic(),
    )


EXACT = {
    "span": [{"select": {"name": "query", "service": "db"}, "count": 2}],
    "counts": {"errors_total": 0, "by_service": {"db": 2}},
    "hermeticity": {"no_external_services": True},
}


def test_they_are_counted_exactly(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others make it do changes nothing, nor what is sent in no trace and would change nothing."""
    monkeypatch.setattr(judge_spans, "LOOK_S", 0.05)
    shop.begin()
    step = shop.step_of(shop.trace)
    other = shop.tracings[0].scenario("b.toml::b", {})
    of_other = shop.step_of(other)
    shop.send(shop.db, "query", step.trace_id, step.span_id)
    shop.send(shop.db, "query", step.trace_id, of_other.span_id, status="error")
    judge = judge_of(shop, EXACT)
    peer = {"server.address": "db"}
    late = threading.Timer(
        0.1, shop.send, (shop.db, "query", step.trace_id, step.span_id), {"attributes": peer}
    )
    late.start()
    judge.wait(time.monotonic() + 60)
    late.join()
    assert judge.judge() == ()
    shop.send(shop.db, "tick", "4" * 32, resource={"service.name": "db-timer"})
    assert judge.judge() == ()
    shop.send(shop.db, "query", step.trace_id, step.span_id, status="error")
    wrong, *_ = judge.judge()
    assert wrong.message == "expect.span[query]: 3 spans selected, expected exactly 2"
    assert (
        "1 span of shared services began meanwhile in no scenario's trace, and do not count:" in wrong.details
    )
    assert "tick [internal, db-timer, " in wrong.details


def test_what_cannot_be_decided_fails(shop: Shop) -> None:
    """A span that may be the scenario's makes fail what would not hold if it were; and says what to do."""
    shop.begin()
    step = shop.step_of(shop.trace)
    shop.send(shop.db, "query", step.trace_id, step.span_id)
    judge = judge_of(shop, {"counts": {"errors_total": 0}, "wait": 0})
    judge.wait(time.monotonic() + 60)
    assert judge.judge() == ()
    shop.send(shop.db, "query", "4" * 32, status="error")
    (failure,) = judge.judge()
    assert failure.message == (
        "expect.counts.errors_total: cannot be decided, as a shared service sent spans meanwhile in no "
        "scenario's trace; let its callers hand `traceparent` on to it, or leave `scope` out, so that each "
        "scenario has one of its own (got 1, expected exactly 0)"
    )
    assert "query [internal, db, " in failure.details
    assert shop.db.inbox is not None
    shop.db.inbox.lose("request", "413, too large")
    lost, *_ = judge.judge()
    assert lost.message.startswith("expect.counts.errors_total: cannot be judged, as not all spans arrived:")


def test_a_lower_bound_is_waited_for(shop: Shop) -> None:
    """What another process has received ends the wait as soon as it is enough."""
    shop.begin()
    step = shop.step_of(shop.trace)
    judge = judge_of(shop, {"span": [{"select": {"name": "query", "service": "db"}}], "wait": 60})
    late = threading.Timer(0.1, shop.send, (shop.db, "query", step.trace_id, step.span_id))
    late.start()
    judge.wait(time.monotonic() + 60)
    late.join()
    assert judge._satisfied
    assert judge.judge() == ()
