"""Between OTLP's structs and :class:`pytest_clnrm.model.span.Span`, in both directions."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pytest_clnrm.model.span import AttributeValue, Span, SpanEvent, SpanKind, SpanLink, SpanStatus
from pytest_clnrm.telemetry.otlp.messages import (
    AnyValue,
    ArrayValue,
    DecodeBodyError,
    Int64,
    KeyValue,
    KeyValueList,
    OtlpSpan,
    ResourceSpans,
    ScopeSpans,
    TraceRequest,
    decode_base64,
)

KINDS: Final[tuple[SpanKind, ...]] = ("internal", "internal", "server", "client", "producer", "consumer")
"""By OTLP's number; 0, unspecified, means internal, as the specification says."""
STATUSES: Final[tuple[SpanStatus, ...]] = ("unset", "ok", "error")
_KIND_NAMES = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUS_NAMES = ("UNSET", "OK", "ERROR")
_TRACE_ID = re.compile(r"\A[0-9a-fA-F]{32}\Z")
_SPAN_ID = re.compile(r"\A[0-9a-fA-F]{16}\Z")
_DIGITS = re.compile(r"\A-?[0-9]+\Z")
_REAL = re.compile(r"\A-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?\Z")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_MAX_DEPTH = 64
_MAX_DIGITS = len("18446744073709551615")
_MAX_UINT64, _MAX_INT64, _MAX_INT32 = 2**64 - 1, 2**63 - 1, 2**31 - 1


class InvalidSpanError(Exception):
    """One span is not valid; the others of its body may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What is good of a request.

    :param spans: the valid ones, in the order of the request.
    :param structs: the same, each with its resource, to be written.
    :param rejected: how many spans were invalid.
    :param why: of the first of them, "" if there is none.
    """

    spans: tuple[Span, ...]
    structs: tuple[tuple[ResourceSpans, ScopeSpans, OtlpSpan], ...]
    rejected: int = 0
    why: str = ""


def accept(request: TraceRequest) -> Accepted:
    """Return the valid spans of *request*, with ids and times in their canonical form.

    :raises DecodeBodyError: if a value is not of the type that it says.
    """
    spans: list[Span] = []
    structs: list[tuple[ResourceSpans, ScopeSpans, OtlpSpan]] = []
    rejected, why = 0, ""
    for resource_spans in request.resource_spans or ():
        resource = to_attributes(resource_spans.resource.attributes if resource_spans.resource else None)
        for scope_spans in resource_spans.scope_spans or ():
            scope = (scope_spans.scope.name or "") if scope_spans.scope else ""
            for struct in scope_spans.spans or ():
                try:
                    spans.append(to_span(struct, resource, scope=scope))
                except InvalidSpanError as error:  # noqa: PERF203 # the others go on
                    rejected += 1
                    why = why or str(error)
                else:
                    structs.append((resource_spans, scope_spans, struct))
    return Accepted(spans=tuple(spans), structs=tuple(structs), rejected=rejected, why=why)


def misses_spans(request: TraceRequest) -> bool:
    """Tell whether *request*, of a body that says something, has no list of spans where one should be.

    Keys that are not known are ignored, as OTLP demands: those of its form before 2022, and misspelt ones.
    """
    resources = request.resource_spans
    return resources is None or any(
        each.scope_spans is None or any(scoped.spans is None for scoped in each.scope_spans)
        for each in resources
    )


def to_span(
    struct: OtlpSpan,
    resource: Mapping[str, AttributeValue],
    origin: Literal["workload", "runner"] = "workload",
    scope: str = "",
) -> Span:
    """Return *struct* as a plain span.

    Its ids become lower case, its times digits, its enums numbers, in place.

    :param resource: the attributes of its resource.
    :param scope: name of its instrumentation scope.
    """
    _normalise(struct)
    service = resource.get("service.name", "")
    status = struct.status
    return Span(
        trace_id=struct.trace_id or "",
        span_id=struct.span_id or "",
        parent_id=struct.parent_span_id,
        name=struct.name or "",
        kind=KINDS[int(struct.kind or 0)],
        service=service if isinstance(service, str) else str(service),
        start_ns=int(struct.start_time_unix_nano or 0),
        end_ns=int(struct.end_time_unix_nano or 0),
        status=STATUSES[int(status.code or 0)] if status else "unset",
        status_message=(status.message or "") if status else "",
        attributes=to_attributes(struct.attributes),
        resource=resource,
        scope=scope,
        dropped_attributes=int(struct.dropped_attributes_count or 0),
        dropped_events=int(struct.dropped_events_count or 0),
        dropped_links=int(struct.dropped_links_count or 0),
        events=tuple(
            SpanEvent(
                name=event.name or "",
                time_ns=int(_uint64(event.time_unix_nano)),
                attributes=to_attributes(event.attributes),
                dropped_attributes=int(event.dropped_attributes_count or 0),
            )
            for event in struct.events or ()
        ),
        links=tuple(
            SpanLink(
                trace_id=(link.trace_id or "").lower(),
                span_id=(link.span_id or "").lower(),
                attributes=to_attributes(link.attributes),
            )
            for link in struct.links or ()
        ),
        origin=origin,
    )


