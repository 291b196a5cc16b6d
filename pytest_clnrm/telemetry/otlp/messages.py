"""OTLP's trace messages (opentelemetry-proto 1.x, trace.proto) as typed structs, and in JSON.

Both encodings are decoded into these and both are encoded from these. A number is a number or a text of it,
an enum is a number, a text of it, or a name: JSON has all of them. None means that JSON said ``null``: as if
it were not there.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import msgspec

from pytest_clnrm.telemetry.otlp.parts import count_json
from pytest_clnrm.telemetry.otlp.repair import repair_json

T = TypeVar("T")
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


class DecodeBodyError(Exception):
    """A body is not what its content type says; the message tells why."""


_decode_request = msgspec.json.Decoder(TraceRequest).decode
_decode_span = msgspec.json.Decoder(OtlpSpan).decode
encode_json = msgspec.json.Encoder().encode
"""Encode a struct or plain builtins."""


def decode_base64(text: str) -> bytes:
    """Return bytes as proto3's JSON writes them: base64 of either alphabet, with or without padding.

    :raises ValueError: if it is none.
    """
    padded = text.rstrip("=").translate(_URL_SAFE)
    return base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)


_URL_SAFE = str.maketrans("-_", "+/")
_STATUS_KEYS = frozenset({"code", "message"})
_CAMEL = {
    field.name: field.encode_name
    for each in _Message.__subclasses__()
    for field in msgspec.structs.fields(each)
    if field.name != field.encode_name
}
_SNAKE = re.compile(rb'_(?:%s)"\s*:' % "|".join({name.rpartition("_")[2] for name in _CAMEL}).encode())
"""How a key may end that is named as in the .proto files, which parsers of proto3's JSON accept too."""


def decode_sent_json(body: bytes) -> tuple[TraceRequest, int]:
    """Return the export request that a program's *body* holds, and how many texts in it had to be mended.

    Its keys may be named as in JSON or as in the .proto files.

    :raises DecodeBodyError: as :func:`decode_json`; or if what it says may be understood in two ways.
    :raises TooManyPartsError: if it would become much.
    """
    count_json(body)
    decode = _decode_renamed if _SNAKE.search(body) else _decode_request
    replaced = 0
    try:
        request = _decoded(decode, body)
    except DecodeBodyError:
        body, replaced = repair_json(body)
        if not replaced:
            raise
        request = _decoded(decode, body)
    _check_keys(body)
    return request, replaced


def doubled_key(keys: Iterable[str]) -> str:
    """Return the first of *keys* that is there twice."""
    return next(key for key, count in Counter(keys).items() if count > 1)


def _check_keys(body: bytes) -> None:
    """Look at the keys of a body once more: a status that is not understood must not count as "unset".

    :raises DecodeBodyError: if a key stands twice in one object, or a status has neither code nor message but
        something else.
    """

    def keys(pairs: list[tuple[str, Any]]) -> frozenset[str]:
        names = [_CAMEL.get(key, key) for key, _ in pairs]
        found = frozenset(names)
        if len(found) < len(names):
            raise DecodeBodyError(f"the key {doubled_key(names)[:40]!r} stands twice in one object")
        if "status" in found and "spanId" in found:
            status = dict(pairs)["status"]
            unknown = status - _STATUS_KEYS if isinstance(status, frozenset) and "code" not in status else ()
            if unknown:
                raise DecodeBodyError(f"a span's status has the key {min(unknown)[:40]!r}, but no code")
        return found

    try:
        # Numbers may be as long as they like: what they are is not asked here.
        json.loads(body.decode("utf-8", "replace"), object_pairs_hook=keys, parse_int=float, strict=False)
    except RecursionError:
        raise DecodeBodyError("cannot decode JSON: it is nested too deeply") from None
    except ValueError as error:
        # In what nobody asks for, the decoder of the structs takes other text too.
        raise DecodeBodyError(f"cannot decode JSON: {error}") from None


def _decode_renamed(body: bytes | msgspec.Raw) -> TraceRequest:
    return msgspec.convert(_renamed(msgspec.json.decode(body)), TraceRequest)


def _renamed(value: Any) -> Any:
    """Return *value* with the keys that JSON has; names of attributes are values in OTLP, not keys."""
    if isinstance(value, dict):
        return {_CAMEL.get(key, key): _renamed(each) for key, each in value.items()}
    return [_renamed(each) for each in value] if isinstance(value, list) else value


def decode_json(body: bytes | msgspec.Raw) -> TraceRequest:
    """Return the export request that *body* holds; keys that are not known are ignored, as OTLP demands.

    :raises DecodeBodyError: if it is not JSON, too deep, or of another shape.
    """
    return _decoded(_decode_request, body)


def decode_json_span(body: bytes | msgspec.Raw) -> OtlpSpan:
    """Return the span that *body* holds.

    :raises DecodeBodyError: as :func:`decode_json`.
    """
    return _decoded(_decode_span, body)


def _decoded(decode: Callable[[bytes | msgspec.Raw], T], body: bytes | msgspec.Raw) -> T:
    try:
        return decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DecodeBodyError(f"cannot decode JSON: {error}") from None
    except RecursionError:
        raise DecodeBodyError("cannot decode JSON: it is nested too deeply") from None
