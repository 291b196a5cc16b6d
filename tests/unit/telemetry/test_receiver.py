"""The receiver: each input gets its answer, good spans arrive, and nobody holds it up."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.receiving import TRACE_ID, protobuf_body
from clnrm_testing.spans import to_request
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from pytest_clnrm.model.span import Span
from pytest_clnrm.telemetry.receive import inbox as inbox_module
from pytest_clnrm.telemetry.receive import server
from pytest_clnrm.telemetry.receive.body import JSON, PROTOBUF
from pytest_clnrm.telemetry.receive.inbox import Inbox
from pytest_clnrm.telemetry.receive.receiver import Receiver
from pytest_clnrm.telemetry.span_store import read_store

Post = Callable[..., tuple[int, str, bytes]]
SPAN_ID = "b7ad6b7169203331"


def json_body(*names: str, **more: Any) -> bytes:
    """Return an export request in JSON with spans of these names."""
    spans = [
        {"traceId": TRACE_ID, "spanId": f"{number + 1:016x}", "name": name, **more}
        for number, name in enumerate(names)
    ]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


@pytest.fixture
def post(receiver: Receiver, inbox: Inbox) -> Post:
    """Return a function that posts a body and returns status, content type and body of the answer."""

    def post(
        body: bytes,
        content_type: str = PROTOBUF,
        *,
        path: str | None = None,
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)
        try:
            target = f"/t/{inbox.token}/v1/traces" if path is None else path
            connection.request(method, target, body, {"Content-Type": content_type, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read()
        finally:
            connection.close()

    return post


def names(inbox: Inbox) -> list[str]:
    """Return the names of the spans that arrived."""
    return [span.name for span in inbox.spans()]


def exchange(port: int, sent: bytes) -> bytes:
    """Send raw bytes and return everything that comes back until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def head(inbox: Inbox, *lines: str) -> bytes:
    """Return the head of a POST with these header lines."""
    start = [f"POST /t/{inbox.token}/v1/traces HTTP/1.1", "Host: x", f"Content-Type: {PROTOBUF}"]
    return "\r\n".join([*start, *lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("content_type", "body", "answer"),
    [(PROTOBUF, protobuf_body("a", "b"), b""), (JSON, json_body("a", "b"), b"{}")],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_good_bodies(  # noqa: PLR0917 # pytest passes by name
    post: Post,
    inbox: Inbox,
    content_type: str,
    body: bytes,
    answer: bytes,
    compressed: bool,  # noqa: FBT001
) -> None:
    """Good bodies, gzip or not, get 200 in their own content type, and their spans arrive."""
    headers = {"Content-Encoding": "gzip"} if compressed else {}
    sent = gzip.compress(body, mtime=0) if compressed else body
    assert post(sent, content_type, headers=headers) == (200, content_type, answer)
    assert names(inbox) == ["a", "b"]


def test_token_in_the_header(post: Post, inbox: Inbox) -> None:
    """A token may come in the header alone; content types may have parameters."""
    headers = {"x-clnrm-token": inbox.token}
    assert post(protobuf_body("a"), path="/v1/traces", headers=headers)[0] == 200
    assert post(json_body("b", spanId=SPAN_ID), "application/json; charset=utf-8")[0] == 200
    wrong = {"x-clnrm-token": "wrong"}
    assert post(json_body("c", spanId="1" * 16), JSON, headers=wrong)[0] == 200
    assert names(inbox) == ["a", "b", "c"]


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_chunked(receiver: Receiver, inbox: Inbox, size: int) -> None:
    """A body in chunks, with extensions and trailers, is put together."""
    body = protobuf_body("a", "b")
    chunks = b"".join(
        b"%x;x=y\r\n%s\r\n" % (len(body[at : at + size]), body[at : at + size])
        for at in range(0, len(body), size)
    )
    sent = head(inbox, "Transfer-Encoding: chunked", "Connection: close") + chunks + b"0\r\nX: y\r\n\r\n"
    assert exchange(receiver.port, sent).startswith(b"HTTP/1.1 200 ")
    assert names(inbox) == ["a", "b"]


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n", b"-1\r\n", b"3\r\nabcde\r\n", b"0\r\n" + b"X: y\r\n" * 200, b"5\r\nab"]
)
def test_malformed_chunks(receiver: Receiver, inbox: Inbox, chunks: bytes) -> None:
    """Malformed chunks get 400 and the connection is closed."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
        connection.sendall(head(inbox, "Transfer-Encoding: chunked") + chunks)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert names(inbox) == []


@pytest.mark.parametrize(
    ("content_type", "body"), [(PROTOBUF, b""), (JSON, b"{}"), (JSON, b'{"resourceSpans":[]}')]
)
def test_empty_bodies(post: Post, inbox: Inbox, content_type: str, body: bytes) -> None:
    """A request without spans is good."""
    assert post(body, content_type)[0] == 200
    assert names(inbox) == []


@pytest.mark.parametrize("signal", ["metrics", "logs"])
def test_other_signals_are_dropped(post: Post, inbox: Inbox, signal: str) -> None:
    """Metrics and logs are accepted, whatever they are, and dropped."""
    path = f"/t/{inbox.token}/v1/{signal}"
    assert post(b"\xff\xff", path=path) == (200, PROTOBUF, b"")
    assert post(b"{}", JSON, path=path) == (200, JSON, b"{}")
    assert names(inbox) == []


def test_some_invalid_spans(post: Post, inbox: Inbox) -> None:
    """Invalid spans are rejected, with their number and why; the valid ones of the same body arrive."""
    mixed = json.loads(json_body("good", "short", "zero", "parent", "link", "hex"))
    spans = mixed["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans[1]["spanId"] = "abc"
    spans[2]["traceId"] = "0" * 32
    spans[3]["parentSpanId"] = "12"
    spans[4]["links"] = [{"traceId": "1"}]
    spans[5]["spanId"] = "x" * 16
    status, _, answer = post(json.dumps(mixed).encode(), JSON)
    assert status == 200
    why = "a span's id is not 8 bytes, some of them not 0"
    assert json.loads(answer) == {"partialSuccess": {"rejectedSpans": "5", "errorMessage": why}}
    status, _, answer = post(protobuf_body("bad", span_id=b"\x00" * 8))
    assert status == 200
    response = ExportTraceServiceResponse.FromString(answer)
    assert (response.partial_success.rejected_spans, response.partial_success.error_message) == (1, why)
    assert names(inbox) == ["good"]
    assert inbox.problems() == (f"6 spans were refused: {why}",)


DEEP = 5000
SPAN = b'{"traceId":"%s","spanId":"%s","attributes":[{"value":%s}]}'


def with_value(value: bytes) -> bytes:
    """Return a body whose one attribute has this value."""
    span = SPAN % (TRACE_ID.encode(), SPAN_ID.encode(), value)
    return b'{"resourceSpans":[{"scopeSpans":[{"spans":[%s]}]}]}' % span


@pytest.mark.parametrize(
    ("content_type", "body", "encoding", "message"),
    [
        (PROTOBUF, protobuf_body("abc")[:-2], "identity", "cannot decode protobuf"),
        (PROTOBUF, b"\xff garbage", "identity", "cannot decode protobuf"),
        (PROTOBUF, protobuf_body("a"), "gzip", "cannot decode gzip"),
        (
            PROTOBUF,
            gzip.compress(protobuf_body("a"), mtime=0)[:-4],
            "gzip",
            "cannot decode gzip: it is cut short",
        ),
        (PROTOBUF, gzip.compress(b"", mtime=0) * 1500, "gzip", "cannot decode gzip: too many members"),
        (PROTOBUF, b"", "gzip", "cannot decode gzip: it is cut short"),
        (JSON, b'{"resourceSpans"', "identity", "cannot decode JSON"),
        (JSON, b"", "identity", "cannot decode JSON"),
        (JSON, b"[]", "identity", "cannot decode JSON"),
        (JSON, b'{"a":' + b"[" * 100_000, "identity", "cannot decode JSON"),
        (
            JSON,
            with_value(b'{"arrayValue":{"values":[' * DEEP + b"{}" + b"]}}" * DEEP),
            "identity",
            "nested too deeply",
        ),
        (
            JSON,
            with_value(b'{"arrayValue":{"values":[' * 70 + b"{}" + b"]}}" * 70),
            "identity",
            "nested too deeply",
        ),
        (JSON, with_value(b'{"intValue":"1_0"}'), "identity", "not an integer: '1_0'"),
        (
            JSON,
            with_value(b'{"intValue":"99999999999999999999"}'),
            "identity",
            "an integer is out of its range",
        ),
        (JSON, with_value(b'{"doubleValue":"x"}'), "identity", "not a number: 'x'"),
        (JSON, with_value(b'{"bytesValue":"*"}'), "identity", "not base64"),
        (
            JSON,
            json_body("a", kind="SPAN_KIND_ODD"),
            "identity",
            "not a value of SPAN_KIND_*: 'SPAN_KIND_ODD'",
        ),
        (JSON, json_body("a", startTimeUnixNano="-1"), "identity", "an integer is out of its range: -1"),
    ],
)
def test_garbage(  # noqa: PLR0917 # pytest passes by name
    post: Post, inbox: Inbox, content_type: str, body: bytes, encoding: str, message: str
) -> None:
    """What cannot be decoded gets 400 and a Status that says why, in the content type of the request."""
    status, answered, answer = post(body, content_type, headers={"Content-Encoding": encoding})
    assert (status, answered) == (400, content_type)
    said = json.loads(answer)["message"] if content_type == JSON else Status.FromString(answer).message
    assert message in said
    assert names(inbox) == []


def test_protobuf_that_is_too_deep(post: Post, inbox: Inbox) -> None:
    """Nesting beyond what protobuf or we allow gets 400."""
    for depth in (70, 2000):
        value = b""
        for _ in range(depth):
            for key in (0x0A, 0x2A):
                length, size = len(value), b""
                while length >= 0x80:
                    size += bytes([length & 0x7F | 0x80])
                    length >>= 7
                value = bytes([key]) + size + bytes([length]) + value
        request = ExportTraceServiceRequest()
        span = request.resource_spans.add().scope_spans.add().spans.add()
        span.trace_id, span.span_id = bytes.fromhex(TRACE_ID), bytes.fromhex(SPAN_ID)
        attribute = b"\x12" + varint(len(value)) + value
        raw = b"\x4a" + varint(len(attribute)) + attribute
        inner = bytes(span.SerializeToString()) + raw
        for key in (0x12, 0x12, 0x0A):
            inner = bytes([key]) + varint(len(inner)) + inner
        assert post(inner)[0] == 400
    assert names(inbox) == []


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it."""
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def test_strangers(post: Post, inbox: Inbox, tmp_path: Path) -> None:
    """Without a token that is known: 401, before the body is read, and no trace of it anywhere."""
    (path,) = tmp_path.glob("*.workload.bin")
    before = path.read_bytes()
    for target in ("/v1/traces", "/t/wrong/v1/traces", "/v1/logs"):
        status, _, answer = post(b"\x00" * 100_000, path=target)
        assert status == 401
        assert Status.FromString(answer).message == "no token of a running scenario"
    (lost,) = inbox.losses()
    assert str(lost) == "2 requests were refused: 401, no token of a running scenario"
    assert names(inbox) == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("length", [20 * 2**20 + 1, 10 * 2**30, 10**18])
def test_a_large_body_is_refused_before_it_is_read(receiver: Receiver, inbox: Inbox, length: int) -> None:
    """A declared length over the limit gets 413 although no byte of the body was sent."""
    answer = exchange_head(receiver.port, head(inbox, f"Content-Length: {length}"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"the body is over the limit of 20 MiB" in answer
    assert b"Connection: close" in answer


def exchange_head(port: int, sent: bytes) -> bytes:
    """Send raw bytes, then wait for the answer, and only then end the sending side."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def test_a_client_that_sends_on_still_gets_the_answer(receiver: Receiver, inbox: Inbox) -> None:
    """The close lingers: a client in the midst of a large body reads 413, not a reset."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
        connection.sendall(head(inbox, f"Content-Length: {30 * 2**20}"))
        for _ in range(30):
            connection.sendall(b"\x00" * 2**20)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_chunks_over_the_limit(receiver: Receiver, inbox: Inbox) -> None:
    """A chunk that would lead over the limit gets 413 before it is read."""
    sent = head(inbox, "Transfer-Encoding: chunked") + b"3\r\nabc\r\nfffffff\r\n"
    assert exchange_head(receiver.port, sent).startswith(b"HTTP/1.1 413 ")


def test_a_gzip_bomb(post: Post, inbox: Inbox) -> None:
    """A small body that unpacks to more than the limit gets 413."""
    bomb = gzip.compress(b"\x00" * (21 * 2**20), mtime=0)
    assert post(bomb, headers={"Content-Encoding": "gzip"})[0] == 413
    assert names(inbox) == []


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((), 411),
        (("Content-Length: 5_0",), 400),
        (("Content-Length: -1",), 400),
        (("Content-Length: x",), 400),
        (("Transfer-Encoding: gzip",), 400),
    ],
)
def test_lengths(receiver: Receiver, inbox: Inbox, lines: tuple[str, ...], status: int) -> None:
    """A request needs a length that is one."""
    assert exchange_head(receiver.port, head(inbox, *lines)).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_short_body(receiver: Receiver, inbox: Inbox) -> None:
    """A body that ends before its declared length gets 400."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
        connection.sendall(head(inbox, "Content-Length: 10") + b"abc")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the body is shorter than declared" in answer


def test_types_paths_and_methods(post: Post, inbox: Inbox) -> None:
    """Other content types and encodings get 415, other paths 404, other methods 405."""
    status, answered, answer = post(b"x", "text/plain")
    assert (status, answered) == (415, PROTOBUF)
    assert (
        "Content-Type must be application/x-protobuf or application/json" in Status.FromString(answer).message
    )
    assert post(b"x", headers={"Content-Encoding": "br"})[0] == 415
    assert post(b"x", path="/")[0] == 404
    assert post(b"x", path=f"/t/{inbox.token}/v2/traces")[0] == 404
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
        assert post(b"", method=method)[0] == 405
    assert post(b"", method="HEAD")[0::2] == (405, b"")
    assert post(b"", path=f"/t/{inbox.token}/v1/traces?x=y")[0] == 200


def test_no_http_at_all(receiver: Receiver) -> None:
    """Bytes that are no request end the connection with 400."""
    assert b"Bad request syntax" in exchange(receiver.port, b"POST\r\n\r\n")
    assert b"Bad request version" in exchange(receiver.port, b"\x16\x03\x01 \x00 x\r\n\r\n")


def test_expect_100_continue(receiver: Receiver, inbox: Inbox) -> None:
    """A client that asks first is told to go on, or refused before it sent its body."""
    body = protobuf_body("a")
    asking = head(inbox, "Expect: 100-continue", f"Content-Length: {len(body)}", "Connection: close")
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
        connection.sendall(asking)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    refused = head(inbox, "Expect: 100-continue", f"Content-Length: {2**40}")
    assert exchange_head(receiver.port, refused).startswith(b"HTTP/1.1 413 ")
    assert names(inbox) == ["a"]


def test_connections_are_kept_alive(receiver: Receiver, inbox: Inbox) -> None:
    """Several requests, a bad one among them, are answered on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)
    path = f"/t/{inbox.token}/v1/traces"
    for body, status in ((json_body("a"), 200), (b"{", 400), (json_body("b", spanId=SPAN_ID), 200)):
        connection.request("POST", path, body, {"Content-Type": JSON})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        assert connection.sock is not None
    connection.close()
    assert names(inbox) == ["a", "b"]


