"""The ledger between real processes: caps, deaths, wake-ups, and a stopped holder of the lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest
from clnrm_testing.queueing import purge

from pytest_clnrm.errors import LedgerError
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.ledger.folder import Folder
from pytest_clnrm.ledger.ledger import Ledger
from pytest_clnrm.ledger.locks import host_lock
from pytest_clnrm.ledger.state import Lease
from pytest_clnrm.model.demand import Demand

ONE = Demand(containers=1)
# A process that does what it is told, one JSON line a command, and answers each with a line.
AGENT = """
import json, subprocess, sys
from pathlib import Path
from pytest_clnrm.ledger.budget import Budget
from pytest_clnrm.model.demand import Demand
from pytest_clnrm.ledger.folder import open_folder
from pytest_clnrm.ledger.locks import host_lock
from pytest_clnrm.ledger.ledger import Ledger

class NoPolling:
    # Waits for wake-ups alone: without one it would wait for ever.
    def monotonic(self):
        import time
        return time.monotonic()
    def wait(self, fd, timeout_s):
        import select
        return bool(select.select([fd], [], [])[0])

folder = open_folder(Path(sys.argv[1]), {})
ledger = Ledger(folder, "engine", Budget(containers=int(sys.argv[3]), memory_bytes=0), clock=NoPolling())
ledger.open_run(sys.argv[2])
print(json.dumps(ledger.owner_id), flush=True)
for line in sys.stdin:
    command, *rest = json.loads(line)
    answer = None
    if command == "reserve":
        waited = []
        def on_wait(waiting):
            if not waited:
                print(json.dumps("waiting"), flush=True)
            waited.append(waiting)
        lease = ledger.reserve(Demand(containers=rest[0]), priority=rest[1], index=0, on_wait=on_wait)
        answer = lease.id
    elif command == "try":
        lease = ledger.try_reserve(Demand(containers=rest[0]), priority=0, index=0)
        answer = lease and lease.id
    elif command == "adopt":
        ledger.adopt(rest[0])
    elif command == "release":
        ledger.release(rest[0])
    elif command == "many":
        for index in range(rest[0]):
            lease = ledger.reserve(Demand(containers=1), priority=1, index=index)
            with open(rest[1], "a") as log:
                log.write("+")
            with open(rest[1], "a") as log:
                log.write("-")
            ledger.release(lease.id)
    elif command == "child":
        child = subprocess.Popen(["sleep", "1000"], close_fds=False)
        answer = child.pid
    elif command == "host lock":
        with host_lock(folder, "name"):
            print(json.dumps("held"), flush=True)
            sys.stdin.readline()
    elif command == "hold":
        with ledger._me.change():
            print(json.dumps("held"), flush=True)
            sys.stdin.readline()
    print(json.dumps(answer), flush=True)
