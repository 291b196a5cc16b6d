"""What programs in the containers of one scenario sent: bounded, and waited for by events."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pytest_clnrm.model.span import Loss
from pytest_clnrm.telemetry.environment import PROBE
from pytest_clnrm.telemetry.otlp.spans import Accepted, accept, misses_spans
from pytest_clnrm.telemetry.receive.batch import Placed, Steps, encode_batch, places_of
from pytest_clnrm.telemetry.traceparent import parse_traceparent

if TYPE_CHECKING:
    from pytest_clnrm.model.span import Span
    from pytest_clnrm.telemetry.otlp.messages import TraceRequest
    from pytest_clnrm.telemetry.receive.shared_book import SharedBook
    from pytest_clnrm.telemetry.span_store import SpanStore

Waited = Literal["held", "settled", "deadline"]
Lost = Literal["span", "request", "connection", "output"]

TOKEN_BYTES = 24
TOKEN_CHARS = 32
"""The length of a token; a step's programs have the id of its attempt's span behind it."""
MAX_SPANS = 50_000
"""How many spans an inbox holds at most."""
MAX_BYTES = 32 << 20
"""How many bytes the bodies that an inbox has accepted may have together, without their compression."""
NOTHING_BYTES = len("{}")
"""The size of a body that says nothing."""
MAX_REASONS = 20
"""How many reasons for losses are told apart: a program may make up as many as it likes."""


class InboxClosedError(Exception):
    """The scenario is over."""


class Inbox:
    """The spans of one scenario; made by :meth:`pytest_clnrm.telemetry.receive.receiver.Receiver.open`.

    :param token: names this inbox in the path ``/t/TOKEN`` and in the header ``x-clnrm-token``.
    :param parent: ``traceparent`` of the scenario's span.
    :param redact: hides secrets in a text before it is stored; who asks gets the spans as they arrived.
    :param held: store nothing before :meth:`release`, as not all secrets are known yet.
    :param book: of a shared service: its spans are written there for its users, and kept here only until
        :meth:`keep_no_more`.
    """

    def __init__(
        self,
        *,
        token: str,
        scenario_id: str,
        parent: str | None,
        store: SpanStore,
        now_ns: Callable[[], int],
        forget: Callable[[Inbox], None],
        redact: Callable[[str], str] | None = None,
        held: bool = False,
        book: SharedBook | None = None,
    ) -> None:
        self.token = token
        self.scenario_id = scenario_id
        self._store = store
        self._now_ns = now_ns
        self._forget = forget
        self._changed = threading.Condition()
        self._began_ns = now_ns()
        self._steps = Steps(parent, self._began_ns)
        self._book = book
        self._keeps = True
        self._spans: list[Span] = []
        self._seen: dict[tuple[str, str, str, int, int, str], int] = {}
        self._bytes = 0
        self._open = 0
        self._last_s = time.monotonic()
        self._closed = False
        self._losses: dict[tuple[Lost, str], int] = {}
        self._mended = 0
        self._left_out: set[str] = set()
        self._late = 0
        self._redact = redact
        self._held: list[tuple[dict[str, Any], list[Placed]]] | None = [] if held else None

    def leave_out(self, trace_id: str) -> None:
        """Do not count spans of this trace as the workload's; they are stored all the same."""
        self._left_out.add(trace_id)

    def _workload(self) -> list[Span]:
        """Return the spans that count. What a probe has caused may have arrived before its own spans."""
        return [span for span in self._spans if span.trace_id not in self._left_out]

    def known_traces(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the ids of the traces of its programs' spans, and of those that do not count."""
        with self._changed:
            return frozenset(each.trace_id for each in self._workload()), frozenset(self._left_out)

    def placed(self, span: Span) -> Span:
        """Return a span that another program has sent, which knows its step."""
        with self._changed:
            name, traceparent = self._steps.place(span)
        return _with_place(span, name, traceparent)

    def enter_step(self, name: str, traceparent: str = "") -> None:
        """Note that the step *name* starts now: later spans are shown under it."""
        start_ns = self._now_ns()
        with self._changed:
            self._steps.enter(name, traceparent, start_ns)

    def spans(self) -> list[Span]:
        """Return what has arrived, in the order of arrival."""
        with self._changed:
            return self._workload()

    def problems(self) -> tuple[str, ...]:
        """Return what is missing among the spans, and why, in sentences for a user."""
        with self._changed:
            found = [self._store.problem] if self._store.problem else []
            found += map(str, self._lost())
            if self._mended:
                texts = "1 text in spans was" if self._mended == 1 else f"{self._mended} texts in spans were"
                found.append(f"{texts} no valid UTF-8: U+FFFD stands for what was wrong")
            if self._late:
                found.append(f"{self._late} requests came after the scenario's end and were refused")
            return tuple(found)

    def losses(self) -> tuple[Loss, ...]:
        """Return what was sent, or meant to be, and is not among the spans."""
        with self._changed:
            return self._lost()

    def _lost(self) -> tuple[Loss, ...]:
        return tuple(Loss(what=what, why=why, count=count) for (what, why), count in self._losses.items())

    def lose(self, what: Lost, why: str, count: int = 1) -> None:
        """Note that so many spans, requests or connections were refused, or broke off.

        :param why: in words for a user.
        """
        with self._changed:
            key = (what, why)
            if key not in self._losses and len(self._losses) >= MAX_REASONS:
                key = (what, "more reasons than are told apart")
            self._losses[key] = self._losses.get(key, 0) + count
            if self._book is not None:
                self._book.lose(Loss(what=what, why=why, count=count))
            self._last_s = time.monotonic()
            self._changed.notify_all()

    def count_late(self) -> None:
        """Count a request that came after the end."""
        with self._changed:
            self._late += 1

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Count a request as open while it is read and taken.

        :raises InboxClosedError: if the scenario is over; it is counted as late.
        """
        with self._changed:
            if self._closed:
                self._late += 1
                raise InboxClosedError
            self._open += 1
        try:
            yield
        finally:
            with self._changed:
                self._open -= 1
                self._last_s = time.monotonic()
                self._changed.notify_all()

    def take(
        self, request: TraceRequest, size_bytes: int, mended: int = 0, *, attempt: str = ""
    ) -> tuple[int, str]:
        """Take the spans of a decoded body.

        :param size_bytes: of the body, without its compression.
        :param mended: how many texts in it had something replaced.
        :param attempt: id of the span of the step's attempt that sent it, "" if no step has.
        :return: how many spans were rejected, and why.
        :raises DecodeBodyError: if a value is not of the type that it says.
        :raises InboxClosedError: if the scenario ended meanwhile.
        """
        accepted = accept(request)
        with self._changed:
            if self._closed:
                self._late += 1
                raise InboxClosedError
            self._mended += mended
            rejected, why = accepted.rejected, accepted.why
            # A batch is taken whole or not at all: half of one would look like a program's mistake.
            if full := self._is_full(len(accepted.spans), size_bytes):
                rejected += len(accepted.spans)
                why = full
            else:
                self._keep(accepted, attempt)
                self._bytes += size_bytes
            if rejected:
                self.lose("span", why, rejected)
            if size_bytes > NOTHING_BYTES and misses_spans(request):
                self.lose("request", "no spans were found in it at resourceSpans[].scopeSpans[].spans")
            self._last_s = time.monotonic()
            self._changed.notify_all()
        return rejected, why

    def _is_full(self, spans: int, size_bytes: int) -> str:
        """Return why so much more has no room, "" if it has."""
        if self._book is not None and not self._keeps:
            return self._book.is_full(size_bytes)
        if len(self._spans) + spans > MAX_SPANS:
            return f"the limit of {MAX_SPANS} spans a scenario is reached"
        if self._bytes + size_bytes > MAX_BYTES:
            return f"the limit of {MAX_BYTES >> 20} MiB of spans a scenario is reached"
        return ""

    def _keep(self, accepted: Accepted, attempt: str) -> None:
        sent_by_step = self._steps.sent_by_step(attempt)
        batch: list[Placed] = []
        for span, struct in zip(accepted.spans, accepted.structs, strict=True):
            # An exporter that got no answer sends its batch again.
            key = (span.trace_id, span.span_id, span.name, span.start_ns, span.end_ns, span.status)
            placed = Placed(span, struct, self._steps.place(span, attempt), sent_by_step)
            if span.resource.get(PROBE) == "true":
                self._left_out.add(span.trace_id)
            if self._book is not None and self._book.is_known(key):
                continue
            if not self._keeps:
                batch.append(placed)
                continue
            at = self._seen.get(key)
            if at is None:
                self._seen[key] = len(self._spans)
                batch.append(placed)
                self._spans.append(_placed(placed))
            elif self._spans[at].step == placed.place[0]:
                # The next attempt of a step may send the very same span, which then belongs to that.
                self._spans[at] = _placed(placed)
        if batch:
            header: dict[str, Any] = {
                "scenario": self.scenario_id,
                "received_ns": self._now_ns(),
                "spans": len(batch),
                "places": places_of(batch),
            }
            if self._book is not None:
                header["shared"] = True
                booked = [each for each in batch if each.span.trace_id not in self._left_out]
                self._book.write(booked, received_ns=header["received_ns"], began_ns=self._began_ns)
            if self._held is not None:
                self._held.append((header, batch))
            else:
                self._store.append(header, encode_batch(batch, self._redact))

    def keep_no_more(self) -> None:
        """Forget the spans, and those to come: whoever wants them finds them in the book."""
        with self._changed:
            self._keeps = False
            self._spans.clear()
            self._seen.clear()

    def release(self) -> None:
        """Store what was held back, and from now on each batch at once."""
        with self._changed:
            for header, batch in self._held or ():
                self._store.append(header, encode_batch(batch, self._redact))
            self._held = None

    def add(self, request: TraceRequest) -> None:
        """Take spans that came another way, as those that a program printed."""
        with contextlib.suppress(InboxClosedError):
            self.take(request, size_bytes=0)

    def wait(
        self,
        until: Callable[[Sequence[Span]], bool] | None = None,
        *,
        timeout_s: float,
        settle_s: float | None = None,
    ) -> Waited:
        """Wait for spans.

        :param until: ends the wait when it holds for what has arrived.
        :param timeout_s: how long at most.
        :param settle_s: ends the wait when no request was open, and none had ended, for so long.
        :return: what ended it.
        """
        began_s = time.monotonic()
        judged = -1
        while True:
            with self._changed:
                spans, arrived = tuple(self._workload()), len(self._spans)
                open_requests, last_s = self._open, self._last_s
            if until is not None and len(spans) != judged:
                # Outside the lock: it may take its time, and spans go on arriving.
                judged = len(spans)
                if until(spans):
                    return "held"
            now_s = time.monotonic()
            left_s = began_s + timeout_s - now_s
            if settle_s is not None and not open_requests:
                quiet_s = max(began_s, last_s) + settle_s - now_s
                if quiet_s <= 0:
                    return "settled"
                left_s = min(left_s, quiet_s)
            if now_s >= began_s + timeout_s:
                return "deadline"
            with self._changed:
                if (len(self._spans), self._open, self._last_s) == (arrived, open_requests, last_s):
                    self._changed.wait(left_s)

    def close(self) -> None:
        """End it: what comes later is refused with 401 and counted."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self.release()
            self._seen.clear()
            if self._book is not None:
                self._book.close()
            self._changed.notify_all()
        self._forget(self)


def _placed(each: Placed) -> Span:
    """Return the span of *each*, which knows its step."""
    return replace(_with_place(each.span, *each.place), sent_by_step=each.sent_by_step)


def _with_place(span: Span, name: str, traceparent: str) -> Span:
    step = parse_traceparent(traceparent) if name else None
    return replace(span, step=name, attempt=step.span_id if step else "")