def test_only_allowed_addresses_are_served(receiver: Receiver, inbox: Inbox) -> None:
    """A connection to another local address is closed without a word; which are allowed can change."""
    sent = head(inbox, "Content-Length: 0", "Connection: close")

    def answer() -> bytes:
        with socket.create_connection(("127.0.0.2", receiver.port), timeout=10) as connection:
            try:
                connection.sendall(sent)
                return connection.recv(65536)
            except ConnectionError:
                return b""

    assert answer() == b""
    receiver.allow("127.0.0.2")
    assert answer().startswith(b"HTTP/1.1 200 ")
    receiver.forbid("127.0.0.2")
    assert answer() == b""


def test_our_own_connections_are_served(receiver: Receiver, inbox: Inbox) -> None:
    """What reaches this process over a relay comes in over an address that nobody else may use."""
    receiver.forbid("127.0.0.1")
    body = json_body("a")
    request = head(inbox, f"Content-Length: {len(body)}", "Connection: close").replace(
        PROTOBUF.encode(), JSON.encode()
    )
    for _ in range(2):
        with receiver.connect() as connection:
            connection.settimeout(10)
            connection.sendall(request + body)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as stranger, suppress(OSError):
        stranger.sendall(request + body)
        assert stranger.recv(65536) == b""
    assert names(inbox) == ["a"]
    receiver.close()
    with pytest.raises(ConnectionRefusedError):
        receiver.connect()


