"""Fixtures of the plugin's tests: a project folder, the fake engine, and the three ways of running."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from clnrm_testing.project import PYTEST_ADDOPTS, Project
from clnrm_testing.requirements import skip_without_xdist

TESTS = Path(__file__).parents[1]
MODES = {"no-xdist": ("-p", "no:xdist"), "n0": ("-n", "0"), "n1": ("-n", "1"), "n2": ("-n", "2")}


@pytest.fixture(autouse=True)
def _runs_beside_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure coverage in the tests' own process alone: others of a project take 40 % longer under it."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture
def make_project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], Project]:
    """Return a function from the name of a mode to a project."""
    # As pytester has it for processes that it starts: workers import from the project too.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(pytester.path), str(TESTS))))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PYTEST_ADDOPTS", PYTEST_ADDOPTS)
    # The tests may run under xdist themselves; the project's run is none of its workers.
    # And in CI none of its steps.
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "GITHUB_STEP_SUMMARY", "GITLAB_CI"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeini("[pytest]\n")

    def make(mode: str) -> Project:
        if mode != "no-xdist":
            skip_without_xdist()
        return Project(pytester, MODES[mode])

    return make


@pytest.fixture
def project(make_project: Callable[[str], Project]) -> Project:
    """Return a project that is run without xdist."""
    return make_project("no-xdist")


@pytest.fixture(params=["no-xdist", "n0", "n1"])
def each_mode(request: pytest.FixtureRequest, make_project: Callable[[str], Project]) -> Project:
    """Return a project, once for each way of running: without xdist, ``-n 0`` and in a worker.

    What two workers do is for tests that ask for two: another one's start takes half a second.
    """
    return make_project(request.param)
