"""What a shared service has sent, in a file that all processes of a run read.

One process receives it, and scenarios of all of them use the service: each reads from where the file ended
when its use began. The spans are in it as they arrived, with secrets, as they are judged by it; the file goes
with the run's folder, and is for this user alone.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_clnrm.model.span import Loss
from pytest_clnrm.telemetry.otlp.messages import decode_json
from pytest_clnrm.telemetry.otlp.spans import accept
from pytest_clnrm.telemetry.receive.batch import Placed, encode_batch
from pytest_clnrm.telemetry.span_store import SpanStore, read_records

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.model.span import Span

MAX_BOOK_BYTES = 512 << 20
"""How much a shared service may send in a run. Nothing of it is held in memory by who receives it."""
MAX_READ_SPANS = 50_000
REMEMBERED_SPANS = 50_000
"""Of how many of the last spans it is known whether they come a second time."""


class SharedBook:
    """The book of one shared service, written by the process that has started it.

    :raises OSError: if the file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._store = SpanStore(path)
        self._left_bytes = MAX_BOOK_BYTES
        self._seen: OrderedDict[object, None] = OrderedDict()

    def is_full(self, size_bytes: int) -> str:
        """Return why a body of this size has no room any more, "" if it has."""
        if size_bytes > self._left_bytes:
            return f"the limit of {MAX_BOOK_BYTES >> 20} MiB of spans of a shared service is reached"
        self._left_bytes -= size_bytes
        return ""

    def is_known(self, key: object) -> bool:
        """Tell whether a span has come before, and remember it."""
        if key in self._seen:
            self._seen.move_to_end(key)
            return True
        self._seen[key] = None
        if len(self._seen) > REMEMBERED_SPANS:
            self._seen.popitem(last=False)
        return False

    def write(self, batch: Sequence[Placed], *, received_ns: int, began_ns: int) -> None:
        """Write the spans of one body.

        :param began_ns: when the service was started: no time in it is earlier, but by mistake.
        """
        as_sent = [replace(each, place=("", "")) for each in batch]
        self._store.append({"received_ns": received_ns, "began_ns": began_ns}, encode_batch(as_sent))

    def lose(self, loss: Loss) -> None:
        """Write that something was sent, or meant to be, and is not among the spans."""
        self._store.append({"what": loss.what, "why": loss.why, "count": loss.count}, b"")

    def close(self) -> None:
        """Close the file; nothing comes any more."""
        self._store.close()


@dataclass(frozen=True, slots=True)
class BookedSpan:
    """A span of a shared service.

    :param started_ns: when it started; if the span itself says a time from before the service, when it came.
    """

    span: Span
    started_ns: int


class BookReader:
    """Reads what is written from now on.

    :ivar spans: those that were read, in their order; only so many of the last ones are held.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self.spans: deque[BookedSpan] = deque(maxlen=MAX_READ_SPANS)
        self._losses: list[Loss] = []
        self._forgotten = 0

    @property
    def is_in_use(self) -> bool:
        """Tell whether anything was ever written."""
        return self._path.exists() and self._path.stat().st_size > 0

    def read(self) -> bool:
        """Read what has come since the last time, and tell whether that is anything."""
        if not self._path.exists() or self._path.stat().st_size <= self._offset:
            return False
        before = self._offset
        with self._path.open("rb") as file:
            file.seek(before)
            for header, body in read_records(file):
                self._offset = file.tell()
                self._take(header, body)
        return self._offset > before

    @property
    def losses(self) -> list[Loss]:
        """What was lost meanwhile."""
        why = f"only the last {MAX_READ_SPANS} spans of a shared service are looked at"
        forgotten = [Loss(what="span", why=why, count=self._forgotten)] if self._forgotten else []
        return [*self._losses, *forgotten]

    def _take(self, header: dict[str, Any], body: bytes) -> None:
        if "what" in header:
            self._losses.append(Loss(what=header["what"], why=header["why"], count=header["count"]))
            return
        for span in accept(decode_json(body)).spans:
            self._forgotten += len(self.spans) == MAX_READ_SPANS
            is_sane = span.start_ns >= header["began_ns"]
            self.spans.append(BookedSpan(span, span.start_ns if is_sane else header["received_ns"]))
