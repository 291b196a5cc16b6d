"""What report.html holds as data: small, because each text is there once and keys are left out.

``page/data.js`` reads it again; the two are changed together.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pytest_clnrm.model.result import Result, clean_text, tail
from pytest_clnrm.report.critical_path import critical_path, sentence
from pytest_clnrm.report.json_report import REPORT_FORMAT
from pytest_clnrm.report.span_trees import ShownSpan, shown_spans

if TYPE_CHECKING:
    from pytest_clnrm.model.span import AttributeValue, Span
    from pytest_clnrm.report.span_trees import PlacedSpan

SPANS_BYTES = 720_000
"""How much of the file spans may take; beyond it, attributes and events are left out."""
PASSED_TEXT_CHARS = 4096
"""How much of each output of a scenario that passed is shown."""
NAME_CHARS, VALUE_CHARS = 128, 1024
_CONTAINER_FACTS = (
    "memory_bytes",
    "peak_memory_bytes",
    "cpus",
    "reused",
    "prepared",
    "oom_killed",
    "exit_code",
)
FAR_MICROSECONDS, EXACT_NUMBERS = 1 << 51, 1 << 53

_NOTHING = Result(nodeid="", name="", file="", line=0).to_data()
_UNSAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029\x7f"}


def script_json(data: Any) -> str:
    """Return *data* as JSON that may stand in a script element, whatever its texts hold."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_UNSAFE)


def page_data(document: Mapping[str, Any], spans: Iterable[PlacedSpan]) -> dict[str, Any]:
    """Return the data of report.html.

    :param document: that of :func:`pytest_clnrm.report.json_report.report_document`.
    """
    texts = _Table()
    session = document["session"]
    epoch_s = _seconds(session["started"])
    # A Python test without containers has only some of what a scenario has.
    rows = [*document["scenarios"], *({**_NOTHING, **each} for each in document.get("tests", ()))]
    rows = [
        {**each, "worker": lane_of(each["shard"], each["worker"])} if "shard" in each else each
        for each in rows
    ]
    scenarios = [_scenario(each, texts, epoch_s) for each in rows]
    outcomes = {each["nodeid"]: each["outcome"] for each in rows}
    nodeids = {each["nodeid"]: index for index, each in enumerate(rows)}
    packed = _PackedSpans(texts=texts, nodeids=nodeids, epoch_ns=int(epoch_s * 1e9))
    shown = shown_spans(spans)
    path = critical_path(
        rows, started=session["started"], duration_s=session["duration_s"], images_s=_images_s(shown)
    )
    return {
        "format": REPORT_FORMAT,
        "session": _plain(session),
        "scenarios": scenarios,
        "path": [
            [each.kind, *map(_microseconds, (each.start_s, each.end_s, each.images_s)), each.row]
            for each in path
        ],
        "sentence": clean_text(sentence(path, rows)),
        "spans": packed.pack(shown, outcomes),
        "texts": texts.entries,
    }


def _images_s(spans: Iterable[ShownSpan]) -> dict[str, float]:
    """Return how long images took of each item, by node id, in seconds."""
    found: dict[str, float] = defaultdict(float)
    for each in spans:
        if each.span.origin == "runner" and each.span.name.startswith("clnrm.image."):
            found[each.scenario] += (each.span.end_ns - each.span.start_ns) / 1e9
    return found


def lane_of(shard: int, worker: str) -> str:
    """Return what a worker of one of several shards is called: each shard has those of the same names."""
    return f"shard {shard} {worker}"


def _seconds(started: str) -> float:
    """Return seconds since the epoch, 0 where nothing started."""
    return datetime.fromisoformat(started).timestamp() if started else 0.0


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


@dataclass(slots=True)
class _Table:
    """Values that are written once and referred to by their index."""

    entries: list[Any] = field(default_factory=list)
    _indexes: dict[Any, int] = field(default_factory=dict)

    def index(self, value: Any) -> int:
        """Return where *value*, a text or plain data, is written."""
        value = _plain(value)
        # 1, 1.0 and True are equal, and lists have no hash: the JSON text tells them all apart.
        key = value if type(value) is str else (json.dumps(value),)
        index = self._indexes.setdefault(key, len(self.entries))
        if index == len(self.entries):
            self.entries.append(value)
        return index

    def indexes(self, values: Iterable[Any]) -> list[int]:
        return [self.index(value) for value in values]


