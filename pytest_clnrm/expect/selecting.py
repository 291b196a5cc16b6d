"""Which spans are meant, and why others just missed it."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase

from pytest_clnrm.expect.conditions import attribute_faults
from pytest_clnrm.expect.forest import Forest
from pytest_clnrm.expect.texts import quote
from pytest_clnrm.scenario.expectations import SpanSelect
from pytest_clnrm.span import Span

__all__ = ["near_misses", "parent_faults", "select_faults", "select_spans", "select_text"]

MISSES = 5
NAMES = 1000
SIMILAR = 0.6


def select_spans(select: SpanSelect, forest: Forest) -> list[Span]:
    """Return the spans that *select* means, in the order of their start."""
    return [span for span in forest.spans if not select_faults(select, span, forest)]


def select_faults(select: SpanSelect, span: Span, forest: Forest) -> list[str]:
    """Return why *span* is not selected: its name, or whose it is, alone; else all other reasons."""
    if not fnmatchcase(span.name, select.name):
        return [f"its name is {quote(span.name)}, expected {quote(select.name)}"]
    if select.origin not in ("any", span.origin):
        return [f'it is a span of the {span.origin}, which counts only with from = "{span.origin}"']
    faults = []
    if select.kind not in (None, span.kind):
        faults.append(f"kind is {span.kind}, expected {select.kind}")
    if select.service is not None and not fnmatchcase(span.service, select.service):
        faults.append(f"service is {quote(span.service)}, expected {quote(select.service)}")
    if select.status not in (None, span.status):
        faults.append(f"status is {span.status}, expected {select.status}")
    faults.extend(attribute_faults(select.attrs, span.attributes))
    if select.parent is not None:
        faults.extend(parent_faults(select.parent, span, forest))
    if select.under is not None:
        above = list(forest.ancestors(span))
        if all(select_faults(select.under, each, forest) for each in above):
            chain = " < ".join(quote(each.name) for each in above) or "nothing"
            faults.append(f"it is under {chain}, expected under {select_text(select.under)}")
    return faults


def parent_faults(select: SpanSelect, span: Span, forest: Forest) -> list[str]:
    """Return why the direct parent of *span* is not the one that *select* means."""
    parent = forest.parent(span)
    if parent is None:
        gone = f"its parent {span.parent_id} never arrived" if span.parent_id else "it has no parent"
        return [f"{gone}, expected {select_text(select)}"]
    return [f"of its parent: {each}" for each in select_faults(select, parent, forest)]


def select_text(select: SpanSelect) -> str:
    """Return what *select* means in a few words: its name, and what else it looks at."""
    more = {
        "kind": select.kind,
        "service": select.service,
        "status": select.status,
        "attrs": ", ".join(select.attrs),
        "under": select_text(select.under) if select.under else None,
        "parent": select_text(select.parent) if select.parent else None,
    }
    told = ", ".join(f"{key} {value}" for key, value in more.items() if value)
    return f"{select.name} ({told})" if told else select.name


def near_misses(select: SpanSelect, forest: Forest) -> list[str]:
    """Return lines about the spans that came nearest to being selected, and why they were not."""
    named = [span for span in forest.spans if fnmatchcase(span.name, select.name)]
    faults = ((span, select_faults(select, span, forest)) for span in named)
    missed = sorted(((span, why) for span, why in faults if why), key=lambda each: len(each[1]))
    lines = [f"nearest: {span.name}: {'; '.join(why)}" for span, why in missed[:MISSES]]
    if len(missed) > MISSES:
        lines.append(f"... {len(missed) - MISSES} more of that name")
    if not named:
        names = list(dict.fromkeys(span.name for span in forest.of(select.origin)))[:NAMES]
        close = difflib.get_close_matches(select.name, names, n=3, cutoff=SIMILAR)
        lines.extend(f"nearest: {quote(name)} has a similar name" for name in close)
    return lines
