"""Fixtures of the plugin's tests: a project folder, the fake engine, and the three ways of running."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from clnrm_testing.project import PYTEST_ADDOPTS, Project
from clnrm_testing.requirements import skip_without_xdist

TESTS = Path(__file__).parents[1]
MODES = {"no-xdist": ("-p", "no:xdist"), "n0": ("-n", "0"), "n2": ("-n", "2")}


@pytest.fixture
def make_project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], Project]:
    """Return a function from the name of a mode to a project."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PYTEST_ADDOPTS", PYTEST_ADDOPTS)
    # The tests may run under xdist themselves; the project's run is none of its workers.
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
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


@pytest.fixture(params=list(MODES))
def each_mode(request: pytest.FixtureRequest, make_project: Callable[[str], Project]) -> Project:
    """Return a project, once for each way of running: without xdist, ``-n 0`` and ``-n 2``."""
    return make_project(request.param)
