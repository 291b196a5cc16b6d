"""Merging: one trace from many files, whole although processes were killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.spans import to_request
from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from pytest_clnrm.model.span import Span
from pytest_clnrm.telemetry.merge.merged_trace import MergedTrace
from pytest_clnrm.telemetry.otlp.messages import decode_json
from pytest_clnrm.telemetry.otlp.protobuf import encode_protobuf
from pytest_clnrm.telemetry.receive.receiver import Receiver
from pytest_clnrm.telemetry.record.recorder import Recorder

OUTSIDE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NewRecorder = Callable[..., Recorder]


@pytest.fixture
def new_recorder(tmp_path: Path) -> Iterator[NewRecorder]:
    """Return a function that creates recorders into the folder of the test."""
    made = []

    def new(worker: str, parent: str | None = None) -> Recorder:
        made.append(
            Recorder(tmp_path, worker, {"service.name": "pytest-clnrm", "clnrm.worker.id": worker}, parent)
        )
        return made[-1]

    yield new
    for recorder in made:
        recorder.close()


def merged(folder: Path) -> list[dict[str, Any]]:
    """Merge the folder and return all spans of the file in its order."""
    path = folder / "trace.otlp.json"
    MergedTrace(folder).write(path)
    return [
        span
        for resource in json.loads(path.read_text(encoding="utf-8"))["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def workload_span(number: int, **more: Any) -> Span:
    """Return a span as a program would send it."""
    values: dict[str, Any] = {
        "trace_id": f"{7:032x}",
        "span_id": f"{number:016x}",
        "name": f"w{number}",
        "start_ns": 10,
        "end_ns": 20,
        "resource": {"service.name": "shop"},
        **more,
    }
    return Span(**values)


def test_one_trace_of_all_workers(tmp_path: Path, new_recorder: NewRecorder) -> None:
    """Spans of all processes and of the workload are in one file, each with its resource."""
    session = new_recorder("master", OUTSIDE).span("clnrm.session")
    for worker in ("gw0", "gw1"):
        recorder = new_recorder(worker, session.traceparent)
        scenario = recorder.span("clnrm.scenario", attributes={"test.case.name": f"{worker}.toml::a"})
        receiver = Receiver(tmp_path, worker)
        inbox = receiver.open("s", scenario.traceparent)
        step = recorder.span("clnrm.step", parent=scenario.traceparent)
        inbox.enter_step("one", step.traceparent)
        sent = [workload_span(1, start_ns=recorder.now_ns()), workload_span(2, parent_id=f"{1:016x}")]
        inbox.add(to_request(sent))
        step.end()
        receiver.close()
        scenario.end()
    session.end()
    trace = MergedTrace(tmp_path)
    written = trace.write(tmp_path / "trace.otlp.json")
    assert (written.runner, written.workload, written.incomplete, written.torn) == (5, 4, 0, 0)
    spans = merged(tmp_path)
    ours = {span["spanId"]: span for span in spans if span["name"].startswith("clnrm.")}
    roots = [span["name"] for span in ours.values() if span["parentSpanId"] not in ours]
    assert roots == ["clnrm.session"]
    assert {span["traceId"] for span in ours.values()} == {"0af7651916cd43dd8448eb211c80319c"}
    theirs = [span for span in spans if span["name"] == "w1"]
    assert [ours[span["links"][0]["spanId"]]["name"] for span in theirs] == ["clnrm.step"] * 2
    assert {span["traceId"] for span in theirs} == {f"{7:032x}"}
    plain = trace.spans(100)
    assert len(plain) == 9
    first = next(each for each in plain if each.span.name == "w1")
    assert (first.worker, first.scenario, first.span.step) == ("gw0", "gw0.toml::a", "one")
    assert ours[first.under]["name"] == "clnrm.step"
    assert (first.span.origin, first.span.service) == ("workload", "shop")
    second = next(each for each in plain if each.span.name == "w2")
    assert second.under == f"{1:016x}"
    (root,) = (each for each in plain if each.span.name == "clnrm.session")
    assert (root.under, root.span.origin, root.worker, root.scenario) == ("", "runner", "master", "")
    assert [each.span.name for each in trace.spans(2)] == [each.span.name for each in plain[:2]]


def test_opentelemetry_reads_it(tmp_path: Path, new_recorder: NewRecorder) -> None:
    """OpenTelemetry's own parsers find the same number of spans in the file, in JSON and in protobuf."""
    recorder = new_recorder("gw0")
    for number in range(600):
        span = recorder.span(f"span {number}", kind="client", attributes={"a": 1.5, "b": [1, 2], "c": True})
        span.fail("x")
        span.end()
    receiver = Receiver(tmp_path, "gw0")
    receiver.open("s").add(to_request([workload_span(number + 1) for number in range(600)]))
    receiver.close()
    trace = MergedTrace(tmp_path)
    trace.write(tmp_path / "trace.otlp.json")
    text = (tmp_path / "trace.otlp.json").read_text(encoding="utf-8")
    data = json_format.Parse(text, TracesData())
    assert count(data) == 1200
    request = decode_json(b'{"resourceSpans":[' + b",".join(trace.groups()) + b"]}")
    assert count(TracesData.FromString(encode_protobuf(request))) == 1200
    assert max(len(scope.spans) for each in data.resource_spans for scope in each.scope_spans) == 512


