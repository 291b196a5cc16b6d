"""Watching runs: lines in a log, records on the logger, the status from another process, the live view."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.project import Project
from clnrm_testing.screen import OnTerminal, Screen

from pytest_clnrm.cli import main as cli

HELD = """
[meta]
name = "{name}"
priority = "{priority}"

[service.main]
image = "{image}"

[[step]]
name = "wait"
run = "while [ ! -e {go} ]; do sleep 0.02; done"
"""
LOGS = """
import logging

handler = logging.FileHandler("workers.log", delay=True)
logging.getLogger("pytest_clnrm").addHandler(handler)
logging.getLogger("pytest_clnrm").setLevel(logging.INFO)
"""
LIMIT_S = 120.0


class Holding:
    """Scenarios whose step ends once they are released.

    :ivar go: the file for which they wait.
    """

    def __init__(self, project: Project, folder: Path) -> None:
        self.project = project
        self.go = folder / "go"

    def write(self, name: str, priority: str = "normal", image: str = "shell") -> None:
        """Write a scenario file."""
        text = HELD.format(name=name, priority=priority, image=image, go=self.go)
        self.project.write(f"{name}.clnrm.toml", text)

    def argv(self, *args: str) -> list[str]:
        """Return the command line of a run in a process of its own."""
        plugins = ("-p", "clnrm_testing.fake_engine", "-p", "no:randomly")
        return [sys.executable, "-m", "pytest", *plugins, *self.project.mode, *args]


@pytest.fixture(params=["no-xdist", "n2"])
def holding(
    request: pytest.FixtureRequest, make_project: Callable[[str], Project], tmp_path: Path
) -> Holding:
    """Return scenarios that wait, run without xdist and by two workers."""
    return Holding(make_project(request.param), tmp_path)


def test_a_log_tells_what_takes_long(each_mode: Project) -> None:
    """A line once something has taken long, and at each doubling: not at each look."""
    each_mode.write("slow.clnrm.toml", '[meta]\nname = "slow"\n[[step]]\nname = "nap"\nrun = "sleep 1"\n')
    result = each_mode.run("--clnrm-show-workers", "-o", "clnrm_slow_after=0.2")
    result.assert_outcomes(passed=1)
    lines = [line for line in result.outlines if "has been" in line]
    longest_s = max(int(re.findall(r" (\d+)s", line)[0]) + 1 for line in lines)
    assert 1 <= len(lines) <= 1 + math.log2(longest_s / 0.2)
    step = r"clnrm: (master|gw[01]): slow\.clnrm\.toml::slow has been running for \ds: step 'nap' \(\ds\)"
    assert any(re.fullmatch(step, line) for line in lines)


def test_a_log_tells_who_waits(make_project: Callable[[str], Project]) -> None:
    """The head of the queue is told while it waits, with what is in use."""
    project = make_project("n2")
    for name in ("one", "two"):
        project.write(
            f"{name}.clnrm.toml", f'[meta]\nname = "{name}"\n[[step]]\nname = "s"\nrun = "sleep 1"\n'
        )
    result = project.run("--clnrm-show-workers", "-o", "clnrm_slow_after=0.2", "--clnrm-max-containers=1")
    result.assert_outcomes(passed=2)
    result.stdout.re_match_lines(
        [
            (
                r"clnrm: queue: two\.clnrm\.toml::two has been waiting for its slot for \ds "
                r"\(1 of 1 containers, 512 of \d+ MB in use\)"
            )
        ]
    )


def test_a_log_tells_of_pulls_unasked(
    holding: Holding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pull that lasts is a line without any option, and the run's own lines stay whole."""
    pulled = tmp_path / "pulled"
    monkeypatch.setenv("FAKE_PULL_UNTIL", str(pulled))
    holding.write("first", image="pulled:1")
    holding.go.touch()
    argv = holding.argv("-o", "clnrm_slow_after=0.2")
    folder = holding.project.pytester.path
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=folder, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("clnrm: pulling"):
                pulled.touch()
    assert process.returncode == 0
    assert any(re.fullmatch(r"clnrm: pulling pulled:1: 1 of 2 layers \(\ds\)", line) for line in lines)
    assert re.search(r"^=+ 1 passed in .*=$", "\n".join(lines), re.MULTILINE)


