"""Judging spans: from expectations and what arrived to failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from pytest_clnrm.expect.absence import absence_forms, undecided, unproven
from pytest_clnrm.expect.all_spans import judge_counts, judge_graph, judge_order, judge_status, judge_window
from pytest_clnrm.expect.conditions import Fault
from pytest_clnrm.expect.forest import Forest, doubtful_text, tree_text
from pytest_clnrm.expect.hermeticity import judge_hermeticity
from pytest_clnrm.expect.selected_spans import judge_edge, judge_span
from pytest_clnrm.model.expectations import Expectations, Origin
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.result import Failure
from pytest_clnrm.model.span import Loss, Span
from pytest_clnrm.util.patterns import PatternTimeoutError


def judge_spans(
    expect: Expectations,
    spans: Sequence[Span],
    *,
    where: Callable[[KeyPath], str],
    services: frozenset[str] = frozenset(),
    named: frozenset[str] = frozenset(),
    lost: Sequence[Loss] = (),
    doubtful: Callable[[], Sequence[Span]] = tuple,
) -> tuple[Failure, ...]:
    """Return which expectations do not hold, in the order in which they are judged.

    Silence proves nothing: what holds only because something is not there needs a span of the workload,
    unless the file says that none is sent.

    :param spans: the workload's and the runner's own; which of them count is for each expectation to say.
    :param where: gives ``file:line`` of a key path.
    :param services: names (and other addresses) under which the scenario's services reach one another.
    :param named: ``service.name`` of services that the file knows, whether or not they send spans.
    :param lost: what programs sent and is not among *spans*.
    :param doubtful: returns spans that may be the scenario's or not. They count for nothing; what holds only
        without them is not decided, and fails.
    """
    forest = Forest(spans)
    faults = _faults(expect, forest, services, named)
    faults += unproven(expect, lost, [fault.message for _, fault in faults], forest.spans)
    asked = (faults or not lower_bound_only(expect)) and doubtful()
    if asked:
        more = _faults(expect, Forest([*spans, *asked]), services, named)
        faults += undecided(more, [fault.message for _, fault in faults])
    failures: list[Failure] = []
    told: set[Origin] = set()
    for at, fault in faults:
        details = list(fault.details)
        # One tree is enough: it would bury the reasons of the next failures.
        if fault.origin not in told:
            told.add(fault.origin)
            details.append(tree_text(forest, fault.origin))
            if asked and fault.origin != "runner":
                details.append(doubtful_text(asked))
        failures.append(Failure(message=fault.message, where=where(at), details="\n".join(details)))
    return tuple(failures)


def _faults(
    expect: Expectations, forest: Forest, services: frozenset[str], named: frozenset[str]
) -> list[tuple[KeyPath, Fault]]:
    """Return what is wrong, with the key path of each expectation."""
    tables: list[tuple[Any, Callable[[Any, Forest], Iterator[Fault]]]] = [
        *((span, judge_span) for span in expect.spans),
        *((edge, judge_edge) for edge in expect.edges),
        (expect.graph, judge_graph),
        (expect.counts, partial(judge_counts, named=named)),
        *((window, judge_window) for window in expect.windows),
        (expect.order, judge_order),
        (expect.status, judge_status),
        (expect.hermeticity, partial(judge_hermeticity, services=services)),
    ]
    return [found for table, judge in tables if table for found in _told(table.at, judge(table, forest))]


def _told(at: KeyPath, faults: Iterator[Fault]) -> Iterator[tuple[KeyPath, Fault]]:
    """Yield *faults*, with their place, as they are found; that a pattern took too long is one too."""
    try:
        yield from ((at, fault) for fault in faults)
    except PatternTimeoutError as error:
        yield at, Fault(f"cannot be judged: {error}", "any")


def lower_bound_only(expect: Expectations) -> bool:
    """Tell whether all that is expected, once it holds, still holds whatever spans follow.

    This is so for "at least one such span", and not for "no error" or "each such span".
    """
    return not any(absence_forms(expect))


def satisfied_early(
    expect: Expectations, spans: Sequence[Span], *, services: frozenset[str] = frozenset()
) -> bool:
    """Tell whether no span needs to be waited for any more: all holds, and nothing can undo it."""
    return lower_bound_only(expect) and not _faults(expect, Forest(spans), services, frozenset())
