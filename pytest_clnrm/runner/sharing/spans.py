"""Which spans of shared services belong to one of their users, and which cannot be told.

The trace says it: a service that hands on ``traceparent`` has its spans below those of whoever called it. So
a span is a user's own if it is below one of the user's spans, or of a trace that a program of the user has
begun. It is another's if that can be shown from what the run has recorded of all others. What is left was
sent in a trace of nobody's: it is told by its time alone, shown, and never counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_clnrm.telemetry.receive.shared_book import BookReader
from pytest_clnrm.telemetry.span_store import OPEN_SUFFIX, STORE_SUFFIX, read_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pytest_clnrm.model.span import Loss, Span
    from pytest_clnrm.telemetry.receive.shared_book import BookedSpan
    from pytest_clnrm.telemetry.tracing import ScenarioTrace

LOOK_S = 0.05
"""Seconds between two looks whether something has come: another process receives it."""


class SharedSpans:
    """The spans of the shared services of one user, from the moment when it began to use each.

    :param trace: of the scenario or test that uses them.
    :param folder: of the run's spans, None if spans are off.
    """

    def __init__(self, trace: ScenarioTrace, folder: Path | None) -> None:
        self._trace = trace
        self._folder = folder
        self._uses: dict[str, tuple[BookReader, int]] = {}

    def begin(self, service: str, book: Path, now_ns: int) -> None:
        """Note that the use of a shared service begins.

        :param book: in which its spans are.
        :param now_ns: by the clock of the engine's host.
        """
        if self._trace.inbox is not None:
            self._uses[service] = (BookReader(book), now_ns)

    def are_expected(self) -> bool:
        """Tell whether something may come: one is used that could send."""
        return bool(self._uses)

    def own(self, service: str = "") -> list[Span]:
        """Return those that belong to this user, of one service or all, each with its step."""
        inbox = self._trace.inbox
        if inbox is None or not self._uses:
            return []
        booked = list(self._booked())
        ids, (traces, left_out), run = self._trace.span_ids(), inbox.known_traces(), self._trace.trace_id
        below = _below(ids, (each.span for _, each in booked if each.span.trace_id == run))
        return [
            inbox.placed(span)
            for name, span in ((name, each.span) for name, each in booked)
            if service in ("", name)
            and span.trace_id not in left_out
            and (span.span_id in below if span.trace_id == run else span.trace_id in traces)
        ]

    def doubtful(self, service: str = "", since_ns: int = 0) -> list[Span]:
        """Return those that started while they were used, and of which nobody can tell whose they are.

        :param since_ns: leave out what started before.
        """
        inbox = self._trace.inbox
        if inbox is None or not self._uses:
            return []
        _, left_out = inbox.known_traces()
        own = {(each.trace_id, each.span_id) for each in self.own()}
        booked = list(self._booked())
        spans = {(each.span.trace_id, each.span.span_id): each.span for _, each in booked}
        found = [
            each.span
            for name, each in booked
            if service in ("", name)
            and each.started_ns >= max(since_ns, self._uses[name][1])
            and each.span.trace_id not in left_out
            and (each.span.trace_id, each.span.span_id) not in own
        ]
        if not found or self._folder is None:
            return found
        run = self._trace.trace_id
        marks = {id(each): _mark(each, spans, run) for each in found}
        of_others = _recorded(self._folder, set(marks.values()))
        return [each for each in found if marks[id(each)] not in of_others]

    def losses(self) -> list[Loss]:
        """Return what was lost of them while they were used."""
        self.read()
        return [loss for reader, _ in self._uses.values() for loss in reader.losses]

    def read(self) -> bool:
        """Read what has come, and tell whether anything has."""
        return sum(reader.read() for reader, _ in self._uses.values()) > 0

    def _booked(self) -> Iterator[tuple[str, BookedSpan]]:
        self.read()
        for name, (reader, _) in self._uses.items():
            for each in reader.spans:
                yield name, each

    def wait(self, until: Callable[[], bool], timeout_s: float, look_s: float = LOOK_S) -> bool:
        """Wait until something holds, and return whether it does.

        :param look_s: seconds between two looks.
        """
        ends_s = time.monotonic() + timeout_s
        inbox = self._trace.inbox
        while not (holds := until()) and inbox is not None and (left_s := ends_s - time.monotonic()) > 0:
            inbox.wait(timeout_s=min(look_s, left_s))
        return holds

    def settle(self, quiet_s: float) -> None:
        """Wait until exporters that have sent something before have sent what they hold back.

        :param quiet_s: how long that takes.
        """
        inbox = self._trace.inbox
        if inbox is not None and any(reader.is_in_use for reader, _ in self._uses.values()):
            inbox.wait(timeout_s=quiet_s)

    def text(self, service: str, since_ns: int = 0) -> str:
        """Return the spans of a service as they are shown below a failure, "" if there are none."""
        parts = []
        if own := self.own(service):
            # Above the uppermost are the scenario's own, which are not shown here.
            ids = {each.span_id for each in own}
            tops = [each if each.parent_id in ids else replace(each, parent_id=None) for each in own]
            parts.append(f"in its own trace:\n{_tree(tops)}")
        if doubtful := self.doubtful(service, since_ns):
            told = "begun while it was used, in no trace of a scenario or test, so not counted"
            parts.append(f"{told}:\n{_tree(doubtful)}")
        return "\n".join(parts)


def _tree(spans: list[Span]) -> str:
    from pytest_clnrm.expect.forest import Forest, tree_text

    return tree_text(Forest(spans), "workload").partition("\n")[2]


def _below(ids: set[str], spans: Iterable[Span]) -> set[str]:
    """Return the ids of *spans* that are below one of *ids*."""
    children: dict[str, list[str]] = {}
    for span in spans:
        children.setdefault(span.parent_id or "", []).append(span.span_id)
    found: set[str] = set()
    pending = list(ids)
    while pending:
        for each in children.get(pending.pop(), ()):
            if each not in found:
                found.add(each)
                pending.append(each)
    return found


def _mark(span: Span, spans: dict[tuple[str, str], Span], run: str) -> bytes:
    """Return what stands in what was recorded of whoever caused *span*: the trace, or the span above all."""
    if span.trace_id != run:
        return f'"traceId":"{span.trace_id}"'.encode()
    seen = {span.span_id}
    while span.parent_id is not None and span.parent_id not in seen:
        seen.add(span.parent_id)
        above = spans.get((run, span.parent_id))
        if above is None:
            return f'"spanId":"{span.parent_id}"'.encode()
        span = above
    return b""


def _recorded(folder: Path, marks: set[bytes]) -> set[bytes]:
    """Return which of *marks* stand in what the run has recorded, but for what shared services have sent.

    That is where another scenario's spans are: all processes write theirs there as they come.
    """
    marks.discard(b"")
    found: set[bytes] = set()
    for path in sorted(folder.glob("*")):
        left = marks - found
        if not left:
            break
        if path.name.endswith(OPEN_SUFFIX):
            data = path.read_bytes()
            found |= {each for each in left if each.startswith(b'"spanId"') and each in data}
        elif path.name.endswith(STORE_SUFFIX):
            for header, body in read_store(path):
                if "shared" not in header:
                    found |= {each for each in left if each in body}
    return found
