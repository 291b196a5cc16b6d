"""Nothing is left behind, whatever dies: runs on a real engine whose processes are killed.

``CLNRM_KILLS=100`` makes the loop of random moments that long; ``CLNRM_SEED`` chooses other moments.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clnrm_testing.project import PYTEST_ADDOPTS

from pytest_clnrm.admission.folder import Folder, open_folder
from pytest_clnrm.admission.views import snapshots
from pytest_clnrm.cleaning import sweep_dead
from pytest_clnrm.labels import LEDGER, OWNER, SCENARIO, SESSION, WORKER

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import EngineFacts, OwnedObject
    from pytest_clnrm.engine.docker_engine import DockerEngine

pytestmark = pytest.mark.engine

IMAGE = "clnrm-busybox:1"
KILLS = int(os.environ.get("CLNRM_KILLS", "6"))
SEED = int(os.environ.get("CLNRM_SEED", "1"))
GONE_WITHIN_S = 10.0
WITHIN_S = 90.0
SCENARIO_FILE = """
[meta]
name = "{name}"
[service.box]
image = "{image}"
[[step]]
name = "work"
run = "{script}"
"""


def wait_until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Wait for a condition that nothing announces."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what}: not within {within_s:g} s"
        time.sleep(0.05)


@dataclass
class Run:
    """One run of pytest, with all its processes."""

    project: Project
    mark: str
    process: subprocess.Popen[bytes]

    def pids(self, part: str = "") -> list[int]:
        """Return the living processes of the run that have *part* in their command line."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (
                    self.mark.encode() in (folder / "environ").read_bytes()
                    and part.encode() in (folder / "cmdline").read_bytes()
                ):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def workers(self) -> list[int]:
        """Return the workers that have noted themselves."""
        files = self.project.temporary.glob("clnrm-*/process-*.json")
        return [int(json.loads(file.read_text("utf-8"))["pid"]) for file in sorted(files)]

    def watchdog(self) -> list[int]:
        """Return the watchdog, as a list of at most one."""
        return self.pids("pytest_clnrm.watchdog")

    def signal(self, pids: list[int], number: int) -> None:
        """Send a signal; a process that is gone is no error."""
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def wait_for_containers(self) -> None:
        """Return once the run has a container."""
        wait_until(lambda: bool(self.project.containers()), WITHIN_S, "a container of the run")

    def end(self) -> int:
        """Wait for the controller's end, then for that of all its processes; return its exit status."""
        status = self.process.wait(WITHIN_S)
        wait_until(lambda: not self.pids(), WITHIN_S, f"the end of {self.pids()}")
        return status


