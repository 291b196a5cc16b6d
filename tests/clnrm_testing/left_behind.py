"""Runs on a real engine whose processes are killed, and what is left of them."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clnrm_testing.patience import patient_s, wait_until
from clnrm_testing.project import PYTEST_ADDOPTS
from pytest_clnrm.cleanup.labels import LEDGER
from pytest_clnrm.ledger.folder import Folder, open_folder
from pytest_clnrm.ledger.snapshots import snapshots

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import OwnedObject
    from pytest_clnrm.engine.docker.engine import DockerEngine

__all__ = ["GONE_WITHIN_S", "IMAGE", "WITHIN_S", "Project", "Run"]

IMAGE = "clnrm-busybox:1"
GONE_WITHIN_S = patient_s(30)
WITHIN_S = patient_s(90)
SCENARIO_FILE = """
[meta]
name = "{name}"
[service.box]
image = "{image}"
scope = "{scope}"
[[step]]
name = "work"
run = "{script}"
"""


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
        return self.worker("*")

    def worker(self, name: str) -> list[int]:
        """Return the worker of that name, as a list of at most one."""
        files = self.project.temporary.glob(f"clnrm-*/process-{name}.json")
        return [int(json.loads(file.read_text("utf-8"))["pid"]) for file in sorted(files)]

    def watchdog(self) -> list[int]:
        """Return the watchdog, as a list of at most one."""
        return self.pids("pytest_clnrm.cleanup.watchdog")

    def signal(self, pids: list[int], number: int) -> None:
        """Send a signal; a process that is gone is no error."""
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def wait_for_containers(self) -> None:
        """Return once a container of it runs: one that is being made may go with who asked for it."""

        def runs() -> bool:
            if self.project.runs_a_container():
                return True
            ended = self.process.poll()
            assert ended is None, f"it ended with {ended}, no container was seen\n{self.project.output()}"
            return False

        wait_until(runs, WITHIN_S, "a container of the run")

    def end(self) -> int:
        """Wait for the controller's end, then for that of all its processes; return its exit status."""
        status = self.process.wait(WITHIN_S)
        wait_until(lambda: not self.pids(), WITHIN_S, f"the end of {self.pids()}")
        return status


@dataclass
class Project:
    """A folder of scenarios, with a ledger of its own.

    :param options: of all runs.
    :param around: the command, of which each run's own is the end.
    """

    path: Path
    engine: DockerEngine
    identity: str
    options: tuple[str, ...] = ()
    around: tuple[str, ...] = ()
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

    def add(self, name: str, script: str, scope: str = "scenario") -> None:
        """Write a scenario.

        :param scope: of its one service.
        """
        text = SCENARIO_FILE.format(name=name, image=IMAGE, script=script, scope=scope)
        (self.tests / f"{name}.clnrm.toml").write_text(text, encoding="utf-8")

    def start(self, *args: str) -> Run:
        """Start pytest on it."""
        mark = f"clnrm-test-{secrets.token_hex(8)}"
        argv = [
            *self.around,
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "-q",
        ]
        argv += [*self.options, *args]
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

    def runs_a_container(self) -> bool:
        """Tell whether one of its containers runs."""
        label = f"{LEDGER}={self.folder.ledger_id}"
        return bool(self.engine._client.containers(filters={"label": label}))

    def traces(self) -> list[str]:
        """Return all that there is of its runs: on the engine, in the ledger, among the processes."""
        found = [f"{each.kind} {each.name}" for each in self.objects()]
        for snapshot in snapshots(self.folder):
            found += [f"lease {each.id}" for each in snapshot.leases]
            found += [f"waiter {each.id}" for each in snapshot.waiters]
            found += [f"owner {each.owner}" for each in snapshot.owners]
        found += [f"file {each}" for each in self.ledger.glob("*.owners/*")]
        found += [f"record {each}" for each in self.ledger.glob("runs/*")]
        found += [f"folder {each}" for each in self.temporary.glob("clnrm-*")]
        for run in self.runs:
            found += [f"process {pid}" for pid in run.pids()]
        return found

    def kill_all(self) -> None:
        """Kill what still runs of its runs."""
        for run in self.runs:
            run.signal(run.pids(), signal.SIGKILL)

    def remove(self) -> None:
        """Kill what still runs, and remove what the engine has of it."""
        self.kill_all()
        self.engine.remove_owned(self.objects())

    def expect_nothing_left(self) -> None:
        """Fail if something is still there half a minute later."""
        wait_until(lambda: not self.traces(), GONE_WITHIN_S, f"nothing left of {self.traces()}")

    def expect_works(self) -> None:
        """Fail unless another run passes at once, and leaves nothing."""
        run = self.start("-p", "no:xdist", "-k", "next")
        assert run.end() == 0, self.output()
        assert self.traces() == []
