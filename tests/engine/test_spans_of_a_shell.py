"""A shell that posts OTLP/JSON: each kind of expectation passes with it, and notices when it lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.end_to_end import EndToEnd, Run, run_once
from docker import APIClient

pytestmark = pytest.mark.engine

IMAGE = "clnrm-busybox:1"
BEGAN_NS = 1_700_000_000_000_000_000
MS_NS = 1_000_000
SCENARIO = """
[service.box]
image = "busybox"

[[step]]
name = "post"
service = "box"
run = '''wget -q -O - --header 'Content-Type: application/json' --post-data "$BODY" \
"$OTEL_EXPORTER_OTLP_ENDPOINT/v1/traces"'''
env = {{ BODY = '{body}' }}

{expect}
[expect]
wait = "1s"
"""
READY = """
[service.web]
image = "busybox"
command = ["sh", "-c", '''
wget -q -O - --header "Content-Type: application/json" --post-data "$BODY" \\
"$OTEL_EXPORTER_OTLP_ENDPOINT/v1/traces"
exec sleep 1000
''']
env = {{ BODY = '{body}' }}
ready = {{ span = "{awaited}", timeout = "{timeout}" }}

[service.box]
image = "busybox"
depends_on = ["web"]

[[step]]
service = "box"
run = "true"
"""
Spans = dict[str, dict[str, Any]]


def span(number: int, name: str, kind: int, begins_ms: int, ends_ms: int, **more: Any) -> dict[str, Any]:
    """Return a span in OTLP/JSON, below the first unless it is that."""
    above = {"parentSpanId": f"{1:016x}"} if number > 1 else {}
    return {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": f"{number:016x}",
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(BEGAN_NS + begins_ms * MS_NS),
        "endTimeUnixNano": str(BEGAN_NS + ends_ms * MS_NS),
        **above,
        **more,
    }


def text(key: str, value: str) -> dict[str, Any]:
    """Return an attribute."""
    return {"key": key, "value": {"stringValue": value}}


HONEST: Spans = {
    "request": span(
        1,
        "GET /",
        2,
        0,
        100,
        attributes=[{"key": "http.response.status_code", "value": {"intValue": "200"}}],
        events=[{"name": "retry", "timeUnixNano": str(BEGAN_NS)}],
        status={"code": 1},
    ),
    "query": span(2, "db.query", 3, 10, 40, attributes=[text("server.address", "box")]),
    "cache": span(3, "cache.set", 1, 50, 60),
}


def changed(name: str, **new: Any) -> Callable[[Spans], None]:
    """Return what makes the span *name* another one."""
    return lambda spans: spans[name].update(new)


def moved(name: str, begins_ms: int, ends_ms: int) -> Callable[[Spans], None]:
    """Return what gives the span *name* other times."""
    start_ns, end_ns = (str(BEGAN_NS + at_ms * MS_NS) for at_ms in (begins_ms, ends_ms))
    return changed(name, startTimeUnixNano=start_ns, endTimeUnixNano=end_ns)


def twice(spans: Spans) -> None:
    """Ask the database once more."""
    spans["again"] = {**spans["query"], "spanId": f"{9:016x}"}


KINDS: dict[str, tuple[str, Callable[[Spans], object], str]] = {
    # The expectation, the lie, and how the failure begins.
    "span": (
        '[[expect.span]]\nselect = { name = "cache.*", under = { name = "GET *" } }',
        lambda spans: spans.pop("cache"),
        "expect.span[cache.*]: no span selected, expected at least 1",
    ),
    "attrs": (
        (
            '[[expect.span]]\nselect = { name = "GET *" }\n'
            'attrs = { "http.response.status_code" = { lt = 400 } }'
        ),
        changed("request", attributes=[text("http.response.status_code", "200")]),
        "expect.span[GET *]: attribute 'http.response.status_code' is '200' (text), expected < 400 (number)",
    ),
    "events": (
        '[[expect.span]]\nselect = { name = "GET *" }\nevents = { all = ["retry"] }',
        changed("request", events=[{"name": "gave up"}]),
        "expect.span[GET *]: event 'retry' is missing, got gave up",
    ),
    "duration": (
        '[[expect.span]]\nselect = { name = "GET *" }\nduration = { lt = "500ms" }',
        moved("request", 0, 900),
        "expect.span[GET *]: it took 900 ms, expected less than 500 ms",
    ),
    "edge": (
        '[[expect.edge]]\nparent = { name = "GET *" }\nchild = { name = "db.*" }',
        changed("query", parentSpanId=""),
        "expect.edge[GET * -> db.*]: 1 of 1 span without such a parent",
    ),
    "graph": (
        '[expect.graph]\nno_orphans = true\nmust_include = [["GET /", "db.query"]]',
        changed("cache", parentSpanId=f"{7:016x}"),
        "expect.graph.no_orphans: 1 span without the parent that it names",
    ),
    "counts": (
        '[expect.counts]\nby_name = { "db.*" = { eq = 1 } }\nspans_total = { gte = 3 }',
        twice,
        "expect.counts.by_name[db.*]: got 2, expected exactly 1",
    ),
    "window": (
        '[[expect.window]]\nouter = "GET /"\ncontains = ["cache.set"]',
        moved("cache", 90, 150),
        "expect.window[GET /]: 1 of 1 span named cache.set outside",
    ),
    "order": (
        '[expect.order]\nmust_precede = [["db.query", "cache.set"]]',
        moved("cache", 1, 5),
        "expect.order.must_precede[db.query, cache.set]: no db.query ends before any cache.set starts",
    ),
    "status": (
        '[expect.status]\nby_name = { "GET *" = "ok" }',
        changed("request", status={"code": 2, "message": "it broke"}),
        "expect.status.by_name[GET *]: 1 of 1 span not ok; GET /: status is error (it broke), expected ok",
    ),
    "hermeticity": (
        "[expect.hermeticity]\nno_external_services = true",
        changed("query", attributes=[text("server.address", "db.example.com")]),
        "expect.hermeticity.no_external_services: external peers db.example.com",
    ),
}


@pytest.fixture(scope="module")
def judged(reached: tuple[APIClient, object], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return one run: for each kind the shell is honest once, and lies once about what the kind looks at."""
    return run_once(tmp_path_factory, "shells", partial(run_shells, reached[0]))


