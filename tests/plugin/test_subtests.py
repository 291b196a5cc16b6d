"""``--clnrm-subtests``: each check that does not hold is one of pytest's subtests; with the fake engine."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from clnrm_testing.project import Project

HAS_SUBTESTS = tuple(map(int, pytest.__version__.split(".")[:1])) >= (9,)

FAILS = """
[meta]
name = "fails"

[[step]]
name = "first"
run = "echo one; exit 3"
continue_on_failure = true
expect = { exit = 0, stdout = { contains = "never" } }

[[step]]
name = "second"
run = "true"

[[check]]
file = "/missing"
"""
BREAKS = """
[meta]
name = "breaks"
timeout = "100ms"
[[step]]
run = "sleep 60"
"""
PASSES = """
[meta]
name = "passes"
[[step]]
run = "true"
"""


def failing(project: Project) -> Project:
    """Return a project with a scenario in which three checks do not hold, and one that breaks."""
    project.write("a.clnrm.toml", FAILS)
    project.write("b.clnrm.toml", BREAKS)
    project.write("c.clnrm.toml", PASSES)
    return project


def counts(project: Project) -> dict[str, Any]:
    """Return how many of each outcome the report says pytest has counted."""
    return dict(project.report()["session"]["counts"])


def test_each_check_is_a_subtest(each_mode: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its line and its place, and counts as subtests do; the report has the scenario once."""
    monkeypatch.setenv("COLUMNS", "200")
    result = failing(each_mode).run("--clnrm-subtests", "--clnrm-report", "out", "--junitxml=junit.xml")
    more = 3 if HAS_SUBTESTS else 0
    result.assert_outcomes(passed=1, failed=2 + more)
    lines = [
        "SUBFAILED[[]step 'first', line 9[]] a.clnrm.toml::fails - step 'first': exit code 3, expected 0",
        "SUBFAILED[[]step 'first', line 9[]] a.clnrm.toml::fails - step 'first': stdout does not contain*",
        "SUBFAILED[[]*line 15[]] a.clnrm.toml::fails - *file /missing does not exist",
    ]
    result.stdout.fnmatch_lines(
        [*(lines if HAS_SUBTESTS else ()), "FAILED a.clnrm.toml::fails - step 'first'*"]
    )
    result.stdout.fnmatch_lines(["FAILED b.clnrm.toml::breaks - Scenario timeout*"])
    result.stdout.no_fnmatch_line("SUBFAILED*b.clnrm.toml*")
    scenarios = {each["name"]: each for each in each_mode.report()["scenarios"]}
    assert {name: (each["outcome"], len(each["failures"])) for name, each in scenarios.items()} == {
        "fails": ("failed", 3),
        "breaks": ("failed", 1),
        "passes": ("passed", 0),
    }
    assert counts(each_mode)["failed"] == 2 + more
    root = ET.parse(each_mode.pytester.path / "junit.xml").getroot()  # noqa: S314 (ours)
    cases = [case.get("name") for case in root.iter("testcase")]
    assert sorted(map(str, cases)) == ["breaks", "fails", "passes"]
    whole = next(case for case in root.iter("testcase") if case.get("name") == "fails")
    texts = [each.text or "" for each in whole.iterfind("failure")]
    assert len(texts) == 1 + more
    assert all(
        message in texts[-1] for message in ("exit code 3", "does not contain 'never'", "/missing does not")
    )


def test_neighbours_of_subtests(project: Project) -> None:
    """``-x`` ends with the first, ``--lf`` selects the scenario, one that is expected to fail still is."""
    failing(project)
    result = project.run("--clnrm-subtests", "-x")
    result.assert_outcomes(failed=2 if HAS_SUBTESTS else 1)
    result.stdout.fnmatch_lines(["*stopping after*"])
    result.stdout.no_fnmatch_line("SUBFAILED*stdout*")
    result.stdout.fnmatch_lines(["a.clnrm.toml:15:*/missing does not exist"])
    project.run("--lf").assert_outcomes(failed=1)
    xfail = FAILS.replace("[meta]", '[meta]\nxfail = "known"')
    project.write("a.clnrm.toml", xfail)
    project.run("--clnrm-subtests", "a.clnrm.toml").assert_outcomes(xfailed=1)


def test_without_the_option_a_scenario_counts_once(project: Project) -> None:
    """However many of its checks do not hold."""
    result = failing(project).run("--clnrm-report", "out")
    result.assert_outcomes(passed=1, failed=2)
    assert counts(project) == {"passed": 1, "failed": 2}
    result.stdout.no_fnmatch_line("SUBFAILED*")


def test_secrets_in_subtests(project: Project) -> None:
    """Neither their names nor their texts show one."""
    head = '[vars]\npassword = { value = "hunter2", secret = true }\n'
    step = '[[step]]\nname = "as hunter2"\nrun = "echo hunter2"\nexpect = { stdout = { equals = "x" } }\n'
    project.write("a.clnrm.toml", head + step)
    result = project.run("--clnrm-subtests", "-v", "--clnrm-report", "out")
    assert "hunter2" not in result.stdout.str()
    assert "hunter2" not in (project.pytester.path / "out" / "report.json").read_text("utf-8")
