"""Spans that a program prints: JSON objects in its output, one a line or over several lines.

Read are OTLP/JSON (a request, the spans of one resource, or one span), what the console exporters of
OpenTelemetry's Python, Go and JavaScript SDKs hold, and flat objects with ``trace_id``, ``span_id`` and
``name``.
JavaScript's own console exporter prints no JSON, but what a debugger shows: that is refused, and said so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pytest_clnrm.telemetry.otlp.messages import (
    DecodeBodyError,
    Event,
    Link,
    OtlpSpan,
    Resource,
    ResourceSpans,
    Scope,
    ScopeSpans,
    Status,
    TraceRequest,
    decode_sent_json,
    doubled_key,
    encode_json,
)
from pytest_clnrm.telemetry.otlp.parts import TooManyPartsError
from pytest_clnrm.telemetry.otlp.repair import repair_json
from pytest_clnrm.telemetry.otlp.spans import accept, to_key_values

if TYPE_CHECKING:
    from pytest_clnrm.model.span import AttributeValue

_START = re.compile(r"^[^\S\n]*(\{)", re.MULTILINE)
_SIGN = re.compile(
    r"""\bresourceSpans\b|\bscopeSpans\b|["']?\b(trace_?id|span_?id)["']?\s*:""", re.IGNORECASE
)
_LOG_KEYS = frozenset({"level", "levelname", "severity", "severity_text", "msg", "message", "body"})
_STATUS_KEYS = frozenset({"code", "status_code", "message", "description"})
_KINDS = ("INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_MAX_PROBLEMS = 20
_PIECE_CHARS = 8192
_LONGEST_WORD_CHARS = 32
"""Longer than what the parser reads at once: a word, an escape, a long number's end."""
_MAX_IN_VAIN_CHARS = 64 << 20
_MAX_NESTED_CHARS = 50_000
"""About what Python reads before it finds that an object is nested too deeply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedSpans:
    """What a text holds.

    :param request: its spans, all of them valid.
    :param problems: what looks like a span and is none, each with its line, for a user.
    """

    request: TraceRequest
    problems: tuple[str, ...] = ()


class _NoSpanError(Exception):
    """An object is no span of a form that is read; the message tells why, "" if it does not look like one."""


def printed_spans(text: str) -> PrintedSpans:
    """Return the spans in *text*; text between them is skipped unless it looks like a span."""
    spans: list[ResourceSpans] = []
    problems: list[str] = []
    # Half a pair of surrogates is no text that could be written anywhere.
    text = repair_json(text.encode("utf-8", "replace"))[0].decode()
    more = 0
    for line, found, twice in _objects(text):
        why = found if isinstance(found, str) else _add(spans, found, twice)
        if why and len(problems) >= _MAX_PROBLEMS:
            more += 1
        elif why:
            problems.append(f"line {line} of the output looks like a span but is not read: {why}")
    if more:
        problems.append(f"{more} more lines of the output look like spans but are not read")
    return PrintedSpans(request=TraceRequest(resource_spans=spans), problems=tuple(problems))


def _add(spans: list[ResourceSpans], found: dict[str, Any], twice: list[str]) -> str:
    """Add the spans of an object to *spans*, or return why not; "" if it does not look like a span.

    :param twice: keys that stand twice in an object, one within it too: which of the values is meant?
    """
    try:
        request = _read(found)
        why = accept(request).why
    except (_NoSpanError, DecodeBodyError, TooManyPartsError) as error:
        return str(error)
    if twice and not why:
        why = f"the key {twice[0][:40]!r} stands twice in one object"
    if not why:
        spans += request.resource_spans or ()
    return why


def _objects(text: str) -> Iterator[tuple[int, dict[str, Any] | str, list[str]]]:
    """Yield line number and each JSON object that starts a line, or why what looks like a span is none.

    The third is what :func:`_decoded` gives.
    """
    position, line, counted = 0, 1, 0
    in_vain = 0
    while position < len(text):
        start = _START.search(text, position)
        before = text[position : start.start() if start else len(text)]
        for sign in _SIGN.finditer(before):
            at = position + sign.start()
            line += text.count("\n", counted, at)
            counted = at
            why = "it is no JSON object at the start of a line"
            if re.match(r"trace_?id\s*:", sign[0], re.IGNORECASE):
                why = "it is no JSON: a console exporter for debugging wrote it; let the program export OTLP"
            yield line, why, []
            break
        if start is None:
            return
        line += text.count("\n", counted, start.start(1))
        counted = start.start(1)
        try:
            found, position, twice = _decoded(text, counted)
            yield line, found, twice
        except (ValueError, RecursionError) as error:
            in_vain += error.pos if isinstance(error, json.JSONDecodeError) else _MAX_NESTED_CHARS
            if in_vain > _MAX_IN_VAIN_CHARS:
                yield line, "so many objects do not end that it is not looked at any further", []
                return
            position = _end_of_line(text, counted)
            if _SIGN.search(text, counted, position):
                yield line, f"it is no JSON: {error}", []


def _decoded(text: str, at: int) -> tuple[dict[str, Any], int, list[str]]:
    """Return the JSON object at a position, the position behind it, and keys that an object in it has twice.

    The parser counts the lines in front of an error from the start of what it is given: so that is a piece,
    which grows only where the object may go on behind it.

    :raises json.JSONDecodeError: if it is none; its place is from *at* on.
    """
    twice: list[str] = []

    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            twice.append(doubled_key(key for key, _ in pairs))
        return made

    decode = json.JSONDecoder(object_pairs_hook=table).raw_decode
    size = _PIECE_CHARS
    while True:
        try:
            found, end = decode(text[at : at + size])
            return found, at + end, twice
        except json.JSONDecodeError as error:
            near_end = error.pos > size - _LONGEST_WORD_CHARS or error.msg.startswith(("Unterm", "Invalid"))
            if not near_end or at + size >= len(text):
                raise
        size *= 8


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def _read(found: dict[str, Any]) -> TraceRequest:
    """Return the spans that an object holds.

    :raises _NoSpanError: if it holds none.
    """
    if "resourceSpans" in found:
        request = found
    elif "scopeSpans" in found:
        request = {"resourceSpans": [found]}
    elif "traceId" in found and "spanId" in found and "startTimeUnixNano" in found:
        request = {"resourceSpans": [{"scopeSpans": [{"spans": [found]}]}]}
    else:
        return TraceRequest(resource_spans=[_plain(found)])
    return decode_sent_json(encode_json(request))[0]


def _plain(found: dict[str, Any]) -> ResourceSpans:
    """Return the span of a console exporter, or of a flat object."""
    if "SpanContext" in found:
        found = _of_go(found)
    context = _table(found, "context", "spanContext", "span_context")
    javascript = "id" in found and "traceId" in found
    trace_id = _first(found, "trace_id", "traceId") or _first(context, "trace_id", "traceId")
    span_id = _first(found, "span_id", "spanId", "id" if javascript else "span_id")
    span_id = span_id or _first(context, "span_id", "spanId")
    if not isinstance(trace_id, str) or not isinstance(span_id, str):
        if trace_id is not None and span_id is not None:
            raise _NoSpanError("its ids are no text")
        has_times = any(name.casefold().replace("_", "").startswith("starttime") for name in found)
        raise _NoSpanError("its form is not known" if has_times and _SIGN.search(json.dumps(found)) else "")
    if not isinstance(found.get("name"), str):
        # Logs carry the ids of the span that they were written in.
        raise _NoSpanError("" if _LOG_KEYS & found.keys() else "it has no name")
    if _LOG_KEYS & found.keys() and "kind" not in found:
        raise _NoSpanError("")
    start_ns, end_ns = _times(found)
    parent = _first(found, "parent_span_id", "parentSpanId", "parent_id", "parentId")
    parent = parent or _first(_table(found, "parentSpanContext", "parent"), "span_id", "spanId")
    struct = OtlpSpan(
        trace_id=_hex(trace_id),
        span_id=_hex(span_id),
        parent_span_id=_hex(parent) if isinstance(parent, str) else None,
        name=found["name"],
        kind=_kind(found.get("kind"), javascript=javascript),
        start_time_unix_nano=start_ns,
        end_time_unix_nano=end_ns,
        attributes=to_key_values(_attributes(found.get("attributes"))),
        events=[
            Event(
                name=str(event.get("name", "")),
                time_unix_nano=_time(_first(event, "timeUnixNano", "time_unix_nano", "timestamp", "time")),
                attributes=to_key_values(_attributes(event.get("attributes"))),
            )
            for event in _tables(found.get("events"))
        ],
        links=[
            Link(
                trace_id=_hex(str(_first(link, "trace_id", "traceId"))),
                span_id=_hex(str(_first(link, "span_id", "spanId"))),
            )
            for link in (_table(each, "context") or each for each in _tables(found.get("links")))
        ],
        status=_status(found.get("status"), found.get("status_message")),
    )
    scope = Scope(name=_scope(found) or None)
    return ResourceSpans(
        resource=Resource(attributes=to_key_values(_resource(found))),
        scope_spans=[ScopeSpans(scope=scope, spans=[struct])],
    )


def _of_go(found: dict[str, Any]) -> dict[str, Any]:
    """Return a span of Go's ``stdouttrace`` with the names that Python's console exporter has."""
    parent, scope = _table(found, "Parent"), _table(found, "InstrumentationScope", "InstrumentationLibrary")
    return {
        "name": found.get("Name"),
        "context": _go_context(_table(found, "SpanContext")),
        # An id of zeros stands for none.
        "parent_id": parent.get("SpanID") if str(parent.get("SpanID", "")).strip("0") else None,
        "kind": found.get("SpanKind"),
        "start_time": found.get("StartTime"),
        "end_time": found.get("EndTime"),
        "attributes": _go_pairs(found.get("Attributes")),
        "events": [
            {
                "name": each.get("Name"),
                "time": each.get("Time"),
                "attributes": _go_pairs(each.get("Attributes")),
            }
            for each in _tables(found.get("Events"))
        ],
        "links": [_go_context(_table(each, "SpanContext")) for each in _tables(found.get("Links"))],
        "status": _table(found, "Status").get("Code"),
        "status_message": _table(found, "Status").get("Description"),
        "resource": _go_pairs(found.get("Resource")),
        "scope": scope.get("Name"),
    }


def _go_context(context: Mapping[str, Any]) -> dict[str, Any]:
    return {"trace_id": context.get("TraceID"), "span_id": context.get("SpanID")}


def _go_pairs(pairs: Any) -> dict[str, Any]:
    return {str(pair.get("Key")): _table(pair, "Value").get("Value") for pair in _tables(pairs)}


def _first(table: Mapping[str, Any], *names: str) -> Any:
    return next((table[name] for name in names if table.get(name) is not None), None)


def _table(table: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    found = _first(table, *names)
    return found if isinstance(found, dict) else {}


def _tables(found: Any) -> list[dict[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _hex(text: str) -> str:
    return text.removeprefix("0x")


def _attributes(found: Any) -> Mapping[str, AttributeValue]:
    """Return attributes that are a table, or the list that OTLP has."""
    if isinstance(found, list):
        return {
            str(pair.get("key", "")): next(iter(_table(pair, "value").values()), None)
            for pair in _tables(found)
        }
    return found if isinstance(found, dict) else {}


def _resource(found: dict[str, Any]) -> dict[str, AttributeValue]:
    resource = _table(found, "resource")
    attributes = dict(
        _attributes(_first(found, "resource_attributes") or resource.get("attributes", resource))
    )
    service = _first(found, "service_name", "serviceName", "service")
    if isinstance(service, str):
        attributes.setdefault("service.name", service)
    return attributes


def _kind(kind: Any, *, javascript: bool) -> int:
    """Return OTLP's number of a kind: JavaScript's SDK counts from 0, names come in all cases."""
    if isinstance(kind, str):
        name = re.split(r"[._]", kind.upper().removeprefix("SPAN_KIND_"))[-1]
        if name not in (*_KINDS, "UNSPECIFIED", ""):
            raise _NoSpanError(f"its kind is {kind[:40]!r}")
        return _KINDS.index(name) + 1 if name in _KINDS else 0
    return int(kind) + javascript if isinstance(kind, int) else 0


def _scope(found: Mapping[str, Any]) -> str:
    """Return the name of the instrumentation scope, "" if it is not told."""
    scope = _first(found, "scope", "instrumentationScope", "instrumentation_scope")
    name = scope.get("name") if isinstance(scope, dict) else scope
    return name if isinstance(name, str) else ""


def _status(status: Any, message: Any = None) -> Status | None:
    message = str(message or "")
    if isinstance(status, dict):
        if status and not _STATUS_KEYS & status.keys():
            raise _NoSpanError(f"its status has the key {min(status)[:40]!r}, but no code")
        message = str(_first(status, "message", "description") or "")
        status = _first(status, "code", "status_code")
    if status is not None and (isinstance(status, bool) or not isinstance(status, (int, str))):
        raise _NoSpanError(f"its status is {str(status)[:40]}")
    if isinstance(status, str):
        name = re.split(r"[._]", status.upper())[-1]
        if name not in {"UNSET", "OK", "ERROR"}:
            raise _NoSpanError(f"its status is {status[:40]!r}")
        status = name
    return Status(code=status or 0, message=message)


def _times(found: dict[str, Any]) -> tuple[str, str]:
    start_ns = _nanoseconds(found, "start_time_unix_nano", "startTimeUnixNano")
    start_ns = start_ns or _time(_first(found, "start_time", "startTime", "start", "timestamp"))
    end_ns = _nanoseconds(found, "end_time_unix_nano", "endTimeUnixNano")
    if end_ns is not None:
        return start_ns, end_ns
    end = _first(found, "end_time", "endTime", "end")
    if end is None and isinstance(found.get("duration"), (int, float)):
        # JavaScript's console exporter has a start and a duration, both in microseconds.
        return start_ns, str(int(start_ns) + int(found["duration"] * 1000))
    return start_ns, _time(end) if end is not None else start_ns


def _nanoseconds(found: dict[str, Any], *names: str) -> str | None:
    """Return a time whose name tells its unit, None if there is none."""
    value = _first(found, *names)
    return None if value is None else str(value)


def _time(value: Any) -> str:
    """Return nanoseconds since the epoch of an ISO time, a number by its size, or JavaScript's pair."""
    if value is None:
        return "0"
    if isinstance(value, list) and len(value) == 2 and all(isinstance(each, int) for each in value):  # noqa: PLR2004
        return str(value[0] * 10**9 + value[1])
    if isinstance(value, str):
        if value.isdecimal():
            return value
        return _iso_time(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        # Seconds, milliseconds, microseconds or nanoseconds: of our days they differ by a thousand each.
        scale = next((scale for limit, scale in _SCALES if value < limit), 1)
        return str(int(value * scale))
    raise _NoSpanError(f"no time: {str(value)[:40]!r}")


def _iso_time(value: str) -> str:
    # Python's own parser knows microseconds at most, and before 3.11 three digits or six.
    match = _ISO.match(value)
    if match is None:
        raise _NoSpanError(f"no time: {value[:40]!r}")
    try:
        parsed = datetime.fromisoformat(match[1] + (match[3] or "Z").replace("Z", "+00:00"))
    except ValueError:
        raise _NoSpanError(f"no time: {value[:40]!r}") from None
    return str(int(parsed.timestamp()) * 10**9 + int((match[2] or "").ljust(9, "0")[:9]))


_ISO = re.compile(r"\A(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?\Z", re.ASCII)
_SCALES = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))
