"""Bodies unlike those of our own exporter: what the specification allows, and texts that are none."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_clnrm.model.span import Span
from pytest_clnrm.telemetry.otlp.messages import DecodeBodyError, decode_sent_json, encode_json
from pytest_clnrm.telemetry.otlp.protobuf import decode_sent_protobuf, encode_protobuf
from pytest_clnrm.telemetry.otlp.repair import repair_json, repair_protobuf
from pytest_clnrm.telemetry.otlp.spans import accept

SPAN = {"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174", "name": "a"}

GOOD = json.dumps({**SPAN, "spanId": "EEE19B7EC3C1B173"}).encode()


def body(**more: Any) -> bytes:
    """Return a request with one span in JSON."""
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{**SPAN, **more}]}]}]}).encode()


def read(sent: bytes) -> Span:
    """Return the one span of a body in JSON, which can be written in both encodings."""
    request, _ = decode_sent_json(sent)
    (span,) = accept(request).spans
    encode_protobuf(request)
    return span


@pytest.mark.parametrize(
    ("key", "value", "attribute", "found"),
    [
        ("startTimeUnixNano", 1700000000000000001, "start_ns", 1700000000000000001),
        ("startTimeUnixNano", "1700000000000000001", "start_ns", 1700000000000000001),
        ("start_time_unix_nano", "17", "start_ns", 17),
        ("endTimeUnixNano", 5.0, "end_ns", 5),
        ("endTimeUnixNano", "1.5e1", "end_ns", 15),
        ("endTimeUnixNano", None, "end_ns", 0),
        ("kind", "SPAN_KIND_CLIENT", "kind", "client"),
        ("kind", 3, "kind", "client"),
        ("kind", "3", "kind", "client"),
        ("kind", 3.0, "kind", "client"),
        ("kind", 77, "kind", "internal"),
        ("kind", None, "kind", "internal"),
        ("status", {"code": "STATUS_CODE_ERROR", "message": None}, "status", "error"),
        ("status", {"code": "2"}, "status", "error"),
        ("parent_span_id", "EEE19B7EC3C1B173", "parent_id", "eee19b7ec3c1b173"),
        ("parentSpanId", "", "parent_id", None),
        ("attributes", [{"key": "a_id", "value": {"string_value": "x_id"}}], "attributes", {"a_id": "x_id"}),
        ("attributes", [{"key": "a", "value": {"intValue": 7}}], "attributes", {"a": 7}),
        ("attributes", [{"key": "a", "value": {"intValue": "-7"}}], "attributes", {"a": -7}),
        ("attributes", [{"key": "a", "value": {"doubleValue": "1.5"}}], "attributes", {"a": 1.5}),
        (
            "attributes",
            [{"key": "a", "value": {"doubleValue": "-Infinity"}}],
            "attributes",
            {"a": -float("inf")},
        ),
        ("attributes", [{"key": "a", "value": {"bytesValue": "+/8="}}], "attributes", {"a": b"\xfb\xff"}),
        ("attributes", [{"key": "a", "value": {"bytes_value": "-_8"}}], "attributes", {"a": b"\xfb\xff"}),
        ("attributes", [{"key": "a", "value": None}], "attributes", {"a": None}),
        (
            "attributes",
            [
                {
                    "key": "a",
                    "value": {"kvlist_value": {"values": [{"key": "b_url", "value": {"int_value": 1}}]}},
                }
            ],
            "attributes",
            {"a": {"b_url": 1}},
        ),
        ("attributes", None, "attributes", {}),
        ("droppedAttributesCount", "3", "name", "a"),
        ("dropped_events_count", 3, "name", "a"),
        ("flags", "257", "name", "a"),
        ("newField", {"trace_id": 1}, "name", "a"),
    ],
)
def test_what_the_json_of_protobuf_may_look_like(key: str, value: Any, attribute: str, found: Any) -> None:
    """Numbers as texts, enums as numbers and names, both names of a field, ``null``, all of base64."""
    span = read(body(**{key: value}))
    assert (getattr(span, attribute), span.span_id) == (found, "eee19b7ec3c1b174")


@pytest.mark.parametrize("code", [3, "3", -1, 2**31 - 1])
def test_a_status_that_otlp_does_not_know(code: Any) -> None:
    """Its span is refused, not taken for one without a status; the others of the body are read."""
    request, _ = decode_sent_json(
        body(status={"code": code}).replace(b'"spans": [', b'"spans": [%b, ' % GOOD)
    )
    found = accept(request)
    assert (len(found.spans), found.rejected) == (1, 1)
    assert found.why == f"a span's status code is {code}, which OTLP does not know"


def test_an_unknown_status_in_protobuf() -> None:
    """Protobuf keeps numbers of enums that it does not know: they are refused too."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    span.status.MergeFromString(b"\x18\x07")
    found = accept(decode_sent_protobuf(request.SerializeToString())[0])
    assert (found.spans, found.why) == ((), "a span's status code is 7, which OTLP does not know")


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (body(status={"status_code": 2}), "a span's status has the key 'status_code', but no code"),
        (body(status={"Code": 2, "message": "x"}), "a span's status has the key 'Code', but no code"),
        (body(status={"code": 2}, x={}).replace(b'"x"', b'"status"'), "the key 'status' stands twice in one"),
        (body(status={"code": 2, "x": 0}).replace(b'"x"', b'"code"'), "the key 'code' stands twice in one"),
        (body(status={"code": 2, "x": 0}).replace(b'"x"', b'"c\\u006fde"'), "the key 'code' stands twice in"),
        (body(span_id="EEE19B7EC3C1B175"), "the key 'spanId' stands twice in one object"),
    ],
)
def test_json_that_may_be_understood_in_two_ways(sent: bytes, message: str) -> None:
    """A body whose keys leave open what its spans say is refused, and so told as lost."""
    with pytest.raises(DecodeBodyError, match=f"^{message}"):
        decode_sent_json(sent)


