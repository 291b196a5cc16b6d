"""The host's budget over several runs at once, on a real engine, by the engine's own events.

``CLNRM_FULL=1`` makes it a hundred scenarios a run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clnrm_testing.end_to_end import HOLD, environment_of_a_run
from clnrm_testing.patience import patient_s

from pytest_clnrm.cleanup.labels import LEDGER, SCENARIO, load_of
from pytest_clnrm.ledger.folder import open_folder
from pytest_clnrm.ledger.snapshots import snapshots

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.docker.engine import DockerEngine

pytestmark = pytest.mark.engine

IMAGE = "clnrm-busybox:1"
MIB = 1024 * 1024
RUNS = 3
FULL = 100 if os.environ.get("CLNRM_FULL") else 0
SCENARIOS = {"off": FULL or 12, "proven": FULL or 20}
"""Of each run, by its pool: more where some of them are to find a container that another one has left."""
CAP = 5
BUDGET_MB = 160
KINDS = (("low", 32), ("normal", 48), ("high", 24))
"""Priorities and MB; five of the largest do not fit into the budget, so that memory is short sometimes."""
RUN_WITHIN_S = patient_s(900)
WAIT_WITHIN_S = patient_s(120)

# Each grant is noted under the ledger's own lock, so that the notes of all runs stand in their true order.
CONFTEST = """
import json, os, time
import pytest
from pytest_clnrm.ledger import policy

decide = policy.with_grant

def demand(entry):
    return [entry.demand.containers, entry.demand.memory_bytes]

def with_grant(state, given, now_s):
    noted = {
        "run": given.waiter.run,
        "index": given.waiter.index,
        "demand": demand(given.waiter),
        # Idle containers give way.
        "held": [demand(each) for each in state.leases if each.idle_since_s is None],
        "before": [demand(each) for each in state.waiters if each.priority < given.waiter.priority],
    }
    with open(os.environ["GRANTS"], "a", encoding="utf-8") as file:
        file.write(json.dumps(noted) + "\\n")
    return decide(state, given, now_s)

policy.with_grant = with_grant

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart(nodeid):
    if "PYTEST_XDIST_WORKER" in os.environ:
        with open("starts", "a", encoding="utf-8") as file:
            file.write(json.dumps([time.monotonic(), nodeid]) + "\\n")
"""
PYTHON_TESTS = f"""
import pytest, time

@pytest.fixture(scope="module")
def shared(clnrm_factory):
    with clnrm_factory.container("{IMAGE}") as box:
        yield box

def test_first(shared):
    assert shared.run("true").exit_code == 0

def test_second(shared):
    assert shared.run("true").exit_code == 0

@pytest.mark.clnrm_priority("low")
@pytest.mark.parametrize("number", range(10))
def test_plain(number):
    time.sleep(0.1)
"""


@dataclass
class Usage:
    """What the engine's events say of the containers of one ledger, added up while they arrive."""

    running: dict[str, int] = field(default_factory=dict)
    most_containers: int = 0
    most_memory_bytes: int = 0
    started: list[str] = field(default_factory=list)

    def take(self, event: dict[str, Any]) -> None:
        """Count a container's start or end."""
        container, labels = event["Actor"]["ID"], event["Actor"]["Attributes"]
        if event["Action"] == "start":
            self.running[container] = load_of(labels).memory_bytes
            self.started.append(labels[SCENARIO])
        elif event["Action"] == "die":
            self.running.pop(container, None)
        self.most_containers = max(self.most_containers, len(self.running))
        self.most_memory_bytes = max(self.most_memory_bytes, sum(self.running.values()))


