"""The spans of one body on their way into the store: placed under their steps, and written as OTLP/JSON."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_clnrm.telemetry.otlp.hiding import hide
from pytest_clnrm.telemetry.otlp.messages import (
    AnyValue,
    KeyValue,
    Link,
    OtlpSpan,
    ResourceSpans,
    ScopeSpans,
    TraceRequest,
    encode_json,
)
from pytest_clnrm.telemetry.traceparent import parse_traceparent

if TYPE_CHECKING:
    from pytest_clnrm.model.span import Span

GROUP_SPANS = 512


class Steps:
    """The steps that a scenario entered, in their order.

    :param parent: ``traceparent`` of the scenario's own span.
    :param began_ns: when the scenario began; nothing of it started before.
    """

    def __init__(self, parent: str | None = None, began_ns: int = 0) -> None:
        self.parent = parent
        self._began_ns = began_ns
        self._starts_ns: list[int] = []
        self._steps: list[tuple[str, str]] = []
        self._by_span: dict[str, int] = {}

    def enter(self, name: str, traceparent: str, start_ns: int) -> None:
        """Note that the step *name* starts, whose span is *traceparent*."""
        step = parse_traceparent(traceparent)
        if step is not None:
            self._by_span[step.span_id] = len(self._steps)
        self._starts_ns.append(start_ns)
        self._steps.append((name, traceparent))

    def place(self, span: Span, attempt: str = "") -> tuple[str, str]:
        """Return the name and the ``traceparent`` of the step that *span* belongs to.

        It is the step that the span names as its parent, else that whose program has sent it, else the last
        that had started when it started: a batch may arrive when the next step runs. Before the first step
        it is ("", the scenario's). A span whose times are from before the scenario, as those that a shell
        posts, is taken to have started now.

        What a step left running may serve its next attempts: of several attempts it is the last that had
        started when the span did.

        Clocks get no tolerance: what a step causes starts after the step, by the time that a process needs to
        start, while what the step before caused often starts only milliseconds before.
        """
        index = self._by_span.get(span.parent_id or "")
        if index is None:
            index = bisect.bisect_right(self._starts_ns, span.start_ns) - 1
            if span.start_ns < self._began_ns:
                index = len(self._steps) - 1
            sent_by = self._by_span.get(attempt)
            if sent_by is not None:
                index = max(sent_by, min(index, self._last_attempt(sent_by)))
        return self._steps[index] if index >= 0 else ("", self.parent or "")

    def sent_by_step(self, attempt: str) -> bool:
        """Tell whether *attempt* is the id of a step's span."""
        return attempt in self._by_span

    def _last_attempt(self, index: int) -> int:
        """Return the last attempt of the step of which *index* is one; they follow one another."""
        name = self._steps[index][0]
        while index + 1 < len(self._steps) and self._steps[index + 1][0] == name:
            index += 1
        return index


@dataclass(frozen=True, slots=True)
class Placed:
    """A span and where it belongs.

    :param struct: the same span with its resource and scope.
    :param place: name and ``traceparent`` of its step, or "" and the scenario's.
    :param sent_by_step: a program of that step has sent it.
    """

    span: Span
    struct: tuple[ResourceSpans, ScopeSpans, OtlpSpan]
    place: tuple[str, str]
    sent_by_step: bool = False


def encode_batch(batch: Sequence[Placed], redact: Callable[[str], str] | None = None) -> bytes:
    """Return *batch* as a request in OTLP/JSON, in its order; a root gets a link to the span of its step.

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
