"""Services that end before their scenario, or their test, does; with the fake engine."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from clnrm_testing.project import Project

AT_START = 'env = {{ FAKE_AT_START = ".ended={ended}" }}'
SERVICES = """
[service.db]
image = "service-db"
{more}
[service.app]
image = "app"
depends_on = ["db"]
[[step]]
name = "first"
service = "app"
run = "true"
[[step]]
name = "second"
service = "app"
run = "{run}"
"""


def write(project: Project, more: str, run: str = "true") -> None:
    """Write a scenario with a service that is like *more*."""
    project.write("shop.clnrm.toml", SERVICES.format(more=more, run=run))


def scenarios(project: Project) -> list[dict[str, Any]]:
    """Return what the report says of each scenario."""
    document = json.loads((project.pytester.path / "out" / "report.json").read_text("utf-8"))
    return list(document["scenarios"])


def notes(project: Project) -> list[str]:
    """Return the notes of the report's one scenario."""
    (scenario,) = scenarios(project)
    return list(scenario["notes"])


def test_a_service_that_is_not_ready_shows_its_output_once(project: Project) -> None:
    """Also where it has printed more when its logs are read again; another's stand below."""
    project.write(
        "shop.clnrm.toml",
        """
        [service.db]
        image = "service-chatty"
        ready = { command = "false", timeout = "0.2s" }
        [service.app]
        image = "app"
        [[step]]
        service = "app"
        run = "true"
        """,
    )
    result = project.run("--show-capture=all")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert len(re.findall(r"logs of clnrm-\S*-db", text)) == 1
    assert "logs of service 'app'" in text


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        ("1", "ended with exit code 1, "),
        ("139", "ended with exit code 139 (killed by SIGSEGV), "),
        ("137 oom", "ended with exit code 137 (killed by SIGKILL), out of memory: its limit is 512 MB, "),
        ("127", "ended with exit code 127 (command not found), "),
    ],
)
def test_a_service_that_fails_fails_its_scenario(project: Project, ended: str, told: str) -> None:
    """Though all its steps pass: it says how the service ended, when, and what it said last."""
    write(project, AT_START.format(ended=ended))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            rf"shop.clnrm.toml:\d+: service 'db' {re.escape(told)}\d+\.\d s after the scenario's start$",
            r"    logs of clnrm-.*-db$",
            r"service 'db': ended with .*, ended after \d+\.\d s\)$",
        ]
    )


def test_a_service_that_fails_while_another_step_fails_too(project: Project) -> None:
    """Both are told, the step first."""
    write(project, AT_START.format(ended=0), run="exit 4")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r".*step 'second': exit code 4, expected 0",
            r"shop.clnrm.toml:\d+: service 'db' ended with exit code 0, \d+\.\d s after .*",
        ]
    )


def test_a_service_that_fails_beside_one_that_is_waited_for(project: Project) -> None:
    """The wait ends at once, and the one that has ended is the failure."""
    write(project, AT_START.format(ended=2))
    text = (project.pytester.path / "shop.clnrm.toml").read_text("utf-8")
    waits = text.replace(
        'depends_on = ["db"]', 'depends_on = ["db"]\nready = { log = "never", timeout = "5m" }'
    )
    project.write("shop.clnrm.toml", waits)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [r"shop.clnrm.toml:\d+: service 'db' ended with exit code 2, .* s after the scenario's start$"]
    )
    result.stdout.no_re_match_line(r".*service 'app' was.*")


def test_a_service_that_ends_with_0_is_noted(project: Project) -> None:
    """Nobody said that it may: the scenario passes, with a note on the terminal and in the report."""
    write(project, AT_START.format(ended=0))
    result = project.run("--clnrm-report", "out")
    result.assert_outcomes(passed=1, warnings=1)
    remedy = "; if it may, say so: may_end = 0, or ready = { exit = 0 } to wait for that"
    (note,) = notes(project)
    assert note.startswith("service 'db' ended with exit code 0, ")
    assert note.endswith(f" s after the scenario's start{remedy}")
    result.stdout.fnmatch_lines([f"*ScenarioWarning: {note}"])


