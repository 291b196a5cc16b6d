"""A worker of pytest-xdist that is killed while it starts: xdist tells it, and nothing of ours fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from clnrm_testing.project import Project

DIES = """
import os, pytest, signal
def die(config):
    if getattr(config, "workerinput", {{}}).get("workerid") == "gw0":
        os.kill(os.getpid(), signal.SIGKILL)
# First, as a worker that has told what it collected may have been given a test, which then fails with it.
@pytest.hookimpl(tryfirst=True)
def {hook}({argument}):
    die({config})
"""
IN_HOOKS = {
    "pytest_configure": DIES.format(hook="pytest_configure", argument="config", config="config"),
    **{
        hook: DIES.format(hook=hook, argument="session", config="session.config")
        for hook in (
            "pytest_sessionstart",
            "pytest_collection",
            "pytest_collection_finish",
        )
    },
}
# Python runs this first in each process; execnet starts those of workers in this way. One of them is killed.
AT_IMPORT = """
import os, signal, sys
class Killer:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            try:
                os.close(os.open({marker!r}, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)
if sys.orig_argv[-1].startswith("import sys;exec(eval("):
    sys.meta_path.insert(0, Killer())
"""


@pytest.fixture
def project(make_project: Callable[[str], Project]) -> Project:
    """Return a project with scenarios and tests, for two workers."""
    project = make_project("n2")
    for name in ("a", "b"):
        project.write(f"{name}.clnrm.toml", '[[step]]\nrun = "true"\n')
    project.write("test_plain.py", "def test_a(): pass\ndef test_b(): pass\n")
    return project


def printed(result: pytest.RunResult) -> list[str]:
    """Return the lines of a run, none of which is of a failure within the plugin."""
    lines = [*result.outlines, *result.errlines]
    assert not [line for line in lines if "pytest_clnrm" in line]
    return lines


@pytest.mark.parametrize("hook", IN_HOOKS)
def test_killed_in_a_hook(project: Project, hook: str) -> None:
    """The worker is replaced, and everything runs."""
    project.write("conftest.py", IN_HOOKS[hook])
    result = project.run()
    lines = printed(result)
    assert "[gw0] node down: Not properly terminated" in lines
    assert "replacing crashed worker gw0" in lines
    assert not [line for line in lines if "INTERNALERROR" in line]
    result.assert_outcomes(passed=4)
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_not_replaced(project: Project, workers: int) -> None:
    """Where xdist is told to replace none, the run ends with its words, and does not pass."""
    project.write("conftest.py", IN_HOOKS["pytest_collection"])
    result = project.run("-n", str(workers), "--max-worker-restart", "0")
    lines = printed(result)
    assert "worker gw0 crashed and worker restarting disabled" in lines
    assert not [line for line in lines if "INTERNALERROR" in line]
    result.assert_outcomes()
    assert result.ret != pytest.ExitCode.OK


def test_killed_while_pytest_is_imported(project: Project) -> None:
    """Before the worker has a configuration it is replaced as well."""
    marker = project.pytester.path / "died"
    project.write("sitecustomize.py", AT_IMPORT.format(module="pytest", marker=str(marker)))
    result = project.run()
    lines = printed(result)
    assert marker.exists()
    # The second worker starts while the first one does, and may be the sooner to import pytest.
    (replaced,) = (line for line in lines if line.startswith("replacing crashed worker "))
    assert replaced in ("replacing crashed worker gw0", "replacing crashed worker gw1")
    assert not [line for line in lines if "INTERNALERROR" in line]
    result.assert_outcomes(passed=4)


def test_killed_before_it_answers(project: Project) -> None:
    """Before its first byte, xdist does not catch that: its own INTERNALERROR, with no frame of ours."""
    marker = project.pytester.path / "died"
    project.write("sitecustomize.py", AT_IMPORT.format(module="execnet", marker=str(marker)))
    result = project.run()
    lines = printed(result)
    assert marker.exists()
    assert "INTERNALERROR> EOFError: expected 1 bytes, got 0" in lines
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
