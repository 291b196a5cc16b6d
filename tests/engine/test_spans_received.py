"""Spans that a shell posts: over which networks they are received, and whose count."""

from __future__ import annotations

import json
import re

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

POST = (
    "wget -q -O - --header 'Content-Type: application/json' --post-data \"$BODY\" "
    '"$OTEL_EXPORTER_OTLP_ENDPOINT/v1/traces"'
)
SPAN = {
    "traceId": "0af7651916cd43dd8448eb211c80319c",
    "spanId": "b7ad6b7169203331",
    "name": "from a shell",
    "kind": 1,
    "startTimeUnixNano": "1700000000000000000",
    "endTimeUnixNano": "1700000000500000000",
}
ONE = '[[expect.span]]\nselect = { name = "from a shell" }\ncount = { eq = 1 }\n'
BODY = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]})


def scenario(network: str = "", step: str = POST, expect: str = ONE, env: str = "") -> str:
    """Return a scenario whose step posts a span."""
    return f"""
[service.box]
image = "busybox"
{network}

[[step]]
name = "post"
service = "box"
run = '''{step}'''
env = {{ BODY = '{BODY}'{env} }}

{expect}
"""


def test_networks(project: EndToEnd) -> None:
    """Spans arrive from the isolated network and from a bridge; without one the failure says what to do."""
    project.write("isolated.clnrm.toml", scenario())
    project.write("bridge.clnrm.toml", scenario('network = "bridge"'))
    project.write("none.clnrm.toml", scenario('network = "none"', step="true"))
    run = project.run()
    assert run.outcomes() == {"isolated": "passed", "bridge": "passed", "none": "failed"}, run.text
    (message,) = run.failures("none")
    assert message == (
        "spans are expected, but no service of the scenario has a network to export them over: "
        'take network = "none" away, or expect no spans'
    )


def test_the_runners_spans_count_only_where_asked_for(project: EndToEnd) -> None:
    """``clnrm.step`` is found with ``from = "runner"``, and nearly found, with the reason, without."""
    ours = '[[expect.span]]\nselect = {{ name = "clnrm.step"{} }}\n[expect]\nwait = 0.0\n'
    project.write("asked.clnrm.toml", scenario(expect=ours.format(', from = "runner"')))
    project.write("unasked.clnrm.toml", scenario(expect=ours.format("")))
    run = project.run()
    assert run.outcomes() == {"asked": "passed", "unasked": "failed"}, run.text
    (failure,) = run.scenarios["unasked"]["failures"]
    assert 'it is a span of the runner, which counts only with from = "runner"' in failure["details"]


def test_a_variable_that_keeps_spans_from_us_is_told(project: EndToEnd) -> None:
    """A variable of the file that keeps spans from us is named: in a warning, and with the failure."""
    off = ", OTEL_TRACES_SAMPLER = 'always_off'"
    expect = '[[expect.span]]\nselect = { name = "never" }\n[expect]\nwait = 0.0\n'
    project.write("off.clnrm.toml", scenario(env=off, expect=expect))
    run = project.run("-rw")
    said = "step 'post': OTEL_TRACES_SAMPLER=always_off: spans that it does not sample never arrive"
    assert said in run.text
    assert any(note.startswith(said) for note in run.scenarios["off"]["notes"])
    assert f"note: {said}" in run.text
    assert f"ScenarioWarning: {said}" in run.text


def test_a_span_that_comes_late_is_waited_for(project: EndToEnd) -> None:
    """A program in the background of a container that goes on running has ``wait`` for its spans."""
    late = f"(until test -e /tmp/sent; do sleep 0.1; done; sleep 1; {POST}) >/dev/null 2>&1 & touch /tmp/sent"
    counted = "[expect.counts]\nspans_total = { eq = 1 }\n[expect]\nwait = 30.0\n"
    project.write("late.clnrm.toml", scenario(step=late, expect=counted))
    run = project.run()
    assert run.outcomes() == {"late": "passed"}, run.text


