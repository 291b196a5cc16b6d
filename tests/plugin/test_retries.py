"""Scenarios that are tried again when they fail, and what a run tells of them; with the fake engine."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest
from clnrm_testing.project import Project

FLAKY = """
[meta]
name = "flaky"
RETRY

[vars]
token = { value = "hunter2", secret = true }

[service.app]
image = "box"
artifacts = ["/log"]

[[step]]
name = "work"
run = '''
pwd >> FOLDER/places; [ -e kept ] && echo used; touch kept
n=$(wc -l < FOLDER/places); echo "run $n of hunter2" | tee log; [ $n -ge PASSES ]
'''
"""
BAD = '[meta]\nname = "bad"\nretry = 1\n[[step]]\nrun = "pwd >> FOLDER/bads; exit 3"\n'


def write(project: Project, *, passes: int, retry: str = "", text: str = FLAKY, name: str = "flaky") -> None:
    """Write a scenario that passes from its run of that number on."""
    folder = str(project.pytester.path)
    project.pytester.makeini("[pytest]\nclnrm_default_image = box\n")
    text = text.replace("FOLDER", folder).replace("PASSES", str(passes)).replace("RETRY", retry)
    project.write(f"{name}.clnrm.toml", text)


def runs(project: Project, name: str = "places") -> list[str]:
    """Return in which container each run was."""
    return (project.pytester.path / name).read_text("utf-8").splitlines()


def scenario(project: Project) -> dict[str, Any]:
    """Return the only scenario of the report."""
    (found,) = project.report()["scenarios"]
    return dict(found)


def test_a_flaky_scenario(each_mode: Project) -> None:
    """It is tried again in new containers until it passes; each attempt is kept apart, and it is told."""
    write(each_mode, passes=3)
    result = each_mode.run("--clnrm-retries", "4", "--clnrm-report", "out", "--junitxml=junit.xml", "-v")
    assert result.ret == 0
    assert result.parseoutcomes() == {"passed": 1}
    assert len(runs(each_mode)) == len(set(runs(each_mode))) == 3
    result.stdout.fnmatch_lines(
        [
            "*flaky.clnrm.toml::flaky*",
            "clnrm: 1 flaky test, passed only when tried again: flaky.clnrm.toml::flaky",
            "    flaky.clnrm.toml::flaky: passed in attempt 3",
            "        attempt 1 failed: step 'work'*exit code 1*(flaky.clnrm.toml:*)",
            "        attempt 2 failed: step 'work'*",
        ]
    )
    assert "FLAKY" in result.stdout.str()
    found = scenario(each_mode)
    assert (found["outcome"], found["attempts"], found["is_flaky"], found["failures"]) == (
        "passed",
        3,
        True,
        [],
    )
    assert [each["steps"][0]["stdout"] for each in found["earlier"]] == ["run 1 of ***\n", "run 2 of ***\n"]
    assert found["steps"][0]["stdout"] == "run 3 of ***\n"
    every = [*found["earlier"], found]
    assert len({each["containers"][0]["id"] for each in every}) == 3
    files = [each_mode.pytester.path / "out" / each["artifacts"][0]["file"] for each in every]
    assert [file.read_text("utf-8") for file in files] == [f"run {n} of ***\n" for n in (1, 2, 3)]
    page = (each_mode.pytester.path / "out/report.html").read_text("utf-8")
    assert "Attempt ${index + 1} ${attempt.outcome}" in page
    case = ET.parse(each_mode.pytester.path / "junit.xml").getroot().find("testsuite/testcase")  # noqa: S314
    assert case is not None
    told = [(each.get("name"), str(each.get("value"))) for each in case.iterfind("properties/property")]
    assert ("clnrm_outcome", "flaky") in told
    assert sum(name == "clnrm_attempt" for name, _ in told) == 2
    assert case.find("failure") is None
    spans = json.loads((each_mode.pytester.path / "out/trace.otlp.json").read_text("utf-8"))
    assert json.dumps(spans).count('"clnrm.attempt"') == 2


def test_one_that_goes_on_failing(project: Project) -> None:
    """Its failure has all attempts; -x, --maxfail and --lf know it as one failure."""
    write(project, passes=99, retry="retry = 2")
    write(project, passes=0, text=BAD, name="later")
    result = project.run("-x", "--clnrm-report", "out")
    assert result.parseoutcomes() == {"failed": 1}
    assert len(runs(project)) == 3
    result.stdout.fnmatch_lines(
        [
            "*attempt 1 failed: step 'work'*",
            "*attempt 2 failed: *",
            "*attempt 3 failed as above: it was the last",
        ]
    )
    assert "flaky test" not in result.stdout.str()
    assert (scenario(project)["attempts"], scenario(project)["outcome"]) == (3, "failed")
    assert project.run("--lf").parseoutcomes() == {"failed": 1}


@pytest.mark.parametrize(
    ("retry", "options", "number"),
    [
        ("retry = 0", ["--clnrm-retries", "3"], 1),
        ("retry = 1", ["--clnrm-retries", "3"], 2),
        ("retry = 1", [], 2),
        ("xfail = 'known'", ["--clnrm-retries", "3"], 1),
        ("xfail = 'known'", ["--clnrm-retries", "3", "--runxfail"], 4),
        ("", [], 1),
    ],
)
def test_how_often(project: Project, retry: str, options: list[str], number: int) -> None:
    """A scenario's own number wins; what is expected to fail is not tried again."""
    write(project, passes=99, retry=retry)
    project.run(*options)
    assert len(runs(project)) == number


