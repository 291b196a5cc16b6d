"""An engine that ends and starts again in the middle of a run; it is one of the test's own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clnrm_testing.daemon import Daemon, own_engine
from clnrm_testing.left_behind import WITHIN_S, Project
from clnrm_testing.patience import wait_until

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.engine


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """Return an engine that runs, and has the image of the tests."""
    with own_engine() as daemon:
        yield daemon


@pytest.fixture
def project(daemon: Daemon, tmp_path: Path) -> Iterator[Project]:
    """Return a project on that engine."""
    from pytest_clnrm.engine.docker.engine import DockerEngine

    client, facts = daemon.connect()
    engine = DockerEngine(client, facts, locks=lambda _: nullcontext())
    # Spans are not received from another network namespace.
    options = ("--clnrm-engine", daemon.url, "--clnrm-spans", "off")
    project = Project(tmp_path, engine, facts.identity, options=options)
    for number in range(4):
        project.add(f"work{number}", "sleep 3")
    project.add("next", "true")
    yield project
    project.kill_all()
    client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_in_the_middle_of_a_run(daemon: Daemon, project: Project, number: int) -> None:
    """What ran meanwhile fails and says why, nothing is left, and the next run works."""
    run = project.start("-n", "2", "--clnrm-max-containers", "2")
    wait_until(lambda: len(project.containers()) == 2, WITHIN_S, "two containers")
    daemon.stop(number)
    daemon.start()
    assert run.end() == 1, project.output()
    said = project.output()
    assert "does not answer any more" in said
    assert "INTERNALERROR" not in said
    project.expect_nothing_left()
    project.expect_works()


def test_the_watchdog_waits_for_it(daemon: Daemon, project: Project) -> None:
    """A run whose controller and engine die at once is cleaned up once the engine is there again."""
    run = project.start("-n", "2")
    run.wait_for_containers()
    daemon.stop(signal.SIGKILL)
    run.signal([run.process.pid], signal.SIGKILL)
    run.process.wait(WITHIN_S)
    wait_until(lambda: not run.workers() or not set(run.workers()) & set(run.pids()), 5, "the workers' end")
    daemon.start()
    project.expect_nothing_left()
    project.expect_works()
