"""The spans of one process: those of our own as they end, those of programs, and what containers are told."""

from __future__ import annotations

import errno
import json
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_clnrm.errors import SpansError
from pytest_clnrm.telemetry.merge.merged_trace import MergedTrace
from pytest_clnrm.telemetry.traceparent import new_traceparent
from pytest_clnrm.telemetry.tracing import Tracing

RECEIVE = "pytest_clnrm.telemetry.receive.receiver"
SPAN = {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "work"}


@pytest.fixture
def tracing(tmp_path: Path) -> Iterator[Tracing]:
    """Return the spans of a process that records."""
    tracing = Tracing(tmp_path / "spans", "gw0", new_traceparent(None))
    tracing.allow("127.0.0.1")
    yield tracing
    tracing.close()


def post(env: dict[str, str]) -> None:
    """Post a span as a program does that was given *env*."""
    now = {"startTimeUnixNano": time.time_ns(), "endTimeUnixNano": time.time_ns()}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{**SPAN, **now}]}]}]}).encode()
    url = f"{env['OTEL_EXPORTER_OTLP_ENDPOINT']}/v1/traces"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 (our own)
    urllib.request.urlopen(request)  # noqa: S310


@pytest.mark.parametrize("what", ["folder", "recorder", "receiver"])
def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Where spans cannot be stored the error says where, why, and what to do."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*_: object, **__: object) -> None:
        raise full

    targets = {"folder": "pathlib.Path.mkdir", "recorder": "pytest_clnrm.telemetry.tracing.Recorder"}
    monkeypatch.setattr(targets.get(what, f"{RECEIVE}.Receiver"), fail)
    said = r"spans cannot be stored in .*/spans: No space left on device; .*make room.*--clnrm-spans off"
    with pytest.raises(SpansError, match=said):
        Tracing(tmp_path / "spans", "gw0", new_traceparent(None)).scenario("a.toml::a", {})


def test_ours_and_the_programs(tracing: Tracing, tmp_path: Path) -> None:
    """A span of ours is there when it ends, a program's when it arrives, and both in the merged trace."""
    trace = tracing.scenario("a.toml::a", {"clnrm.priority": "high"})
    with trace.span("clnrm.step", {"clnrm.step.name": "one", "none": None}, kind="client") as span:
        env = trace.enter_step("one", span.traceparent, given={"A": "b"}, made_with={}, own={"A": "own"})
        assert env == {"A": "own", "TRACEPARENT": span.traceparent}
        post(trace.environment("box", "127.0.0.1", {}))
        span.fail("it failed", "failed")
    trace.add("clnrm.slot.wait", 0.5)
    assert [(each.name, each.status, each.kind) for each in trace.ours] == [
        ("clnrm.step", "error", "client"),
        ("clnrm.slot.wait", "unset", "internal"),
    ]
    assert trace.ours[1].end_ns - trace.ours[1].start_ns >= 500_000_000
    assert [each.step for each in trace.workload()] == ["one"]
    assert trace.count_ours() == 3
    assert trace.problems() == ()
    trace.finish("fail", "it failed")
    trace.finish("pass")
    tracing.close()
    merged = {each.span.name: each for each in MergedTrace(tmp_path / "spans").spans(10)}
    assert merged.keys() == {"clnrm.scenario", "clnrm.step", "clnrm.slot.wait", "work"}
    assert merged["work"].under == merged["clnrm.step"].span.span_id
    assert merged["clnrm.scenario"].span.attributes["test.case.result.status"] == "fail"


def test_an_exception_marks_its_span(tracing: Tracing, tmp_path: Path) -> None:
    """An exception passes, and its span says what it was."""
    trace = tracing.scenario("a.toml::a", {})
    with pytest.raises(KeyboardInterrupt), trace.span("clnrm.step"):
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="no such thing"), trace.span("clnrm.step"):
        raise ValueError("no such thing")
    said = [("error", "KeyboardInterrupt"), ("error", "no such thing")]
    assert [(each.status, each.status_message) for each in trace.ours] == said
    tracing.close()
    steps = [
        each.span for each in MergedTrace(tmp_path / "spans").spans(10) if each.span.name == "clnrm.step"
    ]
    assert [(each.status, each.status_message) for each in steps] == said
    assert [each.attributes["error.type"] for each in steps] == ["KeyboardInterrupt", "ValueError"]


