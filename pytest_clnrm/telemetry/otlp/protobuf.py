"""OTLP/protobuf: bodies to structs and back.

The messages are walked here, because ``json_format`` takes 30 times as long.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from pytest_clnrm.telemetry.otlp.messages import (
    AnyValue,
    ArrayValue,
    DecodeBodyError,
    Event,
    Int64,
    KeyValue,
    KeyValueList,
    Link,
    OtlpSpan,
    Resource,
    ResourceSpans,
    Scope,
    ScopeSpans,
    Status,
    TraceRequest,
    decode_base64,
)
from pytest_clnrm.telemetry.otlp.parts import MalformedError, count_protobuf
from pytest_clnrm.telemetry.otlp.repair import repair_protobuf

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1 import common_pb2
    from opentelemetry.proto.trace.v1 import trace_pb2


def decode_sent_protobuf(body: bytes) -> tuple[TraceRequest, int]:
    """Return the export request that a program's *body* holds, and how many texts in it had to be mended.

    :raises DecodeBodyError: as :func:`decode_protobuf`.
    :raises TooManyPartsError: if it would become much.
    """
    try:
        count_protobuf(body, ExportTraceServiceRequest.DESCRIPTOR)
    except MalformedError as error:
        raise DecodeBodyError(f"cannot decode protobuf: {error}") from None
    try:
        return decode_protobuf(body), 0
    except DecodeBodyError:
        try:
            mended, replaced = repair_protobuf(body, ExportTraceServiceRequest.DESCRIPTOR)
        except MalformedError:
            replaced = 0
        if not replaced:
            raise
        return decode_protobuf(mended), replaced


def decode_protobuf(body: bytes) -> TraceRequest:
    """Return the export request that *body* holds.

    :raises DecodeBodyError: if it is cut short, no protobuf, or too deep.
    """
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise DecodeBodyError(f"cannot decode protobuf: {error}") from None
    return TraceRequest(
        resource_spans=[
            ResourceSpans(
                resource=Resource(attributes=_pairs(each.resource.attributes)),
                scope_spans=[
                    ScopeSpans(
                        scope=Scope(name=scoped.scope.name, version=scoped.scope.version),
                        spans=[_span(span) for span in scoped.spans],
                        schema_url=scoped.schema_url or None,
                    )
                    for scoped in each.scope_spans
                ],
                schema_url=each.schema_url or None,
            )
            for each in request.resource_spans
        ]
    )


def _span(span: trace_pb2.Span) -> OtlpSpan:
    status = span.status
    return OtlpSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        trace_state=span.trace_state or None,
        parent_span_id=span.parent_span_id.hex() or None,
        flags=span.flags or None,
        name=span.name,
        kind=int(span.kind),
        start_time_unix_nano=str(span.start_time_unix_nano),
        end_time_unix_nano=str(span.end_time_unix_nano),
        attributes=_pairs(span.attributes),
        dropped_attributes_count=span.dropped_attributes_count or None,
        events=[
            Event(
                time_unix_nano=str(event.time_unix_nano),
                name=event.name,
                attributes=_pairs(event.attributes),
                dropped_attributes_count=event.dropped_attributes_count or None,
            )
            for event in span.events
        ]
        or None,
        dropped_events_count=span.dropped_events_count or None,
        links=[
            Link(
                trace_id=link.trace_id.hex(),
                span_id=link.span_id.hex(),
                trace_state=link.trace_state or None,
                attributes=_pairs(link.attributes),
                dropped_attributes_count=link.dropped_attributes_count or None,
                flags=link.flags or None,
            )
            for link in span.links
        ]
        or None,
        dropped_links_count=span.dropped_links_count or None,
        status=Status(code=int(status.code) or None, message=status.message or None)
        if status.code or status.message
        else None,
    )


def _pairs(pairs: Iterable[common_pb2.KeyValue]) -> list[KeyValue] | None:
    return [KeyValue(key=pair.key, value=_value(pair.value)) for pair in pairs] or None


def _value(value: common_pb2.AnyValue) -> AnyValue:  # noqa: PLR0911 # one line a type
    which = value.WhichOneof("value")
    if which == "string_value":
        return AnyValue(string_value=value.string_value)
    if which == "int_value":
        return AnyValue(int_value=str(value.int_value))
    if which == "bool_value":
        return AnyValue(bool_value=value.bool_value)
    if which == "double_value":
        number = value.double_value
        return AnyValue(double_value=number if abs(number) <= _MAX_FLOAT else _JSON_NAMES[str(number)])
    if which == "array_value":
        return AnyValue(array_value=ArrayValue(values=[_value(each) for each in value.array_value.values]))
    if which == "kvlist_value":
        return AnyValue(kvlist_value=KeyValueList(values=_pairs(value.kvlist_value.values)))
    if which == "bytes_value":
        return AnyValue(bytes_value=base64.b64encode(value.bytes_value).decode())
    return AnyValue()


_MAX_FLOAT = float.fromhex("0x1.fffffffffffffp+1023")
_JSON_NAMES = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def encode_response(rejected: int, why: str) -> bytes:
    """Return the body of a good answer; empty if nothing was rejected, as the specification asks."""
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = why
    encoded: bytes = response.SerializeToString()
    return encoded


def encode_protobuf(request: TraceRequest) -> bytes:
    """Return *request* as protobuf; its ids are hex and its enums numbers."""
    message = ExportTraceServiceRequest()
    for each in request.resource_spans or ():
        resource_spans = message.resource_spans.add(schema_url=each.schema_url or "")
        if each.resource is not None:
            _fill_pairs(resource_spans.resource.attributes, each.resource.attributes)
        for scoped in each.scope_spans or ():
            scope_spans = resource_spans.scope_spans.add(schema_url=scoped.schema_url or "")
            if scoped.scope is not None:
                scope_spans.scope.name = scoped.scope.name or ""
                scope_spans.scope.version = scoped.scope.version or ""
            for span in scoped.spans or ():
                _fill_span(scope_spans.spans.add(), span)
    encoded: bytes = message.SerializeToString()
    return encoded


def _fill_span(target: trace_pb2.Span, span: OtlpSpan) -> None:
    target.trace_id = bytes.fromhex(span.trace_id or "")
    target.span_id = bytes.fromhex(span.span_id or "")
    target.trace_state = span.trace_state or ""
    target.parent_span_id = bytes.fromhex(span.parent_span_id or "")
    target.flags = int(span.flags or 0)
    target.name = span.name or ""
    target.kind = _number(span.kind)
    target.start_time_unix_nano = int(span.start_time_unix_nano or 0)
    target.end_time_unix_nano = int(span.end_time_unix_nano or 0)
    _fill_pairs(target.attributes, span.attributes)
    target.dropped_attributes_count = int(span.dropped_attributes_count or 0)
    for event in span.events or ():
        added = target.events.add(time_unix_nano=int(event.time_unix_nano or 0), name=event.name or "")
        _fill_pairs(added.attributes, event.attributes)
    for link in span.links or ():
        linked = target.links.add(
            trace_id=bytes.fromhex(link.trace_id or ""), span_id=bytes.fromhex(link.span_id or "")
        )
        _fill_pairs(linked.attributes, link.attributes)
    if span.status is not None:
        target.status.code = _number(span.status.code)
        target.status.message = span.status.message or ""


def _number(value: Int64 | None) -> Any:
    """Return an enum's number; names are not kept by anything that is encoded here."""
    return int(value or 0)


def _fill_pairs(target: Any, pairs: list[KeyValue] | None) -> None:
    for pair in pairs or ():
        _fill_value(target.add(key=pair.key or "").value, pair.value or AnyValue())


def _fill_value(target: common_pb2.AnyValue, value: AnyValue) -> None:
    if value.string_value is not None:
        target.string_value = value.string_value
    elif value.int_value is not None:
        target.int_value = int(value.int_value)
    elif value.bool_value is not None:
        target.bool_value = value.bool_value
    elif value.double_value is not None:
        target.double_value = float(value.double_value)
    elif value.array_value is not None:
        target.array_value.SetInParent()
        for each in value.array_value.values or ():
            _fill_value(target.array_value.values.add(), each)
    elif value.kvlist_value is not None:
        target.kvlist_value.SetInParent()
        _fill_pairs(target.kvlist_value.values, value.kvlist_value.values)
    elif value.bytes_value is not None:
        target.bytes_value = decode_base64(value.bytes_value)
