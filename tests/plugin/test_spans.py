"""The spans of a run: recorded in every process, merged, handed out and forwarded; with the fake engine."""

from __future__ import annotations

import http.server
import json
import signal
import sys
import threading
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.project import Project

from pytest_clnrm.model.span import Span
from pytest_clnrm.telemetry.receive.receiver import Receiver

HELLO = """
[meta]
name = "{name}"
[[step]]
name = "first"
run = "true"
[[step]]
name = "last"
run = "{run}"
"""
POST = """
import json, os, urllib.request
span = {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "work",
        "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000500000000"}
body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
url = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces"
urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}))
"""
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def hello(project: Project, *names: str, run: str = "true") -> None:
    """Write a scenario of two steps for each name."""
    for name in names:
        project.write(f"{name}.clnrm.toml", HELLO.format(name=name, run=run))


def trace(project: Project) -> list[dict[str, Any]]:
    """Return the spans of trace.otlp.json."""
    document = json.loads((project.pytester.path / "out" / "trace.otlp.json").read_text("utf-8"))
    return [
        span for each in document["resourceSpans"] for scope in each["scopeSpans"] for span in scope["spans"]
    ]


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    """Return a span's attributes, a value each."""
    return {each["key"]: next(iter(each["value"].values())) for each in span.get("attributes", ())}


def told(spans: list[dict[str, Any]]) -> str:
    """Return what tells spans apart, a line each."""
    return "\n".join(f"{each['name']} {each['traceId'][:6]} {each['startTimeUnixNano']}" for each in spans)


def check_whole(spans: list[dict[str, Any]]) -> None:
    """Assert one trace with one root, in which each span's parent is there."""
    ids = {span["spanId"] for span in spans}
    assert len(ids) == len(spans)
    assert len({span["traceId"] for span in spans}) == 1, told(spans)
    assert [span["name"] for span in spans if not span.get("parentSpanId")] == ["clnrm.session"]
    assert all(span["parentSpanId"] in ids for span in spans if span["name"] != "clnrm.session")


def test_one_trace_with_all_that_was_done(each_mode: Project) -> None:
    """Whatever way it runs, a run leaves one trace: names, kinds, attributes and parents as documented."""
    hello(each_mode, "one", "two")
    each_mode.run("--clnrm-report", "out", "--clnrm-pool", "off").assert_outcomes(passed=2)
    spans = trace(each_mode)
    check_whole(spans)
    named: dict[str, list[dict[str, Any]]] = {}
    for span in spans:
        named.setdefault(span["name"], []).append(span)
    counts = {name: len(found) for name, found in named.items() if name != "clnrm.slot.wait"}
    assert counts == {
        "clnrm.session": 1,
        "clnrm.scenario": 2,
        "clnrm.image.pull": 2,
        "clnrm.container.create": 2,
        "clnrm.container.start": 2,
        "clnrm.step": 4,
    }
    scenarios = {span["spanId"]: attributes(span) for span in named["clnrm.scenario"]}
    (one,) = (each for each in scenarios.values() if each["test.case.name"].endswith("::one"))
    assert one == {
        "test.case.name": "one.clnrm.toml::one",
        "test.case.result.status": "pass",
        "code.file.path": "one.clnrm.toml",
        "code.line.number": "2",
        "clnrm.priority": "normal",
        "clnrm.scenario.name": "one",
    }
    for step in named["clnrm.step"]:
        assert step["kind"] == 3
        assert step["parentSpanId"] in scenarios
        assert attributes(step)["process.exit.code"] == "0"
    assert {attributes(step)["clnrm.step.name"] for step in named["clnrm.step"]} == {"first", "last"}
    session = attributes(named["clnrm.session"][0])
    assert session["test.suite.run.status"] == "success"
    created = attributes(named["clnrm.container.create"][0])
    assert created.keys() >= {
        "container.id",
        "container.name",
        "container.image.name",
        "container.runtime.name",
    }


