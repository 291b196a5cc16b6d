"""Secrets are hidden in what is stored, not in what is judged."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from pytest_clnrm.telemetry.otlp.hiding import hide
from pytest_clnrm.telemetry.otlp.messages import decode_json, encode_json
from pytest_clnrm.telemetry.receive.inbox import Inbox
from pytest_clnrm.telemetry.span_store import SpanStore, read_store

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def redact(text: str) -> str:
    """Hide three secrets, one of them a part of ids and names of fields."""
    return text.replace("hunter2", "***").replace("1234", "***").replace("e", "*")


def body(**more: object) -> bytes:
    """Return a request with one span."""
    span = {"traceId": TRACE_ID, "spanId": SPAN_ID, "name": "log in", **more}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


def test_all_types_of_values_are_hidden() -> None:
    """Texts at any depth, keys, numbers that are secrets, and bytes are hidden; ids and times never."""
    values = {
        "text": {"stringValue": "a hunter2"},
        "hunter2": {"boolValue": True},
        "list": {"arrayValue": {"values": [{"stringValue": "hunter2"}]}},
        "map": {"kvlistValue": {"values": [{"key": "k", "value": {"stringValue": "hunter2"}}]}},
        "int": {"intValue": "1234"},
        "double": {"doubleValue": 0.5},
        "bytes": {"bytesValue": base64.b64encode(b"\xff hunter2").decode()},
        "other": {"bytesValue": base64.b64encode(b"\xff").decode()},
        "none": {"bytesValue": "no base64 at all"},
    }
    attributes = [{"key": key, "value": value} for key, value in values.items()]
    request = decode_json(
        body(
            startTimeUnixNano="1234",
            attributes=attributes,
            events=[{"name": "hunter2", "timeUnixNano": "1234"}],
            status={"code": 2, "message": "hunter2"},
        )
    )
    hide(request, redact)
    (span,) = json.loads(encode_json(request))["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (span["traceId"], span["spanId"], span["startTimeUnixNano"]) == (TRACE_ID, SPAN_ID, "1234")
    found = {each["key"]: each["value"] for each in span["attributes"]}
    assert found["t*xt"] == {"stringValue": "a ***"}
    assert found["***"] == {"boolValue": True}
    assert found["list"] == {"arrayValue": {"values": [{"stringValue": "***"}]}}
    assert found["map"] == {"kvlistValue": {"values": [{"key": "k", "value": {"stringValue": "***"}}]}}
    assert found["int"] == {"stringValue": "***"}
    assert found["doubl*"] == {"doubleValue": 0.5}
    assert base64.b64decode(found["byt*s"]["bytesValue"]) == b"\xff ***"
    assert base64.b64decode(found["oth*r"]["bytesValue"]) == b"\xff"
    assert found["non*"] == {"bytesValue": "no base64 at all"}
    assert span["events"][0] == {"name": "***", "timeUnixNano": "1234"}
    assert span["status"]["message"] == "***"


def inbox(folder: Path, *, held: bool) -> tuple[Inbox, Path]:
    """Return an inbox that hides secrets, and its file."""
    path = folder / "gw0-1-a.workload.bin"
    made = Inbox(
        token="t",  # noqa: S106 (of nobody)
        scenario_id="s",
        parent=None,
        store=SpanStore(path),
        now_ns=lambda: 1,
        forget=lambda inbox: None,
        redact=redact,
        held=held,
    )
    return made, path


def test_spans_are_stored_without_secrets_and_judged_with_them(tmp_path: Path) -> None:
    """Who asks the inbox gets what the program sent; the file never had it."""
    made, path = inbox(tmp_path, held=False)
    made.take(decode_json(body(name="hunter2")), 10)
    assert [span.name for span in made.spans()] == ["hunter2"]
    assert b"hunter2" not in path.read_bytes()
    assert b'"***"' in path.read_bytes()


def test_what_is_held_back_is_stored_when_it_is_released(tmp_path: Path) -> None:
    """Until all secrets are known nothing is stored; then all is, in order, and what follows at once."""
    made, path = inbox(tmp_path, held=True)
    made.take(decode_json(body(name="first")), 10)
    assert not path.read_bytes()
    made.release()
    made.take(decode_json(body(name="second")), 10)
    stored = [decode_json(bytes(each)) for _, each in read_store(path)]
    names = [span.name for each in stored for span in each.resource_spans[0].scope_spans[0].spans]  # type: ignore[index,union-attr]
    assert names == ["first", "s*cond"]


def test_the_end_releases_what_was_held_back(tmp_path: Path) -> None:
    """A scenario that ends before its capture loses no span."""
    made, path = inbox(tmp_path, held=True)
    made.take(decode_json(body()), 10)
    made.close()
    assert len(list(read_store(path))) == 1
