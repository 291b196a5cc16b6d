"""What runs remember of their items, and the orders that are made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.project import Project

from pytest_clnrm.history.records import History, Observed
from pytest_clnrm.history.store import bytes_of

NAMES = """
def note(name):
    with open("ran", "a") as file:
        file.write(name + "\\n")
"""
SUITE = """
from names import note
import pytest
def test_quick(): note("quick")
def test_slow(): note("slow")
@pytest.mark.clnrm_priority("low")
def test_low(): note("low")
def test_fails(): note("fails"); assert 0
"""
SHARING = """
from names import note
import pytest
@pytest.fixture(scope="module")
def costly():
    note("set up")
def test_shares(costly): note("one")
def test_alone(): note("alone")
def test_shares_too(costly): note("two")
"""
SCENARIO = """
[[step]]
name = "work"
run = "true"
"""


def ran(project: Project) -> list[str]:
    """Return what tests have noted since the last time."""
    path = project.pytester.path / "ran"
    names = path.read_text(encoding="utf-8").split("\n")[:-1]
    path.unlink()
    return names


def history(path: Path) -> dict[str, Any]:
    """Return, by the last part of an item's id, the outcome of each run and whether its time is known."""
    items = json.loads(path.read_text(encoding="utf-8"))["items"]
    return {
        nodeid.rpartition("::")[2]: [
            ({"p": "passed", "f": "failed", "s": "skipped"}[outcome], took_s is not None)
            for outcome, took_s in zip(columns[1], columns[2], strict=True)
        ]
        for nodeid, columns in items.items()
    }


def took(project: Project, **lengths_s: float) -> tuple[str, str]:
    """Write the history of a run in which tests took so long, and return the option that names it."""
    items = {f"test_a.py::test_{name}": {"r": Observed("passed", each)} for name, each in lengths_s.items()}
    project.write("h.json", bytes_of(History.of(items)).decode())
    return "--clnrm-history", "h.json"


def in_cache(project: Project) -> Path:
    """Return where pytest's cache has the history."""
    return project.pytester.path / ".pytest_cache" / "d" / "clnrm" / "history.json"


def test_orders(each_mode: Project) -> None:
    """The second run goes by what the first one showed, within each priority, in every way of running."""
    project = each_mode
    project.write("names.py", NAMES)
    project.write("test_a.py", SUITE)
    project.run("--clnrm-order", "slowest-first")
    assert ran(project) == ["quick", "slow", "fails", "low"]
    known = took(project, quick=1000, slow=9000, fails=2000, low=99000)
    project.run("--clnrm-order", "slowest-first", *known)
    assert ran(project) == ["slow", "fails", "quick", "low"]
    project.run("--clnrm-order", "likely-to-fail-first")
    assert ran(project)[0::3] == ["fails", "low"]
    project.run()
    assert ran(project) == ["quick", "slow", "fails", "low"]
    assert history(in_cache(project))["test_fails"][:3] == [("failed", True)] * 3


def test_what_shares_a_fixture_stays_together(project: Project) -> None:
    """A module's fixture is set up once; its tests go by the time that they take together."""
    project.write("names.py", NAMES)
    project.write("test_a.py", SHARING)
    known = took(project, shares=1000, alone=4000, shares_too=3500)
    project.run("--clnrm-order", "slowest-first", *known)
    assert ran(project) == ["set up", "two", "one", "alone"]
    known = took(project, shares=1000, alone=5000, shares_too=3500)
    project.run("--clnrm-order", "slowest-first", *known, "-p", "no:cacheprovider")
    assert ran(project) == ["alone", "set up", "two", "one"]


def test_many_workers(make_project: Any) -> None:
    """Workers sort alike, and a crash is remembered as a failure."""
    project: Project = make_project("n2")
    project.write("names.py", NAMES)
    project.write("test_a.py", SUITE + "import os\ndef test_crashes(): os._exit(3)\n")
    project.write("a.clnrm.toml", SCENARIO)
    project.run("--clnrm-history", "h/history.json")
    ran(project)
    path = project.pytester.path / "h" / "history.json"
    assert history(path)["test_crashes"] == [("failed", False)]
    assert history(path)["a"] == [("passed", True)]
    in_cache(project).unlink()
    result = project.run(
        "--clnrm-history",
        "h/history.json",
        "--clnrm-order",
        "slowest-first",
        "--deselect",
        "test_a.py::test_crashes",
    )
    result.assert_outcomes(passed=4, failed=1)
    assert "slow" in ran(project)
    assert history(path)["test_slow"] == [("passed", True)] * 2
    assert history(path)["test_crashes"] == [("failed", False)]


def test_a_run_that_is_interrupted(project: Project) -> None:
    """What has finished is remembered; what was running is not."""
    project.write("test_a.py", "def test_a(): pass\nimport pytest\ndef test_b(): pytest.exit('over')\n")
    project.run("--clnrm-history", "h.json")
    assert history(project.pytester.path / "h.json") == {"test_a": [("passed", True)]}


def test_plain_runs_remember_nothing(project: Project) -> None:
    """Without scenarios, and unless it is asked for, nothing is kept; with them it is in pytest's cache."""
    project.write("test_a.py", "def test_a(): pass\n")
    project.run()
    assert not in_cache(project).exists()
    project.write("a.clnrm.toml", SCENARIO)
    project.run("--collect-only")
    assert not in_cache(project).exists()
    project.run()
    assert history(in_cache(project)) == {"a": [("passed", True)], "test_a": [("passed", True)]}


def test_without_a_cache(project: Project) -> None:
    """``-p no:cacheprovider`` leaves the file, if one is named."""
    project.write("test_a.py", "def test_a(): pass\n")
    project.run("-p", "no:cacheprovider", "--clnrm-history", "h.json", "--clnrm-order", "slowest-first")
    assert history(project.pytester.path / "h.json") == {"test_a": [("passed", True)]}
    assert not (project.pytester.path / ".pytest_cache").exists()


def test_damaged_files(project: Project) -> None:
    """A damaged file is told with its place and left; a damaged one of the cache is begun anew."""
    project.write("test_a.py", "def test_a(): pass\n")
    for _ in range(2):
        in_cache(project).parent.mkdir(parents=True, exist_ok=True)
        in_cache(project).write_text("{", encoding="utf-8")
        project.write("h.json", "no history")
        result = project.run("--clnrm-history", "h.json", "--clnrm-order", "slowest-first", "-Werror")
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(
            [
                "clnrm: */history.json:1:2: no history of pytest-clnrm: *; a new one is begun",
                "clnrm: */h.json:1:1: no history of pytest-clnrm: *; it is left as it is: *",
            ]
        )
        assert result.ret == 0
        assert (project.pytester.path / "h.json").read_text(encoding="utf-8") == "no history"
        assert history(in_cache(project)) == {"test_a": [("passed", True)]}


def test_a_folder_is_no_file(project: Project) -> None:
    """A folder is refused before anything runs."""
    result = project.run("--clnrm-history", ".")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --clnrm-history: * is a folder: it takes the path of a file"])


def test_no_secrets(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item whose id holds a secret is not remembered."""
    monkeypatch.setenv("TOKEN", "hunter2hunter2")
    project.write(
        "test_a.py",
        "import pytest\n@pytest.mark.parametrize('x', ['hunter2hunter2', 'y'])\ndef test_a(x): pass\n",
    )
    project.run("-o", "clnrm_secrets=TOKEN", "--clnrm-history", "h.json").assert_outcomes(passed=2)
    assert history(project.pytester.path / "h.json") == {"test_a[y]": [("passed", True)]}
