"""What the recorders of a run wrote: which spans ended, which still ran, and who is whose parent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING

import msgspec

from pytest_clnrm.telemetry.otlp.messages import AnyValue, KeyValue, Resource, decode_json_span, encode_json
from pytest_clnrm.telemetry.otlp.spans import to_attributes, to_span
from pytest_clnrm.telemetry.span_store import OPEN_SUFFIX, RUNNER_SUFFIX, worker_of

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.model.span import Span

GROUP_SPANS = 512
SESSION, SCENARIO = "clnrm.session", "clnrm.scenario"
INCOMPLETE = "clnrm.incomplete"


class _Head(msgspec.Struct, rename="camel"):
    """What the index needs of a span."""

    trace_id: str
    span_id: str
    name: str
    start_time_unix_nano: str
    end_time_unix_nano: str = "0"
    parent_span_id: str = ""
    attributes: msgspec.Raw = msgspec.Raw(b"[]")


class _HeadScope(msgspec.Struct):
    spans: tuple[_Head]


class _HeadResource(msgspec.Struct, rename="camel"):
    scope_spans: tuple[_HeadScope]


class _HeadLine(msgspec.Struct, rename="camel"):
    """A recorder's line, for the index."""

    resource_spans: tuple[_HeadResource]


class _RawScope(msgspec.Struct):
    scope: msgspec.Raw
    spans: tuple[msgspec.Raw]


class _RawResource(msgspec.Struct, rename="camel"):
    resource: msgspec.Raw
    scope_spans: tuple[_RawScope]


class _RawLine(msgspec.Struct, rename="camel"):
    """A recorder's line, to be copied."""

    resource_spans: tuple[_RawResource]


_decode_head_line = msgspec.json.Decoder(_HeadLine).decode
_decode_raw_line = msgspec.json.Decoder(_RawLine).decode
_decode_id = msgspec.json.Decoder(_Head).decode
_decode_attributes = msgspec.json.Decoder(list[KeyValue]).decode
_decode_resource = msgspec.json.Decoder(Resource).decode
_SPAN_ID = b'"spanId":"'
_TORN = (msgspec.MsgspecError, UnicodeDecodeError)


@dataclass(slots=True, kw_only=True)
class Group:
    """Spans of one recorder, as they were written."""

    worker: str
    resource: bytes
    scope: bytes
    spans: list[bytes] = field(default_factory=list)

    def encoded(self) -> bytes:
        """Return an element of ``resourceSpans``."""
        head = b'{"resource":' + self.resource + b',"scopeSpans":[{"scope":' + self.scope + b',"spans":['
        return head + b",".join(self.spans) + b"]}]}"

    def plain(self) -> Iterator[Span]:
        """Yield the spans as plain values."""
        resource = to_attributes(_decode_resource(self.resource).attributes)
        for span in self.spans:
            yield to_span(decode_json_span(span), resource, "runner")


