"""A receiver of spans on the loopback address, an inbox of it, and what is sent to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_clnrm.telemetry.receive.inbox import Inbox
from pytest_clnrm.telemetry.receive.receiver import Receiver

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def protobuf_body(*names: str, span_id: bytes | None = None) -> bytes:
    """Return an export request in protobuf with spans of these names."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number, name in enumerate(names, start=1):
        identity = number.to_bytes(8, "big") if span_id is None else span_id
        spans.add(trace_id=bytes.fromhex(TRACE_ID), span_id=identity, name=name)
    return bytes(request.SerializeToString())


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """Return a receiver that serves the loopback address; nothing may have gone wrong within it."""
    receiver = Receiver(tmp_path, "gw0", addresses=["127.0.0.1"])
    yield receiver
    receiver.close()
    assert receiver.problem == ""


@pytest.fixture
def inbox(receiver: Receiver) -> Inbox:
    """Return the inbox of a scenario that runs."""
    return receiver.open("s1")
