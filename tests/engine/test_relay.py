"""An engine whose networks cannot be reached: pytest runs in a network namespace that has but the socket."""

from __future__ import annotations

import json
import time

import pytest
from clnrm_testing.elsewhere import ELSEWHERE, NOWHERE, needs_namespaces
from clnrm_testing.end_to_end import EndToEnd, Run
from clnrm_testing.traced_service import ASK, TRACED

pytestmark = [pytest.mark.engine, needs_namespaces]
SERVICE = """
[service.web]
image = "x"
command = ["sh", "-c", "mkdir -p /page; [ -e /page/index.html ] || echo made > /page/index.html; \
exec httpd -f -p 80 -h /page"]
"""
STEP = """
[[step]]
name = "{name}"
service = "{service}"
run = '''{run}'''
"""
EXPORT = (
    "wget -q -O - --header 'Content-Type: application/json' "
    '--post-data "$BODY" "$OTEL_EXPORTER_OTLP_ENDPOINT/v1/traces"'
)


def body(name: str) -> str:
    """Return a request with one span."""
    span = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": name}
    times = {"startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{**span, **times}]}]}]})


def created(project: EndToEnd, run: Run) -> list[str]:
    """Return the names of the containers that a run has created, in their order."""
    filters = {"type": "container", "event": "create", "label": f"pytest-clnrm.session={run.session}"}
    now_s = int(time.time())
    events = project.client.events(since=now_s - 600, until=now_s + 1, filters=filters, decode=True)
    return [event["Actor"]["Attributes"]["name"] for event in events]


@pytest.fixture
def far(project: EndToEnd) -> EndToEnd:
    """Return a project whose runs share nothing but the engine's socket, and files, with the engine."""
    project.through = NOWHERE
    return project


def test_readiness_spans_and_published_ports(far: EndToEnd) -> None:
    """A service is asked over port and HTTP, spans arrive of services and steps, a test reaches a port."""
    far.write("page/index.html", "from the host")
    far.write(
        "ready.clnrm.toml",
        SERVICE
        + 'volumes = [{ source = "page", target = "/page" }]\n'
        + 'ready = [{ port = 80 }, { http = "/index.html" }]\n[service.box]\nimage = "x"\n'
        + STEP.format(name="ask", service="box", run="wget -q -O - http://web/index.html")
        + 'expect = { stdout = { contains = "from the host" } }\n',
    )
    far.write(
        "spans.clnrm.toml",
        '[service.box]\nimage = "x"\n[service.job]\nimage = "x"\n'
        f"command = ['sh', '-c', '''{EXPORT}''']\nenv = {{ BODY = '{body('work')}' }}\n"
        "ready = [{ exit = 0 }, { span = 'work' }]\n"
        + STEP.format(name="export", service="box", run=EXPORT)
        + f"env = {{ BODY = '{body('step')}' }}\n"
        + '[[expect.span]]\nselect = { name = "work" }\ncount = { eq = 1 }\n'
        + '[[expect.span]]\nselect = { name = "step", under = { name = "clnrm.step" } }\n',
    )
    # Its spans come over the relay of the worker that has started it, whoever uses it.
    far.write(
        "shared.clnrm.toml",
        TRACED.replace("ASK", f"{ASK}$TRACEPARENT")
        + '[[expect.span]]\nselect = { name = "query", service = "db", under = { name = "clnrm.step" } }\n'
        + "count = { eq = 1 }\n[expect.counts]\nerrors_total = 0\n",
    )
    far.write(
        "test_port.py",
        "from urllib.request import urlopen\n\n\ndef test_port(clnrm):\n"
        "    command = ['sh', '-c', 'mkdir /w; echo hello > /w/index.html; exec httpd -f -p 81 -h /w']\n"
        "    with clnrm.container('x', command=command, ports=[81], ready={'port': 81}) as web:\n"
        "        assert web.address(81)[0] == '127.0.0.1'\n"
        "        with urlopen(web.url(81), timeout=20) as answer:\n"
        "            assert answer.read() == b'hello\\n'\n",
    )
    run = far.run()
    assert run.outcomes() == dict.fromkeys(("ready", "spans", "shared"), "passed"), run.text
    assert "4 passed" in run.text
    assert far.leftovers(run) == []


def test_relays_are_not_counted(far: EndToEnd) -> None:
    """Each worker has one, beside the containers that a run may have at a time."""
    for name in ("a", "b", "c"):
        scenario = SERVICE + "ready = { port = 80 }\n" + STEP.format(name="step", service="web", run="true")
        far.write(f"{name}.clnrm.toml", scenario)
    run = far.run("--clnrm-max-containers", "1", mode=("-n", "2"))
    assert run.outcomes() == dict.fromkeys("abc", "passed"), run.text
    assert far.leftovers(run) == []


def test_where_all_is_reached_there_is_none(project: EndToEnd) -> None:
    """On an engine of this host no container but the scenario's is made; elsewhere there is one more."""
    scenario = SERVICE + "ready = { port = 80 }\n" + STEP.format(name="step", service="web", run="true")
    project.write("near.clnrm.toml", scenario)
    near = project.run()
    assert near.outcomes() == {"near": "passed"}, near.text
    assert created(project, near) == [f"clnrm-{near.session}-master-1-web"]
    project.through = NOWHERE
    far = project.run()
    assert far.outcomes() == {"near": "passed"}, far.text
    assert created(project, far) == [f"clnrm-{far.session}-master-{each}" for each in ("relay1", "1-web")]


def test_volumes_are_mounted_where_they_are_the_same(project: EndToEnd) -> None:
    """What the engine has too is mounted; what it has not is refused, with the place and the remedy."""
    project.through = ELSEWHERE
    project.write("shared/in", "from the host")
    project.write("hidden/.keep", "")
    project.environment["HIDDEN"] = str(project.folder / "hidden")
    for name in ("shared", "hidden"):
        project.write(
            f"{name}.clnrm.toml",
            f'[service.box]\nimage = "x"\nvolumes = [{{ source = "{name}", target = "/data" }}]\n'
            + STEP.format(name="step", service="box", run="cat /data/in"),
        )
    run = project.run()
    assert run.outcomes() == {"shared": "passed", "hidden": "failed"}, run.text
    (message,) = run.failures("hidden")
    assert message.startswith(
        f"service 'box': the engine does not have this host's {project.folder}/hidden ("
    )
    assert f"{project.token}/hidden.clnrm.toml:3: {message}" in run.text
    assert message.endswith(
        "it runs on another machine, or this process in a container; copy what is needed into an image "
        "(build), or share that path with the engine's machine"
    )
    assert project.leftovers(run) == []
