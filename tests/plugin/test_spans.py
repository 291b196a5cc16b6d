"""The spans of a run: recorded in every process, merged, handed out and forwarded; with the fake engine."""

from __future__ import annotations

import http.server
import json
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from clnrm_testing.project import Project

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


def check_whole(spans: list[dict[str, Any]]) -> None:
    """Assert one trace with one root, in which each span's parent is there."""
    ids = {span["spanId"] for span in spans}
    assert len(ids) == len(spans)
    assert len({span["traceId"] for span in spans}) == 1
    assert [span["name"] for span in spans if not span.get("parentSpanId")] == ["clnrm.session"]
    assert all(span["parentSpanId"] in ids for span in spans if span["name"] != "clnrm.session")


def test_one_trace_with_all_that_was_done(each_mode: Project) -> None:
    """Whatever way it runs, a run leaves one trace: names, kinds, attributes and parents as documented."""
    hello(each_mode, "one", "two")
    each_mode.run("--clnrm-report", "out").assert_outcomes(passed=2)
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
    assert {span["traceId"] for span in spans} == {PARENT.split("-")[1]}
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


def test_spans_of_tests_with_the_fixture_are_merged(each_mode: Project) -> None:
    """A run of Python tests that use the fixture ``clnrm`` leaves a trace too."""
    each_mode.write(
        "test_a.py", "def test_a(clnrm):\n    with clnrm.container('box') as box:\n        box.run('true')\n"
    )
    each_mode.run("--clnrm-report", "out").assert_outcomes(passed=1)
    spans = trace(each_mode)
    check_whole(spans)
    (test,) = (attributes(span) for span in spans if span["name"] == "clnrm.scenario")
    assert test == {"test.case.name": "test_a.py::test_a"}


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
    forwarded = ExportTraceServiceRequest()
    for body in bodies:
        forwarded.MergeFromString(gzip.decompress(body))
    assert names(forwarded) == in_file