def test_flaky_is_a_failure_where_that_is_asked_for(each_mode: Project) -> None:
    """With ``--clnrm-flaky fail`` it fails, and says why."""
    write(each_mode, passes=2, retry="retry = 1")
    result = each_mode.run("--clnrm-flaky", "fail", "--clnrm-report", "out")
    assert result.ret == 1
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(
        [
            "*flaky: it passed in attempt 2, and failed before (--clnrm-flaky fail)",
            "*attempt 1 failed: step 'work'*",
        ]
    )
    found = scenario(each_mode)
    assert (found["outcome"], found["is_flaky"], found["attempts"]) == ("failed", True, 2)


def test_beside_rerunfailures(project: Project) -> None:
    """Nothing is multiplied: a scenario is tried again by us, or by it where it has its ``flaky``."""
    pytest.importorskip("pytest_rerunfailures")
    write(project, passes=99)
    result = project.run("--reruns", "2", "--clnrm-retries", "1", "-p", "rerunfailures")
    assert result.parseoutcomes() == {"failed": 1}
    assert len(runs(project)) == 2
    (project.pytester.path / "places").unlink()
    write(project, passes=99, retry="flaky = 3")
    result = project.run("--clnrm-retries", "1", "-p", "rerunfailures")
    assert result.parseoutcomes() == {"failed": 1, "rerun": 3}
    assert len(runs(project)) == 4
    (project.pytester.path / "places").unlink()
    write(project, passes=99, retry="retry = 3")
    result = project.run("--force-reruns", "1", "-p", "rerunfailures")
    assert len(runs(project)) == 2
    write(project, passes=99, retry="retry = 3\nflaky = 1")
    result = project.run("-p", "rerunfailures")
    result.stdout.fnmatch_lines(
        ["*flaky.clnrm.toml:5:1: meta.flaky: pytest-rerunfailures runs it again for that, and retry would *"]
    )


@pytest.mark.parametrize(
    ("step", "told", "letter"),
    [
        ("true ENGINE-GONE", "*the engine is gone*", "FAILED"),
        ("touch .gone", "*whether it still runs cannot be told: container * is gone", "FAILED"),
    ],
)
def test_infrastructure_errors(
    make_project: Callable[[str], Project], step: str, told: str, letter: str
) -> None:
    """They are told apart, and are no reason to try it again."""
    project = make_project("no-xdist")
    text = f'[meta]\nname = "it"\nretry = 3\n[service.app]\nimage = "service"\n[[step]]\nrun = "{step}"\n'
    project.write("it.clnrm.toml", text)
    result = project.run("--clnrm-report", "out", "--junitxml=junit.xml")
    assert result.parseoutcomes() == {"failed": 1}
    said = f"clnrm: infrastructure error, no fault of it.clnrm.toml::it: {told}"
    result.stdout.fnmatch_lines(["it.clnrm.toml I *", said])
    found = scenario(project)
    assert (found["attempts"], found["failures"][0]["is_infrastructure"]) == (1, True)
    assert 'name="clnrm_outcome" value="infrastructure"' in (project.pytester.path / "junit.xml").read_text(
        "utf-8"
    )


def test_subtests_are_of_the_last_attempt(project: Project) -> None:
    """A failure that a later attempt takes back is no subtest that fails."""
    write(project, passes=2, retry="retry = 1")
    assert project.run("--clnrm-subtests").parseoutcomes() == {"passed": 1}


def test_ctrl_c_ends_it(project: Project) -> None:
    """What the user has ended is not tried again."""
    project.write("it.clnrm.toml", '[meta]\nretry = 3\n[[step]]\nrun = "RAISE-SIGNAL SIGINT"\n')
    plugins = ("-p", "clnrm_testing.fake_engine", "-p", "no:xdist")
    result = project.pytester.runpytest_subprocess(*plugins)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*clnrm: interrupted: it.clnrm.toml::it*"])
    assert len(project.events("create")) == 1


def test_golden_files_are_of_an_attempt_that_passes(project: Project) -> None:
    """What a failed attempt has printed is not written, nor that of a scenario that goes on failing."""
    step = "[[step]]\nrun = \"RUN\"\nexpect.stdout = { file = 'FILE.txt' }\n"
    text = f"{FLAKY}{step}[[step]]\nrun = '[ $(wc -l < FOLDER/places) -ge 2 ]'\n"
    text = text.replace("RUN", "wc -l < FOLDER/places").replace("FILE", "golden").replace("PASSES", "1")
    write(project, passes=1, retry="retry = 1", text=text)
    bad = "[meta]\nretry = 1\n" + step.replace("RUN", "echo bad").replace("FILE", "bad")
    project.write("bad.clnrm.toml", f"{bad}[[step]]\nrun = 'exit 1'\n")
    result = project.run("--clnrm-update-golden")
    assert result.parseoutcomes() == {"passed": 1, "failed": 1}
    assert (project.pytester.path / "golden.txt").read_text("utf-8").strip() == "2"
    assert not (project.pytester.path / "bad.txt").exists()
    result.stdout.fnmatch_lines(["clnrm: updated 1 golden file: golden.txt"])
    assert "bad.txt updated" not in result.stdout.str()
