"""The spans of a scenario as a forest: who is whose parent, whatever programs sent.

Programs send spans twice, name parents that never arrive, and may send circles. None of that raises here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_clnrm.expect.texts import bounded_lines, duration_text, indent, quote, visible
from pytest_clnrm.model.expectations import Origin
from pytest_clnrm.model.span import Span
from pytest_clnrm.util.counted import counted
from pytest_clnrm.util.patterns import matches_glob

TREE_SPANS = 60
TREE_DEPTH = 20
FAILED_NAMES = 5


class Forest:
    """Spans by their ids, each once, in the order of their start.

    What a failed attempt of a step did does not count for the one that followed it. Which step a span belongs
    to is told by its parents, or by the step whose program has sent it; by its time only where neither is
    known, and one step alone ran.

    :ivar spans: without those that arrived a second time, and those of failed attempts.
    :ivar of_failed_attempts: these.
    """

    def __init__(self, spans: Iterable[Span]) -> None:
        once: dict[tuple[str, str, str, int], dict[tuple[int, str], Span]] = {}
        for span in spans:
            same = once.setdefault((span.trace_id, span.span_id, span.name, span.start_ns), {})
            # If it was also sent while it still ran, only its final state counts.
            if span.duration_s is not None:
                for key in [key for key, each in same.items() if each.duration_s is None]:
                    del same[key]
            elif any(each.duration_s is not None for each in same.values()):
                continue
            # With another end or status it is not the same: an error stays one, whatever was sent before.
            same.setdefault((span.end_ns, span.status), span)
        each_once = (each for same in once.values() for each in same.values())
        self.spans = sorted(each_once, key=lambda span: span.start_ns)
        self._by_id: dict[tuple[str, str], Span] = {}
        attempts: dict[str, list[Span]] = {}
        for span in self.spans:
            self._by_id.setdefault((span.trace_id, span.span_id), span)
            if span.origin == "runner" and span.name == "clnrm.step":
                attempts.setdefault(str(span.attributes.get("clnrm.step.name", "")), []).append(span)
        self._attempts = {span.span_id: span for step in attempts.values() for span in step}
        self._one_step = len(attempts) == 1
        # Two steps may have one name; the attempt of a step that another one followed has failed.
        below_failed = self.below(
            each for step in attempts.values() for each in step[:-1] if each.status == "error"
        )
        self.of_failed_attempts = [
            span for span in self.spans if span.origin != "runner" and id(span) in below_failed
        ]
        if self.of_failed_attempts:
            gone = set(map(id, self.of_failed_attempts))
            self.spans = [span for span in self.spans if id(span) not in gone]

    def of(self, origin: Origin) -> list[Span]:
        """Return the spans of the workload, of the runner, or all."""
        return [span for span in self.spans if origin in ("any", span.origin)]

    def named(self, glob: str, origin: Origin) -> list[Span]:
        """Return the spans of *origin* whose name matches *glob*."""
        return [span for span in self.of(origin) if matches_glob(span.name, glob)]

    def parent(self, span: Span) -> Span | None:
        """Return the span that *span* names as its parent, None if it names none or it never arrived."""
        return None if span.parent_id is None else self._by_id.get((span.trace_id, span.parent_id))

    def is_orphan(self, span: Span) -> bool:
        """Tell whether *span* names a parent that never arrived."""
        return span.parent_id is not None and self.parent(span) is None

    def above(self, span: Span) -> Span | None:
        """Return the parent, or else the runner's span of the step that *span* is part of, if that is known.

        A program that starts a trace of its own is still part of the step that ran it.
        """
        parent = self.parent(span)
        if parent is None and (span.sent_by_step or self._one_step):
            return self._attempts.get(span.attempt)
        return parent

    def ancestors(self, span: Span) -> Iterator[Span]:
        """Yield what is above, what is above that, and so on; each once, in a circle *span* itself last."""
        seen: set[int] = set()
        above = self.above(span)
        while above is not None and id(above) not in seen:
            seen.add(id(above))
            yield above
            above = self.above(above)

    def below(self, spans: Iterable[Span]) -> set[int]:
        """Return the ``id()`` of each span that has one of *spans* among its ancestors.

        That takes as many steps as there are spans, however long their chains are.
        """
        pending = list(map(id, spans))
        directly: dict[int, list[int]] = {}
        for span in self.spans if pending else ():
            above = self.above(span)
            if above is not None:
                directly.setdefault(id(above), []).append(id(span))
        found: set[int] = set()
        while pending:
            # Taken out, so that a circle ends.
            children = directly.pop(pending.pop(), ())
            found.update(children)
            pending.extend(children)
        return found

    def linked(self, span: Span) -> list[Span]:
        """Return the spans that arrived and that *span* has a link to."""
        found = (self._by_id.get((link.trace_id, link.span_id)) for link in span.links)
        return [each for each in found if each is not None]

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


def tree_text(forest: Forest, origin: Origin) -> str:
    """Return the spans of *origin* as an indented tree, at most :data:`TREE_SPANS` of them."""
    spans = forest.of(origin)
    whose = {"workload": "the workload", "runner": "the runner", "any": "workload or runner"}[origin]
    failed = ""
    if forest.of_failed_attempts:
        names = dict.fromkeys(visible(each.name) for each in forest.of_failed_attempts)
        named = ", ".join(bounded_lines(list(names), FAILED_NAMES, "names"))
        number = len(forest.of_failed_attempts)
        failed = f"and {number} of attempts of steps that failed, which do not count: {named}"
    if not spans:
        return f"no span of {whose} arrived{failed and ' that counts, '}{failed}"
    children = forest.children(origin)
    lines: list[str] = []
    shown: set[int] = set()

    def show(start: Span) -> None:
        # A loop, as a program may nest its spans deeper than Python nests calls.
        pending = [(start, 0)]
        while pending and len(shown) < TREE_SPANS:
            span, depth = pending.pop()
            if id(span) not in shown and depth <= TREE_DEPTH:
                shown.add(id(span))
                lines.append("  " * depth + _line(span, forest))
                pending.extend((each, depth + 1) for each in reversed(children.get(id(span), [])))

    for root in forest.roots(origin):
        show(root)
    for span in forest.cyclic(origin):
        if id(span) not in shown and len(shown) < TREE_SPANS:
            lines.append("in a circle:")
            show(span)
    if len(spans) > len(shown):
        lines.append(f"... {len(spans) - len(shown)} more")
    if failed:
        lines.append(failed)
    return f"{counted(len(spans), 'span')} of {whose} arrived:\n" + indent("\n".join(lines))


def doubtful_text(spans: Sequence[Span]) -> str:
    """Return spans of shared services of which nobody can tell whose they are, as they are shown."""
    tree = tree_text(Forest(spans), "workload").partition("\n")[2]
    number = counted(len(spans), "span")
    return f"{number} of shared services began meanwhile in no scenario's trace, and do not count:\n{tree}"


def _line(span: Span, forest: Forest) -> str:
    """Return one span: name, kind, service, duration, and what is wrong with it."""
    facts = [span.kind, span.service, duration_text((span.end_ns - span.start_ns) / 1e9)]
    if span.status != "unset":
        facts.append(f"{span.status}: {quote(span.status_message)}" if span.status_message else span.status)
    if span.incomplete:
        facts.append("not ended")
    if forest.is_orphan(span):
        facts.append(f"its parent {span.parent_id} never arrived")
    return f"{visible(span.name)} [{', '.join(visible(fact) for fact in facts if fact)}]"
