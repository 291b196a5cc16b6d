"""A program with OpenTelemetry's own SDK, in a container: each kind of expectation notices when it lies."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from clnrm_testing.end_to_end import EndToEnd, Run, run_once
from clnrm_testing.python_image import python_image
from docker import APIClient

pytestmark = pytest.mark.engine

SHOP = Path(__file__).parents[1] / "data/programs/shop.py"
SCENARIO = """
[service.box]
image = "{image}"

[[step]]
name = "order"
service = "box"
run = ["python", "/program.py"]
env = {{ LIE = "{lie}" }}

{expect}
[expect]
wait = "1s"
"""
EXPECTED = {
    "span": '[[expect.span]]\nselect = { name = "cache.*", under = { name = "clnrm.step" } }',
    "attrs": '[[expect.span]]\nselect = { name = "POST *", kind = "server", service = "box" }\n'
    'attrs = { "http.response.status_code" = { lt = 400 } }',
    "events": '[[expect.span]]\nselect = { name = "cache.get" }\nevents = { any = ["cache.*"] }',
    "duration": '[[expect.span]]\nselect = { name = "POST *" }\nduration = { lt = "10m" }',
    "edge": '[[expect.edge]]\nparent = { name = "POST *" }\nchild = { name = "db.query" }',
    "graph": "[expect.graph]\nsingle_root = true\nacyclic = true\nno_orphans = true\nmax_depth = 2\n"
    'must_include = [["POST /orders", "db.query"]]',
    "counts": '[expect.counts]\nby_name = { "db.query" = { eq = 1 } }\nerrors_total = { eq = 0 }',
    "window": '[[expect.window]]\nouter = "POST /orders"\ncontains = ["card.charge"]',
    "order": '[expect.order]\nmust_precede = [["card.charge", "order.book"]]',
    "status": '[expect.status]\nby_name = { "POST *" = "ok" }',
    "hermeticity": "[expect.hermeticity]\nno_external_services = true\n"
    'resource_attrs = { must_match = { "service.name" = "box" } }',
}
OWN_ENV = (
    "ENV OTEL_SDK_DISABLED=true OTEL_TRACES_SAMPLER=always_off OTEL_EXPORTER_OTLP_PROTOCOL=grpc "
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:9\n"
)
"""An image that would keep its spans to itself, in all tests here."""
FOUND = {
    "span": "expect.span[cache.*]: no span selected, expected at least 1",
    "attrs": "expect.span[POST *]: attribute 'http.response.status_code' is 500, expected < 400",
    "events": "expect.span[cache.get]: none of the events 'cache.*' is there, got none",
    "duration": "expect.span[POST *]: it took 3600 s, expected less than 600 s",
    "edge": "expect.edge[POST * -> db.query]: 1 of 1 span without such a parent",
    "graph": "expect.graph.single_root",
    "counts": "expect.counts.by_name[db.query]: got 2, expected exactly 1",
    "window": "expect.window[POST /orders]",
    "order": "expect.order.must_precede",
    "status": "expect.status.by_name[POST *]: 1 of 1 span not ok; POST /orders: status is error (",
    "hermeticity": "expect.hermeticity.no_external_services: external peers db.example.com",
}


SERVICE = """
[service.box]
image = "{image}"
command = ["python", "/program.py", "serve"]
env = {{ OTEL_BSP_SCHEDULE_DELAY = "3600000" }}
ready = {{ log = "order taken" }}

[[step]]
name = "nothing"
service = "box"
run = "true"

[[expect.span]]
select = {{ name = "POST *", service = "box" }}
count = {{ eq = 1 }}
[expect.counts]
spans_total = {{ eq = 5 }}
[expect]
wait = "100ms"
"""
GRPC = """
[service.box]
image = "{image}"
env = {{ OTEL_EXPORTER_OTLP_PROTOCOL = "grpc" }}

[[step]]
name = "order"
service = "box"
run = ["python", "/program.py"]

[expect.counts]
spans_total = {{ eq = 5 }}
errors_total = {{ eq = 0 }}
"""
SERVER = """
[service.box]
image = "{image}"
command = ["python", "/program.py", "answer"]
ready = {{ http = ":8000/ready" }}

[[step]]
name = "ask"
service = "box"
run = "wget -q -O - http://127.0.0.1:8000/asked && python /program.py"

[[expect.span]]
select = {{ name = "GET *" }}
count = {{ eq = 1 }}
[expect.counts]
by_service = {{ box = {{ eq = 1 }}, "box (step)" = {{ eq = 5 }} }}
[expect]
wait = "2s"
"""
PRINTED = """
[meta]
name = "printed"
[otel]
exporter = "stdout"
[service.box]
image = "{image}"
[[scenario]]
name = "order"
service = "box"
run = "SHOP_EXPORTER=console python /program.py"
[[expect.span]]
name = "db.query"
kind = "client"
[expect.counts]
spans_total = {{ eq = 5 }}
"""
QUEUED = """
[service.queue]
image = "{image}"
command = ["python", "/program.py", "queue"]
ready = {{ port = 8000 }}

[service.api]
image = "{image}"
command = ["python", "/program.py", "answer"]
depends_on = ["queue"]
ready = {{ http = ":8000/" }}