@pytest.mark.parametrize(
    "status",
    [
        None,
        {},
        {"message": "x"},
        {"code": None},
        {"code": 0, "newField": 1},
        {"deprecatedCode": 0, "code": 0},
    ],
)
def test_a_status_that_is_not_set(status: Any) -> None:
    """It may be said in several ways, and beside a code stands what a later OTLP has."""
    assert read(body(status=status)).status == "unset"


def test_all_names_of_the_proto_files() -> None:
    """A request that is named as in the .proto files throughout is the same request."""
    snake = {
        "resource_spans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"string_value": "shop"}}]},
                "schema_url": "u",
                "scope_spans": [
                    {
                        "spans": [
                            {"trace_id": "5" * 32, "span_id": "e" * 16, "name": "a", "trace_state": "x=y"}
                        ]
                    }
                ],
            }
        ]
    }
    span = read(json.dumps(snake).encode())
    assert (span.service, span.name, span.trace_id) == ("shop", "a", "5" * 32)


@pytest.mark.parametrize("value", ["1.5", 1.5, "x", " 1", "1_0", "1e999", "0x1", True])
def test_what_no_number_may_look_like(value: Any) -> None:
    """What is no whole number is none."""
    with pytest.raises(DecodeBodyError):
        read(body(startTimeUnixNano=value))


@pytest.mark.parametrize("name", ["trace_id", "traceId"])
def test_too_deep(name: str) -> None:
    """Nesting without end is refused under both names."""
    with pytest.raises(DecodeBodyError):
        decode_sent_json(b'{"%s":' % name.encode() + b"[" * 100_000)