def test_a_way_that_was_lost_is_every_scenarios_loss(receiver: Receiver, inbox: Inbox) -> None:
    """Nobody knows whose spans were on it."""
    receiver.lose_connections("the relay has ended: killed")
    (problem,) = inbox.problems()
    assert "the relay has ended: killed" in problem


def test_slow_clients_are_hung_up_on(
    receiver: Receiver, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes too long for a head or a body loses the connection, however steadily bytes arrive."""
    monkeypatch.setattr(server, "IDLE_S", 0.3)
    monkeypatch.setattr(server, "BODY_S", 0.3)
    for start in (b"POST /", head(inbox, "Content-Length: 1000000")):
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
            connection.sendall(start)
            stop = threading.Event()

            def drip(connection: socket.socket = connection, stop: threading.Event = stop) -> None:
                try:
                    while not stop.wait(0.02):
                        connection.sendall(b"x")
                except OSError:
                    return

            thread = threading.Thread(target=drip)
            thread.start()
            try:
                while connection.recv(65536):
                    pass
            except ConnectionError:
                pass
            stop.set()
            thread.join()
    assert inbox.wait(timeout_s=10, settle_s=0.0) == "settled"


def test_too_many_connections(
    receiver: Receiver, inbox: Inbox, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit of connections a new one gets 503 after a while, and is lost to the scenarios."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(server, "FULL_S", 0.05)
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as first:
        first.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as second:
                second.sendall(head(inbox, "Content-Length: 0"))
                answer = second.recv(1000)
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"\r\nRetry-After: 1\r\n" in answer
                assert second.recv(1000) == b""
        first.sendall(b"\r\n")
        first.shutdown(socket.SHUT_WR)
        while first.recv(65536):
            pass
    # Its end may be noticed a moment later: who comes then waits for it.
    monkeypatch.setattr(server, "FULL_S", 10)
    assert post(b"")[0] == 200
    assert list(map(str, inbox.losses())) == ["3 connections were refused: 503, more than 1 at once"]


def test_a_connection_waits_for_room(
    receiver: Receiver, inbox: Inbox, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While there are too many connections, those that only wait for a next request make room."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(server, "IDLE_ENOUGH_S", 0.05)
    monkeypatch.setattr(server, "FULL_S", 60.0)
    kept = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)
    kept.request("POST", f"/t/{inbox.token}/v1/traces", json_body("a"), {"Content-Type": JSON})
    assert kept.getresponse().read() == b"{}"
    answered: list[int] = []
    waiting = threading.Thread(target=lambda: answered.append(post(json_body("b", spanId=SPAN_ID), JSON)[0]))
    waiting.start()
    assert kept.sock is not None
    assert kept.sock.recv(1) == b""
    kept.close()
    waiting.join()
    assert answered == [200]
    assert (names(inbox), inbox.losses()) == (["a", "b"], ())


def lost(inbox: Inbox) -> list[str]:
    """Return what an inbox has lost, in words."""
    return list(map(str, inbox.losses()))


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"\x16\x03\x01 \x00 x\r\n\r\n", "1 connection was refused: it speaks TLS"),
        (b"hello\r\n\r\n", "1 request was refused: 400, Bad request syntax"),
        (b"POST /t/HALF", "1 request was refused: 400, Bad "),
        (b"POST /v1/traces HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "1 request was refused: 401, no token"),
        (b"POST /v1/trace HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "1 request was refused: 404, no such path"),
    ],
)
def test_what_is_refused_before_its_token_is_known_is_told(
    receiver: Receiver, inbox: Inbox, sent: bytes, why: str
) -> None:
    """What came from somebody here may be any running scenario's loss; one that is over has none of it."""
    over = receiver.open("s0")
    over.close()
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    (told,) = lost(inbox)
    assert told.startswith(why)
    assert inbox.problems() == (told,)
    assert over.losses() == ()


@pytest.mark.parametrize(
    ("lines", "body", "why"),
    [
        (("Content-Length: 10",), b"abc", "1 request was refused: 400, the body is shorter than declared"),
        (("Transfer-Encoding: chunked",), b"5\r\nab", "400, the body is shorter than declared"),
        (("Content-Length: 1",), b"x", "400, cannot decode protobuf"),
        ((f"Content-Length: {2**40}",), b"", "413, the body is over the limit of 20 MiB"),
        (("Content-Encoding: br", "Content-Length: 1"), b"x", "415, Content-Encoding must be"),
        ((), b"", "411, Content-Length is required"),
    ],
)
def test_what_is_refused_is_the_scenarios_loss(
    receiver: Receiver, inbox: Inbox, lines: tuple[str, ...], body: bytes, why: str
) -> None:
    """A request with a token is lost to its scenario alone; metrics and logs are no loss."""
    other = receiver.open("s2")
    start = head(inbox, *lines)
    for each in (start, start.replace(b"/v1/traces", b"/v1/metrics")):
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
            connection.sendall(each + body)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    (told,) = lost(inbox)
    assert why in told
    assert told.startswith("1 request was refused: ")
    assert other.losses() == ()


def test_a_connection_that_is_reset_is_told(receiver: Receiver, inbox: Inbox) -> None:
    """A program that is killed while it sends leaves a request that nobody knows."""
    linger = struct.pack("ii", 1, 0)
    for sent in (head(inbox, "Content-Length: 10") + b"abc", b"POST / HTTP/1.1\r\nHost: "):
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            assert wait_until(lambda: bool(receiver._server.idle_s))
            connection.sendall(sent)
            # Its thread waits for the rest.
            assert wait_until(lambda: not receiver._server.idle_s)
    assert wait_until(lambda: len(inbox.losses()) == 2)
    assert sorted(lost(inbox)) == [
        "1 request was refused: the connection broke off within its body",
        "1 request was refused: the connection broke off within its head",
    ]


def wait_until(holds: Callable[[], bool]) -> bool:
    """Return True once something holds; False if it does not within ten seconds."""
    end_s = time.monotonic() + 10
    while not holds():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.002)
    return True