ledger.close()
"""


class Agent:
    """A process with a ledger of its own."""

    def __init__(self, folder: Folder, run: str, containers: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", AGENT, str(folder.path), run, str(containers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.owner = self.answer()

    def tell(self, *command: Any) -> None:
        """Give it something to do."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """Return the next line it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process has ended"
        return json.loads(line)

    def ask(self, *command: Any) -> Any:
        """Give it something to do and return its answer."""
        self.tell(*command)
        return self.answer()

    def kill(self) -> None:
        """End it with kill -9."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def agent(folder: Folder) -> Iterator[Callable[..., Agent]]:
    """Return a function that starts a process of a run with a cap."""
    agents: list[Agent] = []

    def start(run: str = "a", containers: int = 2) -> Agent:
        agents.append(Agent(folder, run, containers))
        return agents[-1]

    yield start
    for each in agents:
        each.process.kill()
        for stream in (each.process.stdin, each.process.stdout):
            if stream is not None:
                stream.close()
        each.process.wait()


@pytest.fixture
def mine(folder: Folder) -> Iterator[Ledger]:
    """Return a ledger of this process, with a run of its own."""
    ledger = Ledger(folder, "engine", Budget(containers=2, memory_bytes=0))
    ledger.open_run("mine")
    yield ledger
    ledger.close()


def test_hand_off_by_wake_up(agent: Callable[..., Agent]) -> None:
    """A release in one process ends the wait in another, which never polls."""
    holder, waiter = agent("a"), agent("b")
    lease = holder.ask("reserve", 2, 1)
    assert waiter.ask("reserve", 1, 1) == "waiting"
    holder.ask("release", lease)
    assert waiter.answer().startswith(waiter.owner)


def test_high_before_low_between_processes(agent: Callable[..., Agent]) -> None:
    """The later waiter of higher priority is served first."""
    holder, low, high = agent("a", 1), agent("b", 1), agent("c", 1)
    lease = holder.ask("reserve", 1, 1)
    assert low.ask("reserve", 1, 2) == "waiting"
    assert high.ask("reserve", 1, 0) == "waiting"
    holder.ask("release", lease)
    lease = high.answer()
    assert holder.ask("try", 1) is None
    high.ask("release", lease)
    assert low.answer().startswith(low.owner)


def test_cap_holds_across_processes_and_runs(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """Six processes of three runs under a cap of two never hold more than two, and all get their turns."""
    log = tmp_path / "log"
    agents = [agent(run) for run in "aabbcc"]
    for each in agents:
        each.tell("many", 10, str(log))
    for each in agents:
        assert each.answer() is None
    held, most = 0, 0
    for mark in log.read_text():
        held += 1 if mark == "+" else -1
        most = max(most, held)
    assert held == 0
    assert most <= 2
    assert log.stat().st_size == 6 * 10 * 2


def test_third_process_waits_under_a_cap_of_two(agent: Callable[..., Agent]) -> None:
    """Two slots go to two processes; the third one waits until one of them is released."""
    first, second, third = agent("a"), agent("a"), agent("a")
    lease = first.ask("reserve", 1, 1)
    assert second.ask("reserve", 1, 1).startswith(second.owner)
    assert third.ask("reserve", 1, 1) == "waiting"
    first.ask("release", lease)
    assert third.answer().startswith(third.owner)


def test_killed_owners_lease_is_purged(agent: Callable[..., Agent], mine: Ledger) -> None:
    """After kill -9 the room is free as soon as the purge says that the containers are gone."""
    victim = agent()
    lease = victim.ask("reserve", 2, 1)
    child = victim.ask("child")
    try:
        assert purge(mine, lambda _: True) == 0
        victim.kill()
        assert mine.try_reserve(ONE, priority=1, index=0) is None
        asked: list[Lease] = []

        def remove(dead: Lease) -> bool:
            asked.append(dead)
            return True

        assert purge(mine, remove) == 1
        assert [(each.id, each.owner) for each in asked] == [(lease, victim.owner)]
        assert mine.try_reserve(ONE, priority=1, index=0) is not None
    finally:
        os.kill(child, signal.SIGKILL)


def test_killed_controllers_lease_lives_on_in_the_worker(agent: Callable[..., Agent], mine: Ledger) -> None:
    """What a worker has adopted stays when the controller is killed, and goes when the worker is."""
    controller, worker = agent("run"), agent("run")
    lease = controller.ask("try", 2)
    worker.ask("adopt", lease)
    controller.kill()
    assert purge(mine, lambda _: True) == 0
    worker.kill()
    assert purge(mine, lambda _: True) == 1


def test_killed_head_is_passed_over(agent: Callable[..., Agent]) -> None:
    """A waiter that was killed holds nobody up: the release finds out and wakes the next, who never polls."""
    holder, head, second = agent("a"), agent("b"), agent("c")
    lease = holder.ask("reserve", 2, 1)
    assert head.ask("reserve", 2, 0) == "waiting"
    assert second.ask("reserve", 2, 1) == "waiting"
    head.kill()
    holder.ask("release", lease)
    assert second.answer().startswith(second.owner)


def test_stopped_holder_of_the_lock_is_named(agent: Callable[..., Agent], folder: Folder) -> None:
    """Who waits for the ledger's lock says which process holds it, that it is stopped, and gives up."""
    holder = agent()
    reports: list[str] = []
    waiting = Ledger(
        folder,
        "engine",
        Budget(containers=2, memory_bytes=0),
        report=reports.append,
        lock_report_s=0.02,
        lock_limit_s=0.04,
    )
    assert holder.ask("hold") == "held"
    pid = holder.process.pid
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    try:
        with pytest.raises(LedgerError, match=rf"locked by process {pid} \(stopped\) for 0\.04 s or more"):
            waiting.open_run("b")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert reports[0].startswith(f"the ledger is locked by process {pid} (stopped) for 0.02 s or more (")
    holder.tell("go on")
    holder.answer()
    waiting.open_run("b")
    waiting.close()


def test_host_lock_excludes_other_processes(agent: Callable[..., Agent], folder: Folder) -> None:
    """One process at a time holds a lock of a name, and a dead one does not hold it."""
    holder = agent()
    assert holder.ask("host lock") == "held"
    with pytest.raises(filelock.Timeout), filelock.FileLock(folder.host_lock_file("name"), timeout=0):
        pass
    holder.kill()
    with host_lock(folder, "name"):
        pass
