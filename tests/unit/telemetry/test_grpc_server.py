"""OTLP over gRPC, at the port of HTTP: real exporters, and what is refused or breaks off."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from clnrm_testing.patience import wait_until
from clnrm_testing.receiving import protobuf_body
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from pytest_clnrm.telemetry.environment import TOKEN_HEADER
from pytest_clnrm.telemetry.receive.body import MAX_BODY_BYTES
from pytest_clnrm.telemetry.receive.inbox import Inbox
from pytest_clnrm.telemetry.receive.receiver import Receiver

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
Call = Callable[..., bytes]


@pytest.fixture
def call(receiver: Receiver, inbox: Inbox) -> Iterator[Call]:
    """Return a function that calls a method with a message and returns the answer."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{receiver.port}", options=options) as channel:

        def call(message: bytes, method: str = EXPORT, token: str = inbox.token, **more: Any) -> bytes:
            metadata = [("x-clnrm-token", token)]
            return bytes(channel.unary_unary(method)(message, metadata=metadata, timeout=20, **more))

        yield call


def lost(inbox: Inbox) -> list[str]:
    """Return what an inbox has lost, in words."""
    return list(map(str, inbox.losses()))


def test_spans_arrive(call: Call, inbox: Inbox) -> None:
    """Plain or gzip, several calls over one connection; metrics and logs are accepted and dropped."""
    assert call(protobuf_body("a", "b")) == b""
    assert call(protobuf_body("c", span_id=b"c" * 8), compression=grpc.Compression.Gzip) == b""
    for signal in ("metrics", "logs"):
        method = EXPORT.replace("trace", signal).replace("Trace", signal.capitalize())
        assert call(b"\xff", method) == b""
    assert [span.name for span in inbox.spans()] == ["a", "b", "c"]
    assert inbox.losses() == ()


def test_some_invalid_spans(call: Call, inbox: Inbox) -> None:
    """A span without a proper id is refused alone, and the exporter is told."""
    answer = ExportTraceServiceResponse.FromString(call(protobuf_body("a", span_id=b"\0" * 8)))
    assert answer.partial_success.rejected_spans == 1
    assert lost(inbox) == ["1 span was refused: a span's id is not 8 bytes, some of them not 0"]


@pytest.mark.parametrize(
    ("message", "more", "code", "why"),
    [
        (b"\xff", {}, "INVALID_ARGUMENT", "400, cannot decode protobuf"),
        (b"", {"token": "wrong"}, "UNAUTHENTICATED", "401, no token of a running scenario"),
        (b"x" * (MAX_BODY_BYTES + 1), {}, "RESOURCE_EXHAUSTED", "over the limit of 20 MiB"),
        (
            b"x" * (MAX_BODY_BYTES + 1),
            {"compression": grpc.Compression.Gzip},
            "RESOURCE_EXHAUSTED",
            "over the limit of 20 MiB",
        ),
        (b"", {"method": "/some.Service/Export"}, "UNIMPLEMENTED", "it calls no method of OTLP"),
    ],
)
def test_what_is_refused_is_told(  # noqa: PLR0917 # pytest passes by name
    call: Call, inbox: Inbox, message: bytes, more: dict[str, Any], code: str, why: str
) -> None:
    """Each refusal has its code, and is a loss; the next call is answered."""
    with pytest.raises(grpc.RpcError) as raised:
        call(message, **more)
    assert raised.value.code() is grpc.StatusCode[code]
    assert inbox.wait(lambda _: True, timeout_s=0.0) == "held"
    assert call(protobuf_body("next")) == b""
    # grpcio answers what is too large before the call is ours.
    wait_until(lambda: bool(lost(inbox)), 10, "the loss")
    (told,) = lost(inbox)
    assert why in told


def test_a_call_that_breaks_off(receiver: Receiver, inbox: Inbox) -> None:
    """A program that is killed while it sends leaves a call that nobody knows."""

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return (
            struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
        )

    def header(name: str, value: str) -> bytes:
        return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()

    heads = b"".join(
        header(name, value)
        for name, value in {
            ":method": "POST",
            ":scheme": "http",
            ":path": EXPORT,
            ":authority": "x",
            "te": "trailers",
            "content-type": "application/grpc",
            TOKEN_HEADER: inbox.token,
        }.items()
    )
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        connection.sendall(frame(1, 4, 1, heads) + frame(0, 0, 1, b"\0\0\0\0\x64half"))
        with inbox._changed:
            end_s = time.monotonic() + 10
            while inbox._open == 0 and time.monotonic() < end_s:
                inbox._changed.wait(0.01)
            assert inbox._open == 1
    assert inbox.wait(timeout_s=10, settle_s=0.0) == "settled"
    (told,) = lost(inbox)
    assert "the call broke off" in told


def test_without_grpcio(receiver: Receiver, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who speaks gRPC to a run without the extra is refused, and the run says by name what to do."""
    monkeypatch.setitem(sys.modules, "grpc", None)
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    (told,) = lost(inbox)
    assert told == (
        "1 connection was refused: it speaks gRPC, for which grpcio is missing here: install "
        "pytest-clnrm[grpc], or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
    )


def test_a_mistake_of_ours_is_kept(call: Call, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception within the receiver ends that call and can be asked for."""

    def broken(*_: object, **__: object) -> bytes:
        raise AssertionError("ours")

    monkeypatch.setattr(receiver._inboxes, "take", broken)
    with pytest.raises(grpc.RpcError):
        call(protobuf_body("a"))
    assert "AssertionError: ours" in receiver.problem
    receiver._inboxes.problem = ""


def test_a_real_exporter(receiver: Receiver, inbox: Inbox) -> None:
    """OpenTelemetry's own exporter of OTLP over gRPC is served at the one port there is."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(
        endpoint=f"http://127.0.0.1:{receiver.port}", headers={"x-clnrm-token": inbox.token}, timeout=10
    )
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    provider.get_tracer("t").start_span("GET /").end()
    provider.shutdown()
    assert [span.name for span in inbox.spans()] == ["GET /"]


def test_grpcio_waits_until_it_is_needed(tmp_path: Path) -> None:
    """A run to which nobody speaks gRPC does not import it."""
    script = (
        "import pathlib, sys; from pytest_clnrm.telemetry.receive.receiver import Receiver; "
        f"Receiver(pathlib.Path({str(tmp_path)!r}), 'gw0').close(); print('grpc' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"
