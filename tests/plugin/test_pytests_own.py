"""Parts of pytest itself that a run may switch off, its quiet ways, and items of equal name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from _pytest.config import default_plugins, essential_plugins
from clnrm_testing.project import Project

MIXED = {
    "good.clnrm.toml": '[[step]]\nrun = "echo hello"\n',
    "bad.clnrm.toml": '[[step]]\nrun = "exit 3"\n',
    "test_it.py": "def test_own(clnrm):\n    with clnrm.container('a') as box:\n        box.run('true')\n",
}
OUTCOMES = {"good": "passed", "bad": "failed", "test_own": "passed"}

# All of pytest's own plugins but those that it needs itself, and "python".
MAY_BE_OFF = tuple(sorted({*default_plugins} - {*essential_plugins, "python"}))
# Those that we look at: without one of them another one may behave otherwise.
OFF_ALONE = ("capture", "terminal", "skipping", "reports", "cacheprovider")


def write_mixed(project: Project) -> None:
    """Write two scenarios and a Python test with a container."""
    for name, text in MIXED.items():
        project.write(name, text)


def rows(project: Project) -> list[tuple[str, str]]:
    """Return name and outcome of each row of the report, sorted."""
    document = project.report()
    return sorted((row["name"], row["outcome"]) for row in (*document["scenarios"], *document["tests"]))


@pytest.mark.parametrize("off", [*((each,) for each in OFF_ALONE), MAY_BE_OFF], ids=[*OFF_ALONE, "all"])
def test_without_parts_of_pytest(project: Project, off: tuple[str, ...]) -> None:
    """Everything ends as ever without any part of pytest that can be switched off."""
    write_mixed(project)
    switches = [word for each in off for word in ("-p", f"no:{each}")]
    result = project.run(*switches, "--clnrm-report", "out")
    assert "INTERNALERROR" not in "\n".join((*result.outlines, *result.errlines))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert rows(project) == sorted(OUTCOMES.items())


def test_without_python_tests(project: Project) -> None:
    """Scenarios run where pytest has no Python tests."""
    write_mixed(project)
    project.run("-p", "no:python", "--clnrm-report", "out")
    assert rows(project) == [("bad", "failed"), ("good", "passed")]


def test_without_parts_of_pytest_under_workers(make_project: Callable[[str], Project]) -> None:
    """The same holds in workers, for several at once; xdist itself needs "reports"."""
    project = make_project("n2")
    write_mixed(project)
    switches = [word for each in MAY_BE_OFF if each != "reports" for word in ("-p", f"no:{each}")]
    result = project.run(*switches, "--clnrm-report", "out")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert rows(project) == sorted(OUTCOMES.items())


@pytest.mark.parametrize("option", ["-qq", "--no-summary"])
def test_quiet_runs_have_no_summary_of_ours(project: Project, option: str) -> None:
    """Neither use nor report is told of where pytest itself sums nothing up."""
    write_mixed(project)
    assert "clnrm: 2 scenarios" in project.run("--clnrm-report", "out", "-v").stdout.str()
    assert "clnrm: report written to " in project.run("--clnrm-report", "out").stdout.str()
    assert "clnrm: " not in project.run("--clnrm-report", "out", option, "--no-header").stdout.str()


def test_quiet_runs_tell_what_is_wrong(project: Project) -> None:
    """With -qq what is left behind is told all the same."""
    write_mixed(project)
    result = project.run("-qq", "--clnrm-keep", "failed")
    result.stdout.fnmatch_lines(["clnrm: container * is kept, and counts until it is removed"])


@pytest.mark.parametrize("mode", ["no-xdist", "n2"])
def test_items_of_equal_name(make_project: Callable[[str], Project], mode: str) -> None:
    """With --keep-duplicates each has a row of its own, and counts."""
    project = make_project(mode)
    write_mixed(project)
    twice = [name for name in MIXED for _ in range(2)]
    result = project.run("-v", "--keep-duplicates", "--clnrm-report", "out", *twice)
    result.assert_outcomes(passed=4, failed=2)
    assert rows(project) == sorted([*OUTCOMES.items()] * 2)
    result.stdout.fnmatch_lines(["clnrm: 4 scenarios, *"])


@pytest.mark.parametrize("mode", ["no-xdist", "n2"])
def test_attempts_of_whatever_runs_items_again(make_project: Callable[[str], Project], mode: str) -> None:
    """As pytest-retry does: hooks are called once more while the first report is made."""
    project = make_project(mode)
    project.write(
        "conftest.py",
        """
        import pytest

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if report.when == "call" and report.failed:
                for _ in range(2):
                    item.ihook.pytest_runtest_teardown(item=item, nextitem=None)
                    item._initrequest()
                    item.ihook.pytest_runtest_setup(item=item)
                    again = pytest.CallInfo.from_call(
                        lambda: item.ihook.pytest_runtest_call(item=item), when="call"
                    )
                report.outcome = "failed" if again.excinfo else "passed"
                report.longrepr = None
            return report
        """.replace("\n        ", "\n"),
    )
    third = "echo >>../{}; test $(wc -l <../{}) = 3"
    project.write("a.clnrm.toml", f"[[step]]\nrun = '''{third.format('a', 'a')}'''\n")
    project.write(
        "test_it.py",
        "import pathlib\n\nruns = []\n\ndef test_plain():\n    runs.append(1)\n    assert len(runs) == 3\n\n"
        "def test_own(clnrm):\n    with clnrm.container('a') as box:\n"
        f"        assert box.run('{third.format('b', 'b')}').exit_code == 0\n",
    )
    project.run("--clnrm-report", "out").assert_outcomes(passed=3)
    document = project.report()
    attempts = {row["name"]: row["attempts"] for row in (*document["scenarios"], *document["tests"])}
    assert attempts == {"a": 3, "test_plain": 3, "test_own": 3}


def test_why_something_was_skipped(project: Project) -> None:
    """It stands in the report, of scenarios and of Python tests with containers."""
    project.write("a.clnrm.toml", '[meta]\ntags = ["later"]\n[[step]]\nrun = "true"\n')
    project.write(
        "conftest.py",
        "import pytest\n\ndef pytest_collection_modifyitems(items):\n    for item in items:\n"
        "        if item.get_closest_marker('later'):\n"
        "            item.add_marker(pytest.mark.skip(reason='later than that'))\n",
    )
    project.write(
        "test_it.py",
        "import pytest\n\ndef test_late(clnrm):\n    with clnrm.container('a'):\n"
        "        pytest.skip('no disk')\n",
    )
    project.run("--clnrm-report", "out").assert_outcomes(skipped=2)
    document = project.report()
    found = {row["name"]: row["failures"] for row in (*document["scenarios"], *document["tests"])}
    assert {name: [each["message"] for each in why] for name, why in found.items()} == {
        "a": ["later than that"],
        "test_late": ["no disk"],
    }
    assert "later than that" in (project.pytester.path / "out" / "report.html").read_text("utf-8")