def test_what_comes_late_is_not_taken_to_be_absent(project: EndToEnd) -> None:
    """An exact number is judged when nothing is left that could send; services end only after ``wait``."""
    second = BODY.replace("b7ad6b7169203331", "b7ad6b7169203332")
    later = POST.replace("$BODY", "$SECOND")
    step = f"{POST}; (sleep 1; {later}) >/dev/null 2>&1 &"
    twice = scenario(step=step, env=f", SECOND = '{second}'")
    # The shell that is open for its user is none of what could send.
    project.write("twice.clnrm.toml", twice.replace("[[step]]", '[[step]]\nuser = "nobody"'))
    project.write("once.clnrm.toml", scenario())
    served = f"""
[service.worker]
image = "busybox"
command = ["sh", "-c", '''trap 'exit 0' TERM; {POST} >/dev/null; sleep 0.7; {later}; sleep 99 & wait''']
env = {{ BODY = '{BODY}', SECOND = '{second}' }}

[[step]]
name = "nothing"
service = "worker"
run = "true"

{ONE}
[expect]
wait = "5s"
"""
    project.write("worker.clnrm.toml", served)
    run = project.run()
    assert run.outcomes() == {"twice": "failed", "once": "passed", "worker": "failed"}, run.text
    for name in ("twice", "worker"):
        (failure,) = run.scenarios[name]["failures"]
        assert failure["message"] == "expect.span[from a shell]: 2 spans selected, expected exactly 1"
    assert "(nothing that could send more was running any longer)" in run.text
    waited = re.search(r"spans were waited for, (\d+\.\d) s long \(wait = 5 s\)", failure["details"])
    assert waited is not None, failure
    assert float(waited[1]) >= 5
    assert "then worker had to end (SIGTERM), " in failure["details"]


def test_a_stranger_is_refused(project: EndToEnd) -> None:
    """A token of nobody gets no span in: the step sees 401, and what it sent is not shown to be absent."""
    stranger = POST.replace("$OTEL_EXPORTER_OTLP_ENDPOINT", "${OTEL_EXPORTER_OTLP_ENDPOINT%/t/*}/t/guessed")
    nothing = "[expect.counts]\nspans_total = { eq = 0 }\n"
    project.write(
        "stranger.clnrm.toml", scenario(step=f"{stranger} 2>&1 | tee /dev/stderr; true", expect=nothing)
    )
    run = project.run()
    assert run.outcomes() == {"stranger": "failed"}, run.text
    (message,) = run.failures("stranger")
    assert message == (
        "expect.counts.spans_total: cannot be judged, as not all spans arrived: 1 request was refused: "
        "401, no token of a running scenario"
    )
    assert "401" in run.steps("stranger")["post"]["stderr"]


def test_only_the_last_attempt_of_a_step_counts(project: EndToEnd) -> None:
    """What a step posted and then failed does not count; that its next attempt posts the very same does."""
    once = "if test -e /tmp/x; then {}; else touch /tmp/x; {}; exit 1; fi"
    retry = "retry = { times = 1, delay = 0.0 }\n"
    project.write("again.clnrm.toml", scenario(step=once.format(POST, POST), expect=retry + ONE))
    project.write("failed.clnrm.toml", scenario(step=once.format("true", POST), expect=retry + ONE))
    # With another step, the times alone do not tell.
    more = '\n[[step]]\nname = "more"\nservice = "box"\nrun = "true"\n'
    project.write("two.clnrm.toml", scenario(step=once.format("true", POST), expect=retry + more + ONE))
    run = project.run()
    assert run.outcomes() == {"again": "passed", "failed": "failed", "two": "failed"}, run.text
    assert run.failures("two") == run.failures("failed")
    assert run.failures("failed") == ["expect.span[from a shell]: no span selected, expected exactly 1"]
    assert "and 1 of attempts of steps that failed, which do not count: from a shell" in run.text
