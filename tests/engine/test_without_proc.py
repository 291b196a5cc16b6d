"""Runs on a system that has no /proc, no handles of processes and no O_PATH, as macOS.

Here /proc is covered for the run and all its processes, in a mount namespace of its own.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clnrm_testing.left_behind import IMAGE, WITHIN_S, Project
from clnrm_testing.patience import wait_until

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import EngineFacts
    from pytest_clnrm.engine.docker.engine import DockerEngine

pytestmark = pytest.mark.engine

_COVER = 'mount -t tmpfs -o ro none /proc && exec "$@"'
WITHOUT_PROC = ("unshare", "--mount", "sh", "-c", _COVER, "sh")
_LESS = """
import os, signal
for module, name in ((os, "pidfd_open"), (signal, "pidfd_send_signal"), (os, "O_PATH"), (os, "getxattr")):
    vars(module).pop(name, None)
"""
EXAMPLES = Path(__file__).parents[2] / "examples"


def command(project: Project, *arguments: str) -> str:
    """Run the command line there, and return what it prints."""
    itself = (sys.executable, "-m", "pytest_clnrm")
    argv = [*WITHOUT_PROC, *itself, *arguments, "--ledger-dir", str(project.ledger)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def project(
    tmp_path: Path,
    engine: DockerEngine,
    reached: tuple[APIClient, EngineFacts],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Project]:
    """Return a project of three scenarios that take a while, and of one that does not: "next"."""
    if subprocess.run([*WITHOUT_PROC, "true"], capture_output=True, check=False).returncode:
        pytest.skip("/proc can only be covered by who may make mount namespaces")
    (tmp_path / "less").mkdir()
    (tmp_path / "less/sitecustomize.py").write_text(_LESS, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "less"))
    project = Project(tmp_path, engine, reached[1].identity, around=WITHOUT_PROC)
    for number in range(3):
        project.add(f"work{number}", "sleep 2")
    project.add("next", "true")
    yield project
    project.remove()


def test_a_run_lives_beside_others(project: Project) -> None:
    """Neither its own watchdog, another run nor a command takes it for dead; at the end nothing is left."""
    project.add("fails", "false")
    run = project.start("-n", "2", "-k", "work")
    run.wait_for_containers()
    wait_until(lambda: bool(run.watchdog()), WITHIN_S, "the watchdog")
    (seen,) = json.loads(command(project, "status", "--json"))["runs"]
    assert (seen["alive"], seen["pid"]) == (True, run.process.pid)
    assert {each["pid"] for each in seen["workers"]} <= set(run.workers())
    assert seen["workers"]
    assert command(project, "sweep") == "removed: nothing\n"
    other = project.start("-p", "no:xdist", "-k", "next or fails", "--clnrm-keep", "failed")
    assert other.end() == 1, project.output()
    assert "1 failed, 1 passed" in project.output()
    assert command(project, "sweep", "--kept").startswith("removed: 1 container")
    assert run.end() == 0
    project.expect_nothing_left()


def test_controller_is_killed(project: Project) -> None:
    """The watchdog ends the workers and removes all that the run left."""
    run = project.start("-n", "2")
    run.wait_for_containers()
    run.signal([run.process.pid], signal.SIGKILL)
    run.process.wait(WITHIN_S)
    project.expect_nothing_left()


def test_all_are_killed(project: Project) -> None:
    """What nobody is left to remove the next run removes."""
    run = project.start("-p", "no:xdist")
    run.wait_for_containers()
    run.signal(run.pids(), signal.SIGKILL)
    run.process.wait(WITHIN_S)
    wait_until(lambda: not run.pids(), WITHIN_S, "the end of all")
    assert project.containers()
    told = f"process {run.process.pid} on {project.engine.facts.url} has ended and left something"
    assert told in command(project, "status")
    project.expect_works()


def test_examples(project: Project) -> None:
    """Users' first files pass there; their image is the tests' own."""
    for name in ("hello", "several", "matrix", "captures"):
        text = (EXAMPLES / f"{name}.clnrm.toml").read_text("utf-8").replace("clnrm-examples/shell:1", IMAGE)
        (project.tests / f"example-{name}.clnrm.toml").write_text(text, encoding="utf-8")
    run = project.start("-n", "2", "-k", "example-")
    assert run.end() == 0, project.output()
    project.expect_nothing_left()