def _normalise(struct: OtlpSpan) -> None:
    trace_id, span_id, parent_id = struct.trace_id or "", struct.span_id or "", struct.parent_span_id or ""
    if not _TRACE_ID.match(trace_id) or trace_id == _NO_TRACE:
        raise InvalidSpanError("a span's trace id is not 16 bytes, some of them not 0")
    if not _SPAN_ID.match(span_id) or span_id == _NO_SPAN:
        raise InvalidSpanError("a span's id is not 8 bytes, some of them not 0")
    if parent_id and not _SPAN_ID.match(parent_id):
        raise InvalidSpanError("a span's parent id is not 8 bytes")
    struct.trace_id, struct.span_id = trace_id.lower(), span_id.lower()
    struct.parent_span_id = parent_id.lower() if parent_id and parent_id != _NO_SPAN else None
    kind = _enum(struct.kind, "SPAN_KIND_", _KIND_NAMES)
    # One that is not known counts as 0, as in protobuf.
    struct.kind = kind if 0 <= kind < len(KINDS) else 0
    if struct.status is not None:
        code = _enum(struct.status.code, "STATUS_CODE_", _STATUS_NAMES)
        if not 0 <= code < len(STATUSES):
            raise InvalidSpanError(f"a span's status code is {code}, which OTLP does not know")
        struct.status.code = code
    for link in struct.links or ():
        if not _TRACE_ID.match(link.trace_id or "") or not _SPAN_ID.match(link.span_id or ""):
            raise InvalidSpanError("the ids of a span's link are not 16 and 8 bytes")
    struct.start_time_unix_nano = _uint64(struct.start_time_unix_nano)
    struct.end_time_unix_nano = _uint64(struct.end_time_unix_nano)


def _uint64(value: Int64 | None) -> str:
    """Return an unsigned integer as OTLP/JSON writes it: decimal digits."""
    return str(_integer(value, 0, _MAX_UINT64)) if value is not None else "0"


def _integer(value: Int64, lowest: int, highest: int) -> int:
    # int() also takes spaces, underscores, and digits without end: none of which JSON's int64 has.
    if isinstance(value, str) and not (len(value) <= _MAX_DIGITS and _DIGITS.match(value)):
        value = _whole(value)
    number = int(value)
    if number != value and isinstance(value, float):
        raise DecodeBodyError(f"not an integer: {value}")
    if not lowest <= number <= highest:
        raise DecodeBodyError(f"an integer is out of its range: {number}")
    return number


def _whole(text: str) -> float:
    """Return the number in *text*, which may have a fraction of 0 or an exponent, as proto3's JSON has it."""
    if not (len(text) <= _MAX_DIGITS and _REAL.match(text)):
        raise DecodeBodyError(f"not an integer: {text[:40]!r}")
    return float(text)


def _enum(value: Int64 | None, prefix: str, names: tuple[str, ...]) -> int:
    """Return the number of an enum's *value*, which may be one that is not known."""
    if isinstance(value, float) or (isinstance(value, str) and _DIGITS.match(value)):
        value = _integer(value, -_MAX_INT32 - 1, _MAX_INT32)
    if isinstance(value, str):
        name = value.removeprefix(prefix)
        if name not in names:
            raise DecodeBodyError(f"not a value of {prefix}*: {value[:40]!r}")
        return names.index(name)
    return value or 0


def to_attributes(pairs: list[KeyValue] | None) -> dict[str, AttributeValue]:
    """Return attributes by name; of two with the same name the last.

    :raises DecodeBodyError: if a value is not of the type that it says.
    """
    if not pairs:
        return {}
    return {pair.key or "": _to_value(pair.value, _MAX_DEPTH) for pair in pairs}


def _to_value(value: AnyValue | None, depth: int) -> AttributeValue:  # noqa: PLR0911 # one line a type
    if value is None:
        return None
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return _integer(value.int_value, -_MAX_INT64 - 1, _MAX_INT64)
    if value.bool_value is not None:
        return value.bool_value
    if value.double_value is not None:
        return _double(value.double_value)
    if depth == 0:
        raise DecodeBodyError("an attribute is nested too deeply")
    if value.array_value is not None:
        return [_to_value(each, depth - 1) for each in value.array_value.values or ()]
    if value.kvlist_value is not None:
        return {pair.key or "": _to_value(pair.value, depth - 1) for pair in value.kvlist_value.values or ()}
    if value.bytes_value is not None:
        return _bytes(value.bytes_value)
    return None


def _double(value: float | str) -> float:
    try:
        return float(value)
    except ValueError:
        raise DecodeBodyError(f"not a number: {str(value)[:40]!r}") from None


def _bytes(value: str) -> bytes:
    try:
        return decode_base64(value)
    except (binascii.Error, ValueError):
        raise DecodeBodyError(f"not base64: {value[:40]!r}") from None


def to_key_values(attributes: Mapping[str, AttributeValue]) -> list[KeyValue] | None:
    """Return *attributes* as OTLP has them, None if there are none."""
    if not attributes:
        return None
    return [KeyValue(key=key, value=_from_value(value)) for key, value in attributes.items()]


def _from_value(value: AttributeValue) -> AnyValue:  # noqa: PLR0911 # one line a type
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=str(int(value)))
    if isinstance(value, float):
        return AnyValue(double_value=_json_double(value))
    if isinstance(value, bytes):
        return AnyValue(bytes_value=base64.b64encode(value).decode())
    if isinstance(value, Mapping):
        return AnyValue(kvlist_value=KeyValueList(values=to_key_values(value)))
    if value is None:
        return AnyValue()
    return AnyValue(array_value=ArrayValue(values=[_from_value(each) for each in value]))


def _json_double(value: float) -> float | str:
    """Return what JSON can hold of *value*: it has no numbers for these three."""
    if value != value:  # noqa: PLR0124 # only NaN differs from itself
        return "NaN"
    if value in {float("inf"), float("-inf")}:
        return "Infinity" if value > 0 else "-Infinity"
    return value
