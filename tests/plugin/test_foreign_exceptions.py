"""Exceptions of others while a scenario runs: time limits, hooks of a conftest.py, Ctrl-C, pytest.exit()."""

from __future__ import annotations

import pytest
from clnrm_testing.project import Project

SLOW = """
[meta]
name = "slow"

[[step]]
name = "before"
run = "echo done before"

[[step]]
name = "hang"
run = "RAISE-SIGNAL {signal}"

[[step]]
name = "never"
run = "true"
"""

HANDLERS = """
    import signal
    import pytest

    def raising(signum, frame):
        {statement}

    signal.signal(signal.SIGUSR1, raising)
"""

SHOWN = [
    "slow.clnrm.toml:9: step 'hang': {message}",
    "    > *9 | [[][[]step[]][]]",
    "    ran in service 'default': RAISE-SIGNAL *",
    "E   step 'hang': {message}",
    "    stdout:",
    "        so far",
]


def shown(message: str) -> list[str]:
    """Return what is shown of the running step."""
    return [line.format(message=message) for line in SHOWN]


def check_report(project: Project, outcome: str, message: str) -> None:
    """Check that the report keeps what was done, and names the step that ran."""
    (scenario,) = project.report()["scenarios"]
    steps = [(each["name"], each["outcome"], each["stdout"]) for each in scenario["steps"]]
    assert steps == [
        ("before", "passed", "done before\n"),
        ("hang", "error", "so far\n"),
        ("never", "not run", ""),
    ]
    (failure,) = scenario["failures"]
    assert (scenario["outcome"], failure["message"]) == (outcome, message)
    assert (failure["where"], failure["step"]) == ("slow.clnrm.toml:9", "hang")
    assert scenario["started"]
    assert len(scenario["containers"]) == len(project.events("remove")) == 1


def check_frames(result: pytest.RunResult) -> None:
    """Check that no frame of this package, of the engine or of pytest is shown.

    What pytest-timeout prints itself (the stacks of all other threads) comes before or after that.
    """
    text = result.stdout.str().partition("= FAILURES =")[2].partition("= short test summary")[0]
    text = text.partition("Captured stdout call")[0]
    assert "E   " in text
    assert "pytest_clnrm/" not in text
    assert "fake_engine.py" not in text
    assert "subprocess.py" not in text
    assert "_pytest/" not in text


@pytest.mark.parametrize("style", ["auto", "short", "native"])
def test_a_time_limit_of_pytest_timeout(project: Project, style: str) -> None:
    """The step that ran is shown with its output so far."""
    pytest.importorskip("pytest_timeout")
    project.write("slow.clnrm.toml", SLOW.format(signal="SIGALRM"))
    result = project.run("--timeout=60", "--clnrm-report", "out", f"--tb={style}")
    result.assert_outcomes(failed=1)
    message = "Failed: Timeout (>60.0s) from pytest-timeout."
    result.stdout.fnmatch_lines(shown(message))
    check_frames(result)
    check_report(project, "failed", message)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ('raise RuntimeError("mine")', "RuntimeError: mine"),
        ('raise SystemExit("mine")', "SystemExit: mine"),
        ('pytest.fail("mine")', "Failed: mine"),
    ],
)
def test_an_exception_in_code_of_the_project(project: Project, statement: str, message: str) -> None:
    """Below the step there is the project's own frame."""
    project.pytester.makeconftest(HANDLERS.format(statement=statement))
    project.write("slow.clnrm.toml", SLOW.format(signal="SIGUSR1"))
    result = project.run("--clnrm-report", "out")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([*shown(message), ">*mine*", "conftest.py:5: *"])
    check_frames(result)
    check_report(project, "failed", message)


def test_ctrl_c(project: Project) -> None:
    """The place is named as pytest does, the summary shows the step, and the report is written."""
    path = project.write("slow.clnrm.toml", SLOW.format(signal="SIGINT"))
    plugins = ("-p", "clnrm_testing.fake_engine", "-p", "no:randomly", "-p", "no:xdist")
    result = project.pytester.runpytest_subprocess(*plugins, "--clnrm-report", "out")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        [
            "*clnrm: interrupted: slow.clnrm.toml::slow*",
            *shown("KeyboardInterrupt"),
            f"{path}:9: KeyboardInterrupt",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_clnrm/*")
    check_report(project, "error", "KeyboardInterrupt")


@pytest.mark.parametrize("signals", ["SIGINT", "SIGINT AND-PARENT"])
def test_ctrl_c_in_a_worker(project: Project, signals: str) -> None:
    """What its scenario had done reaches the controller: the summary shows it, and the report keeps it.

    A terminal sends Ctrl-C to all processes, anything else may send it to a worker alone.
    """
    pytest.importorskip("xdist")
    project.write("slow.clnrm.toml", SLOW.format(signal=signals))
    plugins = ("-p", "clnrm_testing.fake_engine", "-p", "no:randomly", "-n", "2")
    result = project.pytester.runpytest_subprocess(*plugins, "--clnrm-report", "out")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        [
            "*clnrm: interrupted: slow.clnrm.toml::slow*",
            *shown("KeyboardInterrupt"),
            "*KeyboardInterrupt*" if "PARENT" in signals else "*received keyboard-interrupt*",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_clnrm/*")
    check_report(project, "error", "KeyboardInterrupt")


def test_pytest_exit(project: Project) -> None:
    """The reason is pytest's, the summary shows the step, and the report is written."""
    project.pytester.makeconftest(HANDLERS.format(statement='pytest.exit("enough")'))
    project.write("slow.clnrm.toml", SLOW.format(signal="SIGUSR1"))
    result = project.run("--clnrm-report", "out")
    result.stdout.fnmatch_lines([*shown("_pytest.outcomes.Exit: enough"), "*!!! *enough !!!*"])
    result.stdout.no_fnmatch_line("*pytest_clnrm/*")
    check_report(project, "error", "_pytest.outcomes.Exit: enough")


@pytest.mark.parametrize(
    ("statement", "outcomes", "outcome"),
    [
        ('pytest.skip("not now")', {"skipped": 1}, "skipped"),
        ('pytest.xfail("not yet")', {"xfailed": 1}, "xfailed"),
        ('pytest.fail("not so")', {"failed": 1}, "failed"),
        ('raise RuntimeError("not so")', {"failed": 1}, "failed"),
    ],
)
def test_what_a_hook_raises_around_a_scenario(
    project: Project, statement: str, outcomes: dict[str, int], outcome: str
) -> None:
    """It counts as for every test; what the scenario has done stays in the report."""
    project.pytester.makeconftest(
        f"""
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(item):
            yield
            {statement}
        """
    )
    project.write("fine.clnrm.toml", '[[step]]\nname = "greet"\nrun = "echo hello"\n')
    result = project.run("--clnrm-report", "out", "-rsx")
    result.assert_outcomes(**outcomes)
    (scenario,) = project.report()["scenarios"]
    assert (scenario["outcome"], scenario["steps"][0]["outcome"]) == (outcome, "passed")
    if outcome == "failed":
        (failure,) = scenario["failures"]
        assert failure["message"].endswith("not so")
        assert failure["where"].endswith("conftest.py:6")
        result.stdout.fnmatch_lines([">*not so*", "conftest.py:6: *"])
        check_frames(result)
