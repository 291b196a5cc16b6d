"""Thousands of seeded bodies, good and bad: each gets the answer of the table, and memory stays bounded.

``CLNRM_FUZZ_BODIES`` sets how many; the default takes seconds.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from pytest_clnrm.telemetry.receive.body import JSON, PROTOBUF
from pytest_clnrm.telemetry.receive.receiver import Receiver

BODIES = int(os.environ.get("CLNRM_FUZZ_BODIES", "500"))
MAX_SPANS = 500
MEMORY_BYTES = 64 << 20
Case = tuple[bytes, str, dict[str, str], str, frozenset[int]]
OK, BAD, EITHER = frozenset({200}), frozenset({400}), frozenset({200, 400})


def attribute_value(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """Return a valid value of any type."""
    choices: list[Callable[[], dict[str, Any]]] = [
        lambda: {"stringValue": rng.choice(["", "x", "ü€😀", "\u0000", "<script>"]) * rng.randint(0, 50)},
        lambda: {"intValue": rng.choice([0, -1, "5", str(2**63 - 1), str(-(2**63))])},
        lambda: {"boolValue": rng.random() < 0.5},
        lambda: {"doubleValue": rng.choice([0.5, -1e300, "NaN", "Infinity", 3])},
        lambda: {"bytesValue": "AAEC"},
        dict,
    ]
    if depth < 4:
        choices += [
            lambda: {
                "arrayValue": {"values": [attribute_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]}
            },
            lambda: {"kvlistValue": {"values": [{"key": "k", "value": attribute_value(rng, depth + 1)}]}},
        ]
    return rng.choice(choices)()


def good_json(rng: random.Random) -> bytes:
    """Return a valid request in JSON, with unknown keys and nulls here and there."""
    spans = [
        {
            "traceId": f"{rng.randint(1, 2**128 - 1):032x}",
            "spanId": f"{rng.randint(1, 2**64 - 1):016X}",
            "name": rng.choice(["a", "", "GET /", None]),
            "kind": rng.choice([0, 1, 5, 99, "SPAN_KIND_CLIENT", None]),
            "startTimeUnixNano": rng.choice(["0", 1, str(2**64 - 1)]),
            "attributes": [{"key": "k", "value": attribute_value(rng)} for _ in range(rng.randint(0, 4))],
            "events": rng.choice([None, [{"name": "e", "timeUnixNano": "5"}]]),
            "status": rng.choice([None, {}, {"code": 2, "message": "m"}, {"code": "STATUS_CODE_OK"}]),
            "unknown": {"deep": [1, 2]},
        }
        for _ in range(rng.randint(0, 4))
    ]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}], "x": None}]}).encode()


def good_protobuf(rng: random.Random) -> bytes:
    """Return a valid request in protobuf."""
    request = ExportTraceServiceRequest()
    for _ in range(rng.randint(0, 2)):
        resource = request.resource_spans.add()
        spans = resource.scope_spans.add().spans
        for _ in range(rng.randint(0, 4)):
            span = spans.add(
                trace_id=rng.randbytes(16), span_id=rng.randbytes(8), name="p", kind=rng.randint(0, 5)
            )
            for _ in range(rng.randint(0, 3)):
                value = span.attributes.add(key="k").value
                if rng.random() < 0.5:
                    value.array_value.values.add()
                else:
                    value.int_value = 7
    return bytes(request.SerializeToString())


def mutated(rng: random.Random, body: bytes) -> bytes:
    """Return *body* with some bytes changed, cut or added."""
    changed = bytearray(body or b"x")
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(3)
        if kind == 0 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif kind == 1:
            changed[at:at] = rng.randbytes(rng.randint(1, 6))
        else:
            del changed[at : at + rng.randint(1, 10)]
    return bytes(changed)


def case(rng: random.Random, token: str) -> Case:
    """Return a request and which answers are right: body, content type, headers, path, statuses."""
    path = f"/t/{token}/v1/traces"
    as_json = rng.random() < 0.5
    body, content_type = (good_json(rng), JSON) if as_json else (good_protobuf(rng), PROTOBUF)
    zipped = {"Content-Encoding": "gzip"}
    deep = b'{"a":' * 20_000
    cases: list[Callable[[], Case]] = [
        lambda: (body, content_type, {}, path, OK),
        lambda: (gzip.compress(body, 1, mtime=0), content_type, zipped, path, OK),
        lambda: (body, content_type, {"x-clnrm-token": token}, "/v1/traces", OK),
        lambda: (mutated(rng, body), content_type, {}, path, EITHER),
        lambda: (mutated(rng, body), content_type, {}, path, EITHER),
        lambda: (rng.randbytes(rng.randint(1, 300)), JSON, {}, path, BAD),
        lambda: (rng.randbytes(rng.randint(1, 300)), PROTOBUF, {}, path, EITHER),
        lambda: (gzip.compress(body, 1, mtime=0)[: rng.randint(0, 15)], content_type, zipped, path, BAD),
        lambda: (body, content_type, {}, f"/t/{token}/v1/metrics", OK),
        lambda: (deep, JSON, {}, path, BAD),
        lambda: (b"x", "text/plain", {}, path, frozenset({415})),
        lambda: (body, content_type, {"Content-Encoding": "br"}, path, frozenset({415})),
        lambda: (body, content_type, {}, "/t/stranger/v1/traces", frozenset({401})),
        lambda: (body, content_type, {}, f"/t/{token}/v9/traces", frozenset({404})),
        lambda: (b"", content_type, {"Content-Length": str(10 * 2**30)}, path, frozenset({413})),
    ]
    return rng.choice(cases)()


def test_each_body_gets_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every body is answered as the table says, the spans held stay within the limit, and so does memory."""
    rng = random.Random(20240607)  # noqa: S311 # seeded on purpose
    monkeypatch.setattr("pytest_clnrm.telemetry.receive.inbox.MAX_SPANS", MAX_SPANS)
    receiver = Receiver(tmp_path, "gw0", addresses=["127.0.0.1"])
    inbox = receiver.open("fuzz")
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=30)
    statuses: Counter[int] = Counter()
    tracemalloc.start()
    try:
        for number in range(BODIES):
            body, content_type, headers, path, expected = case(rng, inbox.token)
            connection.request("POST", path, body, {"Content-Type": content_type, **headers})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status in expected, (number, answer.status, expected, said, body[:200])
            answer_type = JSON if content_type == JSON else PROTOBUF
            assert answer.headers["Content-Type"] == answer_type
            if answer_type == JSON:
                assert isinstance(json.loads(said), dict)
            elif answer.status == 200:
                ExportTraceServiceResponse.FromString(said)
            else:
                assert Status.FromString(said).message
            statuses[answer.status] += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        connection.close()
        receiver.close()
    assert receiver.problem == ""
    assert sum(each.count for each in inbox.losses() if each.why.startswith("401, ")) == statuses[401]
    assert 0 < len(inbox.spans()) <= MAX_SPANS
    assert set(statuses) == {200, 400, 401, 404, 413, 415}
    assert peak < MEMORY_BYTES