def test_what_is_no_loss(receiver: Receiver, inbox: Inbox, post: Post) -> None:
    """Who only looks whether somebody is there, and who asks for something, has sent nothing."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10):
        pass
    assert post(b"", method="GET")[0] == 405
    assert post(b"", path="/v1/metrics")[0] == 401
    assert inbox.losses() == ()


def test_reasons_are_bounded(inbox: Inbox) -> None:
    """A program that makes up reasons fills no memory."""
    for number in range(100):
        inbox.lose("request", f"400, {number}")
    assert len(inbox.losses()) == 21
    assert sum(each.count for each in inbox.losses()) == 100
    assert "80 requests were refused: more reasons than are told apart" in lost(inbox)


def test_many_large_bodies_at_once(
    receiver: Receiver, post: Post, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When large bodies use up their share of memory, one more gets 503, which exporters retry."""
    monkeypatch.setattr(server, "BODY_S", 0.5)
    for _ in range(server.LARGE_AT_ONCE):
        assert receiver._server.large.acquire(timeout=1)
    body = b"\x00" * (server.LARGE_BYTES + 1)
    connection = head(inbox, f"Content-Length: {len(body)}")
    assert exchange_head(receiver.port, connection).startswith(b"HTTP/1.1 503 ")
    for _ in range(server.LARGE_AT_ONCE):
        receiver._server.large.release()