def test_the_environments_trace_is_joined(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """With TRACEPARENT set, all spans are of that trace, and the session is a child of that span."""
    monkeypatch.setenv("TRACEPARENT", PARENT)
    hello(project, "one")
    project.run("--clnrm-report", "out").assert_outcomes(passed=1)
    spans = trace(project)
    assert {span["traceId"] for span in spans} == {PARENT.split("-")[1]}, told(spans)
    (session,) = (span for span in spans if span["name"] == "clnrm.session")
    assert session["parentSpanId"] == PARENT.split("-")[2]


def test_a_tracing_of_the_projects_own_is_not_touched(project: Project) -> None:
    """A conftest's global provider gets the spans of its tests and none of ours; both live side by side."""
    project.write(
        "conftest.py",
        """
        import pytest
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        OWN, EXPORTER = TracerProvider(), InMemorySpanExporter()
        OWN.add_span_processor(SimpleSpanProcessor(EXPORTER))
        trace.set_tracer_provider(OWN)

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_protocol(item):
            with trace.get_tracer("own").start_as_current_span(item.name):
                return (yield)

        def pytest_unconfigure(config):
            assert trace.get_tracer_provider() is OWN
            print("own spans:", [span.name for span in EXPORTER.get_finished_spans()])
        """.replace("\n        ", "\n"),
    )
    hello(project, "one")
    plugins = ("-p", "clnrm_testing.fake_engine", "-p", "no:randomly", *project.mode)
    result = project.pytester.runpytest_subprocess(*plugins, "--clnrm-report", "out")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["own spans: ['one']"])
    check_whole(trace(project))


def test_a_killed_worker_loses_no_span_that_had_ended(make_project: Any) -> None:
    """After kill -9 the spans that had ended are there, the program's too; those that ran are marked."""
    project = make_project("n2")
    kill = f"{sys.executable} -S $PWD/post.py; kill -9 $PPID"
    hello(project, "good")
    post = project.write("post.py", POST)
    hello(project, "killed", run=kill.replace("$PWD/post.py", str(post)))
    result = project.run("--clnrm-report", "out")
    outcomes = {each["name"]: each["outcome"] for each in project.report()["scenarios"]}
    assert outcomes == {"good": "passed", "killed": "crashed"}, result.outlines
    everything = trace(project)
    spans = [span for span in everything if span["name"] != "work"]
    assert len(spans) == len(everything) - 1
    check_whole(spans)
    incomplete = {
        (span["name"], attributes(span).get("clnrm.step.name")): attributes(span).get("clnrm.incomplete")
        for span in spans
        if "killed" in str(attributes(span).get("test.case.name")) or span["name"] == "clnrm.step"
    }
    assert incomplete["clnrm.scenario", None] is True
    assert incomplete["clnrm.step", "last"] is True
    assert incomplete["clnrm.step", "first"] is None
    result.stdout.fnmatch_lines(["clnrm: 2 spans were still running when their worker died"])
    (killed,) = (each for each in project.report()["scenarios"] if each["name"] == "killed")
    (span,) = (span for span in spans if attributes(span).get("clnrm.scenario.name") == "killed")
    assert killed["worker"].startswith("gw")
    assert (killed["file"], killed["line"], killed["priority"]) == ("killed.clnrm.toml", 2, "normal")
    began_s, took_ns = int(span["startTimeUnixNano"]) / 1e9, int(span["endTimeUnixNano"])
    assert datetime.fromisoformat(killed["started"]).timestamp() == pytest.approx(began_s, abs=1e-4)
    assert killed["duration_s"] == pytest.approx(took_ns / 1e9 - began_s, abs=1e-4)
    assert killed["duration_s"] > 0
    of_killed = [each for each in everything if each["name"] == "work"]
    assert len(of_killed) == killed["spans"]["workload"]
    under = [each for each in spans if each.get("parentSpanId") == span["spanId"]]
    assert killed["spans"]["runner"] == len(under) + 1


