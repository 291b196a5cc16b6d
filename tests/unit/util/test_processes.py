"""Telling processes from later ones with the same number, and ending them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from pytest_clnrm.util import processes
from pytest_clnrm.util.processes import Process, end, is_alive, is_running, this_process, wait_for_end


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that sleeps for long."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


@pytest.fixture(params=["pidfd", "polling"])
def each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with handles of processes, and as on a kernel that has none."""
    if request.param == "polling":
        monkeypatch.delattr(os, "pidfd_open")


def noted(process: subprocess.Popen[bytes]) -> Process:
    """Return a started process as it is written down."""
    return Process(process.pid, processes._started(process.pid))


def test_this_process_lives() -> None:
    """The process that asks is alive."""
    assert is_alive(this_process())
    assert this_process().pid == os.getpid()


def test_another_process_with_the_number_is_not_it(sleeper: subprocess.Popen[bytes]) -> None:
    """What started at another time is somebody else: it counts as ended, and is never killed."""
    other = Process(sleeper.pid, "1")
    assert not is_alive(other)
    end(other)
    assert sleeper.poll() is None


def test_unknown_start_is_never_ended(sleeper: subprocess.Popen[bytes]) -> None:
    """Where the kernel did not tell when it started, nothing is killed."""
    end(Process(sleeper.pid, ""))
    assert sleeper.poll() is None


def test_zombies_have_ended(sleeper: subprocess.Popen[bytes]) -> None:
    """A process that only waits for its parent does not run."""
    process = noted(sleeper)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(process)


@pytest.mark.usefixtures("each_way")
def test_ending_and_waiting(sleeper: subprocess.Popen[bytes]) -> None:
    """It is killed, its end is seen, and ending it again is no error."""
    process = noted(sleeper)
    assert not wait_for_end(process, time.monotonic())
    end(process)
    assert wait_for_end(process, time.monotonic() + 30)
    assert wait_for_end(process, None)
    assert sleeper.wait() == -signal.SIGKILL
    end(process)


@pytest.mark.usefixtures("each_way")
def test_waiting_is_interrupted(sleeper: subprocess.Popen[bytes]) -> None:
    """A wake-up ends the wait though the process lives."""
    reader, writer = os.pipe()
    os.write(writer, b"!")
    try:
        assert not wait_for_end(noted(sleeper), None, reader)
    finally:
        os.close(reader)
        os.close(writer)


def test_killing_what_has_just_ended(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends between the look and the kill is no error."""
    process = noted(sleeper)
    sleeper.kill()
    sleeper.wait()
    monkeypatch.setattr(processes, "is_alive", lambda _: True)
    end(process)


def test_whether_a_number_is_in_use() -> None:
    """This process runs; one that has ended and waits to be reaped does not."""
    assert is_running(os.getpid())
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        # Waits for its end, and leaves it to be reaped.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not is_running(child.pid)
