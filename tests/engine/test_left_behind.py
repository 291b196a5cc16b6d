"""Nothing is left behind, whatever dies: runs on a real engine whose processes are killed.

``CLNRM_KILLS=100`` makes the loop of random moments that long; ``CLNRM_SEED`` chooses other moments.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clnrm_testing.left_behind import GONE_WITHIN_S, IMAGE, WITHIN_S, Project
from clnrm_testing.patience import wait_until

from pytest_clnrm.cleanup.cleaner import sweep_dead
from pytest_clnrm.cleanup.labels import LEDGER, OWNER, SCENARIO, SESSION, WORKER
from pytest_clnrm.ledger.snapshots import snapshots

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import EngineFacts
    from pytest_clnrm.engine.docker.engine import DockerEngine

pytestmark = pytest.mark.engine

KILLS = int(os.environ.get("CLNRM_KILLS", "3"))
SEED = int(os.environ.get("CLNRM_SEED", "1"))


@pytest.fixture
def project(
    tmp_path: Path, engine: DockerEngine, reached: tuple[APIClient, EngineFacts]
) -> Iterator[Project]:
    """Return a project of scenarios that take a while, and of one that does not: "next"."""
    project = Project(tmp_path, engine, reached[1].identity)
    for number in range(8):
        project.add(f"work{number}", "sleep 1")
    project.add("next", "true")
    yield project
    project.remove()


def test_labels_tell_whose_it_is(project: Project) -> None:
    """Containers and networks say which ledger, run, owner, worker and scenario they belong to."""
    run = project.start("-n", "2")
    run.wait_for_containers()
    seen = project.objects()
    owners = {lease.owner for snapshot in snapshots(project.folder) for lease in snapshot.leases}
    assert run.end() == 0, project.output()
    for each in seen:
        assert each.labels[LEDGER] == project.folder.ledger_id
        assert each.labels[SESSION]
        assert each.labels[WORKER] in {"gw0", "gw1"}
        assert each.labels[OWNER] in owners
        if each.kind == "container":
            names = {f"{name}.clnrm.toml::{name}" for name in ("next", *(f"work{at}" for at in range(8)))}
            assert each.labels[SCENARIO] in names
    project.expect_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
@pytest.mark.parametrize("mode", [("-n", "2"), ("-p", "no:xdist")], ids=["n2", "no-xdist"])
def test_controller_is_killed(project: Project, mode: tuple[str, str], number: int) -> None:
    """The watchdog ends the workers and sweeps: nothing is left half a minute after their end."""
    run = project.start(*mode)
    run.wait_for_containers()
    workers = run.workers()
    run.signal([run.process.pid], number)
    run.process.wait(WITHIN_S)
    wait_until(lambda: not set(workers) & set(run.pids()), GONE_WITHIN_S, "the workers' end")
    project.expect_nothing_left()
    project.expect_works()


def test_worker_is_killed(project: Project) -> None:
    """Its containers go before its reservation does, another worker takes its place, the rest passes."""
    run = project.start("-n", "2", "--clnrm-max-containers", "2")
    run.wait_for_containers()
    # The other one may have nothing to do.
    run.signal(run.worker(project.containers()[0].labels[WORKER]), signal.SIGKILL)
    assert run.end() == 1, project.output()
    assert "8 passed" in project.output()
    assert "crashed while running" in project.output()
    project.expect_nothing_left()


@pytest.mark.parametrize("dist", ["load", "worksteal"])
def test_all_are_killed_at_once(project: Project, dist: str) -> None:
    """Controller and workers die together, under our scheduling and where workers reserve for themselves."""
    run = project.start("-n", "2", "--dist", dist)
    run.wait_for_containers()
    run.signal([run.process.pid, *run.workers()], signal.SIGKILL)
    run.process.wait(WITHIN_S)
    project.expect_nothing_left()
    project.expect_works()


ASKS_LATE = """
import time

def test_late(request):
    with request.getfixturevalue("clnrm_factory").container("{image}"):
        time.sleep({seconds})