@dataclass
class Project:
    """A folder of scenarios, with a ledger of its own."""

    path: Path
    engine: DockerEngine
    identity: str
    runs: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = self.path / "ledger"
        self.temporary = self.path / "temporary"
        self.temporary.mkdir()
        self.tests = self.path / "tests"
        self.tests.mkdir()

    @property
    def folder(self) -> Folder:
        """Return the ledger's folder."""
        return open_folder(self.ledger, {})

    def add(self, name: str, script: str) -> None:
        """Write a scenario."""
        text = SCENARIO_FILE.format(name=name, image=IMAGE, script=script)
        (self.tests / f"{name}.clnrm.toml").write_text(text, encoding="utf-8")

    def start(self, *args: str) -> Run:
        """Start pytest on it."""
        mark = f"clnrm-test-{secrets.token_hex(8)}"
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "-q", *args]
        with (self.path / "out").open("wb") as out:
            process = subprocess.Popen(
                [*argv, "-o", f"clnrm_ledger_dir={self.ledger}", "--rootdir", str(self.tests)],
                cwd=self.tests,
                env={
                    **os.environ,
                    "CLNRM_MARK": mark,
                    "TMPDIR": str(self.temporary),
                    "PYTEST_ADDOPTS": PYTEST_ADDOPTS,
                },
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.runs.append(Run(self, mark, process))
        return self.runs[-1]

    def output(self) -> str:
        """Return what the last run printed."""
        return (self.path / "out").read_text("utf-8", "replace")

    def objects(self) -> list[OwnedObject]:
        """Return what the engine has of this project's ledger."""
        return list(self.engine.list_owned({LEDGER: self.folder.ledger_id}))

    def containers(self) -> list[OwnedObject]:
        """Return its containers."""
        return [each for each in self.objects() if each.kind == "container"]

    def traces(self) -> list[str]:
        """Return all that there is of its runs: on the engine, in the ledger, among the processes."""
        found = [f"{each.kind} {each.name}" for each in self.objects()]
        for snapshot in snapshots(self.folder):
            found += [f"lease {each.lease}" for each in snapshot.leases]
            found += [f"waiter {each.ticket}" for each in snapshot.waiters]
            found += [f"owner {each.owner}" for each in snapshot.owners]
        found += [f"file {each}" for each in self.ledger.glob("*.owners/*")]
        found += [f"record {each}" for each in self.ledger.glob("runs/*")]
        found += [f"folder {each}" for each in self.temporary.glob("clnrm-*")]
        for run in self.runs:
            found += [f"process {pid}" for pid in run.pids()]
        return found

    def expect_nothing_left(self) -> None:
        """Fail if something is still there ten seconds later."""
        wait_until(lambda: not self.traces(), GONE_WITHIN_S, f"nothing left of {self.traces()}")

    def expect_works(self) -> None:
        """Fail unless another run passes at once, and leaves nothing."""
        run = self.start("-p", "no:xdist", "-k", "next")
        assert run.end() == 0, self.output()
        assert self.traces() == []


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
    for run in project.runs:
        run.signal(run.pids(), signal.SIGKILL)
    engine.remove_owned(project.objects())


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
        assert each.kind != "container" or each.labels[SCENARIO].endswith(
            each.labels[SCENARIO].split("::")[-1]
        )
    project.expect_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
@pytest.mark.parametrize("mode", [("-n", "2"), ("-p", "no:xdist")], ids=["n2", "no-xdist"])
def test_controller_is_killed(project: Project, mode: tuple[str, str], number: int) -> None:
    """The watchdog ends the workers within 5 s and sweeps: nothing is left 10 s after the last one's end."""
    run = project.start(*mode)
    run.wait_for_containers()
    workers = run.workers()
    run.signal([run.process.pid], number)
    run.process.wait(WITHIN_S)
    wait_until(lambda: not set(workers) & set(run.pids()), 5, "the workers' end")
    project.expect_nothing_left()
    project.expect_works()


def test_worker_is_killed(project: Project) -> None:
    """Its containers go before its reservation does, another worker takes its place, the rest passes."""
    run = project.start("-n", "2", "--clnrm-max-containers", "2")
    run.wait_for_containers()
    run.signal(run.workers()[:1], signal.SIGKILL)
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
    run.signal([*run.watchdog(), run.process.pid, *run.workers()], signal.SIGKILL)
    run.end()
    assert project.containers()
    project.expect_works()


def test_next_run_ends_orphaned_workers(project: Project) -> None:
    """Workers that lost controller and watchdog are ended by the next run, before it sweeps."""
    project.add("work0", "sleep 60")
    run = project.start("-n", "2", "-k", "work0 or work1")
    run.wait_for_containers()
    run.signal([*run.watchdog(), run.process.pid], signal.SIGKILL)
    run.process.wait(WITHIN_S)
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
    assert "python -m pytest_clnrm sweep --kept" in project.output()
    assert len(project.containers()) == 1
    (lease,) = snapshots(project.folder)[0].leases
    assert lease.kept
    assert lease.demand.containers == 1
    next_run = project.start("-p", "no:xdist", "-k", "next")
    assert next_run.end() == 0, project.output()
    assert not sweep_dead(project.folder, project.engine)
    assert len(project.containers()) == 1
    assert sweep_dead(project.folder, project.engine, kept=True).containers == 1
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
    assert sweep_dead(project.folder, project.engine).containers == 0
    assert len(other.containers()) == 1
    theirs.signal(theirs.pids(), signal.SIGTERM)
    theirs.process.wait(WITHIN_S)
    other.expect_nothing_left()


KINDS = ("worker", "controller", "all", "watchdog", "controller and watchdog")


@pytest.mark.parametrize("kill", range(KILLS))
def test_killed_at_a_random_moment(project: Project, kill: int) -> None:
    """Whoever dies, and whenever, ten seconds later nothing is left, and the next run works."""
    rng = random.Random(SEED * 1000 + kill)  # noqa: S311 (moments, no secrets)
    kind = KINDS[kill % len(KINDS)]
    run = project.start("-n", "2", "--dist", rng.choice(["load", "load", "loadfile"]))
    wait_until(
        lambda: any((project.ledger / "runs").glob("*.json")) and bool(run.watchdog()), WITHIN_S, "the run"
    )
    moment_s = time.monotonic() + rng.uniform(0, 4)
    wait_until(lambda: time.monotonic() >= moment_s, WITHIN_S, "the moment")
    victims = {
        "worker": rng.sample(run.workers(), 1),
        "controller": [run.process.pid],
        "all": [run.process.pid, *run.workers()],
        "watchdog": run.watchdog(),
        "controller and watchdog": [*run.watchdog(), run.process.pid],
    }[kind]
    run.signal(victims, signal.SIGKILL)
    run.process.wait(WITHIN_S)
    if kind != "controller and watchdog":
        # The watchdog, where it had something to do, is the last to end.
        wait_until(lambda: set(run.pids()) <= set(run.watchdog()), WITHIN_S, "the end of the workers")
        project.expect_nothing_left()
    project.expect_works()
