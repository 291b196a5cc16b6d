"""The spans of a scenario as a forest: who is whose parent, whatever programs sent.

Programs send spans twice, name parents that never arrive, and may send circles. None of that raises here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from pytest_clnrm.scenario.expectations import Origin
from pytest_clnrm.span import Span

__all__ = ["Forest"]


class Forest:
    """Spans by their ids, each once, in the order of their start.

    :ivar spans: without those that arrived a second time.
    """

    def __init__(self, spans: Iterable[Span]) -> None:
        once: dict[tuple[str, str, str, int], Span] = {}
        for span in spans:
            key = (span.trace_id, span.span_id, span.name, span.start_ns)
            if key not in once or once[key].incomplete:
                once[key] = span
        self.spans = sorted(once.values(), key=lambda span: span.start_ns)
        self._by_id: dict[tuple[str, str], Span] = {}
        self._steps: dict[str, Span] = {}
        for span in self.spans:
            self._by_id.setdefault((span.trace_id, span.span_id), span)
            if span.origin == "runner" and span.name == "clnrm.step":
                self._steps[str(span.attributes.get("clnrm.step.name", ""))] = span

    def of(self, origin: Origin) -> list[Span]:
        """Return the spans of the workload, of the runner, or all."""
        return [span for span in self.spans if origin in ("any", span.origin)]

    def named(self, glob: str, origin: Origin) -> list[Span]:
        """Return the spans of *origin* whose name matches *glob*."""
        return [span for span in self.of(origin) if fnmatchcase(span.name, glob)]

    def parent(self, span: Span) -> Span | None:
        """Return the span that *span* names as its parent, None if it names none or it never arrived."""
        return None if span.parent_id is None else self._by_id.get((span.trace_id, span.parent_id))

    def is_orphan(self, span: Span) -> bool:
        """Tell whether *span* names a parent that never arrived."""
        return span.parent_id is not None and self.parent(span) is None

    def ancestors(self, span: Span) -> Iterator[Span]:
        """Yield the parent, its parent, and so on; each once.

        A program that starts a trace of its own is still part of the step that ran it: above its root come
        the runner's spans of that step.
        """
        seen = {id(span)}
        while True:
            above = self.parent(span)
            if above is None and span.origin == "workload":
                above = self._steps.get(span.step) if span.step else None
            if above is None or id(above) in seen:
                return
            seen.add(id(above))
            yield above
            span = above

    def roots(self, origin: Origin) -> list[Span]:
        """Return the spans of *origin* that have no parent of that origin."""
        return [span for span in self.of(origin) if not self.parent_within(span, origin)]

    def cyclic(self, origin: Origin) -> list[Span]:
        """Return the spans of *origin* that are their own ancestors."""
        state: dict[int, int] = {}
        found: list[Span] = []
        for number, start in enumerate(self.of(origin)):
            path: list[Span] = []
            span: Span | None = start
            while span is not None and id(span) not in state:
                state[id(span)] = number
                path.append(span)
                span = self.parent_within(span, origin)
            # Only a span met earlier on this same path closes a circle.
            if span is not None and state[id(span)] == number:
                first = next(index for index, each in enumerate(path) if each is span)
                found.extend(path[first:])
        return found

    def depths(self, origin: Origin) -> dict[int, int]:
        """Return the depth of each span of *origin* by its ``id()``; a root has 1.

        Spans in or below a circle have none.
        """
        depths: dict[int, int] = {}
        children = self.children(origin)
        level, depth = self.roots(origin), 1
        while level:
            depths.update((id(span), depth) for span in level)
            level = [child for span in level for child in children.get(id(span), ())]
            depth += 1
        return depths

    def children(self, origin: Origin) -> dict[int, list[Span]]:
        """Return the children of each span of *origin* by its ``id()``, in the order of their start."""
        children: dict[int, list[Span]] = {}
        for span in self.of(origin):
            above = self.parent_within(span, origin)
            if above is not None:
                children.setdefault(id(above), []).append(span)
        return children

    def parent_within(self, span: Span, origin: Origin) -> Span | None:
        """Return the parent if it is a span of *origin*."""
        above = self.parent(span)
        return above if above is not None and origin in ("any", above.origin) else None
