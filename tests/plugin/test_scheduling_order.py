"""Order of a session's items in pytest: priorities, and the other plugins that sort or select."""

from __future__ import annotations

import pytest
from clnrm_testing.scheduling_project import SchedulingProject

THREE = """
import pytest
@pytest.mark.clnrm_priority("low")
def test_low(): pass
def test_normal(): pass
@pytest.mark.clnrm_priority("high")
def test_high(): pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> SchedulingProject:
    """Return an empty project."""
    return SchedulingProject(pytester, monkeypatch)


@pytest.mark.parametrize("mode", [("-p", "no:xdist"), ("-n", "0"), ("-n", "1")], ids=["no-xdist", "n0", "n1"])
def test_priority_before_collection_order(project: SchedulingProject, mode: tuple[str, str]) -> None:
    """High runs before normal before low, however the session runs."""
    project.pytester.makepyfile(test_a=THREE)
    project.run(*mode).assert_outcomes(passed=3)
    assert project.started() == ["test_high", "test_normal", "test_low"]


@pytest.mark.parametrize("argument", ['"urgent"', "", "3", '"high", "low"'])
def test_wrong_marker_is_a_usage_error(project: SchedulingProject, argument: str) -> None:
    """A wrong priority is refused at collection, with the test and what is allowed."""
    project.pytester.makepyfile(
        test_a=f"import pytest\n@pytest.mark.clnrm_priority({argument})\ndef test_a(): pass"
    )
    result = project.run("-p", "no:xdist")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ['ERROR: test_a.py::test_a: @pytest.mark.clnrm_priority(*): takes one of "high", "normal", "low"']
    )


def test_wrong_marker_under_xdist(project: SchedulingProject) -> None:
    """Workers report a wrong priority once, run nothing, and none counts as crashed."""
    project.pytester.makepyfile(
        test_a='import pytest\n@pytest.mark.clnrm_priority("urgent")\ndef test_a(): pass'
    )
    result = project.run("-n", "2")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*test_a.py::test_a: @pytest.mark.clnrm_priority('urgent'): takes one of *"])
    result.stdout.no_fnmatch_line("*crashed*")
    result.assert_outcomes(errors=1)
    assert project.started() == []


def test_failed_first(project: SchedulingProject) -> None:
    """``--ff`` comes first as asked for; within its two parts priority holds."""
    project.pytester.makepyfile(
        test_a=THREE
        + "def test_fails(): assert 0\n@pytest.mark.clnrm_priority('high')\ndef test_fails_too(): assert 0"
    )
    project.run("-n", "0")
    project.run("-n", "0", "--ff")
    assert project.started() == ["test_fails_too", "test_fails", "test_high", "test_normal", "test_low"]


def test_new_first(project: SchedulingProject) -> None:
    """``--nf`` comes first as asked for; within its two parts priority holds over the files' times."""
    project.pytester.makepyfile(test_a=THREE)
    project.run("-n", "0")
    project.pytester.makepyfile(
        test_b=THREE.replace("test_", "test_new_"),
        test_c="def test_newest(): pass",
    )
    project.run("-n", "0", "--nf")
    started = project.started()
    assert started[0] == "test_new_high"
    assert set(started[1:3]) == {"test_new_normal", "test_newest"}
    assert started[3] == "test_new_low"
    assert started[4:] == ["test_high", "test_normal", "test_low"]


def test_stepwise_skips_nothing_that_has_not_passed(project: SchedulingProject) -> None:
    """``--sw`` goes on at the failure in the order in which tests run, so all run in the end."""
    project.pytester.makepyfile(
        test_a="import os\n"
        + THREE.replace("def test_normal(): pass", "def test_normal(): assert 'OK' in os.environ")
    )
    project.run("-n", "0", "--sw")
    assert project.started() == ["test_high", "test_normal"]
    project.run("-n", "0", "--sw")
    assert project.started() == ["test_normal"]


def test_randomly_within_priorities(project: SchedulingProject) -> None:
    """pytest-randomly shuffles within each priority only."""
    lines = ["import pytest"]
    for level in ("low", "high"):
        lines.append(f"@pytest.mark.parametrize('n', range(8))\n@pytest.mark.clnrm_priority('{level}')")
        lines.append(f"def test_{level}(n): pass")
    project.pytester.makepyfile(test_a="\n".join(lines))
    project.run("-n", "0", "-p", "no:cacheprovider", "--randomly-seed=5")
    started = project.started()
    assert [name[:9] for name in started] == ["test_high"] * 8 + ["test_low["] * 8
    assert started[:8] != sorted(started[:8])


@pytest.mark.parametrize("last", ["trylast=True", "tryfirst=True", ""])
def test_what_others_order_keeps_the_priority(project: SchedulingProject, last: str) -> None:
    """Whenever a plugin orders the items, its order holds within each priority."""
    project.pytester.makepyfile(test_a=THREE + "def test_other(): pass")
    project.pytester.makeconftest(
        f"import pytest\n\n@pytest.hookimpl({last})\ndef pytest_collection_modifyitems(items):\n"
        "    items.reverse()\n"
    )
    project.run("-n", "0")
    assert project.started() == ["test_high", "test_other", "test_normal", "test_low"]