def test_nothing_is_told_unasked(each_mode: Project) -> None:
    """A step that lasts is none of it, and no run leaves its folder behind."""
    each_mode.write("slow.clnrm.toml", '[meta]\nname = "slow"\n[[step]]\nname = "nap"\nrun = "sleep 1"\n')
    result = each_mode.run("-o", "clnrm_slow_after=0.2")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*has been*")


def test_the_log_of_the_workers(each_mode: Project) -> None:
    """Start and end of each worker, and of each scenario with worker, outcome and time; no plain tests."""
    each_mode.write("conftest.py", LOGS)
    each_mode.write("good.clnrm.toml", '[meta]\nname = "good"\n[[step]]\nname = "s"\nrun = "true"\n')
    each_mode.write("bad.clnrm.toml", '[meta]\nname = "bad"\n[[step]]\nname = "s"\nrun = "exit 1"\n')
    each_mode.write("test_plain.py", "def test_plain(): pass\n")
    each_mode.run()
    lines = (each_mode.pytester.path / "workers.log").read_text(encoding="utf-8").splitlines()
    worker = r"worker (master|gw\d)"
    for pattern in (
        rf"{worker} started",
        rf"{worker}: good\.clnrm\.toml::good starts",
        rf"{worker}: good\.clnrm\.toml::good passed in \d+\.\d\d s",
        rf"{worker}: bad\.clnrm\.toml::bad starts",
        rf"{worker}: bad\.clnrm\.toml::bad failed in \d+\.\d\d s",
        rf"{worker} ended",
    ):
        assert sum(bool(re.fullmatch(pattern, line)) for line in lines) >= 1, (pattern, lines)
    assert "test_plain" not in "".join(lines)
    assert re.fullmatch(rf"{worker} started", lines[0])
    assert re.fullmatch(rf"{worker} ended", lines[-1])


def test_a_worker_that_dies_is_logged(make_project: Callable[[str], Project]) -> None:
    """Its end is told with the reason, and its scenario's outcome."""
    project = make_project("n2")
    project.write("conftest.py", LOGS)
    project.write(
        "test_dies.py",
        "import os, pytest\n@pytest.mark.clnrm_limits(containers=1)\ndef test_dies(): os._exit(3)\n",
    )
    project.run()
    log = (project.pytester.path / "workers.log").read_text(encoding="utf-8")
    assert re.search(r"worker gw\d died: Not properly terminated", log)