@pytest.mark.parametrize("end", ["-x", "interrupt"])
def test_a_run_that_ends_early_is_merged(project: Project, end: str) -> None:
    """After -x and after Ctrl-C the trace is whole: what has run, and none of what has not."""
    hello(project, "a", "z")
    stop = f"kill -{signal.SIGINT.value} $PPID" if end == "interrupt" else "false"
    hello(project, "b", run=f"{stop}; exit 1")
    plugins = ("-p", "clnrm_testing.fake_engine", "-p", "no:randomly", *project.mode)
    options = ("-x",) if end == "-x" else ()
    project.pytester.runpytest_subprocess(*plugins, "--clnrm-report", "out", *options)
    spans = trace(project)
    check_whole(spans)
    cases = {attributes(span)["test.case.name"] for span in spans if span["name"] == "clnrm.scenario"}
    assert cases == {"a.clnrm.toml::a", "b.clnrm.toml::b"}


def test_plugins_get_the_spans_of_the_run(each_mode: Project) -> None:
    """The hook gets a collector with all spans, once: ours and those that programs exported, by scenario."""
    post = each_mode.write("post.py", POST)
    each_mode.write(
        "conftest.py",
        """
        from pathlib import Path
        def pytest_clnrm_spans(config, collector):
            assert not hasattr(config, "workerinput")
            with Path(config.rootpath, "seen").open("a") as seen:
                for span in collector.get_scenario_spans("one"):
                    print(span.scenario_name, span.name, span.parent_span_id is not None, file=seen)
                print(sorted({span.scenario_name for span in collector.get_spans()}), file=seen)
        """.replace("\n        ", "\n"),
    )
    hello(each_mode, "one", run=f"{sys.executable} -S {post}")
    hello(each_mode, "two")
    each_mode.run().assert_outcomes(passed=2)
    lines = (each_mode.pytester.path / "seen").read_text().splitlines()
    assert lines[-1] == "['', 'one', 'two']"
    assert [line for line in lines if "step" in line] == ["one clnrm.step True"] * 2
    assert "one work False" in lines
    assert len([line for line in lines if line.startswith("[")]) == 1


FIXTURE = f"""
import pytest

def test_a(clnrm):
    with clnrm.container("box", name="api") as box:
        said = box.run("echo $TRACEPARENT; exit 3").stdout.strip()
        assert box.run("echo $TRACEPARENT", env={{"TRACEPARENT": "mine"}}).stdout == "mine\\n"
        assert box.run(["sleep", "60"], timeout="100ms").timed_out
        assert box.run(["{sys.executable}", "-S", "POST"]).exit_code == 0
        (work,) = clnrm.spans(count=1)
    open("said", "w").write(said)
    assert work.name == "work"

def test_b(clnrm):
    with clnrm.container("box", env={{"TRACEPARENT": "ours"}}) as box:
        assert box.run("echo $TRACEPARENT").stdout == "ours\\n"
    raise ValueError("it broke")

@pytest.mark.clnrm_limits()
def test_late(request):
    request.getfixturevalue("clnrm")
    raise ValueError("late")

def test_c(clnrm):
    pytest.skip("not today")
"""


def test_spans_of_tests_with_the_fixture_are_merged(each_mode: Project) -> None:
    """A Python test with the fixture ``clnrm`` leaves what a scenario leaves, a step for each command."""
    post = each_mode.write("post.py", POST)
    each_mode.write("test_a.py", FIXTURE.replace("POST", str(post)))
    each_mode.run("--clnrm-report", "out").assert_outcomes(passed=1, failed=2, skipped=1)
    everything = trace(each_mode)
    spans = [span for span in everything if span["name"] != "work"]
    assert len(spans) == len(everything) - 1
    check_whole(spans)
    tests = {attributes(span)["test.case.name"]: span for span in spans if span["name"] == "clnrm.scenario"}
    about = {
        "code.file.path": "test_a.py",
        "clnrm.priority": "normal",
        "test.case.result.status": "pass",
    }
    first = tests["test_a.py::test_a"]
    assert attributes(first) == {
        **about,
        "test.case.name": "test_a.py::test_a",
        "clnrm.scenario.name": "test_a",
        "code.line.number": "4",
    }
    second = tests["test_a.py::test_b"]
    assert attributes(second)["test.case.result.status"] == "fail"
    assert second["status"] == {"code": 2, "message": "ValueError: it broke"}
    assert tests["test_a.py::test_late"]["status"] == {"code": 2, "message": "ValueError: late"}
    assert "test.case.result.status" not in attributes(tests["test_a.py::test_c"])
    ours = [span for span in spans if span.get("parentSpanId") == first["spanId"]]
    assert {span["name"] for span in ours} >= {"clnrm.image.pull", "clnrm.container.create"}
    steps = [span for span in ours if span["name"] == "clnrm.step"]
    exits = [(attributes(step)["clnrm.service"], attributes(step).get("process.exit.code")) for step in steps]
    assert exits == [("api", "3"), ("api", "0"), ("api", None), ("api", "0")]
    assert attributes(steps[0])["clnrm.step.name"] == "echo $TRACEPARENT; exit 3"
    assert (each_mode.pytester.path / "said").read_text().split("-")[2] == steps[0]["spanId"]
    assert steps[2]["status"] == {"code": 2, "message": "timed out after 0.1 s"}
    assert attributes(steps[2])["error.type"] == "timeout"