def count(data: TracesData) -> int:
    """Return the number of spans."""
    return sum(len(scope.spans) for each in data.resource_spans for scope in each.scope_spans)


def test_a_killed_worker(tmp_path: Path, new_recorder: NewRecorder) -> None:
    """After kill -9 all that ended or arrived is there, what ran is marked, and nothing is an orphan."""
    session = new_recorder("master").span("clnrm.session")
    program = textwrap.dedent(
        """
        import pathlib, sys
        from pytest_clnrm.telemetry.otlp.messages import OtlpSpan, ResourceSpans, ScopeSpans, TraceRequest
        from pytest_clnrm.telemetry.receive.receiver import Receiver
        from pytest_clnrm.telemetry.record.recorder import Recorder
        folder = pathlib.Path(sys.argv[1])
        recorder = Recorder(folder, "gw0", {"service.name": "x"}, sys.argv[2])
        scenario = recorder.span("clnrm.scenario", attributes={"test.case.name": "a"})
        inbox = Receiver(folder, "gw0").open("s", scenario.traceparent)
        for number in range(50):
            recorder.span(f"ended {number}", parent=scenario.traceparent).end()
        step = recorder.span("clnrm.step", parent=scenario.traceparent)
        struct = OtlpSpan(trace_id="1" * 32, span_id="2" * 16, name="w", end_time_unix_nano=2)
        inbox.add(TraceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[struct])])]))
        print("ready", flush=True)
        sys.stdin.read()
        """
    )
    command = [sys.executable, "-c", program, str(tmp_path), session.traceparent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    spans = {span["name"]: span for span in merged(tmp_path)}
    assert {f"ended {number}" for number in range(50)} <= spans.keys()
    running = {name for name, span in spans.items() if is_incomplete(span)}
    assert running == {"clnrm.session", "clnrm.scenario", "clnrm.step"}
    ids = {span["spanId"] for span in spans.values()}
    assert [name for name, span in spans.items() if span.get("parentSpanId") not in ids] == [
        "clnrm.session",
        "w",
    ]
    last = max(int(spans[f"ended {number}"]["endTimeUnixNano"]) for number in range(50))
    assert (
        int(spans["clnrm.session"]["endTimeUnixNano"])
        >= int(spans["clnrm.scenario"]["endTimeUnixNano"])
        >= last
    )
    plain = {each.span.name: each for each in MergedTrace(tmp_path).spans(100)}
    assert plain["clnrm.step"].span.incomplete
    assert not plain["ended 0"].span.incomplete
    assert plain["w"].scenario == "a"


def is_incomplete(span: dict[str, Any]) -> bool:
    """Tell whether a span is marked as one that was still running."""
    return {"key": "clnrm.incomplete", "value": {"boolValue": True}} in span.get("attributes", [])


def test_torn_lines_are_left_out(tmp_path: Path, new_recorder: NewRecorder) -> None:
    """A line or a record that was cut off costs itself alone, and is counted; its children are adopted."""
    session = new_recorder("master").span("clnrm.session")
    recorder = new_recorder("gw0", session.traceparent)
    lost = recorder.span("lost")
    recorder.span("child", parent=lost.traceparent).end()
    lost.end()
    recorder.close()
    for path in tmp_path.glob("gw0-*.jsonl"):
        lines = path.read_bytes().splitlines(keepends=True)
        index = next(number for number, line in enumerate(lines) if b'"lost"' in line)
        lines[index] = lines[index][:-30] + b"\n\n"
        path.write_bytes(b"".join(lines))
    receiver = Receiver(tmp_path, "gw0")
    receiver.open("s").add(to_request([workload_span(1)]))
    receiver.open("s").add(to_request([workload_span(2)]))
    receiver.close()
    (store,) = tmp_path.glob("*.workload.bin")
    os.truncate(store, store.stat().st_size - 3)
    session.end()
    written = MergedTrace(tmp_path).write(tmp_path / "trace.otlp.json")
    assert (written.runner, written.workload, written.torn) == (2, 1, 2)
    spans = {span["name"]: span for span in merged(tmp_path)}
    assert spans.keys() == {"clnrm.session", "child", "w1"}
    assert spans["child"]["parentSpanId"] == spans["clnrm.session"]["spanId"]


def test_a_workload_whose_parent_did_not_arrive(tmp_path: Path, new_recorder: NewRecorder) -> None:
    """It is shown under its step, or under nothing if that is not known either."""
    recorder = new_recorder("gw0")
    step = recorder.span("clnrm.step")
    step.end()
    receiver = Receiver(tmp_path, "gw0")
    inbox = receiver.open("s1")
    inbox.enter_step("one", step.traceparent)
    inbox.add(to_request([workload_span(1, parent_id="9" * 16, start_ns=recorder.now_ns())]))
    receiver.open("s2").add(to_request([workload_span(2, parent_id="9" * 16)]))
    receiver.close()
    first, second, third = MergedTrace(tmp_path).spans(10)
    assert second.under == first.span.span_id
    assert (second.scenario, second.span.step) == ("s1", "one")
    assert (third.under, third.scenario, third.span.step) == ("", "s2", "")


def test_spans_of_a_shared_service(tmp_path: Path, new_recorder: NewRecorder) -> None:
    """They are shown in the scenario below whose spans they are, or in whose trace; else in their service."""
    session = new_recorder("master", OUTSIDE).span("clnrm.session")
    recorder = new_recorder("gw0", session.traceparent)
    scenario = recorder.span("clnrm.scenario", attributes={"test.case.name": "a.toml::a"})
    service = recorder.span("clnrm.scenario", attributes={"test.case.name": "shared service db"})
    step = recorder.span("clnrm.step", parent=scenario.traceparent)
    _, run, above, _ = step.traceparent.split("-")
    receiver = Receiver(tmp_path, "gw0")
    receiver.open("a.toml::a", scenario.traceparent).add(to_request([workload_span(1)]))
    sent = [
        workload_span(11, trace_id=run, parent_id=above),
        workload_span(12, trace_id=run, parent_id=f"{11:016x}"),
        workload_span(13, parent_id="9" * 16),
        workload_span(14, trace_id=f"{8:032x}"),
        workload_span(15, trace_id=run, parent_id="9" * 16),
    ]
    book = tmp_path / "book"
    receiver.open("shared service db", service.traceparent, book=book).add(to_request(sent))
    receiver.close()
    for span in (step, service, scenario, session):
        span.end()
    found = {each.span.name: each.scenario for each in MergedTrace(tmp_path).spans(100)}
    own, other = "a.toml::a", "shared service db"
    assert [found[f"w{number}"] for number in (1, 11, 12, 13, 14, 15)] == [own, own, own, own, other, other]


def test_nothing_recorded(tmp_path: Path) -> None:
    """An empty folder gives an empty trace."""
    assert merged(tmp_path) == []
    assert MergedTrace(tmp_path).spans(10) == ()


def test_an_unwritable_report(tmp_path: Path) -> None:
    """A folder that is not there is an OSError; nothing half-written stays."""
    with pytest.raises(OSError, match="No such file"):
        MergedTrace(tmp_path).write(tmp_path / "missing" / "trace.otlp.json")
    assert list(tmp_path.iterdir()) == []
