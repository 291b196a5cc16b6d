"""Python tests that are tried again, and those that an engine has ended; with the fake engine."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from clnrm_testing.project import Project

TRIES = """
import pathlib
import pytest

PLACES = pathlib.Path("FOLDER")


def nth(name):
    '''Return how often that was asked for.'''
    with (PLACES / name).open("a") as file:
        file.write("x")
    return len((PLACES / name).read_text())


@pytest.fixture
def box(clnrm):
    with clnrm.container("service", name="own") as box:
        yield box


@pytest.fixture(scope="module")
def wide(clnrm_factory):
    with clnrm_factory.container("service", name="wide") as box:
        yield box


@pytest.fixture(scope="module")
def late():
    if nth("late") < 2:
        raise RuntimeError("not yet")
"""
FLAKY = """
def test_flaky(box, wide, record_property):
    print("attempt", nth("flaky"))
    record_property("seen", 1)
    assert box.run("[ ! -e kept ] && touch kept").exit_code == 0
    assert nth("passes") >= 3


@pytest.mark.clnrm_retry(1)
def test_own_number(clnrm):
    nth("own")
    assert 0


def test_fixture_of_the_module(box, late):
    pass


def test_plain():
    nth("plain")
    assert 0


@pytest.mark.clnrm_retry(0)
def test_never(clnrm):
    nth("never")
    assert 0


@pytest.mark.xfail(reason="known")
def test_known(clnrm):
    nth("known")
    assert 0


@pytest.mark.clnrm_retry(2)
def test_skipped_then():
    if nth("skipped") > 1:
        pytest.skip("not here")
    assert 0
"""


def write(project: Project, text: str) -> None:
    """Write the tests."""
    project.write("test_it.py", TRIES.replace("FOLDER", str(project.pytester.path)) + text)


def times(project: Project, name: str) -> int:
    """Return how often a test ran."""
    return len((project.pytester.path / name).read_text("utf-8"))


def rows(project: Project) -> dict[str, dict[str, Any]]:
    """Return the rows of the report, by name."""
    return {each["name"]: each for each in project.report()["tests"]}


def test_tried_again(each_mode: Project) -> None:
    """A test has new containers and fixtures each time, is one test to pytest, and all attempts are told."""
    write(each_mode, FLAKY)
    result = each_mode.run("--clnrm-retries", "2", "--clnrm-report", "out", "--junitxml=junit.xml", "-v")
    text = result.stdout.str()
    counted = result.parseoutcomes()
    assert [counted.get(each, 0) for each in ("passed", "failed", "xfailed", "errors")] == [2, 4, 1, 0], text
    assert text.count("FLAKY") == 2
    result.stdout.fnmatch_lines(
        [
            "clnrm: 2 flaky tests, passed only when tried again: test_it.py::test_f*, test_it.py::test_f*",
            "    test_it.py::test_flaky: passed in attempt 3",
            "        attempt 1 failed: *assert 1 >= 3*(*test_it.py:*)",
            "        attempt 2 failed: *assert 2 >= 3*",
        ]
    )
    result.stdout.fnmatch_lines(
        [
            "    test_it.py::test_fixture_of_the_module: passed in attempt 2",
            "        attempt 1 failed: RuntimeError: not yet*",
        ]
    )
    counts = {name: times(each_mode, name) for name in ("own", "plain", "never", "known", "skipped", "late")}
    assert counts == {"own": 2, "plain": 1, "never": 1, "known": 1, "skipped": 2, "late": 2}
    assert "attempt 2 was skipped" in text
    found = rows(each_mode)
    flaky, own = found["test_flaky"], found["test_own_number"]
    assert (flaky["outcome"], flaky["attempts"], flaky["is_flaky"], flaky["failures"]) == (
        "passed",
        3,
        True,
        [],
    )
    every = [*flaky["earlier"], flaky]
    ids: dict[str, set[str]] = {each["service"]: set() for each in flaky["containers"]}
    for attempt in every:
        for each in attempt["containers"]:
            ids[each["service"]].add(each["id"])
    assert len(ids["own"]) == 3
    # A worker that waits for its next test has torn the module down.
    told = "not new in attempt 3: container 'wide', which the fixture 'wide' of a wider scope holds"
    assert (len(ids["wide"]) == 1) == (told in flaky["notes"]) == (told in text)
    assert (own["outcome"], own["attempts"], len(own["earlier"]), own["is_flaky"]) == ("failed", 2, 1, False)
    assert len(each_mode.events("remove")) == len(each_mode.events("create"))
    (case,) = [
        each
        for each in ET.parse(each_mode.pytester.path / "junit.xml").getroot().iter("testcase")  # noqa: S314
        if each.get("name") == "test_flaky"
    ]
    properties = [(each.get("name"), str(each.get("value"))) for each in case.iterfind("properties/property")]
    assert [value for name, value in properties if name == "clnrm_outcome"] == ["flaky"]
    assert sum(name == "clnrm_attempt" for name, _ in properties) == 2
    assert sum(name == "seen" for name, _ in properties) == 1
    assert "attempt 1" not in (case.findtext("system-out") or "")
    spans = json.loads((each_mode.pytester.path / "out/trace.otlp.json").read_text("utf-8"))
    assert json.dumps(spans).count('"clnrm.attempt"') >= 2


def test_the_end_of_trying(project: Project) -> None:
    """``--clnrm-flaky fail``; ``--lf`` and ``-x`` know one failure; what is kept is of the last attempt."""
    write(
        project,
        "def test_flaky(box):\n    assert nth('flaky') >= 2\n\n"
        "def test_bad(clnrm):\n    with clnrm.container('service', name='bad'):\n        assert 0\n",
    )
    result = project.run(
        "--clnrm-retries", "1", "--clnrm-flaky", "fail", "--clnrm-report", "out", "--clnrm-keep", "failed"
    )
    assert result.parseoutcomes() == {"failed": 2}
    result.stdout.fnmatch_lines(
        [
            "flaky: it passed in attempt 2, and failed before (--clnrm-flaky fail)",
            "attempt 1 failed: *assert 1 >= 2*",
            "*- earlier attempts -*",
            "attempt 1 failed: *assert 0*",
        ]
    )
    assert result.stdout.str().count("is kept, and counts") == 1
    assert (rows(project)["test_flaky"]["outcome"], rows(project)["test_flaky"]["is_flaky"]) == (
        "failed",
        True,
    )
    assert project.run("--lf", "-x").parseoutcomes()["failed"] == 1


@pytest.mark.parametrize(
    ("marker", "told"),
    [
        ("clnrm_retry", "it takes one number, how often the test is tried again"),
        ("clnrm_retry('x')", "'x' is no"),
        ("clnrm_retry(101)", "101 is too often: from 0 to 100"),
    ],
)
def test_wrong_markers(each_mode: Project, marker: str, told: str) -> None:
    """They are errors at collection."""
    write(each_mode, f"@pytest.mark.{marker}\ndef test_it():\n    pass\n")
    result = each_mode.run()
    assert result.ret != 0
    text = result.stdout.str() + result.stderr.str()
    assert f"test_it.py::test_it: @pytest.mark.clnrm_retry(...): {told}" in text
    assert "INTERNALERROR" not in text


def test_beside_rerunfailures(project: Project) -> None:
    """What that plugin was told to run again is left to it, and that is said once."""
    pytest.importorskip("pytest_rerunfailures")
    write(
        project,
        "@pytest.mark.clnrm_retry(3)\ndef test_one(box):\n    nth('it')\n    assert 0\n\n"
        "@pytest.mark.clnrm_retry(3)\n@pytest.mark.flaky(reruns=0)\n"
        "def test_other(box):\n    assert nth('other') > 1\n",
    )
    result = project.run("--reruns", "1", "-p", "rerunfailures", "-k", "test_one")
    assert result.parseoutcomes() == {"failed": 1, "rerun": 1, "warnings": 1, "deselected": 1}
    assert times(project, "it") == 2
    result.stdout.fnmatch_lines(
        ["*ScenarioWarning: pytest-rerunfailures was told to run Python tests again*"]
    )
    result = project.run("-p", "rerunfailures", "-k", "test_other")
    assert result.parseoutcomes() == {"passed": 1, "deselected": 1}


def test_what_is_not_tried_again(project: Project) -> None:
    """Subtests are told at once; pytest-timeout's clock runs once for a test."""
    pytest.importorskip("pytest_timeout")
    write(
        project,
        "import time\n\n\ndef test_subtests(clnrm, subtests):\n    nth('sub')\n"
        "    with subtests.test('part'):\n        assert 0\n\n\n"
        "@pytest.mark.timeout(2)\ndef test_time(clnrm):\n    nth('time')\n    time.sleep(60)\n",
    )
    result = project.run("--clnrm-retries", "3")
    text = result.stdout.str()
    assert (times(project, "sub"), times(project, "time")) == (1, 1), text
    assert "it is not tried again: its subtests that failed were reported already" in text
    assert "from pytest-timeout" in text