@pytest.mark.parametrize(
    ("more", "ended"),
    [("may_end = 0", 0), ("may_end = [0, 143]", 143), ("ready = { exit = [0, 3] }", 3)],
)
def test_an_end_that_was_announced_is_nothing(project: Project, more: str, ended: int) -> None:
    """It passes without a note."""
    write(project, f"{AT_START.format(ended=ended)}\n{more}")
    result = project.run("--clnrm-report", "out")
    result.assert_outcomes(passed=1)
    assert notes(project) == []


@pytest.mark.parametrize("more", ["may_end = 0", "may_end = [1, 143]"])
def test_another_end_than_the_announced_fails(project: Project, more: str) -> None:
    """What may be is a matter of the code."""
    write(project, f"{AT_START.format(ended=2)}\n{more}")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["shop.clnrm.toml:*: service 'db' ended with exit code 2, *"])


def test_a_job_that_fails_is_waited_for_no_longer(project: Project) -> None:
    """What depends on it is not started."""
    write(project, f"{AT_START.format(ended=3)}\nready = {{ exit = 0 }}")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["shop.clnrm.toml:*: service 'db' ended with exit code 3, 1.5 s after its start, expected 0"]
    )
    assert [event["image"] for event in project.events("create")] == ["service-db"]


def test_a_step_that_ends_a_service_is_seen(project: Project) -> None:
    """The last step too: services are looked at when it is over."""
    write(project, "", run="echo 9 > ../.container-$(ls .. -a | grep -m1 container-.*-1$ | cut -c12-)/.ended")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["shop.clnrm.toml:*: service 'db' ended with exit code 9, *"])


def test_a_container_that_only_waits_is_not_looked_at(project: Project) -> None:
    """How it ends is its steps' own affair."""
    project.write("shop.clnrm.toml", '[[step]]\nrun = "echo 9 > .ended"\n')
    project.run().assert_outcomes(passed=1)


def test_it_cannot_be_told_how_a_service_fares(project: Project) -> None:
    """A service whose container somebody has removed is not known to be well."""
    write(project, 'env = { FAKE_AT_START = ".gone=1" }')
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["shop.clnrm.toml:*: service 'db': whether it still runs cannot be told: container * is gone"]
    )


USES = """
import pytest

def test_it(clnrm):
    with clnrm.container("service-db", name="db", env={{"FAKE_AT_START": ".ended={ended}"}}{more}) as db:
        {body}
"""


def use(project: Project, ended: str, body: str = "pass", more: str = "") -> pytest.RunResult:
    """Run a test that uses a container."""
    project.write("test_it.py", USES.format(ended=ended, body=body, more=more))
    return project.run()


def test_a_container_that_fails_fails_its_test(project: Project) -> None:
    """The block's end says which one, how it ended, and what it said last."""
    result = use(project, "3")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*container 'db' ended with exit code 3, 1.5 s after its start; its last output:",
            "*logs of clnrm-*-db",
        ]
    )


def test_the_next_command_names_the_container_that_has_ended(project: Project) -> None:
    """In it, or in another one beside it."""
    other = "with clnrm.container('a') as box:\n            box.run('true')\n            assert 0, 'ran'"
    marker = "@pytest.mark.clnrm_limits(containers=2)\ndef test_it"
    for body in ("db.run('true')\n        assert 0, 'ran'", other):
        project.write("test_it.py", USES.format(ended=3, body=body, more="").replace("def test_it", marker))
        result = project.run()
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["E*ServiceEndedError: container 'db' ended with exit code 3, 1.5 s *"])
        result.stdout.no_fnmatch_line("*AssertionError*")
        # What it said last stands in the message.
        result.stdout.no_fnmatch_line("*Captured logs of container 'db'*")
    result.stdout.fnmatch_lines(["*Captured logs of container 'container1' call*"])


def test_a_failing_test_is_told_which_container_has_ended(project: Project) -> None:
    """Its own failure stays, and the end of the container stands below it."""
    result = use(project, "3", "assert 0, 'no answer'")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*AssertionError: no answer"])
    result.stdout.fnmatch_lines(["*container 'db' ended with exit code 3, 1.5 s after its start*"])


