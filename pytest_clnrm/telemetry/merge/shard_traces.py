"""One trace of the traces of several shards: each is below one root, and says which shard it was.

A shard's file is rewritten element by element. Ids of traces that programs began themselves stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from pytest_clnrm.model.span import Span
from pytest_clnrm.telemetry.merge.merged_trace import MergedSpan
from pytest_clnrm.telemetry.merge.runner_index import INCOMPLETE, SCENARIO, SESSION
from pytest_clnrm.telemetry.otlp.messages import DecodeBodyError, decode_json
from pytest_clnrm.telemetry.otlp.spans import accept
from pytest_clnrm.util.files import replacing

SHARD = "clnrm.shard"
RUN = "clnrm.run"
_LINK = "clnrm.link"


class NoTraceError(Exception):
    """A file holds no trace of ours; the message says why."""


class _Elements(msgspec.Struct, rename="camel"):
    resource_spans: list[msgspec.Raw] = []


_decode_elements = msgspec.json.Decoder(_Elements).decode


class ShardTrace:
    """The trace of one shard.

    :param number: which shard it is.
    :param name: which of how many: ``2/3``.
    :raises NoTraceError: if the file holds none.
    :raises OSError: if it cannot be read.
    """

    def __init__(self, number: int, name: str, path: Path) -> None:
        self.number = number
        self.name = name
        self._path = path
        self._parents: dict[str, str] = {}
        self._scenarios: dict[str, tuple[str, str]] = {}
        self.sessions: list[dict[str, Any]] = []
        try:
            for element in self.elements():
                self._note(element)
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
            raise NoTraceError(f"{path}: no trace of OTLP/JSON: {error!r}") from None

    def elements(self) -> Iterator[dict[str, Any]]:
        """Yield the elements of ``resourceSpans``."""
        for raw in _decode_elements(self._path.read_bytes()).resource_spans:
            yield msgspec.json.decode(raw)

    def _note(self, element: Mapping[str, Any]) -> None:
        resource = _texts(element.get("resource") or {})
        for span in _spans_of(element):
            self._parents[span["spanId"]] = span.get("parentSpanId") or _under(span)
            if span["name"] == SESSION:
                self.sessions.append(span)
            elif span["name"] == SCENARIO:
                nodeid = _texts(span).get("test.case.name", "")
                self._scenarios[span["spanId"]] = nodeid, resource.get("clnrm.worker.id", "")

    def scenario_of(self, span_id: str) -> tuple[str, str]:
        """Return node id and worker of the scenario that a span is part of, ("", "") if it is of none."""
        seen = set()
        while span_id and span_id not in seen:
            if span_id in self._scenarios:
                return self._scenarios[span_id]
            seen.add(span_id)
            span_id = self._parents.get(span_id, "")
        return "", ""

    def workers(self) -> dict[str, str]:
        """Return which worker each scenario ran on."""
        return dict(self._scenarios.values())


def _spans_of(element: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for scope in element.get("scopeSpans", ()):
        yield from scope.get("spans", ())


def _texts(holder: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes that are texts."""
    return {
        each["key"]: each["value"]["stringValue"]
        for each in holder.get("attributes", ())
        if "stringValue" in each.get("value", ())
    }


def _under(span: Mapping[str, Any]) -> str:
    """Return the id of the step that a program's own root belongs to, as merging a run has noted it."""
    for link in span.get("links", ()):
        if _texts(link).get(_LINK) == "under":
            return str(link["spanId"])
    return ""


