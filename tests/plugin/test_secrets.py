"""Secrets appear in nothing that a run shows or leaves; with the fake engine."""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from urllib.parse import quote

import pytest
from clnrm_testing.project import Project

MARKED = 'hunter2/"marked"'
NAMED = "named-by-the-ini-44"
CAPTURED = "tok-captured-9c1f"
ENVIRON = "of-the-environment-31"
SHOWN = "this is no secret"

# A body of OTLP/JSON is posted by Python, as the fake engine's commands run on this host.
PROGRAM = f"""
import json, os, sys, time, urllib.request
secret = os.environ["PASSWORD"]
print("env says", secret, os.environ["NAMED"])
print(json.dumps({{"password": secret}}), file=sys.stderr)
for piece in secret:
    print(piece, end="", flush=True)
print()
print("token={CAPTURED}", os.environ["KEY"])
text = lambda value: {{"stringValue": value}}
span = {{
    "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "login " + secret,
    "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000500000000",
    "attributes": [
        {{"key": "db.password", "value": text(secret)}},
        {{"key": "token", "value": {{"arrayValue": {{"values": [text("Bearer {CAPTURED}")]}}}}}},
        {{"key": "plain", "value": text("{SHOWN}")}},
    ],
    "events": [{{"name": "said", "attributes": [{{"key": "what", "value": text(os.environ["NAMED"])}}]}}],
    "status": {{"code": 2, "message": "refused " + secret}},
}}
resource = {{"attributes": [{{"key": "deployment.key", "value": text(secret)}}]}}
body = {{"resourceSpans": [{{"resource": resource, "scopeSpans": [{{"spans": [span]}}]}}]}}
request = urllib.request.Request(
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces", json.dumps(body).encode(),
    {{"Content-Type": "application/json"}},
)
urllib.request.urlopen(request)
"""
SCENARIO = f"""
[vars]
password = {{ value = '{MARKED}', secret = true }}
api_key = '{NAMED}'

[[step]]
name = "login"
run = ["{sys.executable}", "-S", "-c", '''{PROGRAM}''']
env = {{ PASSWORD = "{{{{ password }}}}", NAMED = "{{{{ api_key }}}}", KEY = "{{{{ env('DEPLOY_KEY') }}}}" }}
capture.token = {{ regex = "token=(\\\\S+)", secret = true }}

[[step]]
name = "use {{{{ password }}}}"
run = "echo got {{{{ token }}}}; echo {SHOWN}; echo '{{{{ token }}}}' >&2"
env = {{ PASSWORD = "{{{{ password }}}}" }}
continue_on_failure = true
expect = {{ stdout = {{ equals = "something else than {{{{ password }}}}" }} }}

[[step]]
name = "long"
run = "printf '%0116d%s' 0 '{{{{ token }}}}'"
expect = {{ stdout = {{ regex = ["never {{{{ token }}}} "] }} }}
"""