def test_what_keeps_spans_from_a_test_is_said(each_mode: Project) -> None:
    """Where no span can arrive, ``clnrm.spans(count=1)`` warns at once, with what to do; a sampler too."""
    each_mode.write(
        "test_a.py",
        """
        def test_none(clnrm):
            with clnrm.container("box", network="none"):
                assert clnrm.spans(count=1, timeout="20s") == ()

        def test_off(clnrm):
            with clnrm.container("box", env={"OTEL_TRACES_SAMPLER": "always_off"}):
                pass
        """.replace("\n        ", "\n"),
    )
    result = each_mode.run()
    result.assert_outcomes(passed=2, warnings=2)
    said = (
        (
            "test_a.py::test_none: spans are asked for, but no container here has had a network to export "
            'them over: take network="none" away, or ask for them once there is a container'
        ),
        (
            "test_a.py::test_off: container 'container1': OTEL_TRACES_SAMPLER=always_off: spans that it "
            "does not sample never arrive*"
        ),
    )
    for each in said:
        result.stdout.fnmatch_lines([f"*ScenarioWarning: {each}"])


@pytest.mark.parametrize("off", ["remote", "off"])
def test_spans_that_cannot_arrive_at_all(project: Project, monkeypatch: pytest.MonkeyPatch, off: str) -> None:
    """With an engine elsewhere, and with spans off, a scenario fails and a test is warned: both say why."""
    if off == "remote":
        monkeypatch.setenv("FAKE_REMOTE", "1")
    options = ["--clnrm-spans", "off"] if off == "off" else []
    project.write(
        "test_a.py",
        "def test_a(clnrm):\n    with clnrm.container('box'):\n"
        "        assert not clnrm.spans(count=1, timeout='20s')\n",
    )
    project.write(
        "b.clnrm.toml", HELLO.format(name="b", run="true") + '[[expect.span]]\nselect = { name = "a" }\n'
    )
    result = project.run(*options)
    result.assert_outcomes(passed=1, failed=1, warnings=1)
    why = {
        "remote": "containers of the engine at fake:// cannot reach this process, and no relay could be "
        "started: there is none for its architecture, abacus; run pytest on the engine's host, with a "
        "rootful engine",
        "off": "they are off (--clnrm-spans on)",
    }[off]
    lines = result.outlines
    assert any(line.endswith(f"test_a.py::test_a: spans are asked for, but {why}") for line in lines), lines
    assert f"b.clnrm.toml:2: spans are expected, but {why}" in lines


def test_spans_of_a_test_that_are_rejected_are_said(project: Project) -> None:
    """What the receiver does not take of a test's programs is a warning, as it is a scenario's note."""
    post = project.write("post.py", POST.replace('"b7ad6b7169203331"', '"b7"'))
    project.write(
        "test_a.py",
        f"def test_a(clnrm):\n    with clnrm.container('box') as box:\n"
        f"        assert box.run(['{sys.executable}', '-S', '{post}']).exit_code == 0\n",
    )
    result = project.run()
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*ScenarioWarning: test_a.py::test_a: 1 span was refused: a span's id *"])


