"""OTLP's structs: whatever goes in through one encoding comes out of the other unchanged."""

from __future__ import annotations

import math

import pytest
from clnrm_testing.spans import to_request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_clnrm.model.span import AttributeValue, Span, SpanEvent, SpanLink
from pytest_clnrm.telemetry.otlp.messages import DecodeBodyError, decode_json, decode_json_span, encode_json
from pytest_clnrm.telemetry.otlp.protobuf import decode_protobuf, encode_protobuf
from pytest_clnrm.telemetry.otlp.spans import accept
from pytest_clnrm.telemetry.traceparent import TraceParent, format_traceparent, parse_traceparent

VALUES: dict[str, AttributeValue] = {
    "text": "ü€",
    "empty": "",
    "int": -(2**63),
    "float": 0.1,
    "whole": 3.0,
    "infinite": -math.inf,
    "infinity": math.inf,
    "true": True,
    "bytes": b"\x00\xff",
    "list": ["a", 1, [2.5, None], []],
    "table": {"k": {"deep": [1]}, "none": None},
    "none": None,
}
FULL = Span(
    trace_id="0a" * 16,
    span_id="0b" * 8,
    parent_id="0c" * 8,
    name="full",
    kind="producer",
    service="shop",
    start_ns=2**64 - 1,
    end_ns=5,
    status="error",
    status_message="bad",
    attributes=VALUES,
    resource={"service.name": "shop", "n": 1},
    events=(SpanEvent(name="e", time_ns=7, attributes={"k": "v"}),),
    links=(SpanLink(trace_id="0d" * 16, span_id="0e" * 8, attributes={"k": 2}),),
)
BARE = Span(trace_id="1" * 32, span_id="2" * 16, name="", start_ns=0, end_ns=0)


def test_there_and_back_in_both_encodings() -> None:
    """A span with everything, and one with nothing, survive JSON and protobuf, and types stay exact."""
    request = to_request([FULL, BARE])
    through_json = decode_json(encode_json(request))
    assert accept(through_json).spans == (FULL, BARE)
    through_protobuf = decode_protobuf(encode_protobuf(through_json))
    assert accept(through_protobuf).spans == (FULL, BARE)
    assert accept(decode_json(encode_json(through_protobuf))).spans == (FULL, BARE)
    values = accept(through_protobuf).spans[0].attributes
    assert {key: type(value) for key, value in values.items()} == {
        key: type(value) for key, value in VALUES.items()
    }


def test_no_number() -> None:
    """NaN, which equals nothing, survives both encodings."""
    span = Span(
        trace_id="1" * 32, span_id="2" * 16, name="", start_ns=0, end_ns=0, attributes={"n": math.nan}
    )
    request = decode_protobuf(encode_protobuf(decode_json(encode_json(to_request([span])))))
    (found,) = accept(request).spans
    number = found.attributes["n"]
    assert isinstance(number, float)
    assert math.isnan(number)


def test_what_plain_spans_do_not_have_survives() -> None:
    """Trace state, flags, counts of what was dropped, scope and schema go from protobuf to JSON."""
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add(schema_url="r")
    scope = resource.scope_spans.add(schema_url="s")
    scope.scope.name, scope.scope.version = "lib", "1"
    span = scope.spans.add(trace_id=b"\x01" * 16, span_id=b"\x02" * 8, trace_state="a=b", flags=1)
    span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count = 1, 2, 3
    span.events.add(name="retry", dropped_attributes_count=4)
    request = decode_protobuf(bytes(message.SerializeToString()))
    again = decode_json(encode_json(request))
    assert again == request
    (found,) = (again.resource_spans or [])[0].scope_spans or []
    assert ((again.resource_spans or [])[0].schema_url, found.schema_url) == ("r", "s")
    assert found.scope is not None
    assert (found.scope.name, found.scope.version) == ("lib", "1")
    (struct,) = found.spans or []
    assert (struct.trace_state, struct.flags) == ("a=b", 1)
    dropped = (struct.dropped_attributes_count, struct.dropped_events_count, struct.dropped_links_count)
    assert dropped == (1, 2, 3)
    (plain,) = accept(request).spans
    assert (plain.dropped_attributes, plain.dropped_events, plain.dropped_links) == dropped
    assert [event.dropped_attributes for event in plain.events] == [4]


def test_one_span_of_json() -> None:
    """A single span is read alone; what is none says so."""
    assert decode_json_span(b'{"name":"a","x":1}').name == "a"
    with pytest.raises(DecodeBodyError, match="cannot decode JSON: Expected `object`"):
        decode_json_span(b"[]")
    with pytest.raises(DecodeBodyError, match="nested too deeply"):
        decode_json_span(b'{"x":' + b"[" * 1_000_000)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"00-{'1' * 32}-{'2' * 16}-01", True),
        (f" 00-{'1' * 32}-{'2' * 16}-00 ", True),
        (f"01-{'1' * 32}-{'2' * 16}-01-more", True),
        (f"00-{'1' * 32}-{'2' * 16}-01-more", False),
        (f"ff-{'1' * 32}-{'2' * 16}-01", False),
        (f"00-{'0' * 32}-{'2' * 16}-01", False),
        (f"00-{'1' * 32}-{'0' * 16}-01", False),
        (f"00-{'A' * 32}-{'2' * 16}-01", False),
        ("", False),
        (None, False),
    ],
)
def test_traceparent(text: str | None, found: bool) -> None:  # noqa: FBT001
    """What W3C Trace Context allows is read; everything else is ignored."""
    expected = TraceParent(trace_id="1" * 32, span_id="2" * 16) if found else None
    assert parse_traceparent(text) == expected
    assert parse_traceparent(format_traceparent("1" * 32, "2" * 16)) is not None
