"""What is shown only by what is not there: upper bounds, exact numbers, "all" and "none".

The one place that knows which expectations these are. They hold of no span at all, so each of them needs to
be sure that all spans have arrived: they are judged last, and not at all where something was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_clnrm.expect.conditions import Fault
from pytest_clnrm.model.expectations import (
    Condition,
    CountsExpect,
    Expectations,
    GraphExpect,
    HermeticityExpect,
    OrderExpect,
    Origin,
    SpanExpect,
    SpanSelect,
    StatusExpect,
    WindowExpect,
)
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.span import Loss, Span

_LOOK_AT = {
    "expect.counts.events_total": ("events",),
    "expect.hermeticity.no_external_services": ("attributes", "events", "event attributes"),
    "expect.hermeticity.span_attrs.forbid_keys": ("attributes", "events", "event attributes"),
}


_UNDECIDED = (
    "cannot be decided, as a shared service sent spans meanwhile in no scenario's trace; let its callers "
    "hand `traceparent` on to it, or leave `scope` out, so that each scenario has one of its own"
)


@dataclass(frozen=True, slots=True)
class AbsenceForm:
    """One expectation that a span which has not arrived could undo.

    :param title: as the failures of it begin.
    :param origin: whose spans it is about.
    :param looks_at: "attributes", "events", "event attributes", "links": of a span what must not be there, or
        what tells whether it is meant; its program may have left that out.
    """

    at: KeyPath
    title: str
    origin: Origin
    looks_at: tuple[str, ...] = ()


def absence_forms(expect: Expectations) -> Iterator[AbsenceForm]:
    """Yield the expectations of that kind in the order in which they are judged.

    "At least one such span" is none of them.
    """
    for span in expect.spans:
        if not _may_only_gain(span):
            title = f"expect.span[{span.select.name}]"
            yield AbsenceForm(span.at, title, span.select.origin, _looked_at(span.select))
    for edge in expect.edges:
        if edge.every:
            title = f"expect.edge[{edge.parent.name} -> {edge.child.name}]"
            yield AbsenceForm(edge.at, title, edge.child.origin, _looked_at(edge.child))
    tables: list[tuple[Any, Callable[[Any], Iterable[str]]]] = [
        (expect.graph, _graph),
        (expect.counts, _counts),
        *((window, _window) for window in expect.windows),
        (expect.order, _order),
        (expect.status, _status),
        (expect.hermeticity, _hermeticity),
    ]
    for table, titles in tables:
        for title in titles(table) if table else ():
            yield AbsenceForm(table.at, title, table.origin, _LOOK_AT.get(title, ()))


def _looked_at(select: SpanSelect) -> tuple[str, ...]:
    """Return the parts of spans by which they are selected: what was left out of one may hide it."""
    looked_at = {"attributes": select.attrs, "events": select.event, "links": select.link}
    own = [name for name, asked in looked_at.items() if asked]
    around = (each for each in (select.under, select.parent, select.link) if each is not None)
    return tuple(dict.fromkeys([*own, *(name for each in around for name in _looked_at(each))]))


def _may_only_gain(expect: SpanExpect) -> bool:
    """Tell whether further spans cannot break an expectation: no upper bound, nothing asked of each span."""
    return _only_from_below(expect.count) and (expect.match == "any" or not expect.asks_more)


def _only_from_below(bounds: tuple[Condition, ...]) -> bool:
    """Tell whether a number that grows cannot leave *bounds*."""
    return all(bound.op in ("gte", "gt") for bound in bounds)


def _graph(graph: GraphExpect) -> Iterator[str]:
    asked = {
        "must_not_cross": graph.must_not_cross,
        "acyclic": graph.acyclic,
        "single_root": graph.single_root,
        "no_orphans": graph.no_orphans,
        "max_depth": graph.max_depth is not None,
    }
    return (f"expect.graph.{name}" for name, wanted in asked.items() if wanted)


def _counts(counts: CountsExpect) -> Iterator[str]:
    bounds = {
        "spans_total": counts.spans_total,
        "events_total": counts.events_total,
        "errors_total": counts.errors_total,
        **{f"by_name[{glob}]": each for glob, each in counts.by_name.items()},
        **{f"by_service[{glob}]": each for glob, each in counts.by_service.items()},
    }
    return (f"expect.counts.{name}" for name, each in bounds.items() if not _only_from_below(each))


def _window(window: WindowExpect) -> Iterable[str]:
    return (f"expect.window[{window.outer}]",)


def _order(order: OrderExpect) -> Iterator[str]:
    if order.every:
        yield from (f"expect.order.must_precede[{a}, {b}]" for a, b in order.must_precede)
        yield from (f"expect.order.must_follow[{a}, {b}]" for a, b in order.must_follow)


def _status(status: StatusExpect) -> Iterator[str]:
    if status.all is not None:
        yield "expect.status.all"
    yield from (f"expect.status.by_name[{glob}]" for glob in status.by_name)


def _hermeticity(hermeticity: HermeticityExpect) -> Iterator[str]:
    asked = {
        "no_external_services": hermeticity.no_external_services,
        "resource_attrs": hermeticity.resource_attrs,
        "span_attrs.forbid_keys": hermeticity.forbid_keys,
    }
    return (f"expect.hermeticity.{name}" for name, wanted in asked.items() if wanted)


def unproven(
    expect: Expectations, lost: Sequence[Loss], failed: Iterable[str], spans: Sequence[Span]
) -> Iterator[tuple[KeyPath, Fault]]:
    """Yield a fault for each table that cannot be judged, as nothing arrived or something was lost.

    Our own spans are never lost.

    :param failed: messages of the faults that were found, which need no second one.
    :param spans: that arrived, the runner's own among them.
    """
    workload = [span for span in spans if span.origin == "workload"]
    general = ""
    if lost:
        general = f"cannot be judged, as not all spans arrived: {'; '.join(map(str, lost))}"
    elif not workload and not _says_none(expect):
        general = (
            "no span of the workload arrived, so nothing is shown; a scenario that sends none says so: "
            "expect.counts.spans_total = { eq = 0 }"
        )
    dropped = {
        "attributes": sum(span.dropped_attributes for span in workload),
        "events": sum(span.dropped_events for span in workload),
        "event attributes": sum(event.dropped_attributes for span in workload for event in span.events),
        "links": sum(span.dropped_links for span in workload),
    }
    open_titles: dict[tuple[KeyPath, Origin, str], list[str]] = {}
    told = tuple(failed)
    for form in absence_forms(expect):
        failed_already = any(
            each.startswith(form.title) or form.title.startswith(each.partition(": ")[0]) for each in told
        )
        left_out = [f"{dropped[each]} {each}" for each in form.looks_at if dropped[each]]
        why = general
        if not why and left_out:
            why = (
                f"cannot be judged, as programs left out {' and '.join(left_out)} of their spans (SDK limits)"
            )
        if why and form.origin != "runner" and not failed_already:
            open_titles.setdefault((form.at, form.origin, why), []).append(form.title)
    for (at, origin, why), titles in open_titles.items():
        yield at, Fault(f"{', '.join(titles)}: {why}", origin)


def undecided(
    faults: Iterable[tuple[KeyPath, Fault]], failed: Iterable[str]
) -> Iterator[tuple[KeyPath, Fault]]:
    """Yield a fault for what does not hold only if spans count of which nobody can tell whose they are.

    :param faults: that there are if they count.
    :param failed: messages of those that there are without.
    """
    told = {each.partition(": ")[0] for each in failed}
    for at, fault in faults:
        title, _, what = fault.message.partition(": ")
        if title not in told:
            told.add(title)
            yield at, replace(fault, message=f"{title}: {_UNDECIDED} ({what})", details=())


def _says_none(expect: Expectations) -> bool:
    """Tell whether the file says that the workload sends no span."""
    counts = expect.counts
    return (
        counts is not None
        and counts.origin == "workload"
        and any(bound.op in ("eq", "lte") and bound.value == 0 for bound in counts.spans_total)
    )