def run_shells(client: APIClient, folder: Path) -> Run:
    """Run the scenarios of this file."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    project = EndToEnd(folder, client, IMAGE)
    for kind, (expect, lie, _) in KINDS.items():
        for name in ("honest", "lying"):
            spans = deepcopy(HONEST)
            if name == "lying":
                lie(spans)
            body = {"resourceSpans": [{"scopeSpans": [{"spans": list(spans.values())}]}]}
            project.write(f"{kind}-{name}.clnrm.toml", SCENARIO.format(body=json.dumps(body), expect=expect))
    posted = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [HONEST["request"]]}]}]})
    for awaited, name, timeout in (("GET *", "ready", "30s"), ("PUT *", "never-ready", "5s")):
        text = READY.format(body=posted, awaited=awaited, timeout=timeout)
        project.write(f"{name}.clnrm.toml", text)
    return project.run(mode=("-n", "2"))


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_shell_passes(judged: Run, kind: str) -> None:
    """The expectation holds for what the shell has posted."""
    assert judged.outcomes()[f"{kind}-honest"] == "passed", judged.text
    assert judged.scenarios[f"{kind}-honest"]["spans"]["workload"] == len(HONEST)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lying_shell_fails(judged: Run, kind: str) -> None:
    """The failure says what is wrong and where it is expected, and shows what arrived."""
    assert judged.outcomes()[f"{kind}-lying"] == "failed", judged.text
    (failure,) = judged.scenarios[f"{kind}-lying"]["failures"]
    assert failure["message"].startswith(KINDS[kind][2]), failure
    assert f"{kind}-lying.clnrm.toml:" in failure["where"]
    assert "spans of the workload arrived:" in failure["details"]
    assert "GET / [server, " in failure["details"]


def test_a_service_that_is_ready_when_its_span_has_arrived(judged: Run) -> None:
    """The step waits for the span; where another one arrives, the failure names both."""
    assert judged.outcomes()["ready"] == "passed", judged.text
    assert judged.scenarios["ready"]["spans"]["workload"] == 1
    assert judged.outcomes()["never-ready"] == "failed", judged.text
    assert "(span 'PUT *'): arrived: 'GET /'" in judged.text
    assert judged.scenarios["never-ready"]["steps"] == []
