"""Spans that programs print."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from pytest_clnrm.model.span import Span
from pytest_clnrm.telemetry.otlp.spans import accept
from pytest_clnrm.telemetry.receive.printed_spans import PrintedSpans, printed_spans

T, S, P = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
FLAT: dict[str, Any] = {"name": "a", "trace_id": T, "span_id": S}


def spans_in(found: PrintedSpans) -> tuple[Span, ...]:
    """Return the spans of a text, all of which are valid."""
    accepted = accept(found.request)
    assert accepted.rejected == 0
    return accepted.spans


def one(value: dict[str, Any], **more: Any) -> Any:
    """Return the one span in the printed object."""
    found = printed_spans(json.dumps({**value, **more}))
    assert found.problems == ()
    (span,) = spans_in(found)
    return span


def problem(text: str) -> str:
    """Return the one problem of a text that holds no span."""
    found = printed_spans(text)
    assert spans_in(found) == ()
    (message,) = found.problems
    return message


@pytest.mark.parametrize("shape", ["request", "resource", "span"])
def test_otlp_json(shape: str) -> None:
    """OTLP/JSON is read as a request, as the spans of one resource, or as one span."""
    span: dict[str, Any] = {"traceId": T, "spanId": S, "name": "a", "startTimeUnixNano": "1", "kind": 2}
    if shape != "span":
        span = {"scopeSpans": [{"spans": [span]}]}
    if shape == "request":
        span = {"resourceSpans": [span]}
    found = one(span)
    assert (found.name, found.kind, found.start_ns) == ("a", "server", 1)


def test_the_console_exporter_of_python() -> None:
    """What OpenTelemetry's console exporter prints, over many lines and among other output, is read whole."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode

    out = io.StringIO()
    out.write("starting\n")
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out)))
    tracer = provider.get_tracer("t")
    with tracer.start_as_current_span("outer", kind=SpanKind.SERVER, attributes={"n": 1}) as outer:
        link = Link(outer.get_span_context())
        with tracer.start_as_current_span("inner", links=[link]) as inner:
            inner.add_event("retry", {"k": "v"})
            inner.set_status(Status(StatusCode.ERROR, "bad"))
    out.write("done\n")
    provider.shutdown()
    found = printed_spans(out.getvalue())
    assert found.problems == ()
    first, second = spans_in(found)
    assert (first.name, first.parent_id, first.status, first.status_message) == (
        "inner",
        second.span_id,
        "error",
        "bad",
    )
    assert (second.kind, second.service, second.attributes) == ("server", "shop", {"n": 1})
    assert (first.events[0].name, first.events[0].attributes) == ("retry", {"k": "v"})
    assert first.links[0].span_id == second.span_id
    assert second.start_ns <= first.start_ns <= first.events[0].time_ns <= first.end_ns <= second.end_ns


def test_the_console_exporter_of_go() -> None:
    """What Go's stdouttrace prints: its own names, lists of typed values, a parent of zeros for a root."""
    found = one(
        {
            "Name": "GET /x",
            "SpanContext": {"TraceID": T, "SpanID": S, "TraceFlags": "01", "TraceState": "", "Remote": False},
            "Parent": {"TraceID": T, "SpanID": P, "TraceFlags": "01", "TraceState": "", "Remote": True},
            "SpanKind": 2,
            "StartTime": "2026-05-01T10:00:00.000000001Z",
            "EndTime": "2026-05-01T10:00:00.5Z",
            "Attributes": [
                {"Key": "code", "Value": {"Type": "INT64", "Value": 200}},
                {"Key": "tags", "Value": {"Type": "STRINGSLICE", "Value": ["a"]}},
            ],
            "Events": [
                {
                    "Name": "retry",
                    "Attributes": [{"Key": "k", "Value": {"Type": "STRING", "Value": "v"}}],
                    "DroppedAttributeCount": 0,
                    "Time": "2026-05-01T10:00:00Z",
                }
            ],
            "Links": [{"SpanContext": {"TraceID": T, "SpanID": P}, "Attributes": None}],
            "Status": {"Code": "Error", "Description": "sold out"},
            "ChildSpanCount": 0,
            "Resource": [{"Key": "service.name", "Value": {"Type": "STRING", "Value": "shop"}}],
            "InstrumentationScope": {"Name": "http.server", "Version": "", "SchemaURL": ""},
        }
    )
    assert (found.trace_id, found.span_id, found.parent_id, found.name) == (T, S, P, "GET /x")
    assert (found.kind, found.service, found.scope) == ("server", "shop", "http.server")
    assert (found.status, found.status_message) == ("error", "sold out")
    assert found.end_ns - found.start_ns == 499_999_999
    assert found.attributes == {"code": 200, "tags": ["a"]}
    assert [(each.name, each.attributes) for each in found.events] == [("retry", {"k": "v"})]
    assert [each.span_id for each in found.links] == [P]
    root = one(
        {
            "Name": "a",
            "SpanContext": {"TraceID": T, "SpanID": S},
            "Parent": {"TraceID": "0" * 32, "SpanID": "0" * 16},
            "StartTime": "2026-05-01T10:00:00+02:00",
            "EndTime": "2026-05-01T10:00:01+02:00",
        }
    )
    assert (root.parent_id, root.kind, root.status) == (None, "internal", "unset")


