"""Scenario files that Python tests run, with the fake engine."""

from __future__ import annotations

import pytest
from clnrm_testing.project import Project

SCENARIO = """
[vars]
who = "world"
token = { value = "t0psecret", secret = true }

[service.box]
image = "a"

[[step]]
service = "box"
run = "echo hello {{ who }} {{ token }}"
expect = { stdout = { contains = "hello world" } }
"""

SEVERAL = """
[service.box]
image = "a"
[[scenario]]
name = "first"
step = [{ run = "true" }]
[[scenario]]
name = "second"
step = [{ run = "exit 3" }]
[[scenario]]
name = "no more"
xfail = "a bug"
step = [{ run = "true" }]
[[scenario]]
name = "third"
skip = "not today"
step = [{ run = "true" }]
"""

KNOWN = """
[[scenario]]
name = "known"
xfail = "a bug"
step = [{ run = "exit 3" }]
[[scenario]]
name = "broken"
xfail = "a bug"
timeout = "500ms"
step = [{ run = "sleep 9" }]
"""

TESTS = """
import pytest
from pytest_clnrm import Containers, Result, ScenarioFailedError

def test_passes(clnrm: Containers):
    result: Result = clnrm.scenario("one.clnrm.toml")
    assert result.passed and result.steps[0].stdout.startswith("hello world")

def test_result_of_a_failure(clnrm):
    result = clnrm.scenario("one.clnrm.toml", vars={"who": "you"}, check=False)
    assert not result.passed and result.outcome == "failed"
    assert "hello world" in result.failures[0].message

def test_a_secret_stays_one(clnrm):
    result = clnrm.scenario("one.clnrm.toml", vars={"token": "0ther"}, check=False)
    assert result.steps[0].stdout == "hello world ***\\n"

def test_raises(clnrm):
    with pytest.raises(ScenarioFailedError) as raised:
        clnrm.scenario("several.clnrm.toml", name="second")
    assert isinstance(raised.value, AssertionError) and raised.value.result.name == "second"

def test_raises_as_it_passes(clnrm):
    with pytest.raises(ScenarioFailedError, match=r"no more: \\[XPASS\\(strict\\)\\] a bug$") as raised:
        clnrm.scenario("several.clnrm.toml", name="no more")
    assert raised.value.result.passed
    assert clnrm.scenario("several.clnrm.toml", name="no more", check=False).passed

def test_all(clnrm):
    with pytest.raises(pytest.skip.Exception, match="third: not today"):
        clnrm.scenarios("several.clnrm.toml", check=False)

def test_fails_as_expected(clnrm):
    clnrm.scenario("known.clnrm.toml", name="known")

def test_fails_otherwise(clnrm):
    with pytest.raises(ScenarioFailedError):
        clnrm.scenario("known.clnrm.toml", name="broken")

def test_what_comes_behind_is_run(clnrm):
    with pytest.raises(ScenarioFailedError) as raised:
        clnrm.scenarios("known.clnrm.toml")
    assert raised.value.result.name == "broken"

@pytest.mark.parametrize("path, options, message", [
    ("none.clnrm.toml", {}, "there is no such file"),
    ("several.clnrm.toml", {}, r"has 4 scenarios, 'first', 'second', .*, 'third': say which \\(name=...\\)"),
    ("several.clnrm.toml", {"name": "forth"}, "name='forth': .*has no such scenario; it has 'first', 's"),
    ("one.clnrm.toml", {"vars": {"whom": "x"}}, "vars.whom: a value is given for it.*it has who, token"),
    ("several.clnrm.toml", {"vars": {"a": "x"}}, "vars.a: .*it has none"),
    ("wrong.clnrm.toml", {}, r"wrong.clnrm.toml:2:1: stepp: unknown key"),
])
def test_wrong(clnrm, path, options, message):
    with pytest.raises(ValueError, match=message):
        clnrm.scenario(path, **options)

def test_fails(clnrm):
    clnrm.scenario("one.clnrm.toml", vars={"who": "nobody"})
"""


def test_scenarios_in_python_tests(each_mode: Project) -> None:
    """Each gives its result, or raises what its item would show; variables are overridden."""
    each_mode.write("sub/one.clnrm.toml", SCENARIO)
    each_mode.write("sub/several.clnrm.toml", SEVERAL)
    each_mode.write("sub/known.clnrm.toml", KNOWN)
    each_mode.write("sub/wrong.clnrm.toml", "\n[[stepp]]\n")
    each_mode.write("sub/test_it.py", TESTS)
    result = each_mode.run("sub/test_it.py", "--clnrm-report", "out")
    result.assert_outcomes(passed=14, failed=1, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            ">*clnrm.scenario(*one.clnrm.toml*",
            "E*ScenarioFailedError: *",
            "E*ran in service 'box': echo hello nobody ???",
            "E*step 'step 1': stdout does not contain 'hello world', got 'hello nobody *",
            "E*reproduce with: pytest sub/test_it.py::test_fails",
        ]
    )
    shown = result.stdout.str()
    assert "t0psecret" not in shown
    assert "scenario_calls.py" not in shown
    tests = {each["name"]: each for each in each_mode.report()["tests"]}
    (step,) = tests["test_fails"]["steps"]
    assert step["name"] == "one: step 1"
    assert tests["test_fails"]["containers"][0]["service"] == "box"
    assert len(each_mode.events("create")) == len(each_mode.events("remove"))


ROOM = """
import pytest

@pytest.mark.clnrm_limits(containers=2)
def test_its_own(clnrm):
    with clnrm.container("a"):
        assert clnrm.scenario("one.clnrm.toml").passed

def test_waits_for_more(clnrm):
    with clnrm.container("a"):
        assert clnrm.scenario("one.clnrm.toml").passed
    assert clnrm.scenario("one.clnrm.toml").passed

def test_too_much(clnrm):
    with clnrm.container("a"), clnrm.container("b"):
        pass

@pytest.fixture(scope="module")
def prepared(clnrm_factory):
    return clnrm_factory.scenario("one.clnrm.toml")

def test_fixture(prepared):
    assert prepared.passed
"""


@pytest.mark.parametrize("most", ["1", "2"])
def test_its_room(project: Project, most: str) -> None:
    """It comes out of what the test has reserved, or is waited for; what can never be granted is told."""
    project.write("one.clnrm.toml", SCENARIO)
    project.write("test_it.py", ROOM)
    result = project.run("test_it.py", "--clnrm-max-containers", most)
    if most == "2":
        result.assert_outcomes(passed=3, failed=1)
    else:
        # The first is refused before it starts.
        result.assert_outcomes(passed=1, failed=2, errors=1)
        result.stdout.fnmatch_lines(["*1 container*of it is held by this test until they end: allow more*"])
    assert len(project.events("create")) == len(project.events("remove"))


def test_what_a_failed_one_leaves(project: Project) -> None:
    """Its containers are kept, as those of a scenario are."""
    project.write("one.clnrm.toml", SCENARIO)
    project.write(
        "test_it.py",
        "def test_it(clnrm):\n    clnrm.scenario('one.clnrm.toml', vars={'who': 'me'})\n",
    )
    result = project.run("test_it.py", "--clnrm-keep", "failed")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["clnrm: container *-box is kept, and counts until*"])
    assert project.events("remove") == []