def test_without_spans_nothing_of_opentelemetry_is_imported(each_mode: Project) -> None:
    """Off by option, nothing is imported, recorded or merged; what is expected of spans fails and says so."""
    each_mode.write(
        "conftest.py",
        """
        import sys
        def pytest_unconfigure(config):
            found = [name for name in sys.modules if name.startswith(("opentelemetry", "google.protobuf"))]
            assert not found, found
        """.replace("\n        ", "\n"),
    )
    hello(each_mode, "one")
    each_mode.write(
        "two.clnrm.toml", HELLO.format(name="two", run="true") + '[[expect.span]]\nselect = { name = "a" }\n'
    )
    plugins = ("-p", "clnrm_testing.fake_engine", "-p", "no:randomly", *each_mode.mode)
    result = each_mode.pytester.runpytest_subprocess(
        *plugins, "--clnrm-spans", "off", "--clnrm-report", "out"
    )
    result.assert_outcomes(passed=1, failed=1)
    assert not (each_mode.pytester.path / "out" / "trace.otlp.json").exists()
    (failed,) = (each for each in each_mode.report()["scenarios"] if each["name"] == "two")
    assert [each["message"] for each in failed["failures"]] == [
        "spans are expected, but they are off (--clnrm-spans on)"
    ]


def test_the_configuration_file_switches_spans_off(project: Project) -> None:
    """``[executor] collect_spans = false`` does what the option does."""
    project.write(".clnrm/config.toml", "[executor]\ncollect_spans = false\n")
    hello(project, "one")
    project.run("--clnrm-report", "out").assert_outcomes(passed=1)
    assert not (project.pytester.path / "out" / "trace.otlp.json").exists()
    assert project.report()["scenarios"][0]["spans"] == {"runner": 0, "workload": 0}


def test_a_disabled_sdk_is_said(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED cannot be overridden: the run passes, and the terminal says what it costs."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    hello(project, "one")
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["clnrm: OTEL_SDK_DISABLED=true switches the OpenTelemetry SDK off*"])


def test_what_a_file_sets_wins(project: Project) -> None:
    """A service, or a step, with a TRACEPARENT of its own has that one; others have their step's."""
    text = """
        [service.plain]
        image = "box"
        [service.own]
        image = "box"
        env = { TRACEPARENT = "the service's" }
        [[step]]
        name = "a"
        service = "own"
        run = "echo $TRACEPARENT"
        expect.stdout.equals = "the service's"
        [[step]]
        name = "b"
        service = "own"
        run = "echo $TRACEPARENT"
        env = { TRACEPARENT = "the step's" }
        expect.stdout.equals = "the step's"
        [[step]]
        name = "c"
        service = "plain"
        run = "echo $TRACEPARENT"
        expect.stdout.regex = "^00-[0-9a-f]{32}-[0-9a-f]{16}-01$"
        """
    project.write("a.clnrm.toml", text.replace("\n        ", "\n"))
    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("mode", ["n2", "n2-load"])
def test_the_span_of_a_wait_tells_for_what(make_project: Any, mode: str) -> None:
    """A scenario, and a test, that had to wait says what it was to reserve and at which place it began."""
    project = make_project("n2")
    hello(project, "one", "two", run="sleep 0.5")
    project.write(
        "test_a.py", "def test_a(clnrm):\n    with clnrm.container('box') as box:\n        box.run('true')\n"
    )
    options = ["--dist", "load"] if mode == "n2-load" else []
    result = project.run("--clnrm-max-containers", "1", "--clnrm-report", "out", *options)
    result.assert_outcomes(passed=3)
    waits = [attributes(span) for span in trace(project) if span["name"] == "clnrm.slot.wait"]
    assert len(waits) == 3
    demand = {
        "clnrm.demand.containers": "1",
        "clnrm.demand.memory_bytes": str(512 << 20),
        "clnrm.demand.cpus": 1.0,
        "clnrm.demand.gpus": "0",
    }
    for wait in waits:
        assert wait.items() >= demand.items()
        assert wait.keys() <= {*demand, "clnrm.queue.position"}
    assert "1" in [wait.get("clnrm.queue.position") for wait in waits]