"""


def test_all_are_killed_before_it_is_known_that_there_are_containers(project: Project) -> None:
    """A worker has its run watched whose controller has been told of none; in peace nothing of that stays."""
    (project.tests / "late_test.py").write_text(ASKS_LATE.format(image=IMAGE, seconds=0))
    run = project.start("-n", "2", "late_test.py")
    assert run.end() == 0, project.output()
    project.expect_nothing_left()
    (project.tests / "late_test.py").write_text(ASKS_LATE.format(image=IMAGE, seconds=60))
    run = project.start("-n", "2", "late_test.py")
    run.wait_for_containers()
    run.signal([run.process.pid, *run.workers()], signal.SIGKILL)
    run.process.wait(WITHIN_S)
    project.expect_nothing_left()


def test_watchdog_is_killed(project: Project) -> None:
    """A run that loses its watchdog cleans up after itself."""
    run = project.start("-n", "2")
    run.wait_for_containers()
    run.signal(run.watchdog(), signal.SIGKILL)
    assert run.end() == 0, project.output()
    project.expect_nothing_left()


def test_watchdog_and_all_others_are_killed(project: Project) -> None:
    """With nobody left to sweep, the next run does so when it starts, and then works."""
    run = project.start("-n", "2")
    run.wait_for_containers()
    pids = [*run.watchdog(), run.process.pid, *run.workers()]
    # All at once: a worker that lives on starts another watchdog.
    run.signal(pids, signal.SIGSTOP)
    run.signal(pids, signal.SIGKILL)
    run.end()
    assert project.containers()
    project.expect_works()


@pytest.mark.parametrize("dist", ["load", "loadfile"])
def test_watchdog_and_controller_are_killed(project: Project, dist: str) -> None:
    """A worker starts another watchdog, which ends the workers and sweeps, before any other run."""
    project.add("work0", "sleep 60")
    run = project.start("-n", "2", "--dist", dist, "-k", "work0 or work1")
    run.wait_for_containers()
    run.signal([*run.watchdog(), run.process.pid], signal.SIGKILL)
    run.process.wait(WITHIN_S)
    wait_until(lambda: set(run.pids()) <= set(run.watchdog()), WITHIN_S, "the end of the workers")
    project.expect_nothing_left()
    wait_until(lambda: not run.pids(), WITHIN_S, "the end of the watchdog")
    assert not list((project.ledger / "runs").glob("*.json"))
    project.expect_works()


@pytest.mark.parametrize("mode", [("-n", "2"), ("-p", "no:xdist")], ids=["n2", "no-xdist"])
@pytest.mark.parametrize("times", [1, 2])
def test_interrupted_at_the_terminal(project: Project, mode: tuple[str, str], times: int) -> None:
    """Ctrl-C, which the terminal sends to all processes in the foreground, once and twice."""
    run = project.start(*mode)
    run.wait_for_containers()
    for _ in range(times):
        # Once the first is noticed, the second comes in the middle of cleaning up.
        os.killpg(run.process.pid, signal.SIGINT)
        wait_until(
            lambda: run.process.poll() is not None or len(project.containers()) < 2, WITHIN_S, "Ctrl-C"
        )
    assert run.process.wait(WITHIN_S) != 0
    project.expect_nothing_left()
    project.expect_works()


def test_all_are_asked_to_end(project: Project) -> None:
    """SIGTERM to every process, the watchdog too, as a user or a shutdown sends it."""
    run = project.start("-n", "2")
    run.wait_for_containers()
    run.signal(run.pids(), signal.SIGTERM)
    run.process.wait(WITHIN_S)
    project.expect_nothing_left()
    project.expect_works()


def test_watchdog_is_cheap_and_ends_with_the_run(project: Project) -> None:
    """It sleeps, holds little memory, and is gone when pytest has ended."""
    # Its one container must not have come and gone between two looks.
    project.add("work0", "sleep 4")
    run = project.start("-p", "no:xdist", "-k", "work0")
    run.wait_for_containers()
    (pid,) = run.watchdog()
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    resident_kb = int(status.split("VmRSS:")[1].split()[0])
    assert resident_kb < 20_000
    assert os.getsid(pid) == pid
    assert run.process.wait(WITHIN_S) == 0, project.output()
    assert run.watchdog() == []
    assert project.traces() == []


def test_no_watchdog_without_scenarios(project: Project) -> None:
    """A run without scenarios starts none, and writes nothing into the ledger's folder."""
    (project.tests / "test_plain.py").write_text(
        "import os, pathlib, subprocess\n"
        "def test_plain():\n"
        "    lines = subprocess.run(['ps', '-eo', 'args'], capture_output=True, text=True).stdout\n"
        f"    assert {str(project.ledger)!r} + '/runs' not in lines\n",
        encoding="utf-8",
    )
    run = project.start("-n", "2", "-k", "plain", "--ignore-glob", "*.toml")
    assert run.end() == 0, project.output()
    assert not project.ledger.exists()


def test_kept_containers_stay_counted(project: Project) -> None:
    """Kept containers survive the run and sweeps, are counted, and leave when they are asked for."""
    project.add("fails", "false")
    run = project.start("-n", "2", "--clnrm-keep", "failed", "-k", "fails or next")
    assert run.end() == 1, project.output()
    assert " -m pytest_clnrm sweep --kept" in project.output()
    assert len(project.containers()) == 1
    (lease,) = snapshots(project.folder)[0].leases
    assert lease.kept
    assert lease.demand.containers == 1
    next_run = project.start("-p", "no:xdist", "-k", "next")
    assert next_run.end() == 0, project.output()
    assert not sweep_dead(project.folder, project.engine)
    assert len(project.containers()) == 1
    assert sweep_dead(project.folder, project.engine, kept=True)["container"] == 1
    assert project.traces() == []


