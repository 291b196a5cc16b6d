"""The recorder's file: each span one line of OTLP/JSON, written with one ``write`` when it ends.

A line in a second file tells that a span has started; the merge takes from it what was running when a process
was killed. Nothing is buffered here, so a kill loses no span that had ended. Imports OpenTelemetry: only
:class:`pytest_clnrm.telemetry.record.recorder.Recorder` uses it, when one is created.
"""

from __future__ import annotations

import inspect
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from pytest_clnrm.model.result import clean_text
from pytest_clnrm.telemetry.otlp.messages import OtlpSpan, Status, encode_json
from pytest_clnrm.telemetry.otlp.spans import to_key_values
from pytest_clnrm.telemetry.span_store import OPEN_SUFFIX, RUNNER_SUFFIX, file_stem

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.model.span import AttributeValue
    from pytest_clnrm.telemetry.traceparent import TraceParent

SCOPE = "pytest_clnrm"
_TAIL = b"]}]}]}\n"
_LIMIT = 1000


class _Ids(IdGenerator):
    """Ids from the system's randomness: tests seed :mod:`random`, and two workers would draw the same.

    :param first: ids of the first span, where others had to know them before it was recorded.
    """

    def __init__(self, first: TraceParent | None) -> None:
        self._first_span = int(first.span_id, 16) if first else 0
        self._trace_id = int(first.trace_id, 16) if first else secrets.randbits(128) or 1

    def generate_span_id(self) -> int:
        given, self._first_span = self._first_span, 0
        return given or secrets.randbits(64) or 1

    def generate_trace_id(self) -> int:
        """Return the same for each span without a parent: a run is one trace."""
        return self._trace_id


class _FileProcessor(SpanProcessor):
    """Writes spans; what cannot be written is counted, and never ends a test run."""

    def __init__(self, stem: Path, head: bytes) -> None:
        self._head = head
        self._pid = os.getpid()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._ended = os.open(f"{stem}{RUNNER_SUFFIX}", flags, 0o600)
        self._open = os.open(f"{stem}{OPEN_SUFFIX}", flags, 0o600)
        self._torn: set[int] = set()
        self._lost = 0
        self.problem = ""

    def on_start(self, span: ReadableSpan, parent_context: Context | None = None) -> None:  # noqa: ARG002
        self._write(self._open, span)

    def on_end(self, span: ReadableSpan) -> None:
        self._write(self._ended, span)

    def shutdown(self) -> None:
        for name in ("_ended", "_open"):
            descriptor = getattr(self, name)
            setattr(self, name, -1)
            if descriptor >= 0:
                os.close(descriptor)

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002
        return True

    def _write(self, descriptor: int, span: ReadableSpan) -> None:
        # A forked child ends our spans once more when it leaves our frames.
        if descriptor < 0 or os.getpid() != self._pid:
            return
        line = self._head + encode_span(span) + _TAIL
        if descriptor in self._torn:
            line = b"\n" + line
        try:
            written = os.write(descriptor, line)
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        if written == len(line):
            self._torn.discard(descriptor)
        else:
            self._torn.add(descriptor)
            self._lose("the file system takes no more")

    def _lose(self, why: str) -> None:
        self._lost += 1
        self.problem = f"{self._lost} records of spans could not be written: {why}"


def encode_span(span: ReadableSpan) -> bytes:
    """Return an SDK's *span* as OTLP/JSON; one that is still running has no end."""
    try:
        return encode_json(_struct(span, str))
    except UnicodeEncodeError:
        # Lone surrogates come with text of the file system; JSON cannot hold them.
        return encode_json(_struct(span, clean_text))


def _struct(span: ReadableSpan, text: Any) -> OtlpSpan:
    context, parent, status = span.context, span.parent, span.status

    def pairs(attributes: Mapping[str, Any] | None) -> Any:
        return to_key_values({text(key): plain(each) for key, each in (attributes or {}).items()})

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return text(value)
        # Before the abstract types, which are asked slowly.
        if value is None or isinstance(value, (int, float)):
            return value
        if isinstance(value, Mapping):
            return {text(key): plain(each) for key, each in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return [plain(each) for each in value]
        return value

    failed = None
    if status.status_code.value:
        failed = Status(code=status.status_code.value, message=text(status.description or "") or None)
    return OtlpSpan(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_span_id=f"{parent.span_id:016x}" if parent else None,
        flags=int(context.trace_flags),
        name=text(span.name),
        kind=span.kind.value + 1,
        start_time_unix_nano=str(span.start_time),
        end_time_unix_nano=str(span.end_time) if span.end_time else None,
        attributes=pairs(span.attributes),
        status=failed,
    )


def private_tracer(
    path_dir: Path,
    worker_id: str,
    resource: Mapping[str, AttributeValue],
    first: TraceParent | None = None,
) -> tuple[Tracer, _FileProcessor]:
    """Return a tracer of a provider of its own, and the processor that writes its spans.

    :param first: ids of its first span.

    :raises OSError: if the files cannot be created.
    """
    # Everything is given explicitly: what is not, the SDK takes from the environment's OTEL_*, which are
    # meant for the user's own tracing.
    more: dict[str, Any] = {}
    if "meter_provider" in inspect.signature(TracerProvider).parameters:
        more["meter_provider"] = NoOpMeterProvider()
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=Resource(dict(resource)),
        shutdown_on_exit=False,
        id_generator=_Ids(first),
        span_limits=SpanLimits(
            max_attributes=_LIMIT,
            max_events=_LIMIT,
            max_links=_LIMIT,
            max_span_attributes=_LIMIT,
            max_event_attributes=_LIMIT,
            max_link_attributes=_LIMIT,
            max_attribute_length=SpanLimits.UNSET,
            max_span_attribute_length=SpanLimits.UNSET,
        ),
        **more,
    )
    resource_json = encode_json({"attributes": to_key_values(resource)})
    scope_json = encode_json({"name": SCOPE})
    head = b"".join(
        (
            b'{"resourceSpans":[{"resource":',
            resource_json,
            b',"scopeSpans":[{"scope":',
            scope_json,
            b',"spans":[',
        )
    )
    processor = _FileProcessor(path_dir / file_stem(worker_id), head)
    provider.add_span_processor(processor)
    return provider.get_tracer(SCOPE), processor


def parent_context(parent: TraceParent | None) -> Context:
    """Return a context that holds *parent* alone; never the ambient one."""
    if parent is None:
        return Context()
    context = SpanContext(
        int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=TraceFlags(1)
    )
    return set_span_in_context(NonRecordingSpan(context), Context())


def span_kind(kind: str) -> SpanKind:
    """Return the SDK's value of a span's kind."""
    return SpanKind[kind.upper()]