def test_limits_of_an_inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that leads over the limit of spans or of bytes is rejected whole, and that is said."""
    monkeypatch.setattr(inbox_module, "MAX_SPANS", 3)
    monkeypatch.setattr(inbox_module, "MAX_BYTES", 1 << 20)
    receiver = Receiver(tmp_path, "gw0", addresses=["127.0.0.1"])
    try:
        inbox = receiver.open("s1")
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)

        def rejected(body: bytes) -> dict[str, Any]:
            connection.request("POST", f"/t/{inbox.token}/v1/traces", body, {"Content-Type": JSON})
            return dict(json.loads(connection.getresponse().read()).get("partialSuccess", {}))

        assert rejected(json_body("a", "b")) == {}
        too_many = {"rejectedSpans": "2", "errorMessage": "the limit of 3 spans a scenario is reached"}
        assert rejected(json_body("c", "d")) == too_many
        large = json_body("e" * (1 << 20), spanId=SPAN_ID)
        message = "the limit of 1 MiB of spans a scenario is reached"
        assert rejected(large) == {"rejectedSpans": "1", "errorMessage": message}
        connection.close()
        assert names(inbox) == ["a", "b"]
        assert inbox.problems() == (
            "2 spans were refused: the limit of 3 spans a scenario is reached",
            f"1 span was refused: {message}",
        )
    finally:
        receiver.close()


def test_a_batch_that_is_sent_again_counts_once(post: Post, inbox: Inbox) -> None:
    """An exporter that got no answer sends its batch again; its spans are there once."""
    assert post(json_body("a", "b"), JSON)[0] == 200
    assert post(json_body("a", "b", "c"), JSON)[0] == 200
    assert names(inbox) == ["a", "b", "c"]


def test_late_spans(post: Post, inbox: Inbox) -> None:
    """After its end a scenario's token gets 401, counted as late, not as a stranger's."""
    assert post(json_body("a"), JSON)[0] == 200
    inbox.close()
    inbox.close()
    assert post(json_body("b"), JSON)[0] == 401
    assert names(inbox) == ["a"]
    assert inbox.losses() == ()
    assert inbox.problems() == ("1 requests came after the scenario's end and were refused",)


def test_a_request_that_is_open_at_the_end(receiver: Receiver, inbox: Inbox) -> None:
    """A request whose body comes after the scenario's end gets 401."""
    body = protobuf_body("a")
    asking = head(inbox, "Expect: 100-continue", f"Content-Length: {len(body)}", "Connection: close")
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
        connection.sendall(asking)
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        inbox.close()
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")
    assert names(inbox) == []