def _plain(value: Any) -> Any:
    """Return *value* as what JSON can say: no lone surrogate, no infinity, bytes as hex."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {clean_text(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    # JavaScript's numbers are doubles: it would round a larger one. NaN is no JSON either.
    if isinstance(value, (int, float)) and not abs(value) <= EXACT_NUMBERS:
        return str(value)
    return value


def _scenario(result: Mapping[str, Any], texts: _Table, epoch_s: float) -> list[Any]:
    """Return a row of scenarios: times in microseconds, texts as indexes."""
    full = result["outcome"] not in {"passed", "skipped", "xfailed", "xpassed"}
    started = result["started"]
    return [
        *texts.indexes(result[key] for key in ("nodeid", "name", "file", "priority", "outcome", "worker")),
        result["line"],
        result["attempts"],
        _microseconds(_seconds(started) - epoch_s) if started else None,
        _microseconds(result["duration_s"]),
        _microseconds(result["slot_wait_s"]),
        texts.indexes(result["tags"]),
        _attempt(result, texts, full=full),
        texts.indexes(result["unchecked"]),
        texts.indexes(result["notes"]),
        [result["spans"]["runner"], result["spans"]["workload"]],
        [
            [
                each["started"] and _microseconds(_seconds(each["started"]) - epoch_s),
                _microseconds(each["duration_s"]),
                *_attempt(each, texts, full=True),
            ]
            for each in result["earlier"]
        ],
        result["is_flaky"],
        result.get("shard"),
        texts.indexes(result.get("counted") or [counted_as(result["outcome"])]),
        texts.index(result.get("reproduce", "")),
        [
            [texts.index(where), each["first"], *texts.indexes(each["lines"])]
            for where, each in result.get("sources", {}).items()
        ],
        _history(result.get("history"), texts),
        [[texts.index(each["name"]), texts.index(each["text"])] for each in result.get("output", ())],
    ]


def counted_as(outcome: str) -> str:
    """Return as what pytest counts an item of an outcome, where nobody has noted it."""
    return "failed" if outcome == "crashed" else outcome


def _history(history: Mapping[str, Any] | None, texts: _Table) -> list[Any] | None:
    """Return the letters of outcomes, and durations in milliseconds, which say enough."""
    if not history:
        return None
    durations = [None if each is None else round(each * 1e3) for each in history["durations_s"]]
    return [texts.index(history["outcomes"]), *durations]


def _attempt(result: Mapping[str, Any], texts: _Table, *, full: bool) -> list[Any]:
    """Return what one attempt of an item shows: failures, steps, containers, artifacts.

    :param full: with the whole of each output.
    """

    def shown(text: str) -> int:
        return texts.index(text if full else tail(clean_text(text), PASSED_TEXT_CHARS))

    return [
        [_failure(each, texts) for each in result["failures"]],
        [
            [
                *texts.indexes((step["name"], step["service"], step["outcome"], step.get("command", ""))),
                _microseconds(step["started_s"]),
                _microseconds(step["duration_s"]),
                step["exit_code"],
                step["attempts"],
                shown(step["stdout"]),
                shown(step["stderr"]),
                [_failure(each, texts) for each in step["failures"]],
            ]
            for step in result["steps"]
        ],
        [
            [
                *texts.indexes(each[key] for key in ("id", "name", "service", "image", "reuse")),
                *(_plain(each[key]) for key in _CONTAINER_FACTS),
                shown(each["logs"]),
                shown(each["spans"]),
                texts.index(each.get("timeline", "")),
            ]
            for each in result["containers"]
        ],
        [
            [
                *texts.indexes((each["service"], each["path"], each["file"])),
                each["size_bytes"],
                each["is_cut"],
            ]
            for each in result["artifacts"]
        ],
    ]


def _failure(failure: Mapping[str, Any], texts: _Table) -> list[int]:
    return texts.indexes(failure[key] for key in ("message", "where", "step", "details", "kind"))


@dataclass(kw_only=True)
class _PackedSpans:
    """Spans as columns: parents stand before their children, so that the depth alone tells the tree.

    :param nodeids: index of each scenario.
    """

    texts: _Table
    nodeids: Mapping[str, int]
    epoch_ns: int
    _sources: _Table = field(default_factory=_Table)
    _keys: _Table = field(default_factory=_Table)
    _values: _Table = field(default_factory=_Table)

    def pack(self, spans: Sequence[ShownSpan], outcomes: Mapping[str, str]) -> dict[str, Any]:
        """Return the columns, and the details of as many spans as there is room for.

        :param outcomes: of each scenario, by node id.
        """
        starts = [_bounded_time((each.span.start_ns - self.epoch_ns) // 1000) for each in spans]
        durations = [_bounded_time((each.span.end_ns - each.span.start_ns) // 1000) for each in spans]
        names = [_cut(each.span.name, NAME_CHARS) for each in spans]
        packed: dict[str, Any] = {
            "name": self.texts.indexes(names),
            "start": [start - before for before, start in zip([0, *starts], starts, strict=False)],
            "duration": [max(0, duration) for duration in durations],
            "depth": [each.depth for each in spans],
            "source": [self._source(each) for each in spans],
        }
        details = self._details(spans, outcomes, SPANS_BYTES - _size(packed) - _size(sorted(set(names))))
        return {
            **packed,
            "details": details,
            "sources": self._sources.entries,
            "keys": self._keys.entries,
            "values": self._values.entries,
        }

    def _source(self, each: ShownSpan) -> int:
        """Return the index of what many spans have in common."""
        span = each.span
        # A Python test has spans, but no result: its node id stands for it.
        scenario = self.nodeids.get(each.scenario, each.scenario)
        return self._sources.index(
            [scenario, each.worker, span.service, span.kind, span.status, span.origin, int(span.incomplete)]
        )

    def _details(
        self, spans: Sequence[ShownSpan], outcomes: Mapping[str, str], room: int
    ) -> list[list[Any] | None]:
        """Return a row for each span, None where there was no room: what failed comes first."""

        def rank(index: int) -> tuple[bool, bool, bool]:
            span = spans[index].span
            unharmed = outcomes.get(spans[index].scenario, "passed") in {"passed", "xfailed", "xpassed"}
            return span.status != "error", unharmed, span.origin != "runner"

        found: list[list[Any] | None] = [None] * len(spans)
        for index in sorted(range(len(spans)), key=rank):
            keys, values = len(self._keys.entries), len(self._values.entries)
            row = self._row(spans[index].span)
            room -= _size(row) + _size(self._keys.entries[keys:]) + _size(self._values.entries[values:])
            if room < 0:
                del self._keys.entries[keys:], self._values.entries[values:]
                break
            found[index] = row
        return found

    def _row(self, span: Span) -> list[Any]:
        row = [
            clean_text(span.span_id),
            self._values.index(span.trace_id),
            self._values.index(span.resource),
            self._attributes(span.attributes),
            _cut(span.status_message, VALUE_CHARS),
            [
                [
                    self._values.index(_cut(event.name, NAME_CHARS)),
                    _bounded_time((event.time_ns - span.start_ns) // 1000),
                    *self._attributes(event.attributes),
                ]
                for event in span.events
            ],
            [[clean_text(link.trace_id), clean_text(link.span_id)] for link in span.links],
        ]
        while row[-1] in ("", []):
            row.pop()
        return row

    def _attributes(self, attributes: Mapping[str, AttributeValue]) -> list[int]:
        """Return the index of the keys, then that of each value."""
        if not attributes:
            return []
        values = (_cut(value, VALUE_CHARS) for value in attributes.values())
        return [self._keys.index(list(attributes)), *self._values.indexes(values)]


def _size(data: Any) -> int:
    """Return how many bytes *data* takes in the file."""
    return len(script_json(data).encode())


def _bounded_time(microseconds: int) -> int:
    """Return a time that a sum of many such times cannot lift beyond what JavaScript counts exactly."""
    return min(max(microseconds, -FAR_MICROSECONDS), FAR_MICROSECONDS)


def _cut(value: Any, limit: int) -> Any:
    """Return *value* as plain data; as the beginning of its text if that is longer than *limit*."""
    value = _plain(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return value if len(text) <= limit else f"{text[:limit]}…"
