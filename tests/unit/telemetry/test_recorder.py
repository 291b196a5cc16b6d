"""Recording: everything that ended is in the file, and nothing of the process's own tracing is touched."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.model.result import clean_text
from pytest_clnrm.model.span import AttributeValue
from pytest_clnrm.telemetry.record.recorder import Recorder, RunningSpan
from pytest_clnrm.telemetry.traceparent import parse_traceparent

RESOURCE = {"service.name": "pytest-clnrm", "clnrm.worker.id": "gw0"}
OUTSIDE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def read(folder: Path, suffix: str) -> list[dict[str, Any]]:
    """Return the spans in the one file of *folder* with that suffix, each with its resource under a key."""
    (path,) = folder.glob(f"*{suffix}")
    spans = []
    for line in path.read_text(encoding="utf-8").splitlines():
        (resource_spans,) = json.loads(line)["resourceSpans"]
        (scope_spans,) = resource_spans["scopeSpans"]
        assert scope_spans["scope"] == {"name": "pytest_clnrm"}
        (span,) = scope_spans["spans"]
        spans.append({**span, "resource": resource_spans["resource"]})
    return spans


def ended(folder: Path) -> list[dict[str, Any]]:
    """Return the spans that ended."""
    return read(folder, ".runner.jsonl")


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    """Return a span's attributes by name."""
    return {pair["key"]: next(iter(pair["value"].values()), None) for pair in span.get("attributes", [])}


@contextmanager
def during(recorder: Recorder, name: str, **more: Any) -> Iterator[RunningSpan]:
    """Record a span of what happens within."""
    span = recorder.span(name, **more)
    yield span
    span.end()


def test_a_span_is_one_line_when_it_ends(tmp_path: Path) -> None:
    """All that was said of a span is in its line, in OTLP/JSON, as soon as it has ended."""
    recorder = Recorder(tmp_path, "gw0", RESOURCE, OUTSIDE)
    before_ns = recorder.now_ns()
    about = {"clnrm.step.name": "a", "none": None}
    with during(recorder, "clnrm.step", kind="client", attributes=about) as span:
        span.set("process.exit.code", 3)
        span.set("nothing", None)
        span.fail("exit code 3", "exit")
        assert ended(tmp_path) == []
    (line,) = ended(tmp_path)
    assert line["traceId"] == "0af7651916cd43dd8448eb211c80319c"
    assert line["parentSpanId"] == "b7ad6b7169203331"
    assert span.traceparent == f"00-{line['traceId']}-{line['spanId']}-01"
    assert (line["name"], line["kind"]) == ("clnrm.step", 3)
    assert before_ns <= int(line["startTimeUnixNano"]) <= int(line["endTimeUnixNano"]) <= recorder.now_ns()
    assert attributes(line) == {"clnrm.step.name": "a", "process.exit.code": "3", "error.type": "exit"}
    assert line["status"] == {"code": 2, "message": "exit code 3"}
    assert attributes(line["resource"]) == RESOURCE
    recorder.close()


def test_an_open_record_tells_what_is_running(tmp_path: Path) -> None:
    """A span that was started is in the second file, without an end."""
    recorder = Recorder(tmp_path, "gw0", RESOURCE)
    span = recorder.span("running", attributes={"a": 1})
    (line,) = read(tmp_path, ".open.jsonl")
    assert (line["name"], attributes(line)) == ("running", {"a": "1"})
    assert "endTimeUnixNano" not in line
    assert ended(tmp_path) == []
    span.end()
    span.end()
    assert len(ended(tmp_path)) == 1
    recorder.close()


def test_a_run_is_one_trace(tmp_path: Path) -> None:
    """Spans without a parent share a trace; children name their parent explicitly, across recorders."""
    first = Recorder(tmp_path, "master", RESOURCE, "not a traceparent")
    with during(first, "session") as session, during(first, "other") as other:
        pass
    second_dir = tmp_path / "second"
    second_dir.mkdir()
    second = Recorder(second_dir, "gw0", RESOURCE, session.traceparent)
    child = second.add("child", None, 5, 7, {"k": "v"}, error="broken")
    second.add("grandchild", child, 6, 6)
    one, two, *_ = (parse_traceparent(each.traceparent) for each in (session, other))
    assert one is not None
    assert two is not None
    assert one.trace_id == two.trace_id
    below, below_that = ended(second_dir)
    assert (below["traceId"], below["parentSpanId"]) == (one.trace_id, one.span_id)
    assert (below["startTimeUnixNano"], below["endTimeUnixNano"]) == ("5", "7")
    assert below["status"] == {"code": 2, "message": "broken"}
    assert below_that["parentSpanId"] == below["spanId"]
    first.close()
    second.close()


def test_ids_do_not_depend_on_the_seed(tmp_path: Path) -> None:
    """Two workers whose tests seed random alike still draw different ids."""
    seen = set()
    for _ in range(2):
        random.seed(1)
        recorder = Recorder(tmp_path, "gw0", RESOURCE)
        with during(recorder, "a") as span:
            seen.add(span.traceparent)
        recorder.close()
    assert len(seen) == 2


def test_values_of_all_types(tmp_path: Path) -> None:
    """Each type of value arrives as OTLP writes it; text that JSON cannot hold is replaced."""
    recorder = Recorder(tmp_path, "gw0", RESOURCE)
    values: dict[str, AttributeValue] = {"s": "\udcff", "b": True, "f": 0.5, "l": ["a", "b"], "y": b"\x00"}
    recorder.add("bad \udcff name", None, 1, 2, values)
    (line,) = ended(tmp_path)
    assert line["name"] == clean_text("bad \udcff name")
    found = attributes(line)
    assert (found["s"], found["b"], found["f"]) == (clean_text("\udcff"), True, 0.5)
    assert found["l"] == {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}
    recorder.close()