def test_forms_that_are_not_known() -> None:
    """What has the ids and times of a span under other names is said to be not read, never passed over."""
    foreign = {"Operation": "a", "Ids": {"TraceID": T, "SpanID": S}, "StartTime": "2026-05-01T10:00:00Z"}
    assert problem(json.dumps(foreign)).endswith("looks like a span but is not read: its form is not known")
    debug = "{\n  traceId: '" + T + "',\n  name: 'a',\n}"
    assert "a console exporter for debugging wrote it; let the program export OTLP" in problem(debug)
    assert printed_spans(json.dumps({"msg": "hi", "trace_id": T, "time": 1})).problems == ()


def test_the_console_exporter_of_javascript() -> None:
    """What JavaScript's console exporter holds: microseconds, kinds from 0, an id named id."""
    found = one(
        {
            "resource": {"attributes": {"service.name": "web"}},
            "traceId": T,
            "parentSpanContext": {"spanId": P},
            "name": "GET",
            "id": S,
            "kind": 1,
            "timestamp": 1700000000000000,
            "duration": 1500.5,
            "attributes": {"http.method": "GET"},
            "status": {"code": 2, "message": "no"},
            "events": [{"name": "e", "time": [1700000000, 5]}],
            "links": [{"context": {"traceId": T, "spanId": P}}],
        }
    )
    assert (found.kind, found.service, found.parent_id, found.status) == ("server", "web", P, "error")
    assert found.start_ns == 1_700_000_000_000_000_000
    assert found.end_ns - found.start_ns == 1_500_500
    assert found.events[0].time_ns == 1_700_000_000_000_000_005
    assert found.links[0].span_id == P


def test_flat_objects() -> None:
    """Flat objects are read with the usual spellings of their fields."""
    found = one(
        FLAT,
        parent_span_id=P,
        kind="client",
        start_time_unix_nano=5,
        end_time_unix_nano="9",
        status="OK",
        attributes={"a": [1], "b": None},
        service_name="shop",
        resource_attributes={"x": "y"},
    )
    assert (found.parent_id, found.kind, found.start_ns, found.end_ns, found.status) == (
        P,
        "client",
        5,
        9,
        "ok",
    )
    assert found.attributes == {"a": [1], "b": None}
    assert found.resource == {"x": "y", "service.name": "shop"}
    listed = one(FLAT, attributes=[{"key": "k", "value": {"stringValue": "v"}}], resource={"r": 1})
    assert (listed.attributes, listed.resource) == ({"k": "v"}, {"r": 1})
    bare = one(FLAT)
    assert (bare.parent_id, bare.kind, bare.start_ns, bare.end_ns, bare.status) == (
        None,
        "internal",
        0,
        0,
        "unset",
    )
    assert one(FLAT, attributes="odd", kind="SPAN_KIND_PRODUCER").kind == "producer"


@pytest.mark.parametrize(
    ("value", "time_ns"),
    [
        (1700000000, 1_700_000_000 * 10**9),
        (1700000000.5, 1_700_000_000_500_000_000),
        (1700000000123, 1_700_000_000_123_000_000),
        (1700000000123456, 1_700_000_000_123_456_000),
        (1700000000123456789, 1_700_000_000_123_456_789),
        ("2023-11-14T22:13:20Z", 1_700_000_000 * 10**9),
        ("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123_456_789),
        ("2023-11-14T23:13:20.5+01:00", 1_700_000_000_500_000_000),
        ("2023-11-14 22:13:20", 1_700_000_000 * 10**9),
    ],
)
def test_times(value: object, time_ns: int) -> None:
    """A time is a number, whose size tells its unit, or text in ISO 8601."""
    found = one(FLAT, start_time=value)
    assert (found.start_ns, found.end_ns) == (time_ns, time_ns)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"trace_id": "abc"}, "a span's trace id is not 16 bytes, some of them not 0"),
        ({"trace_id": 5}, "its ids are no text"),
        ({"name": None}, "it has no name"),
        ({"kind": "odd"}, "its kind is 'odd'"),
        ({"status": "fine"}, "its status is 'fine'"),
        ({"start_time": "yesterday"}, "no time: 'yesterday'"),
        ({"start_time": "2023-99-14T22:13:20Z"}, "no time: '2023-99-14T22:13:20Z'"),
        ({"start_time": -1}, "no time: '-1'"),
        ({"start_time": True}, "no time: 'True'"),
    ],
)
def test_what_looks_like_a_span(more: dict[str, Any], message: str) -> None:
    """An object that looks like a span and is none is reported with its line."""
    text = "first\n" + json.dumps({**FLAT, **more})
    assert problem(text) == f"line 2 of the output looks like a span but is not read: {message}"


