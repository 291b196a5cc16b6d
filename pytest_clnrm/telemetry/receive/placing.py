"""Which step of its scenario a span of the workload belongs to."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from pytest_clnrm.telemetry.traceparent import parse_traceparent

if TYPE_CHECKING:
    from pytest_clnrm.model.span import Span

TOLERANCE_NS = 5_000_000
"""How far the clocks of two processes may differ."""


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

    def place(self, span: Span) -> tuple[str, str]:
        """Return the name and the ``traceparent`` of the step that *span* belongs to.

        It is the step that the span names as its parent, else the last that had started when it started: a
        batch may arrive when the next step runs. Before the first step it is ("", the scenario's). Times
        from before the scenario are none of it, as those that a shell posts: it is the step that runs now.
        """
        index = self._by_span.get(span.parent_id or "")
        if index is None and span.start_ns < self._began_ns:
            index = len(self._steps) - 1
        if index is None:
            index = bisect.bisect_right(self._starts_ns, span.start_ns + TOLERANCE_NS) - 1
        return self._steps[index] if index >= 0 else ("", self.parent or "")
