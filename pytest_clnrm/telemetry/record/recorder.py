"""Recording our own spans, without a type of OpenTelemetry in sight.

A recorder has a private tracer provider: the global one, the ambient context and the environment's ``OTEL_*``
are neither used nor touched, so that it lives beside a user's own tracing. Parents are named explicitly, by
their ``traceparent``. Each span is in a file when its ``end`` returns, and marked as running before that; see
:mod:`pytest_clnrm.telemetry.record.span_file`. A child that this process forks records nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_clnrm.telemetry.clock import Clock
from pytest_clnrm.telemetry.traceparent import format_traceparent, parse_traceparent

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.model.span import AttributeValue, SpanKind


class RunningSpan:
    """A span until its end; one of a recorder that is off does nothing.

    :param span: the SDK's, None if nothing is recorded.
    :ivar traceparent: for its children, wherever they are; "" if nothing is recorded.
    """

    def __init__(self, span: Any, clock: Clock) -> None:
        self._span = span
        self._clock = clock
        self.traceparent = ""
        if span is not None:
            context = span.get_span_context()
            self.traceparent = format_traceparent(f"{context.trace_id:032x}", f"{context.span_id:016x}")

    def set(self, key: str, value: AttributeValue) -> None:
        """Set an attribute; None leaves it unset."""
        if self._span is not None and value is not None:
            self._span.set_attribute(key, value)

    def fail(self, message: str, error_type: str = "") -> None:
        """Set its status to error.

        :param error_type: the attribute ``error.type``, "" for none.
        """
        if self._span is not None:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, message))
            self.set("error.type", error_type or None)

    def end(self, end_ns: int | None = None) -> None:
        """End it, now or at *end_ns*; what comes later is ignored."""
        # The SDK warns in a log about a second end; here it is nothing to warn of.
        if self._span is not None and self._span.is_recording():
            self._span.end(end_ns if end_ns is not None else self._clock.now_ns())


class Recorder:
    """Records the spans of one process into files of its own.

    :param path_dir: the run's folder of spans, which exists; None records nothing and imports nothing.
    :param worker_id: "master", "gw0"...; part of the files' names.
    :param resource: attributes of the resource, see :mod:`pytest_clnrm.telemetry.record.resource`.
    :param trace_parent: the parent of spans without one: ``TRACEPARENT`` on the controller, the session's
        span in a worker. One that is not valid is ignored, as the standard asks; then a trace is started, one
        for all spans of this recorder.
    :param first: ``traceparent`` that the first span is to have, where others had to know it before.
    :ivar off_reason: why nothing is recorded although there is a folder, "" if something is.
    :raises OSError: if the files cannot be created.
    """

    def __init__(
        self,
        path_dir: Path | None,
        worker_id: str,
        resource: Mapping[str, AttributeValue],
        trace_parent: str | None = None,
        first: str | None = None,
    ) -> None:
        self._clock = Clock()
        self._tracer: Any = None
        self._processor: Any = None
        self._default_parent = parse_traceparent(trace_parent)
        self.off_reason = ""
        if path_dir is None:
            return
        # The SDK reads this in each provider and cannot be told otherwise.
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            self.off_reason = (
                "OTEL_SDK_DISABLED=true switches the OpenTelemetry SDK off, and with it our spans"
            )
            return
        from pytest_clnrm.telemetry.record.span_file import private_tracer

        self._tracer, self._processor = private_tracer(
            path_dir, worker_id, resource, parse_traceparent(first)
        )

    @property
    def problem(self) -> str:
        """Why spans were lost, "" if none was."""
        return str(self._processor.problem) if self._processor else ""

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch, by the clock of all spans of this process."""
        return self._clock.now_ns()

    def span(
        self,
        name: str,
        *,
        parent: str | None = None,
        kind: SpanKind = "internal",
        attributes: Mapping[str, AttributeValue] | None = None,
        start_ns: int | None = None,
    ) -> RunningSpan:
        """Start a span, which the caller ends.

        :param parent: its parent's ``traceparent``; None means the recorder's own parent.
        :param start_ns: when it started, if not now.
        """
        if self._tracer is None:
            return RunningSpan(None, self._clock)
        from pytest_clnrm.telemetry.record.span_file import parent_context, span_kind

        set_attributes = {key: value for key, value in (attributes or {}).items() if value is not None}
        span = self._tracer.start_span(
            name,
            context=parent_context(parse_traceparent(parent) or self._default_parent),
            kind=span_kind(kind),
            attributes=set_attributes,
            start_time=self._clock.now_ns() if start_ns is None else start_ns,
        )
        return RunningSpan(span, self._clock)

    def add(
        self,
        name: str,
        parent: str | None,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        error: str = "",
    ) -> str:
        """Record a span whose times are known afterwards.

        :param error: why it failed, "" if it did not.
        :return: its ``traceparent``.
        """
        span = self.span(name, parent=parent, attributes=attributes, start_ns=start_ns)
        if error:
            span.fail(error)
        span.end(end_ns)
        return span.traceparent

    def close(self) -> None:
        """Close the files; spans that are still running stay marked as running."""
        if self._processor is not None:
            self._processor.shutdown()
