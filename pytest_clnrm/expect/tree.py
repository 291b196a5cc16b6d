"""The tree of the spans that arrived, as text, bounded."""

from __future__ import annotations

from pytest_clnrm.expect.forest import Forest
from pytest_clnrm.expect.texts import indent, quote, visible
from pytest_clnrm.model.expectations import Origin
from pytest_clnrm.model.span import Span

TREE_SPANS = 60
TREE_DEPTH = 20


def tree_text(forest: Forest, origin: Origin) -> str:
    """Return the spans of *origin* as an indented tree, at most :data:`TREE_SPANS` of them."""
    spans = forest.of(origin)
    whose = {"workload": "the workload", "runner": "the runner", "any": "workload or runner"}[origin]
    failed = ""
    if forest.of_failed_attempts:
        failed = f"and {forest.of_failed_attempts} of attempts of steps that failed, which do not count"
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
    return f"{len(spans)} {'span' if len(spans) == 1 else 'spans'} of {whose} arrived:\n" + indent(
        "\n".join(lines)
    )


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


def duration_text(seconds: float) -> str:
    """Return a duration as users write it: ``1.5 s``, ``12.3 ms``."""
    return f"{seconds:.4g} s" if abs(seconds) >= 1 else f"{seconds * 1000:.4g} ms"
