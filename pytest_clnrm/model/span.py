"""A recorded span as a frozen value: what the telemetry room reads and merges, and expectations judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Union

AttributeValue = Union[
    None, bool, int, float, str, bytes, "list[AttributeValue]", "dict[str, AttributeValue]"
]
"""The value of an attribute as the type that its program gave it."""
SpanKind = Literal["internal", "server", "client", "producer", "consumer"]
SpanStatus = Literal["unset", "ok", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """Something that happened within a span.

    :param time_ns: nanoseconds since the epoch.
    :param dropped_attributes: how many of its attributes its program left out.
    """

    name: str
    time_ns: int = 0
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    dropped_attributes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanLink:
    """A span that another one points to; ids in lower-case hex."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span.

    :param trace_id: 32 lower-case hex digits.
    :param span_id: 16 lower-case hex digits.
    :param parent_id: None for a root.
    :param service: ``service.name`` of its resource, "" if that says none.
    :param start_ns: nanoseconds since the epoch.
    :param end_ns: the same; the last that is known if it is incomplete.
    :param status: as its program set it in the span itself; attributes do not count.
    :param resource: the attributes of its resource.
    :param scope: name of the instrumentation scope that made it, "" if that is not known.
    :param origin: "runner" for our own spans, "workload" for those of programs in containers.
    :param step: name of the step that ran when it started, "" if that is not known.
    :param attempt: id of the span of that step's attempt.
    :param sent_by_step: a program that this step started has sent it; else the step is told by its time.
    :param dropped_attributes: how many of its own attributes its program left out; *dropped_events* and
        *dropped_links* likewise.
    :param incomplete: it was still running when its recording ended.
    """

    trace_id: str
    span_id: str
    name: str
    start_ns: int
    end_ns: int
    parent_id: str | None = None
    kind: SpanKind = "internal"
    service: str = ""
    status: SpanStatus = "unset"
    status_message: str = ""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    resource: Mapping[str, AttributeValue] = field(default_factory=dict)
    scope: str = ""
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    origin: Literal["workload", "runner"] = "workload"
    step: str = ""
    attempt: str = ""
    sent_by_step: bool = False
    incomplete: bool = False
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0

    @property
    def duration_s(self) -> float | None:
        """Return how long it took, in seconds; None if its times are missing or in the wrong order."""
        if self.incomplete or self.start_ns <= 0 or self.end_ns < self.start_ns:
            return None
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Something that programs sent and that is not among their spans: what is missing is not known.

    :param what: of what there are *count*.
    :param why: in words for a user.
    """

    what: Literal["span", "request", "connection", "output", "shared service"]
    why: str
    count: int = 1

    def __str__(self) -> str:
        """Return it as a sentence: ``2 spans were refused: a span's id is not 8 bytes``."""
        if self.what == "shared service":
            return self.why
        number = f"1 {self.what} was" if self.count == 1 else f"{self.count} {self.what}s were"
        return f"{number} {'cut' if self.what == 'output' else 'refused'}: {self.why}"