def test_the_span_of_an_image_names_what_is_used(project: Project) -> None:
    """Where ``--clnrm-image-map`` puts another image in place, the span has that one; else the default."""
    hello(project, "one")
    project.run("--clnrm-report", "out").assert_outcomes(passed=1)
    images = [attributes(span) for span in trace(project) if span["name"] == "clnrm.image.pull"]
    assert images == [{"container.image.name": "alpine:latest"}]
    project.run("--clnrm-report", "out", "--clnrm-image-map", "*=other:1").assert_outcomes(passed=1)
    images = [attributes(span) for span in trace(project) if span["name"] == "clnrm.image.pull"]
    assert images == [{"container.image.name": "other:1"}]


def test_the_span_of_a_scenario_whose_image_is_missing_has_failed(project: Project) -> None:
    """It has the status of an error, which says why."""
    project.write("a.clnrm.toml", '[service.db]\nimage = "missing:1"\n[[step]]\nrun = "true"\n')
    project.run("--clnrm-report", "out").assert_outcomes(errors=1)
    (span,) = [each for each in trace(project) if each["name"] == "clnrm.scenario"]
    assert (span["status"]["code"], "missing:1" in span["status"]["message"]) == (2, True)
    assert attributes(span)["test.case.result.status"] == "fail"


class _Collector(http.server.BaseHTTPRequestHandler):
    """A collector that keeps what is posted to it."""

    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", self.headers["Content-Type"])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it so)
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Return the URL of a collector, and the bodies that it got."""
    bodies: list[bytes] = []
    handler = type("Handler", (_Collector,), {"bodies": bodies})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()
        thread.join()


def received(folder: Path, text: str) -> list[Span]:
    """Return what a receiver, which refuses what is no valid span, takes of OTLP/JSON."""
    receiver = Receiver(folder, "other", addresses=["127.0.0.1"])
    try:
        inbox = receiver.open("all")
        url = f"http://127.0.0.1:{receiver.port}/t/{inbox.token}/v1/traces"
        request = urllib.request.Request(url, text.encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:  # noqa: S310 -- our own
            assert json.loads(answer.read()) == {}
        return inbox.spans()
    finally:
        receiver.close()


def test_collectors_and_their_parser_take_the_trace(
    each_mode: Project, collector: tuple[str, list[bytes]]
) -> None:
    """What is forwarded, and the file, hold the same spans by the parser of opentelemetry-proto itself."""
    import gzip

    from google.protobuf.json_format import Parse
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    url, bodies = collector
    post = each_mode.write("post.py", POST)
    hello(each_mode, "one", run=f"{sys.executable} -S {post}")
    result = each_mode.run("--clnrm-report", "out", "--clnrm-otlp-endpoint", url)
    result.assert_outcomes(passed=1)

    def names(request: ExportTraceServiceRequest) -> list[str]:
        found = [scope.spans for each in request.resource_spans for scope in each.scope_spans]
        return sorted(span.name for spans in found for span in spans)

    text = (each_mode.pytester.path / "out" / "trace.otlp.json").read_text("utf-8")
    in_file = names(Parse(text, ExportTraceServiceRequest()))
    assert in_file == sorted(span["name"] for span in trace(each_mode))
    assert "work" in in_file
    assert sorted(span.name for span in received(each_mode.pytester.path, text)) == in_file
    forwarded = ExportTraceServiceRequest()
    for body in bodies:
        forwarded.MergeFromString(gzip.decompress(body))
    assert names(forwarded) == in_file


def test_expectations_name_what_steps_have_captured(project: Project) -> None:
    """A captured value is filled in when the spans are judged; another value, and none, do not pass."""
    project.write("post.py", POST)
    for name, said in (("right", "work"), ("wrong", "play"), ("empty", "")):
        project.write(
            f"{name}.clnrm.toml",
            f'[[step]]\nrun = "echo name {said}; {sys.executable} {project.pytester.path}/post.py"\n'
            'capture = { name = { regex = "name *(.*)" } }\n'
            '[[expect.span]]\nselect = "{{ name }}"\n[expect]\nwait = "0s"\n',
        )
    result = project.run("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "empty.clnrm.toml:5: name = '{{ name }}' is empty with what was captured, which it must *",
            "*expect.span?play?: no span selected, expected at least 1",
        ]
    )
