"""OTLP's trace messages as typed structs, in the shape of OTLP/JSON (opentelemetry-proto 1.x, trace.proto).

Both encodings are decoded into these and both are encoded from these. A number is a number or a text of it,
an enum is a number, a text of it, or a name: JSON has all of them. None means that JSON said ``null``: as if
it were not there.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

Int64 = int | float | str
"""Whole, whatever its type: JSON does not tell ``1`` from ``1.0``."""
Uint32 = Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,10}\Z")]


class _Message(msgspec.Struct, rename="camel", omit_defaults=True):
    """Base of all messages: lowerCamelCase keys, defaults left out."""


class AnyValue(_Message):
    """At most one of these is set; none of them is an empty value."""

    string_value: str | None = None
    bool_value: bool | None = None
    int_value: Int64 | None = None
    double_value: float | str | None = None
    array_value: ArrayValue | None = None
    kvlist_value: KeyValueList | None = None
    bytes_value: str | None = None


class ArrayValue(_Message):
    """Several values."""

    values: list[AnyValue] | None = None


class KeyValue(_Message):
    """One attribute."""

    key: str | None = None
    value: AnyValue | None = None


class KeyValueList(_Message):
    """Several named values."""

    values: list[KeyValue] | None = None


class Status(_Message):
    """How a span ended: code 0 unset, 1 ok, 2 error."""

    message: str | None = None
    code: Int64 | None = None


class Event(_Message):
    """Something that happened within a span."""

    time_unix_nano: Int64 | None = None
    name: str | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: Uint32 | None = None


class Link(_Message):
    """A span that another one points to; ids in hex."""

    trace_id: str | None = None
    span_id: str | None = None
    trace_state: str | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: Uint32 | None = None
    flags: Uint32 | None = None


class OtlpSpan(_Message):
    """One span; ids in hex. Kind: 1 internal, 2 server, 3 client, 4 producer, 5 consumer."""

    trace_id: str | None = None
    span_id: str | None = None
    trace_state: str | None = None
    parent_span_id: str | None = None
    flags: Uint32 | None = None
    name: str | None = None
    kind: Int64 | None = None
    start_time_unix_nano: Int64 | None = None
    end_time_unix_nano: Int64 | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: Uint32 | None = None
    events: list[Event] | None = None
    dropped_events_count: Uint32 | None = None
    links: list[Link] | None = None
    dropped_links_count: Uint32 | None = None
    status: Status | None = None


class Scope(_Message):
    """The library that recorded spans."""

    name: str | None = None
    version: str | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: Uint32 | None = None


class ScopeSpans(_Message):
    """Spans of one library."""

    scope: Scope | None = None
    spans: list[OtlpSpan] | None = None
    schema_url: str | None = None


class Resource(_Message):
    """The program that recorded spans."""

    attributes: list[KeyValue] | None = None
    dropped_attributes_count: Uint32 | None = None


class ResourceSpans(_Message):
    """Spans of one program."""

    resource: Resource | None = None
    scope_spans: list[ScopeSpans] | None = None
    schema_url: str | None = None


class TraceRequest(_Message):
    """The body of one export: ``{"resourceSpans": [...]}``."""

    resource_spans: list[ResourceSpans] | None = None