def test_secrets_are_recorded_masked_and_judged_as_they_are(tracing: Tracing, tmp_path: Path) -> None:
    """What is judged has the real value; attributes, messages and names of steps in the files have none."""
    trace = tracing.scenario("a", {}, redact=lambda text: text.replace("hunter2", "***"))
    with trace.span("clnrm.step", {"clnrm.step.name": "say hunter2"}) as span:
        trace.enter_step("say hunter2", span.traceparent, given={}, made_with={}, own={})
        span.set("more", "hunter2")
        span.fail("no hunter2")
    post(trace.environment("box", "127.0.0.1", {}))
    trace.finish("fail", "no hunter2")
    tracing.close()
    assert trace.ours[0].attributes["clnrm.step.name"] == "say hunter2"
    stored = b"".join(path.read_bytes() for path in (tmp_path / "spans").iterdir())
    assert b"hunter2" not in stored
    assert stored.count(b"***") >= 4


def test_what_a_container_is_told(tracing: Tracing) -> None:
    """Its variables name the receiver, an IPv6 address in brackets; without a way only the service's name."""
    trace = tracing.scenario("a", {})
    env = trace.environment("box", "fd00::1", {"OTEL_SERVICE_NAME": "mine"})
    assert env["OTEL_EXPORTER_OTLP_ENDPOINT"].startswith(f"http://[fd00::1]:{tracing.port}/t/")
    assert env["OTEL_SERVICE_NAME"] == "mine"
    assert trace.environment("box", "", {"A": "b"}) == {"OTEL_SERVICE_NAME": "box", "A": "b"}


def test_a_variable_that_keeps_spans_from_us_is_warned_of(tracing: Tracing) -> None:
    """What the file sets itself is told, unless spans are off."""
    off = {"OTEL_TRACES_SAMPLER": "always_off"}
    (warning,) = tracing.scenario("a", {}).warnings(off)
    assert "OTEL_TRACES_SAMPLER=always_off" in warning
    assert Tracing(None, "gw0", "").scenario("a", {}).warnings(off) == ()


def test_what_our_probes_cause_is_no_workload(tracing: Tracing) -> None:
    """A span of a program that is a probe is counted nowhere, nor is what continues its trace or ours."""
    trace = tracing.scenario("a", {})
    env = trace.environment("box", "127.0.0.1", {})
    probe = trace.probe_environment({}, env)
    now = {"startTimeUnixNano": time.time_ns(), "endTimeUnixNano": time.time_ns()}
    _, trace_id, parent, _ = probe["TRACEPARENT"].split("-")
    marked = [{"key": "clnrm.probe", "value": {"stringValue": "true"}}]
    body = {
        "resourceSpans": [
            {"scopeSpans": [{"spans": [{**SPAN, **now, "traceId": trace_id, "parentSpanId": parent}]}]},
            # What a probe has caused arrives before its own span.
            {"scopeSpans": [{"spans": [{**SPAN, **now, "traceId": "d" * 32, "parentSpanId": "2" * 16}]}]},
            {
                "resource": {"attributes": marked},
                "scopeSpans": [{"spans": [{**SPAN, **now, "traceId": "d" * 32, "spanId": "2" * 16}]}],
            },
            {"scopeSpans": [{"spans": [{**SPAN, **now, "name": "traffic"}]}]},
        ]
    }
    url = env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    urllib.request.urlopen(request)  # noqa: S310
    assert [each.name for each in trace.workload()] == ["traffic"]
    assert trace.problems() == ()