def test_lines_that_are_not_json() -> None:
    """Cut-off lines, lines with something in front and JavaScript's own notation are reported."""
    assert "line 1 of the output looks like a span but is not read: it is no JSON: " in problem(
        json.dumps(FLAT)[:-5]
    )
    assert "it is no JSON object at the start of a line" in problem(f"INFO {json.dumps(FLAT)}")
    assert "line 3" in problem("{\n  resource: x,\n  traceId: 'abc',\n  name: 'a' }")
    invalid = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "1", "spanId": "2"}]}]}]}
    assert "a span's trace id is not 16 bytes" in problem(json.dumps(invalid))
    assert "Expected `array | null`, got `int`" in problem('{"resourceSpans": 5}')
    assert "it is no JSON" in problem('{"trace_id": ' + "[" * 100_000)


def test_other_output_is_skipped() -> None:
    """Other JSON, logs with ids of spans, and plain text are nothing to speak of."""
    logs = [{"level": "info", "msg": "x", "trace_id": T, "span_id": S}, {**FLAT, "level": "info"}]
    text = "\n".join(
        ["hello {world}", '{"a": 1}', "{broken", "{}", *(json.dumps(each) for each in logs), "bye", ""]
    )
    found = printed_spans(text)
    assert (spans_in(found), found.problems) == ((), ())
    assert printed_spans("") == printed_spans("\n")


def test_many_spans_keep_their_order() -> None:
    """Spans among other lines are found in their order; indented and with Windows' newlines too."""
    lines = [
        f"  {json.dumps({**FLAT, 'span_id': f'{number + 1:016x}', 'name': str(number)})}"
        for number in range(50)
    ]
    found = printed_spans("\r\nnoise\r\n".join(lines))
    assert [span.name for span in spans_in(found)] == [str(number) for number in range(50)]


def test_half_a_pair_of_surrogates() -> None:
    """A printed text that was cut in the middle of a character is mended."""
    printed = printed_spans(
        r'{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "x\ud83d",'
        r' "startTimeUnixNano": "1"}'
    )
    assert [span.name for span in spans_in(printed)] == ["x\ufffd"]
    assert printed.problems == ()


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (
            '{"name": "a", "trace_id": "T", "span_id": "S", "status": {"kode": 2}}',
            "its status has the key 'kode'",
        ),
        ('{"name": "a", "trace_id": "T", "span_id": "S", "status": 2.0}', "its status is 2.0"),
        ('{"name": "a", "trace_id": "T", "span_id": "S", "status": true}', "its status is True"),
        ('{"name": "a", "trace_id": "T", "span_id": "S", "status": ["ERROR"]}', "its status is ['ERROR']"),
        (
            '{"name": "a", "trace_id": "T", "span_id": "S", "status": 3}',
            "a span's status code is 3, which OTLP",
        ),
        (
            '{"name": "a", "trace_id": "T", "span_id": "S", "status": "ERROR", "status": "OK"}',
            "the key 'status' stands twice in one object",
        ),
        (
            '{"traceId": "T", "spanId": "S", "startTimeUnixNano": "1", "status": {"code": 2, "code": 0}}',
            "the key 'code' stands twice in one object",
        ),
        (
            '{"traceId": "T", "spanId": "S", "startTimeUnixNano": "1", "status": {"status_code": 2}}',
            "a span's status has the key 'status_code', but no code",
        ),
    ],
)
def test_a_status_that_is_not_understood(shown: str, why: str) -> None:
    """It is a problem that is told, not a span without a status."""
    text = shown.replace('"T"', f'"{T}"').replace('"S"', f'"{S}"')
    assert problem(text).startswith(f"line 1 of the output looks like a span but is not read: {why}")


def test_a_log_with_a_key_twice_is_no_span() -> None:
    """Nothing is said of objects that are no spans."""
    assert printed_spans('{"msg": "a", "msg": "b"}\n') == printed_spans("")