@pytest.mark.parametrize(
    ("ended", "body", "more"),
    [
        ("3", "assert db.wait() == 3", ""),
        ("0", "assert db.wait(timeout='1s') == 0", ""),
        ("3", "pass", ", may_end=[0, 3]"),
        ("3", "pass", ", may_end=3"),
        ("0", "pass", ", ready={'exit': 0}"),
    ],
)
def test_an_end_on_purpose(project: Project, ended: str, body: str, more: str) -> None:
    """One that was waited for, or announced, is no error."""
    use(project, ended, body, more).assert_outcomes(passed=1)


def test_stopping_a_container(project: Project) -> None:
    """It is no error that it has ended; one that had failed before is one all the same."""
    project.write(
        "test_it.py",
        "def test_it(clnrm):\n    with clnrm.container('service-db') as db:\n        db.stop()\n",
    )
    project.run().assert_outcomes(passed=1)
    assert len(project.events("stop")) == 1
    result = use(project, "3", "db.stop()")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*ServiceEndedError: container 'db' ended with exit code 3, *"])


def test_waiting_for_a_container_that_goes_on(project: Project) -> None:
    """It is an error once the time is over."""
    text = (
        "def test_it(clnrm):\n    with clnrm.container('service-db') as db:\n        db.wait(timeout=0.1)\n"
    )
    project.write("test_it.py", text)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*ContainerError: container clnrm-* still runs after 0.1 s"])


def test_a_container_that_ends_with_0_is_noted(project: Project) -> None:
    """Nobody said that it may."""
    result = use(project, "0")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*container 'db' ended with exit code 0, 1.5 s after its start; if it may, *"]
    )


def test_the_address_of_a_container_that_has_ended(project: Project) -> None:
    """It has none: how it ended is told instead."""
    result = use(project, "3", "db.url(80)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E*ContainerError: container clnrm-*-db ended with exit code 3; its last output:"]
    )


@pytest.mark.parametrize(("more", "grace_s"), [("", 10.0), ('stop_grace = "1.5s"', 1.5)])
def test_a_step_gives_a_service_its_own_time_to_end(project: Project, more: str, grace_s: float) -> None:
    """What the service says of how long it may take to end, else the usual time."""
    text = f'[service.db]\nimage = "service-db"\n{more}\nmay_end = 143\n[[step]]\nname = "end"\nstop = "db"\n'
    project.write("shop.clnrm.toml", text)
    project.run().assert_outcomes(passed=1)
    assert [event["grace_s"] for event in project.events("stop")] == [grace_s]


WAIT = """
[service.migrate]
image = "service"
may_end = 0
[[step]]
name = "run"
service = "migrate"
run = "{run}; echo 0 > .ended"
[[step]]
service = "migrate"
wait = "exit"
expect = {{ exit = 0, stdout = {{ not_contains = "ERROR", line = {{ 2 = "ERROR: orders is lost" }} }} }}
"""


def test_a_wait_judges_all_of_the_log(project: Project) -> None:
    """Its first lines too, and of what is beyond the 4 MB, or the engine has dropped, it says so."""
    lost = "{ echo ERROR: orders is lost; yes all is well | head -n COUNT; } > .printed"
    project.write("long.clnrm.toml", WAIT.format(run=lost.replace("COUNT", "10000")))
    project.write("longer.clnrm.toml", WAIT.format(run=lost.replace("COUNT", "400000")))
    project.write("full.clnrm.toml", WAIT.format(run="echo it is full > .lacks; echo all is well > .printed"))
    result = project.run("--clnrm-report", "out")
    result.assert_outcomes(failed=3)
    told = {each["name"]: [failure["message"] for failure in each["failures"]] for each in scenarios(project)}
    assert told["long"] == ["stdout contains 'ERROR', which it must not"]
    cut = "(cannot be judged: its first 605724 bytes were left out)"
    assert told["longer"] == [
        f"stdout must not contain 'ERROR' {cut}",
        f"line 2 of stdout must be as expected {cut}",
    ]
    assert told["full"] == [each.replace(cut, "(cannot be judged: it is full)") for each in told["longer"]]


CRASHES = """
[service.web]
image = "service"
{more}
[[step]]
service = "web"
run = "echo {ended} > .ended"
[[step]]
{fault} = "web"
[[step]]
service = "web"
run = "true"
"""