class MergedShards:
    """The trace of all shards.

    :param shards: at least one.
    :param start_ns: when the run began, nanoseconds since the epoch; *end_ns* likewise.
    """

    def __init__(self, shards: Sequence[ShardTrace], *, start_ns: int, end_ns: int, failed: bool) -> None:
        self._shards = shards
        sessions = [span for shard in shards for span in shard.sessions]
        self._trace_id = sessions[0]["traceId"] if sessions else ""
        self._replaced = {span["traceId"] for span in sessions}
        self._roots = {span["spanId"] for span in sessions if not span.get("parentSpanId")}
        ids = "".join(span["spanId"] for span in sessions)
        self._root = {
            "traceId": self._trace_id,
            "spanId": sha256(ids.encode()).hexdigest()[:16],
            "name": RUN,
            "kind": 1,
            "startTimeUnixNano": str(start_ns),
            "endTimeUnixNano": str(end_ns),
            "attributes": [{"key": "clnrm.shards", "value": {"intValue": str(len(shards))}}],
            "status": {"code": 2, "message": "tests failed"} if failed else {},
        }

    def _elements(self) -> Iterator[tuple[ShardTrace | None, dict[str, Any]]]:
        """Yield the elements of ``resourceSpans``, each with its shard."""
        # Who was called by a span of the CI system has a root already.
        if self._roots:
            resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "pytest-clnrm"}}]}
            scope = {"scope": {"name": "pytest_clnrm"}, "spans": [self._root]}
            yield None, {"resource": resource, "scopeSpans": [scope]}
        for shard in self._shards:
            for element in shard.elements():
                self._rewrite(element, shard)
                yield shard, element

    def _rewrite(self, element: dict[str, Any], shard: ShardTrace) -> None:
        mark = {"key": SHARD, "value": {"stringValue": shard.name}}
        element.setdefault("resource", {}).setdefault("attributes", []).append(mark)
        for span in _spans_of(element):
            for each in (span, *span.get("links", ())):
                if each.get("traceId") in self._replaced:
                    each["traceId"] = self._trace_id
            if span["spanId"] in self._roots:
                span["parentSpanId"] = self._root["spanId"]

    def write(self, path: Path) -> None:
        """Write the trace as one OTLP/JSON object; a reader sees the old file or the whole new one.

        :raises OSError: if it cannot be written.
        """
        with replacing(path) as file:
            file.write(b'{"resourceSpans":[')
            separator = b"\n"
            for _, element in self._elements():
                file.write(separator + msgspec.json.encode(element))
                separator = b",\n"
            file.write(b"\n]}\n")

    def spans(self, limit: int, lane_of: Callable[[int, str], str]) -> tuple[MergedSpan, ...]:
        """Return at most *limit* spans as plain values, of each shard as many.

        :param lane_of: returns what a worker of a shard is called.
        """
        room = limit // len(self._shards)
        found: list[MergedSpan] = []
        taken = dict.fromkeys((each.number for each in self._shards), 0)
        workers = {each.number: each.workers() for each in self._shards}
        for shard, element in self._elements():
            if shard is None or taken[shard.number] >= room:
                continue
            is_ours = "clnrm.worker.id" in _texts(element["resource"])
            try:
                spans = accept(decode_json(msgspec.json.encode({"resourceSpans": [element]}))).spans
            except DecodeBodyError:
                continue
            found += [
                self._placed(span, shard, workers[shard.number], lane_of, is_ours=is_ours)
                for span in spans[: room - taken[shard.number]]
            ]
            taken[shard.number] += len(spans)
        arrived = {each.span.span_id for each in found}
        return tuple(each if each.under in arrived else replace(each, under="") for each in found)

    @staticmethod
    def _placed(
        span: Span,
        shard: ShardTrace,
        workers: Mapping[str, str],
        lane_of: Callable[[int, str], str],
        *,
        is_ours: bool,
    ) -> MergedSpan:
        scenario, worker = shard.scenario_of(span.span_id)
        if not scenario and not is_ours:
            # Its parent has not arrived; the variables that its program was given say whose it is.
            scenario = str(span.resource.get("clnrm.scenario.id", ""))
            worker = workers.get(scenario, "")
        if is_ours:
            worker = str(span.resource["clnrm.worker.id"])
            span = replace(span, origin="runner", incomplete=INCOMPLETE in span.attributes)
        linked = next((link.span_id for link in span.links if link.attributes.get(_LINK) == "under"), "")
        return MergedSpan(
            span=span,
            worker=lane_of(shard.number, worker) if worker else "",
            scenario=scenario,
            under=span.parent_id or linked,
        )