def test_waiting_ends_when_a_condition_holds(post: Post, inbox: Inbox) -> None:
    """A condition is tried at each arrival and ends the wait at once."""
    threads = [
        threading.Thread(target=post, args=(json_body(name, spanId=f"{number + 5:016x}"), JSON))
        for number, name in enumerate("abc")
    ]
    for thread in threads:
        thread.start()
    assert inbox.wait(lambda spans: len(spans) == 3, timeout_s=30) == "held"
    for thread in threads:
        thread.join()
    assert sorted(names(inbox)) == ["a", "b", "c"]


def test_waiting_ends_at_the_deadline(inbox: Inbox) -> None:
    """A condition that never holds ends with the deadline."""
    assert inbox.wait(bool, timeout_s=0.05) == "deadline"
    assert inbox.wait(timeout_s=0.0) == "deadline"


def test_settling_waits_for_open_requests(receiver: Receiver, inbox: Inbox) -> None:
    """A request whose body is still on its way keeps the wait from settling, and its spans are there."""
    body = protobuf_body("a")
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
        connection.sendall(head(inbox, "Expect: 100-continue", f"Content-Length: {len(body)}"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        assert inbox.wait(timeout_s=0.1, settle_s=0.0) == "deadline"
        ended: list[str] = []
        waiting = threading.Thread(target=lambda: ended.append(inbox.wait(timeout_s=30, settle_s=0.05)))
        waiting.start()
        connection.sendall(body)
        waiting.join()
    assert ended == ["settled"]
    assert names(inbox) == ["a"]


def test_spans_are_placed_under_their_steps(
    post: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A span belongs to the step that it names as parent, else to the one that ran when it started.

    If its times cannot be right, to the one that runs as it arrives.
    """
    inbox = receiver.open("s1", parent=f"00-{TRACE_ID}-{'a' * 16}-01")
    before_ns = time.time_ns()
    monkeypatch.setattr(inbox, "_now_ns", lambda: before_ns + 10**11)
    inbox.enter_step("one", f"00-{TRACE_ID}-{'1' * 16}-01")
    inbox.enter_step("two", f"00-{TRACE_ID}-{'2' * 16}-01")
    for number, (parent, start_ns) in enumerate(
        (
            ("1" * 16, before_ns + 10**12),
            ("", before_ns + 10**12),
            ("", before_ns + 10**9),
            ("", before_ns - 10**12),
        ),
        start=1,
    ):
        more = {"spanId": f"{number:016x}", "parentSpanId": parent, "startTimeUnixNano": str(start_ns)}
        body = json.loads(json_body("x"))
        body["resourceSpans"][0]["scopeSpans"][0]["spans"][0].update(more)
        post(json.dumps(body).encode(), JSON, path=f"/t/{inbox.token}/v1/traces")
    assert [span.step for span in inbox.spans()] == ["one", "two", "", "two"]
    assert [span.attempt for span in inbox.spans()] == ["1" * 16, "2" * 16, "", "2" * 16]


def test_a_span_is_of_the_step_whose_program_sent_it(post: Post, inbox: Inbox) -> None:
    """Its token says so. What a step left running is of the attempt of that step which ran last before it."""
    began_ns = time.time_ns()
    attempts = {}
    for number, name in enumerate(("other", "try", "try", "next"), start=1):
        attempts[number] = f"{number}" * 16
        inbox.enter_step(name, f"00-{TRACE_ID}-{attempts[number]}-01")
    starts_ns = inbox._steps._starts_ns
    starts_ns[:] = [began_ns + number * 10**9 for number in range(1, 5)]
    sent = ((2, 2.5, 2), (2, 3.5, 3), (2, 4.5, 3), (3, 2.5, 3), (1, 4.5, 1), (4, 0.5, 4), (9, 4.5, 4))
    for number, (by, after_s, _) in enumerate(sent, start=1):
        more = {"spanId": f"{number:016x}", "startTimeUnixNano": str(began_ns + int(after_s * 1e9))}
        post(json_body("x", **more), JSON, path=f"/t/{inbox.token}{attempts.get(by, '9' * 16)}/v1/traces")
    spans = inbox.spans()
    assert [span.attempt[0] for span in spans] == [str(number) for _, _, number in sent]
    assert [span.sent_by_step for span in spans] == [True] * 6 + [False]


def test_what_starts_just_before_the_next_step_is_of_the_last(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's span of the end of one step, which arrives during the next, is not taken for the next's."""
    began_ns = time.time_ns() + 10**9
    starts_ns = iter((began_ns, began_ns + 10_000_000))
    with monkeypatch.context() as patched:
        patched.setattr(inbox, "_now_ns", lambda: next(starts_ns))
        inbox.enter_step("one", f"00-{TRACE_ID}-{'1' * 16}-01")
        inbox.enter_step("two", f"00-{TRACE_ID}-{'2' * 16}-01")
    for number, after_ns in enumerate((9_999_999, 10_000_000), start=1):
        at_ns = began_ns + after_ns
        span = Span(trace_id=TRACE_ID, span_id=f"{number:016x}", name="x", start_ns=at_ns, end_ns=at_ns)
        inbox.add(to_request([span]))
    assert [span.step for span in inbox.spans()] == ["one", "two"]


@pytest.mark.parametrize(
    ("body", "lost"),
    [
        ({"resourceSpans": [{"instrumentationLibrarySpans": [{"spans": []}]}]}, True),
        ({"scopeSpans": [{"spans": []}]}, True),
        ({"resourceSpans": [{"scopeSpans": [{"span": []}]}]}, True),
        ({}, False),
        ({"resourceSpans": []}, False),
        ({"resourceSpans": [{"scopeSpans": [{"spans": []}]}]}, False),
    ],
    ids=json.dumps,
)
def test_a_body_that_says_something_but_no_spans(
    post: Post, inbox: Inbox, body: dict[str, object], *, lost: bool
) -> None:
    """Keys that are not known are ignored, but what stands there may be spans: they are not shown absent."""
    post(json.dumps(body).encode(), JSON)
    said = "1 request was refused: no spans were found in it at resourceSpans[].scopeSpans[].spans"
    assert list(map(str, inbox.losses())) == ([said] if lost else [])


def test_what_a_step_sends_again_is_of_its_last_attempt(post: Post, inbox: Inbox) -> None:
    """The very same span of the next attempt counts once, for that; another step's does not change it."""
    for name, attempt in (("one", "1"), ("one", "2"), ("two", "3")):
        inbox.enter_step(name, f"00-{TRACE_ID}-{attempt * 16}-01")
        post(json_body("x"), JSON, path=f"/t/{inbox.token}/v1/traces")
    assert [(span.step, span.attempt) for span in inbox.spans()] == [("one", "2" * 16)]


def test_everything_accepted_is_stored_at_once(post: Post, inbox: Inbox, tmp_path: Path) -> None:
    """The spans of a body are in the file when it is answered, with the place of each."""
    step = f"00-{TRACE_ID}-{'1' * 16}-01"
    inbox.enter_step("one", step)
    start = str(time.time_ns() + 10**12)
    post(
        gzip.compress(json_body("a", startTimeUnixNano=start), mtime=0),
        JSON,
        headers={"Content-Encoding": "gzip"},
    )
    post(b"garbage")
    post(protobuf_body("b", "c"))
    (path,) = tmp_path.glob("*.workload.bin")
    assert path.stat().st_mode & 0o777 == 0o600
    first, second = read_store(path)
    assert (first[0]["scenario"], first[0]["spans"], first[0]["places"]) == ("s1", 1, [["one", step, 1]])
    (stored,) = json.loads(first[1])["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (stored["name"], stored["startTimeUnixNano"]) == ("a", start)
    assert stored["links"][0]["spanId"] == "1" * 16
    assert (second[0]["spans"], second[0]["places"]) == (2, [["one", step, 2]])


def test_spans_that_come_another_way(inbox: Inbox, post: Post) -> None:
    """Spans that a program printed are taken like those that it sent; after the end they are not."""
    post(json_body("a"), JSON)
    (span,) = inbox.spans()
    inbox.add(to_request([span]))
    assert names(inbox) == ["a"]
    inbox.close()
    inbox.add(to_request([span]))
    assert names(inbox) == ["a"]


def test_a_full_disk(receiver: Receiver, inbox: Inbox, post: Post) -> None:
    """Spans are judged although they cannot be stored, and that is said."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, receiver._store._descriptor)
    os.close(full)
    assert post(json_body("a"), JSON)[0] == 200
    assert names(inbox) == ["a"]
    message = "spans that arrived could not be stored: No space left on device"
    assert inbox.problems() == (message,)
    assert receiver.problem == message
    receiver._store.problem = ""


def test_a_forked_child_closes_the_listener(receiver: Receiver) -> None:
    """A child that lives on must not keep the port, behind which nobody would answer."""
    descriptor = receiver._server.socket.fileno()
    child = os.fork()
    if child == 0:
        try:
            os.fstat(descriptor)
            os._exit(1)
        except OSError:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert receiver._server.socket.fileno() == descriptor


def test_a_mistake_of_ours_is_kept(receiver: Receiver, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception within the receiver ends that connection and can be asked for."""

    def broken(*_: object, **__: object) -> bytes:
        raise AssertionError("ours")

    monkeypatch.setattr(receiver._inboxes, "take", broken)
    assert exchange(receiver.port, head(inbox, "Content-Length: 0")) == b""
    assert "AssertionError: ours" in receiver.problem
    receiver._inboxes.problem = ""


def test_closing_ends_open_connections(tmp_path: Path) -> None:
    """Nobody holds up the end of a run: open connections are closed, and closing twice is fine."""
    receiver = Receiver(tmp_path, "gw0", addresses=["127.0.0.1"])
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as connection:
        request = f"POST /t/{receiver.open('s1').token}/v1/logs HTTP/1.1\r\nContent-Length: 0\r\n"
        connection.sendall(f"{request}Content-Type: {JSON}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        receiver.close()
        assert connection.recv(100) == b""
    receiver.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", receiver.port), timeout=10)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """Without a file to store spans in there is no receiver."""
    with pytest.raises(OSError, match="No such file"):
        Receiver(tmp_path / "missing", "gw0")


def test_a_real_exporter(receiver: Receiver, inbox: Inbox) -> None:
    """OpenTelemetry's own exporter sends spans of every shape, and they arrive as they were."""
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace import Status as SpanStatus

    url = f"http://127.0.0.1:{receiver.port}/t/{inbox.token}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=url, compression=Compression.Gzip, timeout=10)
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("t")
    with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER) as outer:
        outer.set_attributes({"s": "x", "i": 2**53 + 1, "f": 0.5, "b": True, "l": [1, 2]})
        outer.add_event("retry", {"n": 1})
        with tracer.start_as_current_span("query", kind=SpanKind.CLIENT) as query:
            query.set_status(SpanStatus(StatusCode.ERROR, "no such table"))
    provider.shutdown()
    inner, root = inbox.spans()
    assert (inner.name, inner.kind, inner.status, inner.status_message) == (
        "query",
        "client",
        "error",
        "no such table",
    )
    assert inner.parent_id == root.span_id
    assert (root.kind, root.status, root.service, root.parent_id) == ("server", "unset", "shop", None)
    assert root.attributes == {"s": "x", "i": 2**53 + 1, "f": 0.5, "b": True, "l": [1, 2]}
    assert [(event.name, event.attributes) for event in root.events] == [("retry", {"n": 1})]
    assert root.start_ns <= inner.start_ns <= inner.end_ns <= root.end_ns


def test_a_text_that_was_mended_is_told(post: Post, inbox: Inbox) -> None:
    """A note says that texts had something replaced; nothing was lost but that."""
    cut = json_body("NAME").replace(b"NAME", rb"x\ud800")
    assert post(cut, JSON)[0] == 200
    assert (names(inbox), inbox.losses()) == (["x\ufffd"], ())
    assert inbox.problems() == ("1 text in spans was no valid UTF-8: U+FFFD stands for what was wrong",)
    assert post(protobuf_body("b", "NAME").replace(b"NAME", b"\xff\xff\xff\xff"))[0] == 200
    assert names(inbox)[1:] == ["b", "\ufffd" * 4]
    assert inbox.problems()[0].startswith("2 texts in spans were no valid UTF-8")