[service.worker]
image = "{image}"
depends_on = ["queue"]
command = ["python", "/program.py", "work"]
ready = {{ log = "working" }}

[[step]]
name = "order"
service = "api"
run = "wget -q -O - http://127.0.0.1:8000/jobs/%s"

"""
WORKED = """
[[expect.span]]
select = {{ name = "work *", service = "worker", under = {{ name = "GET /jobs/*", service = "api" }} }}
"""
NO_ERROR = "[expect.counts]\nerrors_total = {{ eq = 0 }}"
MORE = {
    "service": SERVICE,
    "grpc": GRPC,
    "server": SERVER,
    "printed": PRINTED,
    "queue-fine": QUEUED % "fine" + WORKED,
    "queue-broken": QUEUED % "broken" + NO_ERROR,
}


@pytest.fixture(scope="module")
def judged(reached: tuple[APIClient, object], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return one run: the shop is honest once, lies once about what each kind looks at, and does more."""
    return run_once(tmp_path_factory, "shops", partial(run_shops, reached[0]))


def run_shops(client: APIClient, folder: Path) -> Run:
    """Run all scenarios of this file in the shop's image."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    with python_image(client, folder / "box", SHOP, OWN_ENV) as image:
        project = EndToEnd(folder, client, image)
        for kind, expect in EXPECTED.items():
            text = SCENARIO.format(image=image, lie=kind, expect=expect)
            project.write(f"{kind}-lying.clnrm.toml", text)
        honest = SCENARIO.format(image=image, lie="", expect="\n".join(EXPECTED.values()))
        project.write("honest.clnrm.toml", honest)
        for name, text in MORE.items():
            project.write(f"{name}.clnrm.toml", text.format(image=image))
        return project.run(mode=("-n", "2"), mapped=False)


def test_an_honest_program_passes(judged: Run) -> None:
    """What the program really did is in its spans, and an expectation of each kind holds."""
    assert judged.outcomes()["honest"] == "passed", judged.text
    assert judged.scenarios["honest"]["spans"]["workload"] == 5


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_lying_program_fails(judged: Run, kind: str) -> None:
    """The failure names the expectation with its place, what is wrong, and the tree of what arrived."""
    assert judged.outcomes()[f"{kind}-lying"] == "failed", judged.text
    (failure,) = judged.scenarios[f"{kind}-lying"]["failures"]
    assert failure["message"].startswith(FOUND[kind]), failure
    line = 1 + SCENARIO.format(image="", lie=kind, expect=EXPECTED[kind]).splitlines().index(
        EXPECTED[kind].splitlines()[0]
    )
    assert failure["where"].endswith(f"{kind}-lying.clnrm.toml:{line}"), failure
    assert "spans of the workload arrived:" in failure["details"]
    assert "POST /orders [server, box, " in failure["details"]


def test_the_programs_spans_are_part_of_the_trace(judged: Run) -> None:
    """The shop's request is a child of the step's span; there is one trace, and one root."""
    trace = json.loads((judged.folder / "out" / "trace.otlp.json").read_text("utf-8"))
    spans = [
        span for each in trace["resourceSpans"] for scope in each["scopeSpans"] for span in scope["spans"]
    ]
    ids = {span["spanId"]: span for span in spans}
    # That of the service which no step has asked for is in a trace of its own.
    requests = [span for span in spans if span["name"] == "POST /orders" and span.get("parentSpanId")]
    assert len(requests) > len(EXPECTED)
    assert len({span["traceId"] for span in requests}) == 1
    assert {ids[span["parentSpanId"]]["name"] for span in requests} == {"clnrm.step"}
    assert [span["name"] for span in spans if not span.get("parentSpanId")].count("clnrm.session") == 1


def test_a_service_that_exports_when_it_is_told_to_end(judged: Run) -> None:
    """Services are stopped with SIGTERM and time to end before spans are judged: their last batch arrives."""
    assert judged.outcomes()["service"] == "passed", judged.text
    assert judged.scenarios["service"]["spans"]["workload"] == 5


def test_grpc_and_what_is_no_traffic(judged: Run) -> None:
    """Over gRPC spans arrive where the file sets it; readiness checks count nowhere, steps by themselves.

    The server exports nothing when it is told to end, and has nevertheless lost nothing.
    """
    outcomes = judged.outcomes()
    assert [outcomes[name] for name in ("grpc", "server")] == ["passed"] * 2, judged.text


def test_a_worker_behind_its_queue(judged: Run) -> None:
    """What a worker does half a second after the step is seen: it is there, and so is its error."""
    outcomes = judged.outcomes()
    assert (outcomes["queue-fine"], outcomes["queue-broken"]) == ("passed", "failed"), judged.text
    assert judged.failures("queue-broken") == ["expect.counts.errors_total: got 1, expected exactly 0"]


def test_spans_on_stdout(judged: Run) -> None:
    """A file that says so has the spans read that its programs print: the SDK's console exporter's."""
    outcomes = {each["file"]: each["outcome"] for each in judged.document["scenarios"]}
    assert [outcomes[file] for file in outcomes if file.endswith("printed.clnrm.toml")] == ["passed"]
