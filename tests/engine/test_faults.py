"""Steps that do something to services: they end, hang and are cut off, and the scenario goes on."""

from __future__ import annotations

import re

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

WEB = """
[service.web]
image = "x"
command = "mkdir -p /w; echo hello >/w/index.html; exec httpd -f -p 80 -h /w"
ready = { http = ":80/index.html" }
[service.client]
image = "x"
"""
ASK = """
[[step]]
name = "{name}"
service = "client"
run = "timeout 2 wget -q -O - http://web/index.html"
expect = {{ {expect} }}
"""
ANSWERS = 'stdout = { equals = "hello" }'
SILENT = "exit = { ne = 0 }"


def asked(name: str, *, answers: bool) -> str:
    """Return a step that asks the service, and expects an answer or none."""
    return ASK.format(name=name, expect=ANSWERS if answers else SILENT)


def test_faults_and_ends_that_are_waited_for(project: EndToEnd) -> None:
    """Each fault is felt by others and over again; what cannot be done now says why, and what to do."""
    text = WEB + asked("before", answers=True)
    for fault, undo in (
        ("kill", "start"),
        ("pause", "unpause"),
        ("disconnect", "reconnect"),
        ("stop", "start"),
    ):
        text += f'[[step]]\n{fault} = "web"\n{asked(f"after {fault}", answers=False)}'
        text += f'[[step]]\n{undo} = "web"\n{asked(f"after {undo} ({fault})", answers=True)}'
    text += f'[[step]]\nrestart = "web"\n{asked("after restart", answers=True)}'
    # A service that a step has stopped has not failed.
    text += '[[step]]\nservice = "web"\nrun = "echo in it"\n[[step]]\nstop = "web"\n'
    project.write("faults.clnrm.toml", text)
    job = '[service.job]\nimage = "x"\ncommand = "sleep 1; echo migrated; exit 3"\n'
    wait = '[[step]]\nname = "end"\nservice = "job"\nwait = "exit"\n'
    good = 'expect = { exit = 3, stdout = { contains = "migrated" } }\n'
    project.write("job.clnrm.toml", f"{job}{wait}{good}")
    project.write("wrong.clnrm.toml", f'{job}{wait}expect = {{ stdout = {{ contains = "done" }} }}\n')
    long = '[service.job]\nimage = "x"\ncommand = "echo orders is lost; seq 1 20000"\n'
    bad = 'expect = { stdout = { not_contains = "lost" } }\n'
    project.write("long.clnrm.toml", f"{long}{wait}{bad}")
    project.write("hangs.clnrm.toml", f'{WEB}[[step]]\nservice = "web"\nwait = "exit"\ntimeout = "1s"\n')
    wrong = {
        "start": ("start", "it is running; stop it first"),
        "unpause": ("unpause", "it is running; pause it first"),
        "reconnect": ("reconnect", "it is connected"),
    }
    for name, (fault, _) in wrong.items():
        project.write(f"not-{name}.clnrm.toml", f'{WEB}[[step]]\n{fault} = "web"\n')
    project.write("waits.clnrm.toml", f'{WEB}[[step]]\nstop = "client"\n')
    project.write(
        "paused.clnrm.toml",
        f'{WEB}[[step]]\npause = "web"\n[[step]]\nname = "in it"\nservice = "web"\nrun = "true"\n',
    )
    run = project.run(mode=("-n", "2"))
    outcomes = run.outcomes()
    assert {name for name, outcome in outcomes.items() if outcome == "passed"} == {"faults", "job"}, run.text
    assert run.steps("faults")["step 2"]["command"] == "kill"
    assert run.steps("job")["end"]["exit_code"] == 3
    assert run.failures("wrong") == [
        "exit code 3, expected 0",
        "stdout does not contain 'done', got 'migrated\\n'",
    ]
    assert run.failures("long") == ["stdout contains 'lost', which it must not"]
    assert run.failures("hangs") == ["step 'step 1' timed out after 1 s: service 'web' had not ended"]
    for name, (fault, why) in wrong.items():
        assert run.failures(f"not-{name}") == [f"cannot {fault} service 'web': {why}"]
    (told,) = run.failures("waits")
    assert told == (
        "cannot stop service 'client': it runs no command of its own, and only waits for steps; "
        "give it a command"
    )
    assert re.fullmatch("service 'web' is paused: a step cannot run in it.*", run.failures("paused")[0])
    assert project.leftovers(run) == []