@dataclass
class Host:
    """A folder for projects whose runs share a ledger, and what the engine sees of them."""

    path: Path
    usage: Usage = field(default_factory=Usage)
    _runs: list[tuple[Path, subprocess.Popen[bytes]]] = field(default_factory=list)

    @property
    def ledger(self) -> Path:
        """Return the ledger's folder."""
        return self.path / "ledger"

    def project(self, name: str, files: Mapping[str, str]) -> Path:
        """Make a folder with files."""
        folder = self.path / name
        folder.mkdir()
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        return folder

    def start(self, project: Path, *args: str) -> None:
        """Start pytest on a project."""
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *args]
        options = ["--clnrm-report", "out", "--clnrm-spans", "off"]
        options += ["-o", f"clnrm_ledger_dir={self.ledger}", "-o", f"clnrm_default_image={IMAGE}"]
        environment = {**environment_of_a_run(), "GRANTS": str(self.path / "grants")}
        with (project / "printed").open("wb") as printed:
            process = subprocess.Popen(
                [*argv, *options], cwd=project, stdout=printed, stderr=subprocess.STDOUT, env=environment
            )
        self._runs.append((project, process))

    def finish(self) -> list[dict[str, Any]]:
        """Wait for all runs, which have to be green, and return their reports."""
        reports = []
        for project, process in self._runs:
            status = process.wait(RUN_WITHIN_S)
            printed = (project / "printed").read_text("utf-8", "replace")
            assert status == 0, printed
            reports.append(json.loads((project / "out" / "report.json").read_text("utf-8")))
        return reports

    def grants(self) -> list[dict[str, Any]]:
        """Return all grants of the ledger, in their order."""
        return [json.loads(line) for line in (self.path / "grants").read_text("utf-8").splitlines()]

    def starts(self, project: Path) -> list[str]:
        """Return the node ids of a project in the order of their recorded starts."""
        lines = (project / "starts").read_text("utf-8").splitlines()
        return [nodeid for _, nodeid in sorted(json.loads(line) for line in lines)]

    def waiters(self) -> int:
        """Return how many wait in the ledger."""
        return sum(len(each.waiters) for each in snapshots(open_folder(self.ledger, {})))

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition that nothing announces."""
        deadline_s = time.monotonic() + WAIT_WITHIN_S
        while not condition():
            assert time.monotonic() < deadline_s, self
            time.sleep(0.05)

    def kill(self) -> None:
        """End what still runs."""
        for _, process in self._runs:
            process.kill()
            process.wait()


@pytest.fixture
def host(tmp_path: Path, client: APIClient, engine: DockerEngine) -> Iterator[Host]:
    """Return an empty host whose containers are watched."""
    host = Host(tmp_path)
    ledger_id = open_folder(host.ledger, {}).ledger_id
    events = client.events(
        since=int(time.time()) - 1,
        filters={"type": "container", "label": f"{LEDGER}={ledger_id}"},
        decode=True,
    )

    def follow() -> None:
        for event in events:
            host.usage.take(event)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    yield host
    host.kill()
    events.close()
    thread.join()
    engine.remove_owned(engine.list_owned({LEDGER: ledger_id}))


def scenarios(count: int) -> dict[str, str]:
    """Return files of scenarios of unequal length, memory and priority; low ones are collected first."""
    files = {}
    for kind, (priority, memory_mb) in enumerate(KINDS):
        text = f'[meta]\npriority = "{priority}"\n[limits]\nmemory = "{memory_mb}m"\ncpu = 0.5\n'
        for number in range(kind, count, len(KINDS)):
            text += f'[[scenario]]\nname = "s{number}"\n'
            text += f'[[scenario.step]]\nname = "work"\nrun = "sleep 0.{5 + number % 4}"\n'
        files[f"{kind}.clnrm.toml"] = text
    return files


@pytest.mark.parametrize("pool", ["off", "proven"])
def test_three_runs_keep_one_budget(host: Host, pool: str) -> None:
    """Three runs with four workers each never exceed containers or memory; high before normal before low."""
    count = SCENARIOS[pool]
    for number in range(RUNS):
        project = host.project(f"run{number}", scenarios(count))
        budget = ("--clnrm-max-containers", str(CAP), "--clnrm-memory-budget", str(BUDGET_MB))
        host.start(project, "-n", "4", "--clnrm-pool", pool, *budget)
    reports = host.finish()
    outcomes = [each["outcome"] for report in reports for each in report["scenarios"]]
    assert outcomes == ["passed"] * (RUNS * count)
    created = [
        each for report in reports for each in report["scenarios"] if not each["containers"][0]["reused"]
    ]
    assert len(host.usage.started) == len(created)
    assert (len(created) == RUNS * count) is (pool == "off")
    assert host.usage.most_containers <= CAP
    assert host.usage.most_memory_bytes <= BUDGET_MB * MIB
    assert host.usage.most_containers >= CAP - 1, "it was never near the cap: nothing is proven"
    grants = host.grants()
    assert len(grants) == RUNS * count
    for each in grants:
        # Something of a higher priority may still wait only if there was room for it and for this one.
        containers, memory = map(sum, zip(each["demand"], *each["held"], *each["before"], strict=True))
        assert not each["before"] or (containers <= CAP and memory <= BUDGET_MB * MIB), each
    for run in {each["run"] for each in grants}:
        indices = [each["index"] for each in grants if each["run"] == run]
        assert indices == sorted(indices)


def let_go(client: APIClient, container: str) -> None:
    """Let the step in a container that waits for this file end."""
    client.exec_start(client.exec_create(container, ["sh", "-c", "touch /tmp/go"])["Id"])


def test_a_third_waits_until_one_is_released(host: Host, client: APIClient) -> None:
    """With a cap of two a third scenario waits in the ledger until one of the two has gone."""
    text = "".join(
        f'[[scenario]]\nname = "s{number}"\n[[scenario.step]]\nname = "hold"\nrun = "{HOLD}"\n'
        for number in range(3)
    )
    project = host.project("run", {"all.clnrm.toml": text})
    host.start(project, "-n", "3", "--clnrm-max-containers", "2", "--clnrm-memory", "32")
    host.wait(lambda: len(host.usage.running) == 2 and host.waiters() == 1)
    first, second = host.usage.running
    let_go(client, first)
    host.wait(lambda: len(host.usage.started) == 3)
    (third,) = set(host.usage.running) - {second}
    assert third != first
    let_go(client, second)
    let_go(client, third)
    (report,) = host.finish()
    assert [each["outcome"] for each in report["scenarios"]] == ["passed"] * 3
    assert host.usage.most_containers == 2
    assert host.waiters() == 0


def test_a_cap_of_two_with_eight_workers(host: Host) -> None:
    """Scenarios start by priority, plain tests meanwhile, and a fixture that keeps a slot stops nobody."""
    project = host.project("run", {**scenarios(9), "test_it.py": PYTHON_TESTS})
    host.start(project, "-n", "8", "--clnrm-max-containers", "2", "--clnrm-memory", "32")
    (report,) = host.finish()
    assert [each["outcome"] for each in report["scenarios"]] == ["passed"] * 9
    assert "21 passed" in (project / "printed").read_text("utf-8")
    assert host.usage.most_containers == 2
    starts = host.starts(project)
    order = [int(nodeid[0]) for nodeid in starts if ".clnrm.toml::" in nodeid]
    assert order == [2] * 3 + [1] * 3 + [0] * 3
    assert starts.index("test_it.py::test_plain[0]") < starts.index("0.clnrm.toml::s0")