@pytest.mark.parametrize(
    ("raw", "mended", "count"),
    [
        (rb"x\ud800", "x\ufffd", 1),
        (rb"\udc00x", "\ufffdx", 1),
        (rb"\ud800\u0041", "\ufffdA", 1),
        (rb"\ud800\ud800", "\ufffd\ufffd", 2),
        (rb"\uD83D\uDE00", "\U0001f600", 0),
        (rb"\\ud800", r"\ud800", 0),
        (rb"\\\ud800", "\\\ufffd", 1),
        (b"a\xffb", "a\ufffdb", 1),
        ("\ufffd".encode(), "\ufffd", 0),
        ("\u20ac".encode()[:2], "\ufffd", 1),
    ],
)
def test_a_text_that_is_none_loses_that_alone(raw: bytes, mended: str, count: int) -> None:
    """Half a pair of surrogates, and bytes that are no UTF-8, are replaced; the rest is as it was."""
    sent = body(name="NAME", status={"code": 2}).replace(b"NAME", raw)
    request, replaced = decode_sent_json(sent)
    (span,) = accept(request).spans
    assert (span.name, span.status, replaced) == (mended, "error", count)
    encode_json(request)


def test_garbage_stays_garbage() -> None:
    """What cannot be read once its texts are mended is refused with its own reason."""
    with pytest.raises(DecodeBodyError, match="cannot decode JSON: "):
        decode_sent_json(b'{"resourceSpans": "\xff')
    for garbage in (b"\xff garbage", b"\x0a\x05\xff", b"\x0b", b"\x08" + b"\xff" * 11):
        with pytest.raises(DecodeBodyError, match="cannot decode protobuf"):
            decode_sent_protobuf(garbage)


def test_protobuf_with_a_text_that_is_none() -> None:
    """One text of one span is replaced; ids, bytes, numbers and the other spans are as they were."""
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add().scope_spans.add().spans
    for number in range(1, 3):
        span = spans.add(trace_id=b"\xff" * 16, span_id=bytes([number]) * 8, name="fine")
        span.start_time_unix_nano = 2**63
        span.attributes.add(key="cut").value.string_value = "CUT" if number == 1 else "whole" * 100
        span.attributes.add(key="bytes").value.bytes_value = b"\xff\xfe"
        span.attributes.add(key="float").value.double_value = 0.5
    sent = message.SerializeToString().replace(b"CUT", b"a\xe2\x82")
    request, replaced = decode_sent_protobuf(sent)
    first, second = accept(request).spans
    assert replaced == 1
    assert first.attributes == {"cut": "a\ufffd", "bytes": b"\xff\xfe", "float": 0.5}
    assert second.attributes["cut"] == "whole" * 100
    assert (first.start_ns, first.trace_id) == (2**63, "ff" * 16)


def test_a_large_body_is_not_mended() -> None:
    """Walking through it would take seconds."""
    message = ExportTraceServiceRequest()
    message.resource_spans.add(schema_url="x" * (5 << 20))
    with pytest.raises(DecodeBodyError):
        decode_sent_protobuf(message.SerializeToString().replace(b"x", b"\xff"))


@given(st.binary(max_size=200))
def test_whatever_is_sent_is_read_or_refused(sent: bytes) -> None:
    """No input ends in another error, and what is mended is UTF-8."""
    repair_json(sent)[0].decode()
    for decode in (decode_sent_json, decode_sent_protobuf):
        with contextlib.suppress(DecodeBodyError):
            assert decode(sent)[1] >= 0


@given(st.text(max_size=20), st.binary(max_size=20))
def test_what_is_whole_is_not_touched(text: str, value: bytes) -> None:
    """A good body is the same when it was looked at for repair."""
    message = ExportTraceServiceRequest()
    span = message.resource_spans.add(schema_url=text).scope_spans.add().spans.add(name=text, trace_id=value)
    span.attributes.add(key=text).value.bytes_value = value
    sent = bytes(message.SerializeToString())
    assert repair_protobuf(sent, ExportTraceServiceRequest.DESCRIPTOR) == (sent, 0)
