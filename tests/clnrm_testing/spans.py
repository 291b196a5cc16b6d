"""Spans as a program sends them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_clnrm.model.span import AttributeValue, Span
from pytest_clnrm.telemetry.otlp.messages import (
    Event,
    Link,
    OtlpSpan,
    Resource,
    ResourceSpans,
    Scope,
    ScopeSpans,
    Status,
    TraceRequest,
)
from pytest_clnrm.telemetry.otlp.spans import KINDS, STATUSES, to_key_values


def _from_span(span: Span) -> OtlpSpan:
    """Return *span* as OTLP has it; resource, origin and step are not part of it."""
    status = None
    if span.status != "unset" or span.status_message:
        status = Status(code=STATUSES.index(span.status) or None, message=span.status_message or None)
    return OtlpSpan(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_id,
        name=span.name,
        kind=KINDS.index(span.kind, 1),
        start_time_unix_nano=str(span.start_ns),
        end_time_unix_nano=str(span.end_ns),
        attributes=to_key_values(span.attributes),
        events=[
            Event(
                time_unix_nano=str(event.time_ns), name=event.name, attributes=to_key_values(event.attributes)
            )
            for event in span.events
        ]
        or None,
        links=[
            Link(trace_id=link.trace_id, span_id=link.span_id, attributes=to_key_values(link.attributes))
            for link in span.links
        ]
        or None,
        status=status,
    )


def to_request(spans: Iterable[Span]) -> TraceRequest:
    """Return *spans* as one request, those of the same resource and scope together."""
    groups: list[tuple[Mapping[str, AttributeValue], str, list[OtlpSpan]]] = []
    for span in spans:
        if not groups or groups[-1][:2] != (span.resource, span.scope):
            groups.append((span.resource, span.scope, []))
        groups[-1][2].append(_from_span(span))
    return TraceRequest(
        resource_spans=[
            ResourceSpans(
                resource=Resource(attributes=to_key_values(resource)),
                scope_spans=[ScopeSpans(scope=Scope(name=scope) if scope else None, spans=structs)],
            )
            for resource, scope, structs in groups
        ]
    )
