"""Services that end on a real engine: what fails a scenario, what is noted, and what was meant."""

from __future__ import annotations

import re

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

SERVICE = """
[service.box]
image = "x"
command = {command}
{more}
[service.app]
image = "x"
depends_on = ["box"]
{app}
[[step]]
name = "use"
service = "{where}"
run = "{run}"
{expect}
"""


def write(
    project: EndToEnd,
    name: str,
    command: str,
    *,
    more: str = "",
    app: str = "",
    where: str = "app",
    run: str = "sleep 1",
    expect: str = "",
) -> None:
    """Write a scenario with a service beside the one in which its step runs."""
    argv = f'["sh", "-c", "{command}"]' if command[0] != "[" else command
    text = SERVICE.format(command=argv, more=more, app=app, where=where, run=run, expect=expect)
    project.write(f"{name}.clnrm.toml", text)


def test_services_that_end(project: EndToEnd) -> None:
    """Whenever it happens, it says how, when and with which last words; what was announced is nothing."""
    waits = 'ready = { log = "never", timeout = "5m" }'
    write(project, "fails", "echo no such table; exit 1")
    write(project, "crashes", "kill -SEGV $$")
    write(project, "starts not", '["nosuchprogram"]')
    write(project, "eats", "tail /dev/zero", more='limits = { memory = "32m" }')
    write(project, "while another is waited for", "sleep 1; exit 2", app=waits)
    write(project, "ends well", "true")
    write(project, "may end", "exit 3", more="may_end = [0, 3]")
    write(project, "job", "sleep 0.5; echo done", more='ready = [{ exit = 0 }, { log = "done" }]')
    write(project, "job fails", "echo bad column; exit 3", more="ready = { exit = 0 }")
    write(project, "job hangs", "sleep 60", more='ready = { exit = 0, timeout = "1s" }')
    write(
        project,
        "killed",
        "trap 'exit 9' TERM; while :; do sleep 0.05; done",
        where="box",
        run="kill 1; sleep 9",
    )
    write(
        project,
        "killed on purpose",
        "trap 'exit 9' TERM; while :; do sleep 0.05; done",
        more="may_end = 9",
        where="box",
        run="echo on; kill 1; sleep 9",
        expect="expect = { service_ends = true }",
    )
    write(
        project,
        "killed on purpose at its end",
        "trap 'sleep 1; exit 9' TERM; while :; do sleep 0.05; done",
        more="may_end = 9",
        where="box",
        run="kill 1",
        expect="expect = { service_ends = true }",
    )
    write(project, "cuts off", "sleep 2", more="may_end = 0", where="box", run="sleep 9; test -f /never")
    run = project.run("--clnrm-timeout", "60s")
    passes = {"ends well", "may end", "job", "killed on purpose", "killed on purpose at its end"}
    assert {name for name, outcome in run.outcomes().items() if outcome == "passed"} == passes, run.text
    told = {
        "fails": r"service 'box' ended with exit code 1, \d+\.\d s after the scenario's start",
        "crashes": r"service 'box' ended with exit code 139 \(killed by SIGSEGV\), .*",
        "starts not": r"service 'box' ended with exit code (127|1) \(command not found: nosuchprogram\), .*",
        "eats": r"service 'box' ended with exit code 137 \(killed by SIGKILL\), out of memory: its limit .*",
        "while another is waited for": r"service 'box' ended with exit code 2, .* the scenario's start",
        "job fails": r"service 'box' ended with exit code 3, \d+\.\d s after its start, expected 0",
        "job hangs": r"service 'box' was not ready after 1 s \(exit 0\): it still runs",
        "cuts off": r"step 'use' was cut off as service 'box' ended \(exit code 0\): .* was not seen; .*",
        "killed": r"step 'use': the container of service 'box' has ended \(exit code 9\)",
    }
    for name, message in told.items():
        assert re.fullmatch(message, run.failures(name)[0]), run.failures(name)
    assert "no such table" in run.scenarios["fails"]["failures"][0]["details"]
    assert "bad column" in run.scenarios["job fails"]["failures"][0]["details"]
    (box, _) = run.scenarios["killed"]["containers"]
    assert box["exit_code"] == 9, "the engine is asked until it knows"
    (note,) = run.scenarios["ends well"]["notes"]
    assert note.startswith("service 'box' ended with exit code 0, ")
    assert note in run.text
    assert all(run.scenarios[name]["notes"] == [] for name in passes - {"ends well"})
    assert project.leftovers(run) == []


def test_what_a_wait_in_vain_has_seen(project: EndToEnd) -> None:
    """The last answer, run or line; a program that does not exist ends the wait at once."""
    serves = "mkdir /w; exec httpd -f -p 80 -h /w"
    soon = 'timeout = "2s"'
    write(project, "http", serves, more=f'ready = {{ http = ":80/nothing", {soon} }}')
    write(project, "https", serves, more=f'ready = {{ https = ":80/", {soon} }}')
    write(project, "typo", "sleep 60", more=f'ready = {{ command = "redis-clii ping", {soon} }}')
    write(project, "program", "sleep 60", more='ready = { command = ["redis-clii"], timeout = "5m" }')
    write(project, "log", "echo up; sleep 60", more=f'ready = {{ log = "up", times = 2, {soon} }}')
    write(
        project,
        "check",
        "sleep 60",
        more='ready = { healthcheck = { command = "echo ill; exit 1", retries = 2 } }',
    )
    write(
        project,
        "all",
        f"echo up; {serves}",
        more='ready = [{ http = ":80/nothing", status = [404, "5xx"] }, { log = "up" }, { port = 80 }]',
    )
    write(project, "long", "seq 1 40000; echo READY; exec sleep 60", more='ready = { log = "^READY$" }')
    run = project.run("--clnrm-timeout", "60s")
    passes = {name for name, outcome in run.outcomes().items() if outcome == "passed"}
    assert passes == {"all", "long"}, run.text
    missing = r"exit code 127 \(command not found\) and printed: sh: redis-clii: not found(; one more .*)?"
    told = {
        "http": r".* after 2 s \(http /nothing on port 80\): the last answer was 404 Not Found, .*",
        "https": r".* after 2 s \(https / on port 80\): no answer: TLS: .+",
        "typo": rf".* after 2 s \(command redis-clii ping\): its last run ended with {missing}",
        "program": r".* can never be ready: command redis-clii cannot .*: command not found: redis-clii",
        "log": r".* after 2 s \(log 'up', 2 times\): 1 of 2 matching lines in 1 lines of output",
        "check": r".* is unhealthy: 2 failures in a row .*: .* exit code 1 and printed: ill",
    }
    for name, message in told.items():
        assert re.fullmatch(f"service 'box'{message}", run.failures(name)[0]), run.failures(name)