@pytest.fixture
def secretive(each_mode: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project with a scenario that says all its secrets wherever it can."""
    monkeypatch.setenv("DEPLOY_KEY", ENVIRON)
    each_mode.pytester.makeini(
        "[pytest]\nclnrm_secrets = api_key DEPLOY_KEY\nclnrm_env = DEPLOY_KEY\nclnrm_image_map = *=box\n"
    )
    each_mode.write("login.clnrm.toml", SCENARIO)
    return each_mode


def written(secret: str) -> tuple[bytes, ...]:
    """Return how *secret* may stand in a file."""
    forms = (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), secret.replace('"', "&quot;"))
    return (*(form.encode() for form in forms), base64.b64encode(secret.encode()))


@pytest.mark.parametrize("options", ["", "-s", "-v -l -rA --log-level=DEBUG"])
def test_no_artefact_holds_a_secret(secretive: Project, options: str) -> None:
    """Terminal, report.json, report.html, trace, JUnit: none holds a secret, and what is none is in each."""
    result = secretive.run("--clnrm-report", "out", "--junitxml", "out/junit.xml", *options.split())
    result.assert_outcomes(failed=1)
    out = secretive.pytester.path / "out"
    artefacts = {path.name: path.read_bytes() for path in out.iterdir()}
    assert artefacts.keys() == {"report.json", "report.html", "trace.otlp.json", "junit.xml"}
    artefacts["terminal"] = "\n".join((*result.outlines, *result.errlines)).encode()
    for name, content in artefacts.items():
        assert SHOWN.encode() in content, name
        for secret in (MARKED, NAMED, CAPTURED, ENVIRON):
            assert not any(form in content for form in written(secret)), (name, secret)
    shown = artefacts["terminal"].decode()
    assert "env says *** ***" in shown
    assert "step 'use ***'" in shown
    scenario = secretive.report()["scenarios"][0]
    assert scenario["spans"]["workload"] == 1
    assert any("login ***" in line for line in artefacts["trace.otlp.json"].decode().splitlines())


def test_the_real_values_are_judged(project: Project) -> None:
    """Expectations see what a program really said: a mask in its place would fail them."""
    project.write(
        "a.clnrm.toml",
        """
        [vars]
        password = { value = "hunter2", secret = true }
        [[step]]
        name = "a"
        run = "echo {{ password }}"
        capture.said = { regex = "(hunter.)", secret = true }
        expect = { stdout = { equals = "{{ password }}", contains = "hunter2" } }
        [[step]]
        name = "b"
        run = "test {{ said }} = hunter2"
        """,
    )
    project.run().assert_outcomes(passed=1)


def test_mistakes_and_errors_hold_no_secret(project: Project) -> None:
    """Neither a mistake in the file nor an image that cannot be had shows a secret that it is about."""
    begin = '[vars]\npassword = { value = "hunter2", secret = true }\n[[step]]\nname = "a"\nrun = "true"\n'
    project.write("mistake.clnrm.toml", f'{begin}timeout = "{{{{ password }}}}"\n')
    project.write(
        "image.clnrm.toml", f'{begin}service = "s"\n[service.s]\nimage = "missing-{{{{ password }}}}"\n'
    )
    result = project.run("--continue-on-collection-errors", "--clnrm-report", "out")
    result.assert_outcomes(errors=2)
    text = "\n".join(result.outlines)
    assert "hunter2" not in text.replace(str(project.pytester.path), "")
    assert "image 'missing-***' does not exist" in text
    assert "hunter2" not in (project.pytester.path / "out" / "report.json").read_text("utf-8")


def test_lines_of_a_file_hold_no_secret(project: Project) -> None:
    """The report shows the lines around a failure, and masks what the file itself calls secret."""
    text = '[vars]\npassword = { value = "hunter2", secret = true }\n[[step]]\nname = "a"\nrun = "exit 1"\n'
    project.write("a.clnrm.toml", text)
    project.run("--clnrm-report", "out").assert_outcomes(failed=1)
    report = (project.pytester.path / "out" / "report.json").read_text("utf-8")
    assert 'password = { value = \\"***\\", secret = true }' in report
    assert "hunter2" not in report
    assert "hunter2" not in (project.pytester.path / "out" / "report.html").read_text("utf-8")


def test_the_status_of_a_worker_holds_no_secret(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``clnrm status`` reads while a step of a secret name runs is masked."""
    monkeypatch.setattr(tempfile, "tempdir", str(project.pytester.path))
    folder = project.pytester.path
    seen = folder / "seen"
    project.write(
        "a.clnrm.toml",
        f"""
        [vars]
        password = {{ value = "hunter2", secret = true }}
        [[step]]
        name = "say {{{{ password }}}}"
        run = "cat {folder}/clnrm-*/* {folder}/clnrm-*/spans/* > {seen} 2>/dev/null; true"
        """,
    )
    project.run().assert_outcomes(passed=1)
    assert b"say ***" in seen.read_bytes()
    assert b"hunter2" not in seen.read_bytes()


def test_spans_of_python_tests_hold_no_secret(secretive: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``clnrm_secrets`` names is masked in the spans of a test: its commands', and its programs'."""
    (secretive.pytester.path / "login.clnrm.toml").unlink()
    program = secretive.write("program.py", PROGRAM)
    secretive.write(
        "test_a.py",
        f"""
        def test_a(clnrm):
            env = {{"PASSWORD": "{ENVIRON}", "NAMED": "{SHOWN}", "api_key": "{NAMED}", "KEY": ""}}
            with clnrm.container("box", env=env) as box:
                assert box.run(["{sys.executable}", "-S", "{program}"]).exit_code == 0
                box.run("echo {ENVIRON} {NAMED}")
                (span,) = clnrm.spans(count=1)
            assert span.name == "login {ENVIRON}"
        """.replace("\n        ", "\n"),
    )
    secretive.run("--clnrm-report", "out").assert_outcomes(passed=1)
    trace = (secretive.pytester.path / "out" / "trace.otlp.json").read_bytes()
    assert b'"login ***"' in trace
    assert b'"echo *** ***"' in trace
    assert SHOWN.encode() in trace
    for secret in (ENVIRON, NAMED):
        assert not any(form in trace for form in written(secret)), secret
