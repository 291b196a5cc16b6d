"""Merging what all processes of a run recorded and received into one trace.

Spans are copied as the bytes that they were written as; ours are only decoded where something has to be
repaired. docs/design/span-merge.md has the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from pytest_clnrm.telemetry.merge.runner_index import (
    INCOMPLETE,
    RunnerIndex,
    runner_groups,
    unfinished_groups,
)
from pytest_clnrm.telemetry.otlp.messages import decode_json
from pytest_clnrm.telemetry.otlp.spans import accept
from pytest_clnrm.telemetry.span_store import STORE_SUFFIX, read_store, worker_of
from pytest_clnrm.telemetry.traceparent import parse_traceparent
from pytest_clnrm.util.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.model.span import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedSpan:
    """A span of the run, to be shown.

    :param worker: the worker that recorded or received it.
    :param scenario: node id of its scenario, "" if it belongs to none.
    :param under: id of the span that it is shown under: its parent; the step or scenario for a root of the
        workload, or where the parent did not arrive; "" for the root of all.
    """

    span: Span
    worker: str
    scenario: str
    under: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a merged trace holds.

    :param incomplete: how many of the runner's were still running when their recording ended.
    :param torn: how many records were cut off and are left out.
    """

    runner: int
    workload: int
    incomplete: int
    torn: int


class MergedTrace:
    """The trace of a run, from the files in its folder of spans; only an index is held.

    :param directory: the folder, no longer written to.
    """

    def __init__(self, directory: Path) -> None:
        self._stores = sorted(directory.glob(f"*{STORE_SUFFIX}"))
        self._workload = 0
        received: dict[str, int] = {}
        for path in self._stores:
            worker = worker_of(path)
            for header, _ in read_store(path):
                received[worker] = max(received.get(worker, 0), header["received_ns"])
                self._workload += header["spans"]
        self._index = RunnerIndex(directory, received)

    def groups(self) -> Iterator[bytes]:
        """Yield the elements of ``resourceSpans`` as OTLP/JSON, each with a bounded number of spans."""
        for group in runner_groups(self._index):
            yield group.encoded()
        for path in self._stores:
            for _, body in read_store(path):
                yield from (bytes(element) for element in _decode_elements(body).resource_spans)

    def write(self, path: Path) -> Written:
        """Write the trace as one OTLP/JSON object; a reader sees the old file or the whole new one.

        :raises OSError: if it cannot be written.
        """
        with replacing(path) as file:
            file.write(b'{"resourceSpans":[')
            separator = b"\n"
            for group in self.groups():
                file.write(separator + group)
                separator = b",\n"
            file.write(b"\n]}\n")
        return Written(
            runner=len(self._index.parents),
            workload=self._workload,
            incomplete=len(self._index.incomplete),
            torn=self._index.torn,
        )

    def unfinished(self) -> Iterator[MergedSpan]:
        """Yield the runner's spans that were still running when their recording ended."""
        for group in unfinished_groups(self._index):
            for span in group.plain():
                yield self._of_runner(group.worker, span)

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Return how many spans of the runner, and of the workload, each scenario has, by its node id."""
        runner = Counter(map(self._index.scenario_of, self._index.parents))
        workload: Counter[str] = Counter()
        for path in self._stores:
            for header, _ in read_store(path):
                workload[header["scenario"]] += header["spans"]
        return runner, workload

    def _of_runner(self, worker: str, span: Span) -> MergedSpan:
        return MergedSpan(
            span=replace(span, incomplete=True) if INCOMPLETE in span.attributes else span,
            worker=worker,
            scenario=self._index.scenario_of(span.span_id),
            under=span.parent_id or "",
        )

    def spans(self, limit: int) -> tuple[MergedSpan, ...]:
        """Return at most *limit* spans as plain values, the runner's first."""
        found: list[tuple[MergedSpan, str]] = []
        shared: set[int] = set()
        for merged, otherwise, is_shared in self._plain():
            if len(found) >= limit:
                break
            found.append((merged, otherwise))
            if is_shared:
                shared.add(id(merged))
        arrived = {merged.span.span_id: merged for merged, _ in found}
        run = self._index.root.trace_id if self._index.root else ""
        of_traces = {
            merged.span.trace_id: merged.scenario
            for merged, _ in found
            if id(merged) not in shared and merged.span.trace_id != run
        }

        def placed(merged: MergedSpan, otherwise: str) -> MergedSpan:
            if id(merged) in shared:
                # Of a service that scenarios share: its trace says whose it is.
                above = next((each for each in _above(merged, arrived) if id(each) not in shared), None)
                scenario = above.scenario if above else merged.scenario
                merged = replace(merged, scenario=of_traces.get(merged.span.trace_id, scenario))
            if merged.under in arrived:
                return merged
            return replace(merged, under=otherwise if otherwise in arrived else "")

        return tuple(placed(*each) for each in found)

    def _plain(self) -> Iterator[tuple[MergedSpan, str, bool]]:
        """Yield each span as if its parent had arrived, and the id of what it is shown under if not.

        The last is whether a shared service has sent it.
        """
        for group in runner_groups(self._index):
            for span in group.plain():
                yield self._of_runner(group.worker, span), "", False
        for path in self._stores:
            for header, body in read_store(path):
                places = ((place[:2],) * place[2] for place in header["places"])
                spans = accept(decode_json(body)).spans
                for span, (step, traceparent) in zip(spans, chain.from_iterable(places), strict=True):
                    place = parse_traceparent(traceparent)
                    under = place.span_id if place else ""
                    merged = MergedSpan(
                        span=replace(span, step=step),
                        worker=worker_of(path),
                        scenario=self._index.scenario_of(under) or header["scenario"],
                        under=span.parent_id or under,
                    )
                    yield merged, under, "shared" in header


def _above(merged: MergedSpan, arrived: Mapping[str, MergedSpan]) -> Iterator[MergedSpan]:
    """Yield what a span is under, and so on; each once."""
    seen = {merged.span.span_id}
    while merged.under in arrived and merged.under not in seen:
        seen.add(merged.under)
        merged = arrived[merged.under]
        yield merged


class _Elements(msgspec.Struct, rename="camel"):
    """A request whose parts stay as they are."""

    resource_spans: list[msgspec.Raw]


_decode_elements = msgspec.json.Decoder(_Elements).decode
