"""Bodies are looked over before they become objects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_clnrm.telemetry.otlp import parts
from pytest_clnrm.telemetry.otlp.parts import MalformedError, TooManyPartsError, count_json, count_protobuf

ROOT = ExportTraceServiceRequest.DESCRIPTOR


@pytest.fixture(autouse=True)
def _low(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_MESSAGES", 20)
    monkeypatch.setattr(parts, "MAX_FIELDS", 60)
    monkeypatch.setattr(parts, "SMALL_BYTES", 0)


def request(*, spans: int = 1, attributes: int = 0, events: int = 0, names: int = 0) -> bytes:
    """Return a request with so many parts, in one resource and scope."""
    made = ExportTraceServiceRequest()
    scoped = made.resource_spans.add().scope_spans.add()
    for _ in range(spans):
        span = scoped.spans.add()
        for _ in range(attributes):
            span.attributes.add()
        for _ in range(events):
            span.events.add()
    body: bytes = made.SerializeToString()
    # A field that is there again takes the place of the first.
    return body + b"\x18\x01" * names


@pytest.mark.parametrize(
    ("body", "much"),
    [
        (request(spans=18), False),
        (request(spans=19), True),
        (request(attributes=17), False),
        (request(attributes=18), True),
        (request(events=18), True),
        (request(spans=6, attributes=2), False),
        (request(spans=6, attributes=3), True),
        (request(names=57), False),
        (request(names=58), True),
        (b"\x0a\x00" * 21, True),
    ],
    ids=range(10),
)
def test_parts_of_protobuf_are_counted(body: bytes, *, much: bool) -> None:
    """Messages at any depth, and fields."""
    if much:
        with pytest.raises(TooManyPartsError, match="the body has more than 20 spans, events, links"):
            count_protobuf(body, ROOT)
    else:
        count_protobuf(body, ROOT)


@pytest.mark.parametrize(
    "body",
    [b"\x0a", b"\x0a\x05a", b"\x0a\x02\x12\x05", b"\x0b\x0c", b"\x80", b"\xff" * 20, b"\x08\x80", b"\x09a"],
)
def test_what_is_no_message_is_told(body: bytes) -> None:
    """The parser would find it too, after it has made objects of all that comes before."""
    with pytest.raises(MalformedError):
        count_protobuf(body, ROOT)


@given(st.binary(max_size=60))
def test_any_bytes_are_looked_over(body: bytes) -> None:
    """They are counted, or told to be no message."""
    try:
        count_protobuf(body, ROOT)
    except (MalformedError, TooManyPartsError):
        return
    count_protobuf(body, ROOT)


@pytest.mark.parametrize(
    ("body", "much"),
    [
        (b'{"a":[' + b"{}," * 18 + b"1]}", False),
        (b'{"a":[' + b"{}," * 19 + b"1]}", True),
        (b"[" * 21, True),
        (b'{"a":[' + b"1," * 58 + b"1]}", False),
        (b'{"a":[' + b"1," * 59 + b"1]}", True),
        (b'{"a":"' + b"{[," * 90 + b'"}', False),
        (b'{"a":"' + b'{\\"{\\\\\\"[' * 90 + b'"}', False),
        (b'{"a":"\\\\","b":[' + b"[" * 90, True),
        (b'{"a":"' + b"{" * 90, False),
        (b'"",' * 61, True),
    ],
    ids=range(10),
)
def test_parts_of_json_are_counted(body: bytes, *, much: bool) -> None:
    """Objects, lists and members; what stands in texts does not count."""
    if much:
        with pytest.raises(TooManyPartsError):
            count_json(body)
    else:
        count_json(body)


def test_small_bodies_are_not_looked_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """They cannot become much."""
    monkeypatch.setattr(parts, "SMALL_BYTES", 1 << 16)
    count_protobuf(b"\x0a\x00" * 100, ROOT)
    assert parts.SMALL_BYTES // 2 < 300_000
