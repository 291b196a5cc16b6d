"""``[[check]]`` in whole runs with the fake engine: what is run, retried, hidden and told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from clnrm_testing.project import Project


def scenarios(project: Project) -> dict[str, Any]:
    """Return the scenarios of the report by name."""
    text = (project.pytester.path / "out" / "report.json").read_text("utf-8")
    return {each["name"]: each for each in json.loads(text)["scenarios"]}


@pytest.fixture
def told(project: Project) -> dict[str, Any]:
    """Return what a run of several files came to."""
    project.write(
        "all.clnrm.toml",
        """
        [[step]]
        name = "write"
        run = "echo one > a; echo two > b"
        continue_on_failure = true
        expect = { exit = 3 }
        [[step.check]]
        file = "/a"
        content = { equals = "two" }
        [[step.check]]
        file = "/c"
        [[check]]
        file = "/c.unseen"
        [[check]]
        file = "/a"
        """,
    )
    project.write(
        "retried.clnrm.toml",
        """
        [[step]]
        run = "(sleep 0.2; touch done) > /dev/null 2>&1 &"
        [[check]]
        file = "/done"
        retry = { times = 100, delay = "50ms" }
        """,
    )
    project.write(
        "secret.clnrm.toml",
        """
        [[step]]
        run = "echo hunter22; echo hunter22 > a"
        capture = { key = { regex = ".+", secret = true } }
        [[check]]
        file = "/a"
        content = { not_contains = "{{ key }}" }
        """,
    )
    project.write(
        "unbound.clnrm.toml",
        """
        [[step]]
        name = "none"
        run = "true"
        continue_on_failure = true
        capture = { key = { regex = "x" } }
        [[check]]
        file = "/{{ key }}"
        """,
    )
    project.write(
        "alone.clnrm.toml",
        """
        [[check]]
        image = "any"
        no_secrets = true
        [[check]]
        image = "missing"
        no_secrets = true
        [[check]]
        image = "any"
        no_setuid = true
        """,
    )
    project.write(
        "ended.clnrm.toml",
        """
        [service.app]
        image = "service"
        may_end = 3
        [[step]]
        run = "echo 3 > .ended"
        [[step.check]]
        process = "sh"
        running = false
        [[check]]
        port = 80
        listening = false
        [[check]]
        file = "/.ended"
        [[check]]
        process = "sh"
        [[check]]
        port = 80
        """,
    )
    project.write("lost.clnrm.toml", '[[step]]\nrun = "true"\n[[check]]\nfile = "/c.lost"\n')
    project.write(
        "both.clnrm.toml",
        '[[step]]\nrun = "true"\ncheck = [{ file = "/c.lost" }, { file = "/c" }, { file = "/d.lost" }]\n',
    )
    project.write(
        "gone.clnrm.toml",
        """
        [[step]]
        run = "touch .gone; false"
        [[check]]
        file = "/a"
        """,
    )
    result = project.run("--clnrm-report", "out")
    result.assert_outcomes(failed=8, passed=1)
    assert "hunter22" not in result.stdout.str()
    return scenarios(project)


def messages(scenario: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Return message, kind and line of each failure."""
    return [
        (each["message"], each["kind"], int(each["where"].rpartition(":")[2]))
        for each in scenario["failures"]
    ]


def outcomes(scenario: dict[str, Any]) -> list[tuple[str, str]]:
    """Return name and outcome of each step."""
    return [(each["name"], each["outcome"]) for each in scenario["steps"]]


def test_checks(told: dict[str, Any]) -> None:
    """All that is wrong is told, each at its key; a check that cannot be made has failed."""
    assert messages(told["all"]) == [
        ("exit code 0, expected 3", "expectation", 6),
        ("the content of file /a does not equal 'two', got 'one\\n'", "expectation", 9),
        ("file /c does not exist", "expectation", 10),
        ("file /c.unseen could not be checked: the engine does not say", "error", 12),
    ]
    assert outcomes(told["all"]) == [
        ("write", "failed"),
        ("check 1: file /c.unseen", "failed"),
        ("check 2: file /a", "passed"),
    ]
    # That it could not be made is a fault of the machine where the container is gone.
    assert [each["is_infrastructure"] for each in told["lost"]["failures"]] == [True]
    # Beside one that does not hold it is none: that must not be hidden.
    for name in ("all", "both"):
        assert not any(each["is_infrastructure"] for each in told[name]["failures"])
    assert len(told["both"]["failures"]) == 3
    # A check is made again while it fails, and counts as one step.
    assert told["retried"]["outcome"] == "passed"
    assert told["retried"]["steps"][1]["attempts"] > 1
    # A captured secret is hidden in what a check says too.
    ((message, _, _),) = messages(told["secret"])
    assert message == "the content of file /a contains '***', which it must not"
    # What was not captured is told of the check that names it.
    assert messages(told["unbound"])[1] == (
        "{{ key }} has no value: step 'none' has not captured it",
        "error",
        8,
    )
    # A file of images alone starts no container.
    assert [message for message, _, _ in messages(told["alone"])] == [
        "image 'any' has variables that look like secrets: DB_PASSWORD",
        "image 'missing' could not be checked: image 'missing' does not exist",
        "image 'any' has files with the set-uid bit: /bin/su",
    ]
    assert told["alone"]["containers"] == []
    # A container that has ended has files, but no processes.
    assert [message for message, _, _ in messages(told["ended"])] == [
        "process 'sh' runs not at all, expected at least 1: its container does not run (exit code 3)",
        "nothing listens on port 80/tcp: its container does not run (exit code 3)",
    ]
    # After a step that failed no check is made.
    assert outcomes(told["gone"])[1] == ("check 1: file /a", "not run")


def test_since_a_step_of_the_list(project: Project) -> None:
    """A step of the file's cleanup may have the name of one of a scenario: each check means its own."""
    project.write(
        "logs.clnrm.toml",
        """
        [service.web]
        image = "service"
        [[cleanup]]
        name = "flush"
        run = "true"
        check = [{ log = "web", since = "flush", content = { contains = "ready" } }]
        [[scenario]]
        name = "orders"
        [[scenario.step]]
        name = "flush"
        run = "true"
        check = [{ log = "web", since = "flush", content = { contains = "ready" } }]
        """,
    )
    project.run().assert_outcomes(passed=1)
    in_step, in_cleanup = project.events("log since")
    assert in_step["since_s"] <= in_step["at"] <= in_cleanup["since_s"] <= in_cleanup["at"]
