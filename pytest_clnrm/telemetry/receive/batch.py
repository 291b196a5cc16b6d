"""The spans of one body on their way into the store: placed under their steps, and written as OTLP/JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_clnrm.telemetry.otlp.hiding import hide
from pytest_clnrm.telemetry.otlp.messages import encode_json
from pytest_clnrm.telemetry.otlp.values import (
    AnyValue,
    KeyValue,
    Link,
    OtlpSpan,
    ResourceSpans,
    ScopeSpans,
    TraceRequest,
)
from pytest_clnrm.telemetry.traceparent import parse_traceparent

if TYPE_CHECKING:
    from pytest_clnrm.model.span import Span

GROUP_SPANS = 512


@dataclass(frozen=True, slots=True)
class Placed:
    """A span and where it belongs.

    :param struct: the same span with its resource and scope.
    :param place: name and ``traceparent`` of its step, or "" and the scenario's.
    """

    span: Span
    struct: tuple[ResourceSpans, ScopeSpans, OtlpSpan]
    place: tuple[str, str]


def encode_batch(batch: Sequence[Placed], redact: Callable[[str], str] | None = None) -> bytes:
    """Return *batch* as a request in OTLP/JSON, in its order; roots are linked to the span of their place.

    Each element of ``resourceSpans`` has a bounded number of spans.

    :param redact: hides secrets in a text.
    """
    elements: list[ResourceSpans] = []
    group: list[OtlpSpan] = []
    last: tuple[int, int] | None = None
    for placed in batch:
        resource, scope, struct = placed.struct
        if last != (id(resource), id(scope)) or len(group) >= GROUP_SPANS:
            last = id(resource), id(scope)
            group = []
            scoped = ScopeSpans(scope=scope.scope, spans=group, schema_url=scope.schema_url)
            elements.append(
                ResourceSpans(
                    resource=resource.resource, scope_spans=[scoped], schema_url=resource.schema_url
                )
            )
        if struct.parent_span_id is None:
            _link(struct, placed.place[1])
        group.append(struct)
    request = TraceRequest(resource_spans=elements)
    if redact is not None:
        hide(request, redact)
    return encode_json(request)


def _link(struct: OtlpSpan, traceparent: str) -> None:
    place = parse_traceparent(traceparent)
    if place is not None:
        why = KeyValue(key="clnrm.link", value=AnyValue(string_value="under"))
        link = Link(trace_id=place.trace_id, span_id=place.span_id, attributes=[why])
        struct.links = [*(struct.links or ()), link]


def places_of(batch: Sequence[Placed]) -> list[tuple[str, str, int]]:
    """Return the places of *batch* in its order, each with the number of neighbours that share it."""
    places: list[tuple[str, str, int]] = []
    for placed in batch:
        if places and places[-1][:2] == placed.place:
            places[-1] = (*placed.place, places[-1][2] + 1)
        else:
            places.append((*placed.place, 1))
    return places