def status(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the status of this host as data."""
    assert cli.main(["status", "--json"]) == 0
    data: dict[str, Any] = json.loads(capsys.readouterr().out)
    return data


def test_the_status_of_a_run(holding: Holding, capsys: pytest.CaptureFixture[str]) -> None:
    """From another process: workers with item and step, the queue, what is used; then nothing."""
    holding.write("first", "high")
    holding.write("second", "low")
    argv = holding.argv("--clnrm-max-containers=1")
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=holding.project.pytester.path) as process:
        deadline_s = time.monotonic() + LIMIT_S
        steps: list[dict[str, Any]] = []
        while not steps and time.monotonic() < deadline_s and process.poll() is None:
            seen = status(capsys)
            steps = [worker for run in seen["runs"] for worker in run["workers"] if worker["phase"] == "step"]
        text = cli.main(["status"])
        shown = capsys.readouterr().out
        holding.go.touch()
        assert process.wait(LIMIT_S) == 0
    (run,) = seen["runs"]
    assert (run["pid"], run["alive"], run["engine"]) == (process.pid, True, "fake://")
    (worker,) = steps
    assert (worker["item"], worker["detail"], worker["containers"]) == ("first.clnrm.toml::first", "wait", 1)
    assert worker["memory_bytes"] == 512 << 20
    assert run["queue"]["waiting"] == {"high": 0, "normal": 0, "low": 1}
    (budget,) = seen["budgets"]
    assert (budget["engine"], budget["containers"], budget["max_containers"]) == ("fake://", 1, 1)
    assert text == 0
    assert f"process {process.pid} on fake://" in shown
    assert "first.clnrm.toml::first" in shown
    after = status(capsys)
    assert (after["runs"], after["budgets"]) == ([], [])


def words_of(screen: Screen) -> list[str]:
    """Return the lines of a screen with single blanks."""
    return [" ".join(line.split()) for line in screen.lines]


@pytest.fixture
def run_on_terminal(holding: Holding) -> Iterator[Callable[..., OnTerminal]]:
    """Return what starts a run on a terminal of its own; all are ended."""
    started: list[OnTerminal] = []

    def run(*args: str, **options: Any) -> OnTerminal:
        options = {"env": {}, **options}
        started.append(OnTerminal(holding.argv(*args), cwd=holding.project.pytester.path, **options))
        return started[-1]

    yield run
    for each in started:
        each.close()


RunOnTerminal = Callable[..., OnTerminal]


@pytest.mark.parametrize("verbosity", ["-q", "-v"])
def test_the_live_view(holding: Holding, run_on_terminal: RunOnTerminal, verbosity: str) -> None:
    """Workers and queue stand below pytest's own output while the run goes, and leave no trace in it."""
    holding.write("first", "high")
    holding.write("second", "low")
    holding.project.write("test_plain.py", "def test_plain(): pass\n")
    terminal = run_on_terminal("--clnrm-show-workers", "--clnrm-max-containers=1", verbosity)
    terminal.wait_for(lambda screen: any("step 'wait'" in line for line in words_of(screen)))
    terminal.wait_for(lambda screen: any("1 of 1 containers" in line for line in words_of(screen)))
    shown = words_of(terminal.screen)
    (worker,) = [line for line in shown if "step 'wait'" in line]
    assert re.fullmatch(
        r"(master|gw\d) first\.clnrm\.toml::first \ds step 'wait' \ds 1 container, 512 MB", worker
    )
    holding.go.touch()
    assert terminal.wait() == 0
    text = terminal.screen.everything
    assert "step 'wait'" not in text
    assert "queue:" not in text
    assert "3 passed" in text
    if verbosity == "-v":
        assert len(re.findall(r"PASSED", text)) == 3


def test_a_narrow_terminal_and_no_colours(holding: Holding, run_on_terminal: RunOnTerminal) -> None:
    """Lines are cut to the terminal's width, and NO_COLOR holds."""
    holding.write("first")
    terminal = run_on_terminal("--clnrm-show-workers", "-q", columns=32, rows=8, env={"NO_COLOR": "1"})
    terminal.wait_for(lambda screen: any("::first" in line for line in words_of(screen)))
    assert all(len(line) < 32 for line in terminal.screen.lines if "clnrm:" in line or "::first" in line)
    holding.go.touch()
    assert terminal.wait() == 0
    assert "…::first" not in terminal.screen.everything


def test_ctrl_c_leaves_a_clean_screen(holding: Holding, run_on_terminal: RunOnTerminal) -> None:
    """The lines go before pytest says who interrupted it."""
    holding.write("first")
    terminal = run_on_terminal("--clnrm-show-workers")
    terminal.wait_for(lambda screen: any("step 'wait'" in line for line in words_of(screen)))
    terminal.interrupt()
    assert terminal.wait() == 2
    assert "KeyboardInterrupt" in terminal.screen.everything
    # A failure names the step too, with what ended it.
    named = [line.rstrip() for line in terminal.screen.everything.split("\n") if "step 'wait'" in line]
    assert [line for line in named if not line.endswith("step 'wait': KeyboardInterrupt")] == []


def test_pulls_are_shown_on_a_terminal(
    holding: Holding, run_on_terminal: RunOnTerminal, tmp_path: Path
) -> None:
    """Without any option: a line while an image is pulled, and none afterwards."""
    holding.write("first", image="pulled:1")
    holding.go.touch()
    pulled = tmp_path / "pulled"
    terminal = run_on_terminal(env={"FAKE_PULL_UNTIL": str(pulled)})
    terminal.wait_for(lambda screen: "clnrm: pulling pulled:1: 1 of 2 layers" in words_of(screen))
    pulled.touch()
    assert terminal.wait() == 0
    assert "pulling" not in terminal.screen.everything
    assert "1 passed" in terminal.screen.everything


def test_with_uncaptured_output_there_are_lines(holding: Holding, run_on_terminal: RunOnTerminal) -> None:
    """With -s others write to the terminal too: what takes long is told in lines, as in a log."""
    holding.write("first")
    terminal = run_on_terminal("--clnrm-show-workers", "-s", "-o", "clnrm_slow_after=0.2")
    terminal.wait_for(lambda screen: "has been running for" in screen.everything)
    assert "queue:" not in terminal.screen.everything
    holding.go.touch()
    assert terminal.wait() == 0