def test_what_a_reset_causes_is_no_workload(tracing: Tracing) -> None:
    """Its steps hand on the trace of probes, and say so in the environment; what they set themselves wins."""
    trace = tracing.scenario("a", {})
    probe = trace.probe_environment({}, {})["TRACEPARENT"]
    env = trace.environment("box", "127.0.0.1", {})
    own = {"OTEL_SERVICE_NAME": "mine"}
    with trace.of_upkeep().span("clnrm.step") as step:
        given = trace.of_upkeep().enter_step("reset", step.traceparent, given=env, made_with={}, own=own)
        assert trace.of_upkeep().begin_step("reset", step.traceparent) == probe
    assert (given["TRACEPARENT"], given["OTEL_SERVICE_NAME"]) == (probe, "mine")
    assert given["OTEL_RESOURCE_ATTRIBUTES"].endswith(",clnrm.probe=true")
    assert trace.begin_step("own", step.traceparent) == step.traceparent


def test_what_a_step_inherits(tracing: Tracing) -> None:
    """A step gets what differs from its container's own variables; what it sets itself wins."""
    trace = tracing.scenario("a", {})
    made_with = trace.environment("box", "127.0.0.1", {"A": "a"})
    named = {"OTEL_SERVICE_NAME": "box (step)"}
    assert trace.enter_step("one", "", given=named, made_with=made_with, own={"A": "a"}) == {
        **named,
        "A": "a",
    }
    env = trace.enter_step(
        "one", "", given={}, made_with=made_with, own={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}
    )
    assert env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == "http://x/v1/traces"
    assert env["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] == ""


@pytest.mark.parametrize("own", [{}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}], ids=["http", "grpc"])
def test_what_a_step_sends_is_known_to_be_of_its_attempt(tracing: Tracing, own: dict[str, str]) -> None:
    """Each attempt has a token of its own, in all places where a program may take it from."""
    trace = tracing.scenario("a", {})
    made_with = trace.environment("box", "127.0.0.1", {})
    assert trace.inbox is not None
    for attempt in ("1" * 16, "2" * 16):
        step = f"00-{'a' * 32}-{attempt}-01"
        env = trace.enter_step("one", step, given={}, made_with=made_with, own=own)
        token = f"{trace.inbox.token}{attempt}"
        assert env["OTEL_EXPORTER_OTLP_TRACES_HEADERS"] == f"x-clnrm-token={token}"
        if not own:
            assert env["OTEL_EXPORTER_OTLP_ENDPOINT"].endswith(f"/t/{token}")
            assert env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"].endswith(f"/t/{token}/v1/traces")
            assert env["OTEL_EXPORTER_OTLP_HEADERS"] == f"x-clnrm-token={token}"


def test_printed_spans_are_taken(tracing: Tracing) -> None:
    """A span that a program printed counts as one that arrived; what looks like one and is none is told."""
    trace = tracing.scenario("a", {})
    assert trace.add_printed(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]})) == ()
    assert [each.name for each in trace.workload()] == ["work"]
    assert trace.problems() == ()
    assert trace.add_printed("", 7) == ()
    assert trace.add_printed("", lacks="it is full") == ()
    assert trace.problems() == (
        "1 output was cut: its first 7 bytes were left out, in which spans may have been",
        "1 output was cut: it is full",
    )
    (problem,) = trace.add_printed('{"trace_id": 7, "span_id": 8}')
    assert "line 1 of the output looks like a span but is not read" in problem


def test_a_gateway_is_allowed_and_forbidden(tracing: Tracing) -> None:
    """A network that is left is served no longer."""
    env = tracing.scenario("a", {}).environment("box", "127.0.0.1", {})
    tracing.forbid("127.0.0.1")
    with pytest.raises(OSError, match=r"reset|closed|refused|pipe"):
        post(env)
    tracing.allow("127.0.0.1")
    post(env)


def test_off_nothing_is_recorded() -> None:
    """Without a folder every call does nothing."""
    tracing = Tracing(None, "gw0", "")
    trace = tracing.scenario("a", {})
    with trace.span("clnrm.step") as span:
        assert trace.enter_step("a", span.traceparent, given={"A": "b"}, made_with={}, own={"C": "d"}) == {
            "A": "b",
            "C": "d",
        }
    assert (trace.ours, trace.count_ours(), list(trace.workload()), tracing.port) == ([], 0, [], 0)
    trace.release()
    assert trace.add_printed('{"resourceSpans": []}') == ()
    trace.finish("pass")
    tracing.allow("a")
    tracing.forbid("a")
    assert trace.problems() == ()
    tracing.close()