class RunnerIndex:
    """An index of the runner's files in a folder.

    :param received: when each worker last received spans of the workload, nanoseconds since the epoch.
    :ivar parents: the parent of each span, "" for a root.
    :ivar incomplete: spans that never ended, by their ids: worker and line of the open record.
    :ivar orphans: spans whose parent is lost; they become children of the root.
    :ivar root: the session's span, None if there is none.
    :ivar torn: how many lines were cut off.
    """

    def __init__(self, directory: Path, received: Mapping[str, int]) -> None:
        self.files = sorted(directory.glob(f"*{RUNNER_SUFFIX}"))
        self.parents: dict[str, str] = {}
        self.incomplete: dict[str, tuple[str, bytes]] = {}
        self.torn = 0
        self.root: _Head | None = None
        self._scenarios: dict[str, str] = {}
        self._last_ns = dict(received)
        for path in self.files:
            for head, _ in self._lines(path):
                self._note(worker_of(path), head)
        for path in sorted(directory.glob(f"*{OPEN_SUFFIX}")):
            for head, line in self._lines(path):
                self._note(worker_of(path), head)
                self.incomplete[head.span_id] = (worker_of(path), line)
        self.orphans = self._find_orphans()

    def _lines(self, path: Path) -> Iterator[tuple[_Head, bytes]]:
        """Yield each span that is not known yet, and its line; count the lines that were cut off."""
        with path.open("rb") as file:
            for line in file:
                # Nearly each open record is of a span that ended: this is faster than decoding it. Within a
                # string the quotes would be escaped.
                at = line.find(_SPAN_ID) + len(_SPAN_ID)
                if line[at : at + 16].decode("ascii", "replace") in self.parents:
                    continue
                try:
                    head = _decode_head_line(line).resource_spans[0].scope_spans[0].spans[0]
                except _TORN:
                    # A blank line only follows a torn one.
                    self.torn += bool(line.strip())
                else:
                    yield head, line

    def _note(self, worker: str, head: _Head) -> None:
        self.parents[head.span_id] = head.parent_span_id
        end_ns = max(int(head.end_time_unix_nano), int(head.start_time_unix_nano))
        if end_ns > self._last_ns.get(worker, 0):
            self._last_ns[worker] = end_ns
        if head.name == SESSION and self.root is None:
            self.root = head
        elif head.name == SCENARIO:
            item = to_attributes(_decode_attributes(head.attributes)).get("test.case.name")
            self._scenarios[head.span_id] = str(item or "")

    def _find_orphans(self) -> frozenset[str]:
        """Return the spans whose parent is lost; without a session's span nobody could adopt them."""
        if self.root is None:
            return frozenset()
        root, known = self.root.span_id, self.parents
        return frozenset(each for each, parent in known.items() if parent not in known and each != root)

    def scenario_of(self, span_id: str) -> str:
        """Return the node id of the scenario that a span of ours is part of, "" if it is of none."""
        seen = set()
        while span_id and span_id not in seen:
            if span_id in self._scenarios:
                return self._scenarios[span_id]
            seen.add(span_id)
            span_id = self.parents.get(span_id, "")
        return ""

    def repaired(self, raw: msgspec.Raw) -> bytes:
        """Return a span with its parent, and with an end if it has none."""
        if not self.orphans and not self.incomplete:
            return bytes(raw)
        head = _decode_id(raw)
        root = self.root if head.span_id in self.orphans else None
        running = self.incomplete.get(head.span_id)
        adopted = root is not None and head.trace_id == root.trace_id
        if not adopted and running is None:
            return bytes(raw)
        span = decode_json_span(raw)
        if adopted and root is not None:
            span.parent_span_id = root.span_id
        if running is not None:
            # The session's span outlives what all workers did.
            is_root = self.root is not None and head.span_id == self.root.span_id
            last_ns = max(self._last_ns.values()) if is_root else self._last_ns[running[0]]
            span.end_time_unix_nano = str(last_ns)
            mark = KeyValue(key=INCOMPLETE, value=AnyValue(bool_value=True))
            span.attributes = [*(span.attributes or ()), mark]
        return encode_json(span)


def runner_groups(index: RunnerIndex) -> Iterator[Group]:
    """Yield the runner's spans: those that ended file by file, then those that did not."""
    for path in index.files:
        with path.open("rb") as file:
            yield from _grouped(zip(repeat(worker_of(path)), file), index)
    yield from unfinished_groups(index)


def unfinished_groups(index: RunnerIndex) -> Iterator[Group]:
    """Yield the runner's spans that did not end, each with the last moment that is known as its end."""
    yield from _grouped(index.incomplete.values(), index)


def _grouped(lines: Iterable[tuple[str, bytes]], index: RunnerIndex) -> Iterator[Group]:
    group: Group | None = None
    for worker, line in lines:
        try:
            (resourced,) = _decode_raw_line(line).resource_spans
        except _TORN:
            continue
        (scoped,) = resourced.scope_spans
        resource, scope = bytes(resourced.resource), bytes(scoped.scope)
        if (
            group is None
            or len(group.spans) >= GROUP_SPANS
            or (worker, resource, scope) != (group.worker, group.resource, group.scope)
        ):
            if group is not None:
                yield group
            group = Group(worker=worker, resource=resource, scope=scope)
        group.spans.append(index.repaired(scoped.spans[0]))
    if group is not None:
        yield group
