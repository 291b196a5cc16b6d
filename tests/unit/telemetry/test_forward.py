"""Forwarding the merged trace to a collector: all of it, or a sentence that says why not."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from pytest_clnrm.telemetry.merge import forward as module
from pytest_clnrm.telemetry.merge.forward import Target, forward, target_of
from pytest_clnrm.telemetry.merge.merged_trace import MergedTrace
from pytest_clnrm.telemetry.record.recorder import Recorder


class Collector(ThreadingHTTPServer):
    """A collector of the tests' own: it keeps what it is sent and answers as it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CollectorHandler)
        self.answers: list[int] = []
        self.spans = 0
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class CollectorHandler(BaseHTTPRequestHandler):
    server: Collector
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        data = TracesData.FromString(gzip.decompress(body))
        self.server.requests.append((self.path, dict(self.headers)))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == 0:
            self.server.released.wait(30)
            return
        if status == 200:
            self.server.spans += sum(len(s.spans) for each in data.resource_spans for s in each.scope_spans)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Return a collector that listens."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def groups(tmp_path: Path) -> list[bytes]:
    """Return a merged trace of 1500 spans."""
    recorder = Recorder(tmp_path, "gw0", {"service.name": "x"})
    for number in range(1500):
        recorder.add(f"span {number}", None, 1, 2, {"a": 1, "b": 0.5, "c": ["x"], "d": True}, error="e")
    recorder.close()
    return list(MergedTrace(tmp_path).groups())


def target(collector: Collector) -> Target:
    """Return where the collector listens."""
    found = target_of(collector.url, {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20abc, x-b=c"})
    assert found is not None
    return found


def test_all_spans_arrive(collector: Collector, groups: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every span arrives, in several batches, with the headers that were asked for."""
    monkeypatch.setattr(module, "BATCH_BYTES", 100_000)
    assert forward(groups, target(collector)) == ""
    assert len(collector.requests) > 1
    assert collector.spans == 1500
    path, headers = collector.requests[0]
    assert path == "/v1/traces"
    assert (headers["authorization"], headers["x-b"]) == ("Basic abc", "c")
    assert headers["Content-Type"] == "application/x-protobuf"


def test_a_busy_collector_is_asked_again(
    collector: Collector, groups: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that asks for it is followed by another try."""
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    collector.answers = [503, 429]
    assert forward(groups, target(collector)) == ""
    assert collector.spans == 1500


def test_a_collector_that_refuses(
    collector: Collector, groups: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal ends it, and says where and why, without what may be secret."""
    collector.answers = [403]
    url = f"spans were not forwarded to {collector.url}: it answers 403 Forbidden"
    assert forward(groups, target(collector)) == url
    monkeypatch.setattr(module, "BATCH_BYTES", 100_000)
    collector.answers = [200, 400]
    assert "after 1 batches: it answers 400 Bad Request" in forward(groups, target(collector))
    monkeypatch.setattr(module, "_PAUSE_S", 60)
    collector.answers = [503]
    assert "it still answers 503 Service Unavailable" in forward(groups, target(collector))


def test_the_deadline_holds(collector: Collector, groups: list[bytes]) -> None:
    """A collector that never answers does not hold up the end of a run."""
    collector.answers = [0]
    done = forward(groups, target(collector), timeout_s=0.2)
    assert done == f"spans were not forwarded to {collector.url}: no answer within 0.2s"
    done = forward(groups, target(collector), timeout_s=0.0)
    assert "no answer within 0s" in done


def test_places_that_cannot_be_reached(tmp_path: Path, groups: list[bytes]) -> None:
    """A wrong URL, a closed port or a missing file of certificates is a sentence, not an exception."""
    wrong = Target(url="grpc://x:4317", headers={})
    assert "'grpc://x:4317' is not an http:// or https:// URL" in forward(groups, wrong)
    closed = Target(url="http://user:secret@127.0.0.1:9/v1/traces?key=secret", headers={})
    problem = forward(groups, closed)
    assert problem == "spans were not forwarded to http://127.0.0.1:9: [Errno 111] Connection refused"
    missing = Target(url="https://127.0.0.1:9/", headers={}, ca_file=str(tmp_path / "missing"))
    assert "No such file" in forward(groups, missing)
    secure = Target(url="https://127.0.0.1:9/", headers={})
    assert "https://127.0.0.1:9: [Errno 111]" in forward(groups, secure)
    header = Target(url="http://127.0.0.1:9/", headers={"x": "a\nb"})
    assert "Invalid header value" in forward(groups, header)


@pytest.mark.parametrize(
    ("endpoint", "environ", "url"),
    [
        (None, {}, None),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, None),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/x"}, "http://c:4318/x"),
        ("http://d:1", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/x"}, "http://d:1/v1/traces"),
        ("http://d:1/p/v1/traces", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, "http://d:1/p/v1/traces"),
    ],
)
def test_where_to(endpoint: str | None, environ: dict[str, str], url: str | None) -> None:
    """The option wins; else the environment is read as OpenTelemetry's exporters read it."""
    found = target_of(endpoint, environ)
    assert (found.url if found else None) == url


def test_headers_and_certificates() -> None:
    """What is said for traces alone wins over what is said for all signals."""
    found = target_of(
        "http://x",
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "a=1,b=2,odd",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "b=3",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": "/one",
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": "/two",
        },
    )
    assert found == Target(url="http://x/v1/traces", headers={"a": "1", "b": "3"}, ca_file="/two")