@pytest.mark.parametrize("fault", ["start", "restart"])
@pytest.mark.parametrize(
    ("ended", "how"),
    [
        ("139", "exit code 139 (killed by SIGSEGV); if it may end so, write may_end = 139"),
        ("137 oom", "exit code 137 (killed by SIGKILL), out of memory: its limit is 512 MB"),
    ],
)
def test_a_service_that_has_crashed_is_not_started_anew(
    project: Project, fault: str, ended: str, how: str
) -> None:
    """No step has ended it: what would be hidden fails the step, and the service's end is told too."""
    project.write("shop.clnrm.toml", CRASHES.format(more="", ended=ended, fault=fault))
    result = project.run("--clnrm-report", "out")
    result.assert_outcomes(failed=1)
    (scenario,) = scenarios(project)
    step, service = (each["message"] for each in scenario["failures"])
    assert step == f"cannot {fault} service 'web': it has ended with {how}"
    assert service.startswith(f"service 'web' ended with exit code {ended[:3]} ")


@pytest.mark.parametrize("fault", ["start", "restart"])
@pytest.mark.parametrize(("more", "ended"), [("may_end = 139", 139), ("", 0)])
def test_a_service_that_may_end_is_started_anew(project: Project, fault: str, more: str, ended: int) -> None:
    """As one that has ended well, and one that a step has ended."""
    project.write("shop.clnrm.toml", CRASHES.format(more=more, ended=ended, fault=fault))
    project.run().assert_outcomes(passed=1)


CUT_OFF = """
[service.worker]
image = "service"
{may_end}
{env}
[[step]]
name = "work"
service = "worker"
run = "{run}"
{expect}
"""
ENDS = "expect = { service_ends = true }"
CUT = "echo 3 > .ended; touch .cut"
NOT_SEEN = (
    "step 'work' was cut off as service 'worker' ended (exit code 3): its exit code was not seen; "
    "if the step is to end it, write service_ends = true in its expect"
)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"run": CUT}, NOT_SEEN),
        ({"run": CUT, "expect": "expect = { exit = 0 }"}, NOT_SEEN),
        ({"run": CUT, "expect": "expect = { exit = { ne = 0 } }"}, NOT_SEEN),
        ({"run": CUT, "expect": ENDS}, ""),
        ({"run": "echo 3 > .ended", "expect": ENDS}, ""),
        (
            {"run": f"echo a; {CUT}", "expect": ENDS.replace("true", 'true, stdout = { equals = "b" }')},
            "stdout does not equal 'b', got 'a\\n'",
        ),
        ({"run": "echo 3 > .ended; exit 4", "expect": ENDS}, "exit code 4, expected 0"),
        (
            {"run": "true", "expect": f'{ENDS}\ntimeout = "0.2s"'},
            "step 'work' timed out after 0.2 s: service 'worker' had not ended",
        ),
        (
            {"run": "echo 4 > .ended; touch .cut", "expect": ENDS},
            "step 'work': the container of service 'worker' has ended (exit code 4)",
        ),
        (
            {"run": "echo 4 > .ended", "expect": ENDS},
            "step 'work': the container of service 'worker' has ended (exit code 4)",
        ),
        (
            {"run": "true", "expect": ENDS, "env": AT_START.format(ended=3)},
            "step 'work' was not run: service 'worker', which it is to end, had ended before (exit code 3)",
        ),
        (
            {"run": CUT, "may_end": ""},
            "step 'work': the container of service 'worker' has ended (exit code 3)",
        ),
    ],
)
def test_a_step_that_ends_with_its_service(project: Project, given: dict[str, str], told: str) -> None:
    """Who has ended it cannot be told, so a step that is to end it says so; then it has to have ended."""
    text = CUT_OFF.format(**{"may_end": "may_end = 3", "env": "", "expect": "", **given})
    project.write("shop.clnrm.toml", text)
    result = project.run("--clnrm-report", "out")
    (scenario,) = scenarios(project)
    assert [each["message"] for each in scenario["failures"]][:1] == ([told] if told else [])
    assert ".cut" not in given["run"] or scenario["steps"][0]["exit_code"] is None
    result.assert_outcomes(failed=bool(told), passed=not told)
