"""Traces of shards as one: ids, roots, lanes, and what programs in containers have sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.telemetry.merge.shard_traces import MergedShards, NoTraceError, ShardTrace


def attribute(key: str, value: str) -> dict[str, Any]:
    """Return an attribute that is a text."""
    return {"key": key, "value": {"stringValue": value}}


def span(trace: str, name: str, *, own: str, parent: str = "", **more: Any) -> dict[str, Any]:
    """Return a span; *own* and *parent* are a digit each."""
    found = {
        "traceId": trace * 32,
        "spanId": own * 16,
        "name": name,
        "startTimeUnixNano": "1000",
        "endTimeUnixNano": "2000",
        **more,
    }
    return {**found, "parentSpanId": parent * 16} if parent else found


def element(spans: list[dict[str, Any]], *attributes: dict[str, Any]) -> dict[str, Any]:
    """Return an element of ``resourceSpans``."""
    return {"resource": {"attributes": list(attributes)}, "scopeSpans": [{"scope": {}, "spans": spans}]}


def write(path: Path, trace: str, ids: str, *, parent: str = "") -> Path:
    """Write the trace of a shard: session, scenario and step of ours, and four spans of programs."""
    session, scenario, step, inner, root, orphan, own = list(ids)
    under = [{"traceId": trace * 32, "spanId": step * 16, "attributes": [attribute("clnrm.link", "under")]}]
    item = [attribute("test.case.name", f"{trace}.toml::it")]
    mine = [
        element(
            [span(trace, "clnrm.session", own=session, parent=parent)],
            attribute("clnrm.worker.id", "controller"),
        ),
        element(
            [
                span(trace, "clnrm.scenario", own=scenario, parent=session, attributes=item),
                span(trace, "clnrm.step", own=step, parent=scenario),
            ],
            attribute("clnrm.worker.id", "gw1"),
        ),
    ]
    programs = [
        span(trace, "inner", own=inner, parent=step),
        span("9", "root", own=root, links=under),
        span("9", "below", own=own, parent=root),
        span(trace, "orphan", own=orphan, parent="0"),
    ]
    theirs = element(programs, attribute("clnrm.scenario.id", f"{trace}.toml::it"))
    path.write_text(json.dumps({"resourceSpans": [*mine, theirs]}), encoding="utf-8")
    return path


def merged(*shards: ShardTrace) -> MergedShards:
    """Return the merged trace."""
    return MergedShards(shards, start_ns=500, end_ns=3000, failed=True)


def test_one_trace_of_two(tmp_path: Path) -> None:
    """Our ids become one trace below one root; those of a program's own trace stay, and links follow."""
    one = ShardTrace(1, "1/2", write(tmp_path / "one", "a", "1234567"))
    two = ShardTrace(2, "2/2", write(tmp_path / "two", "b", "89abcde"))
    merged(one, two).write(tmp_path / "out")
    elements = json.loads((tmp_path / "out").read_text("utf-8"))["resourceSpans"]
    (root,) = elements[0]["scopeSpans"][0]["spans"]
    assert root["name"] == "clnrm.run"
    assert (root["traceId"], root["startTimeUnixNano"], root["endTimeUnixNano"]) == ("a" * 32, "500", "3000")
    assert root["status"] == {"code": 2, "message": "tests failed"}
    spans = {each["spanId"][0]: each for part in elements[1:] for each in part["scopeSpans"][0]["spans"]}
    assert {spans[own]["parentSpanId"] for own in "18"} == {root["spanId"]}
    assert [spans[own]["traceId"][0] for own in "89abcde"] == ["a", "a", "a", "a", "9", "a", "9"]
    assert spans["c"]["links"][0]["traceId"] == "a" * 32
    assert [attribute("clnrm.shard", "2/2") in part["resource"]["attributes"] for part in elements] == [
        *(False,) * 4,
        *(True,) * 3,
    ]


def test_a_parent_in_ci_stays(tmp_path: Path) -> None:
    """Where the CI system's span is the parent of each session, there is no root of ours."""
    one = ShardTrace(1, "1/2", write(tmp_path / "one", "a", "1234567", parent="f"))
    merged(one, ShardTrace(2, "2/2", write(tmp_path / "two", "a", "89abcde", parent="f"))).write(
        tmp_path / "out"
    )
    text = (tmp_path / "out").read_text("utf-8")
    assert "clnrm.run" not in text
    assert text.count(f'"parentSpanId":"{"f" * 16}"') == 2


def test_what_is_shown(tmp_path: Path) -> None:
    """Each span has its lane and scenario, by its parents, by a link, or by what its program was told."""
    one = ShardTrace(1, "1/2", write(tmp_path / "one", "a", "1234567"))
    two = ShardTrace(2, "2/2", write(tmp_path / "two", "b", "89abcde"))
    shown = merged(one, two).spans(100, lambda shard, worker: f"{shard} {worker}")
    assert [
        (each.span.name, each.worker, each.scenario, each.under[:1], each.span.origin) for each in shown[7:]
    ] == [
        ("clnrm.session", "2 controller", "", "", "runner"),
        ("clnrm.scenario", "2 gw1", "b.toml::it", "8", "runner"),
        ("clnrm.step", "2 gw1", "b.toml::it", "9", "runner"),
        ("inner", "2 gw1", "b.toml::it", "a", "workload"),
        ("root", "2 gw1", "b.toml::it", "a", "workload"),
        ("below", "2 gw1", "b.toml::it", "c", "workload"),
        ("orphan", "2 gw1", "b.toml::it", "", "workload"),
    ]
    few = merged(one, two).spans(5, lambda shard, worker: f"{shard} {worker}")
    assert [each.span.name for each in few] == ["clnrm.session", "clnrm.scenario"] * 2


def test_what_is_no_trace(tmp_path: Path) -> None:
    """A file of something else is told with its name."""
    for text in (
        "[]",
        "{",
        '{"resourceSpans": [1]}',
        '{"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}',
    ):
        (tmp_path / "x").write_text(text, encoding="utf-8")
        with pytest.raises(NoTraceError, match=r"x: no trace of OTLP/JSON: "):
            ShardTrace(1, "1/2", tmp_path / "x")
