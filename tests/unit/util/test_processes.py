"""Telling processes from later ones with the same number, and ending them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

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
    assert is_alive(this_process(Path("unused")))
    assert this_process(Path("unused")).pid == os.getpid()


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


@pytest.fixture
def no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as on a kernel that neither says when processes start nor has handles of them."""
    monkeypatch.setattr(processes, "_started", lambda _: "")
    monkeypatch.delattr(os, "pidfd_open")


HOLDER = """
import sys
from pathlib import Path
from pytest_clnrm.util import processes
processes._started = lambda _: ""
print(processes.this_process(Path(sys.argv[1])).lock, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that holds its lock file until its input ends."""
    argv = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == bytes(tmp_path / "lock")
        yield process
        process.kill()


@pytest.mark.usefixtures("no_proc")
def test_a_lock_tells_who_lives(holder: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """It is killed, its end is seen, and its number, now perhaps another's, is not killed again."""
    process = Process(holder.pid, "", str(tmp_path / "lock"))
    assert is_alive(process)
    assert is_alive(process)  # looking has freed nothing
    assert not wait_for_end(process, time.monotonic())
    end(process)
    assert wait_for_end(process, None)
    assert holder.wait() == -signal.SIGKILL
    assert not is_alive(process)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as another:
        end(Process(another.pid, "", str(tmp_path / "lock")))
        assert another.poll() is None
        another.kill()


ASKER = """
import fcntl, sys
file = open(sys.argv[1])
fcntl.lockf(file, fcntl.LOCK_SH)
print("asks", flush=True)
sys.stdin.read()
"""


@pytest.mark.usefixtures("no_proc")
def test_who_asks_is_not_the_holder(holder: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Two may ask at once whether a process lives that has ended."""
    holder.communicate()
    argv = [sys.executable, "-c", ASKER, str(tmp_path / "lock")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as asker:
        assert asker.stdout is not None
        assert asker.stdout.readline() == b"asks\n"
        assert not is_alive(Process(holder.pid, "", str(tmp_path / "lock")))
        asker.communicate()


@pytest.mark.usefixtures("no_proc")
def test_this_process_holds_its_lock(tmp_path: Path) -> None:
    """It sees itself without losing its lock, as do its children; let go, it cannot be told any more."""
    lock = tmp_path / "lock"
    process = this_process(lock)
    assert process == Process(os.getpid(), "", str(lock))
    assert is_alive(process)
    assert not is_alive(Process(os.getppid(), "", str(lock)))
    child = os.fork()
    if not child:
        os._exit(0 if is_alive(process) else 1)
    assert os.waitpid(child, 0)[1] == 0
    code = (
        HOLDER.split("print", maxsplit=1)[0]
        + "print(processes.is_alive(processes.Process(int(sys.argv[2]), '', sys.argv[1])))"
    )
    argv = [sys.executable, "-c", code, str(lock), str(os.getpid())]
    assert subprocess.check_output(argv).strip() == b"True"
    processes.let_go(process)
    assert not is_alive(process)
    assert not lock.exists()
    processes.let_go(process)


@pytest.mark.usefixtures("no_proc")
def test_a_lock_file_is_made_new(tmp_path: Path) -> None:
    """A file or link that is there already is not taken: it may be another's."""
    (tmp_path / "lock").symlink_to(tmp_path / "other")
    with pytest.raises(FileExistsError):
        this_process(tmp_path / "lock")
    assert not is_alive(Process(1, "", str(tmp_path / "lock")))


@pytest.mark.usefixtures("no_proc")
def test_without_proc_and_lock(sleeper: subprocess.Popen[bytes]) -> None:
    """A child knows of its parent; whether a number is in use, the kernel still says."""
    assert is_alive(processes.parent_process())
    assert is_running(sleeper.pid)
    assert is_running(1)
    assert not is_running(1 << 30)
    end(Process(sleeper.pid, ""))
    assert sleeper.poll() is None