def test_the_disabled_sdk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED switches the recorder off, and it says so."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "True ")
    recorder = Recorder(tmp_path, "gw0", RESOURCE)
    assert "OTEL_SDK_DISABLED=true switches the OpenTelemetry SDK off" in recorder.off_reason
    with during(recorder, "a") as span:
        assert span.traceparent == ""
    assert recorder.add("a", None, 1, 2) == ""
    assert recorder.problem == ""
    recorder.close()
    assert list(tmp_path.iterdir()) == []


def test_a_recorder_that_is_off() -> None:
    """Where spans are off, the same calls do nothing."""
    recorder = Recorder(None, "gw0", {}, OUTSIDE)
    with during(recorder, "a", kind="client", attributes={"a": 1}, start_ns=1) as span:
        span.set("a", 1)
        span.fail("x", "y")
    span.end()
    assert span.traceparent == recorder.add("a", None, 1, 2) == recorder.problem == recorder.off_reason == ""
    assert recorder.now_ns() <= recorder.now_ns()
    recorder.close()


def test_users_environment_does_not_reach_our_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampler, limits and resource of the environment are for the user's own tracing."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "a=b")
    recorder = Recorder(tmp_path, "gw0", RESOURCE)
    recorder.add("a", None, 1, 2, {"one": "long", "two": "longer"})
    (line,) = ended(tmp_path)
    assert attributes(line) == {"one": "long", "two": "longer"}
    assert attributes(line["resource"]) == RESOURCE
    recorder.close()


def test_the_users_tracing_is_not_touched(tmp_path: Path) -> None:
    """A user's spans inside ours are no children of ours, and ours none of theirs; no global is set."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    users = TracerProvider(shutdown_on_exit=False)
    users.add_span_processor(SimpleSpanProcessor(exporter))
    recorder = Recorder(tmp_path, "gw0", RESOURCE)
    tracer = users.get_tracer("user")
    with tracer.start_as_current_span("outer") as outer, during(recorder, "ours"):
        assert trace.get_current_span() is outer
        with tracer.start_as_current_span("inner"):
            pass
    inner, _ = exporter.get_finished_spans()
    assert inner.parent is not None
    assert inner.parent.span_id == outer.get_span_context().span_id
    (ours,) = ended(tmp_path)
    assert "parentSpanId" not in ours
    assert trace._TRACER_PROVIDER is None
    assert metrics._internal._METER_PROVIDER is None
    recorder.close()
    users.shutdown()


def test_a_forked_child_records_nothing(tmp_path: Path) -> None:
    """A child that leaves our block does not end our span a second time."""
    recorder = Recorder(tmp_path, "gw0", RESOURCE)
    with during(recorder, "parent"):
        child = os.fork()
        if child == 0:
            try:
                recorder.add("in the child", None, 1, 2)
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert [span["name"] for span in ended(tmp_path)] == ["parent"]
    recorder.close()


def test_a_full_disk_ends_no_run(tmp_path: Path) -> None:
    """What cannot be written is counted and said; the caller goes on."""
    recorder = Recorder(tmp_path, "gw0", RESOURCE)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, recorder._processor._ended)
    os.close(full)
    recorder.add("lost", None, 1, 2)
    assert recorder.problem == "1 records of spans could not be written: No space left on device"
    recorder.close()


def test_a_torn_line_does_not_spoil_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a short write the next record starts a line of its own."""
    recorder = Recorder(tmp_path, "gw0", RESOURCE)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:20]))
        recorder.add("torn", None, 1, 2)
    recorder.add("whole", None, 1, 2)
    (path,) = tmp_path.glob("*.runner.jsonl")
    torn, whole = path.read_bytes().splitlines()
    assert len(torn) == 20
    assert json.loads(whole)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] == "whole"
    assert "2 records of spans could not be written: the file system takes no more" in recorder.problem
    recorder.close()


def test_kill_loses_nothing_that_ended(tmp_path: Path) -> None:
    """After kill -9 each span that had ended is in the file, and the running one is marked."""
    program = textwrap.dedent(
        """
        import pathlib, sys, time
        from pytest_clnrm.telemetry.record.recorder import Recorder
        recorder = Recorder(pathlib.Path(sys.argv[1]), "gw0", {"service.name": "x"})
        running = recorder.span("running")
        for number in range(200):
            recorder.span(f"span {number}").end()
        print("ready", flush=True)
        sys.stdin.read()
        """
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert [span["name"] for span in ended(tmp_path)] == [f"span {number}" for number in range(200)]
    assert len(read(tmp_path, ".open.jsonl")) == 201


def test_nothing_is_imported_before_a_recorder_exists() -> None:
    """Importing the modules that run.py needs costs neither OpenTelemetry nor msgspec."""
    program = (
        "import sys, pytest_clnrm.telemetry.record.recorder, pytest_clnrm.telemetry.receive.receiver\n"
        "import pytest_clnrm.telemetry.environment, pytest_clnrm.telemetry.record.resource\n"
        "pytest_clnrm.telemetry.record.recorder.Recorder(None, 'gw0', {}).span('a').end()\n"
        "bad = [n for n in sys.modules if n.split('.')[0] in ('opentelemetry', 'google', 'msgspec')]\n"
        "print(bad)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