INFRASTRUCTURE = """
import os

def test_gone(clnrm):
    nth("gone")
    with clnrm.container("service", name="gone") as box:
        box.run("true ENGINE-GONE")


def test_lost(clnrm):
    with clnrm.container("service", name="lost") as box:
        box.run("touch .gone")
        box.run("true")


@pytest.fixture
def database(clnrm):
    with clnrm.container("service", name="db") as box:
        try:
            box.run("true ENGINE-GONE")
        except Exception as error:
            raise RuntimeError("no database") from error
        yield box


def test_of_a_fixture(database):
    pass


def test_of_a_scenario(clnrm):
    clnrm.scenario("it.toml")


def test_bad(clnrm):
    assert 0
"""


def test_infrastructure_errors(each_mode: Project) -> None:
    """They are told apart in terminal, report and JUnit, and are no reason to try it again."""
    write(each_mode, INFRASTRUCTURE)
    each_mode.write("it.toml", '[service.app]\nimage = "service"\n[[step]]\nrun = "true ENGINE-GONE"\n')
    result = each_mode.run("--clnrm-retries", "2", "--clnrm-report", "out", "--junitxml=junit.xml", "-v")
    text = result.stdout.str()
    assert result.parseoutcomes() == {"failed": 4, "errors": 1}, text
    assert times(each_mode, "gone") == 1
    listed = "".join(
        line for line in result.outlines if line.startswith(("clnrm: infra", "    test_it.py::"))
    )
    names = ["test_gone", "test_lost", "test_of_a_fixture", "test_of_a_scenario"]
    assert [f"test_it.py::{name}" in listed for name in [*names, "test_bad"]] == [True] * 4 + [False]
    found = rows(each_mode)
    flags = {name: found[name]["failures"][0]["is_infrastructure"] for name in names}
    assert flags == dict.fromkeys(names, True)
    assert found["test_bad"]["failures"][0]["is_infrastructure"] is False
    junit = (each_mode.pytester.path / "junit.xml").read_text("utf-8")
    assert junit.count('name="clnrm_outcome" value="infrastructure"') == 4
    if each_mode.mode == ("-p", "no:xdist"):
        assert "test_it.py II" in each_mode.run("--clnrm-retries", "2").stdout.str()
