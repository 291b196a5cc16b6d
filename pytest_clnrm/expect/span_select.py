"""Which spans are meant, and why others just missed it."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pytest_clnrm.expect.conditions import attribute_faults, fails_by_type, holds, types_text
from pytest_clnrm.expect.forest import Forest
from pytest_clnrm.expect.texts import how_many_more, quote
from pytest_clnrm.model.expectations import Condition, SpanSelect
from pytest_clnrm.model.span import Span
from pytest_clnrm.util.patterns import matches_glob

MISSES = 5
NAMES = 1000
SIMILAR = 0.6


def select_spans(select: SpanSelect, forest: Forest) -> list[Span]:
    """Return the spans that *select* means, in the order of their start."""
    spans = _where_under_says(select, forest)
    if select.parent is not None:
        parents = set(map(id, select_spans(select.parent, forest)))
        spans = [span for span in spans if id(forest.parent(span)) in parents]
    rest = replace(select, parent=None, under=None)
    return [span for span in spans if not select_faults(rest, span, forest)]


def _where_under_says(select: SpanSelect, forest: Forest) -> list[Span]:
    """Return the spans below one that ``under`` of *select* means, all without one: chains may be long."""
    if select.under is None:
        return forest.spans
    below = forest.below(select_spans(select.under, forest))
    return [span for span in forest.spans if id(span) in below]


def select_faults(select: SpanSelect, span: Span, forest: Forest) -> list[str]:
    """Return why *span* is not selected: its name, or whose it is, alone; else all other reasons."""
    if not matches_glob(span.name, select.name):
        return [f"its name is {quote(span.name)}, expected {quote(select.name)}"]
    if select.origin not in ("any", span.origin):
        return [f'it is a span of the {span.origin}, which counts only with from = "{span.origin}"']
    return [*_own_faults(select, span), *_faults_around(select, span, forest)]


def _own_faults(select: SpanSelect, span: Span) -> list[str]:
    """Return why *span* is not selected, looking at itself alone."""
    faults = []
    if select.kind not in (None, span.kind):
        faults.append(f"kind is {span.kind}, expected {select.kind}")
    for what, glob in (("service", select.service), ("scope", select.scope)):
        if glob is not None and not matches_glob(name := getattr(span, what), glob):
            faults.append(f"{what} is {quote(name)}, expected {quote(glob)}")
    if select.status not in (None, span.status):
        faults.append(f"status is {span.status}, expected {select.status}")
    faults.extend(attribute_faults(select.attrs, span.attributes, left_out=span.dropped_attributes))
    faults.extend(attribute_faults(select.resource, span.resource, "resource attribute"))
    if select.event is not None and not any(matches_glob(each.name, select.event) for each in span.events):
        faults.append(f"it has no event {quote(select.event)}")
    said = {"message": span.status_message}
    faults.extend(attribute_faults({"message": select.status_message}, said, "status"))
    return faults


def _faults_around(select: SpanSelect, span: Span, forest: Forest) -> list[str]:
    """Return why *span* is not selected, looking at the spans above it and those that it is linked to."""
    faults = []
    if select.link is not None:
        linked = forest.linked(span)
        if all(select_faults(select.link, each, forest) for each in linked):
            names = ", ".join(quote(each.name) for each in linked) or "nothing that arrived"
            faults.append(f"it is linked to {names}, expected {select_text(select.link)}")
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


def unknown_names(select: SpanSelect, forest: Forest) -> list[str]:
    """Return what else *select* names that nothing has.

    That is a service, a scope, a resource attribute, what is above, or an attribute of the type asked for.
    """
    unknown = []
    for what, glob in (("service", select.service), ("scope", select.scope)):
        if glob is not None and not any(matches_glob(getattr(span, what), glob) for span in forest.spans):
            unknown.append(f"no span is of {what} {glob}")
    unknown += [
        f"no span has the resource attribute {key!r}"
        for key, tests in select.resource.items()
        if any(test.op != "exists" or test.value for test in tests)
        and not any(key in span.resource for span in forest.spans)
    ]
    unknown += dict.fromkeys(_of_other_types(select, forest))
    for key, above in (("parent", select.parent), ("under", select.under), ("link", select.link)):
        if above is not None and not select_spans(above, forest):
            unknown.append(f"no span is selected by {key} = {select_text(above)}")
    return unknown


def _of_other_types(select: SpanSelect, forest: Forest) -> Iterator[str]:
    """Yield the attributes of which a condition holds for no span, and that for the type of its values alone.

    What counts are the spans that are selected by all else, but for what is of another type as well.
    """
    tests = [
        (what, key, test)
        for what, asked in (("attribute", select.attrs), ("resource attribute", select.resource))
        for key, conditions in asked.items()
        for test in conditions
    ]
    values: dict[int, list[Any]] = defaultdict(list)
    for span in select_spans(replace(select, attrs={}, resource={}), forest) if tests else ():
        given = [span.attributes if what == "attribute" else span.resource for what, _, _ in tests]
        judged = list(enumerate(zip(tests, given, strict=True)))
        in_vain = [index for index, ((_, key, test), all_of) in judged if _is_in_vain(test, key, all_of)]
        for index, ((_, key, _), all_of) in judged:
            if key in all_of and in_vain in ([], [index]):
                values[index].append(all_of[key])
    for index, (what, key, test) in enumerate(tests):
        if values[index] and all(fails_by_type(test, each) for each in values[index]):
            yield f"{what} {key!r} is of another type there: {types_text(values[index])}"


def _is_in_vain(test: Condition, key: str, attributes: Mapping[str, Any]) -> bool:
    """Tell whether *test* does not hold, and not for the type of what *attributes* have there."""
    if key not in attributes:
        return test.op != "exists" or bool(test.value)
    return not holds(test, attributes[key]) and not fails_by_type(test, attributes[key])


def select_text(select: SpanSelect) -> str:
    """Return what *select* means in a few words: its name, and what else it looks at."""
    more = {
        "kind": select.kind,
        "service": select.service,
        "status": select.status,
        "attrs": ", ".join(select.attrs),
        "under": select_text(select.under) if select.under else None,
        "parent": select_text(select.parent) if select.parent else None,
        "event": select.event,
        "link": select_text(select.link) if select.link else None,
        "scope": select.scope,
        "resource": ", ".join(select.resource),
        "status_message": "as asked" if select.status_message else None,
    }
    told = ", ".join(f"{key} {value}" for key, value in more.items() if value)
    return f"{select.name} ({told})" if told else select.name


def near_misses(select: SpanSelect, forest: Forest) -> list[str]:
    """Return lines about the spans that came nearest to being selected, and why they were not."""
    named = [span for span in forest.spans if matches_glob(span.name, select.name)]
    below = set(map(id, _where_under_says(select, forest)))
    rest = replace(select, under=None)
    faults = ((len(select_faults(rest, each, forest)) + (id(each) not in below), each) for each in named)
    missed = [span for number, span in sorted(faults, key=lambda each: each[0]) if number]
    # Only for those that are shown the chain above is put into words: it may be long.
    lines = [
        f"nearest: {span.name}: {'; '.join(select_faults(select, span, forest))}" for span in missed[:MISSES]
    ]
    lines += how_many_more(len(missed), MISSES, "of that name")
    if not named:
        names = list(dict.fromkeys(span.name for span in forest.of(select.origin)))[:NAMES]
        close = difflib.get_close_matches(select.name, names, n=3, cutoff=SIMILAR)
        lines.extend(
            f"nearest: {quote(name)} has a similar name"
            if name != select.name
            else f"nearest: {quote(name)} is this to the letter, but *, ? and [ are wildcards: "
            "take { equals = ... } for a name as it is"
            for name in close
        )
    return lines