def test_kept_containers_of_a_killed_run_become_a_lease(project: Project) -> None:
    """What was kept is counted again even if nobody lived to keep its lease."""
    project.add("fails", "false")
    run = project.start("-p", "no:xdist", "--clnrm-keep", "failed", "-k", "fails")
    assert run.end() == 1, project.output()
    file = project.folder.state_file(project.identity)
    file.unlink()
    for each in project.ledger.glob("*.owners/*"):
        each.unlink()
    next_run = project.start("-p", "no:xdist", "-k", "next")
    assert next_run.end() == 0, project.output()
    (lease,) = snapshots(project.folder)[0].leases
    assert lease.kept
    assert lease.demand.containers == 1
    sweep_dead(project.folder, project.engine, kept=True)


def test_other_ledgers_are_counted_and_left_alone(project: Project, tmp_path: Path) -> None:
    """Another ledger's containers are warned of once, and survive all sweeps."""
    (tmp_path / "other").mkdir()
    other = Project(tmp_path / "other", project.engine, project.identity)
    other.add("work", "sleep 60")
    theirs = other.start("-p", "no:xdist")
    theirs.wait_for_containers()
    mine = project.start("-n", "2", "-k", "next or work0")
    assert mine.end() == 0, project.output()
    assert project.output().count("counted as load, never removed") == 1
    assert sweep_dead(project.folder, project.engine)["container"] == 0
    assert len(other.containers()) == 1
    theirs.signal(theirs.pids(), signal.SIGTERM)
    theirs.process.wait(WITHIN_S)
    other.expect_nothing_left()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of its own that is soon full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(argv, check=False, capture_output=True).returncode:
        pytest.skip("a small disk needs root and the right to mount")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("mode", [("-n", "2"), ("-p", "no:xdist")], ids=["n2", "no-xdist"])
def test_full_disk(project: Project, small_disk: Path, mode: tuple[str, str]) -> None:
    """A ledger whose disk is full in the middle of a run: errors say so, nothing is left, the next works."""
    project.ledger = small_disk / "ledger"
    full = small_disk / "full"
    run = project.start(*mode, "--clnrm-max-containers", "2")
    run.wait_for_containers()
    with contextlib.suppress(OSError), full.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))
    assert run.process.wait(WITHIN_S) == 1
    said = project.output()
    assert "cannot be used: No space left on device; make room" in said
    assert "INTERNALERROR" not in said
    wait_until(
        lambda: not run.pids() and not project.objects(),
        GONE_WITHIN_S,
        f"nothing left of {project.objects()}",
    )
    full.unlink()
    project.expect_works()


KINDS = ("worker", "controller", "all", "watchdog", "controller and watchdog")


@pytest.mark.parametrize("kill", range(KILLS))
def test_killed_at_a_random_moment(project: Project, kill: int) -> None:
    """Whoever dies, and whenever, half a minute later nothing is left, and the next run works.

    Half of the scenarios share one container, which belongs to none of the processes.
    """
    for number in range(4):
        project.add(f"work{number}", "sleep 1", scope="run")
    rng = random.Random(SEED * 1000 + kill)  # noqa: S311 (moments, no secrets)
    kind = KINDS[kill % len(KINDS)]
    run = project.start("-n", "2", "--dist", rng.choice(["load", "load", "loadfile"]))
    wait_until(
        lambda: any((project.ledger / "runs").glob("*.json")) and bool(run.watchdog()), WITHIN_S, "the run"
    )
    moment_s = time.monotonic() + rng.uniform(0, 4)
    wait_until(lambda: time.monotonic() >= moment_s, WITHIN_S, "the moment")
    if kind in {"worker", "controller and watchdog"}:
        # At an early moment none has booted that could be killed, or clean up.
        wait_until(lambda: bool(run.workers()), WITHIN_S, "a worker")
    workers = run.workers()
    victims = {
        "worker": rng.sample(workers, min(1, len(workers))),
        "controller": [run.process.pid],
        "all": [run.process.pid, *workers],
        "watchdog": run.watchdog(),
        "controller and watchdog": [*run.watchdog(), run.process.pid],
    }[kind]
    run.signal(victims, signal.SIGKILL)
    run.process.wait(WITHIN_S)
    # The watchdog, where it had something to do, is the last to end.
    wait_until(lambda: set(run.pids()) <= set(run.watchdog()), WITHIN_S, "the end of the workers")
    project.expect_nothing_left()
    project.expect_works()
