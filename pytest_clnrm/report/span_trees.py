"""Spans as the trees that a report shows: one forest a scenario, parents before their children."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pytest_clnrm.model.span import Span


class PlacedSpan(Protocol):
    """A span and its place, as merging a run's trace gives them."""

    @property
    def span(self) -> Span:
        """The span itself."""

    @property
    def worker(self) -> str:
        """The worker that recorded or received it."""

    @property
    def scenario(self) -> str:
        """Node id of its scenario, "" if it belongs to none."""

    @property
    def under(self) -> str:
        """Id of the span that it is shown under, "" for a root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSpan:
    """A span where a report shows it.

    :param scenario: node id, "" if it belongs to none.
    :param depth: 0 for what has no parent among the spans of its scenario.
    """

    span: Span
    worker: str
    scenario: str
    depth: int


def shown_spans(spans: Iterable[PlacedSpan]) -> list[ShownSpan]:
    """Return *spans* scenario by scenario, each a forest in depth-first order, siblings by their start."""
    by_scenario: dict[str, list[PlacedSpan]] = defaultdict(list)
    for each in spans:
        by_scenario[each.scenario].append(each)
    return [
        ShownSpan(span=each.span, worker=each.worker, scenario=scenario, depth=depth)
        for scenario, group in by_scenario.items()
        for each, depth in _depth_first(group)
    ]


def _depth_first(group: Sequence[PlacedSpan]) -> Iterator[tuple[PlacedSpan, int]]:
    """Yield each span of *group* once, with its depth, whatever their parents say."""
    ids = {each.span.span_id for each in group}
    children: dict[str, list[PlacedSpan]] = defaultdict(list)
    by_start = sorted(group, key=lambda each: (each.span.start_ns, -each.span.end_ns))
    # In reverse, as they are taken from the end below.
    for each in reversed(by_start):
        children[each.under if each.under in ids else ""].append(each)
    while children:
        # Only circles are left when the roots are done: each is shown from its first span on.
        waiting = [(each, 0) for each in children.pop("" if "" in children else next(iter(children)))]
        while waiting:
            each, depth = waiting.pop()
            yield each, depth
            waiting.extend((child, depth + 1) for child in children.pop(each.span.span_id, ()))
