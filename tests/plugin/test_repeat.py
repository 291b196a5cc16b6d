"""``--clnrm-repeat``: each scenario many times, until one fails; with the fake engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from clnrm_testing.project import Project

HUNTED = """
[meta]
name = "hunted"
RETRY
[matrix]
way = ["a", "b"]

[service.app]
image = "box"
artifacts = [{ path = "/log", when = "failure" }]

[[step]]
run = '''
echo {{ matrix.way }} >> FOLDER/runs; echo broken > log
[ {{ matrix.way }} = a ] || [ $(grep -c b FOLDER/runs) -lt 3 ]
'''
"""


def write(project: Project, retry: str = "") -> Path:
    """Write a scenario of two ways, of which the second fails the third time."""
    text = HUNTED.replace("FOLDER", str(project.pytester.path)).replace("RETRY", retry)
    return project.write("hunted.clnrm.toml", text)


def runs(project: Project) -> str:
    """Return the ways that ran, in their order."""
    return "".join((project.pytester.path / "runs").read_text("utf-8").split())


def test_until_the_first_failure(each_mode: Project) -> None:
    """Each is run so often; once one has failed, the rest of that scenario alone is skipped."""
    write(each_mode, retry="retry = 2")
    result = each_mode.run("--clnrm-repeat", "6", "--clnrm-report", "out", "-rs")
    assert result.ret == 1
    assert result.parseoutcomes() == {"passed": 8, "failed": 1, "skipped": 3}
    assert runs(each_mode).count("a") == 6
    assert runs(each_mode).count("b") == 3
    name = "hunted.clnrm.toml::hunted[[]way=b]"
    told = f"clnrm: {name}: failed in repetition * of 6; 2 passed, 3 did not run any more"
    result.stdout.fnmatch_lines([told])
    assert "clnrm: hunted.clnrm.toml::hunted[way=a]: 6 repetitions, none has failed" in result.stdout.str()
    result.stdout.fnmatch_lines(
        ["reproduce with: pytest --clnrm-repeat=6 'hunted.clnrm.toml::hunted[[]way=b]'"]
    )
    result.stdout.fnmatch_lines(["SKIPPED * another repetition of it has failed"])
    found = each_mode.report()["scenarios"]
    (bad,) = [each for each in found if each["outcome"] == "failed"]
    assert len(bad["artifacts"]) == 1
    assert all(each["attempts"] == 1 for each in found)
    assert "[repeat-" in bad["nodeid"]


def test_one_of_a_matrix_is_named_without_its_number(project: Project) -> None:
    """A node id and -k select a scenario with all of its repetitions; Python tests run once."""
    write(project)
    project.write("test_it.py", "def test_it(): pass\n")
    result = project.run("--clnrm-repeat", "2", "hunted.clnrm.toml::hunted[way=a]", "test_it.py")
    assert result.parseoutcomes() == {"passed": 3}
    result = project.run("--clnrm-repeat", "2", "-k", "hunted and not repeat")
    assert result.parseoutcomes() == {"deselected": 5}


def test_beside_the_quarantine_and_retries(project: Project) -> None:
    """A quarantined failure ends no hunt; retries of settings rest, those beside it are refused."""
    write(project)
    entry = 'test = "hunted.clnrm.toml::hunted"\nreason = "x"\nuntil = 9999-12-31\n'
    project.write(".clnrm/quarantine.toml", f"[[quarantine]]\n{entry}")
    result = project.run("--clnrm-repeat", "4", "hunted.clnrm.toml::hunted[way=b]", "-o", "clnrm_retries=3")
    assert result.parseoutcomes() == {"xpassed": 2, "xfailed": 2}
    assert runs(project) == "bbbb"
    result = project.run("--clnrm-repeat", "4", "--clnrm-retries", "1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = "it looks for the first failure, which is not tried again"
    result.stderr.fnmatch_lines([f"*--clnrm-repeat: not with --clnrm-retries: {told}"])


def test_a_neighbour_does_not_run_it_again(project: Project) -> None:
    """With pytest-rerunfailures the first failure counts, too."""
    pytest.importorskip("pytest_rerunfailures")
    write(project)
    result = project.run(
        "--clnrm-repeat", "4", "hunted.clnrm.toml::hunted[way=b]", "--reruns", "2", "-p", "rerunfailures"
    )
    assert result.parseoutcomes() == {"passed": 2, "failed": 1, "skipped": 1}
