"""What is read of processes, whatever they call themselves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_clnrm.engine.docker.observed_processes import (
    Process,
    facts_of,
    kill_at_rest,
    name_of,
    stat_fields,
    status_fields,
    wait_for_rest,
)
from pytest_clnrm.errors import ContainerError

NAMES = st.binary(max_size=15).map(lambda name: name.replace(b"\0", b"x"))
FIELDS = b"S 1 7 7 0 -1 4194560 1100 0 0 0 2 0 0 0 20 5 1 0 157551"


@given(NAMES)
@example(b") \x0c31310 (sh")
@example(b"a\nb")
@example(b") S 0 (")
@example(b"")
def test_a_name_may_be_anything(name: bytes) -> None:
    """It is found whole in stat, and what is behind it is never taken from it."""
    line = b"7 (" + name + b") " + FIELDS + b"\n"
    assert name_of(line) == name
    assert stat_fields(line) == FIELDS.split()


@given(NAMES)
@example(b"\nUid:\t0")
@example(b"\x0cPid: 1")
@example(b"\r\x85Pid: 1")
def test_a_name_is_one_line_of_a_status(name: bytes) -> None:
    """The kernel writes its newlines and backslashes as two letters each; nothing else ends a line."""
    written = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    status = b"Name:\t" + written + b"\nUmask:\t0022\nPid:\t7\n"
    fields = status_fields(status)
    assert list(fields) == [b"Name", b"Umask", b"Pid"]
    assert fields[b"Pid"] == b"7"


@pytest.fixture
def sleeper() -> Iterator[Process]:
    """Return a process of this machine that waits for its input."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    yield Process(process.pid, process.pid, "cat")
    process.kill()
    process.communicate()


def test_what_is_told_of_a_process(sleeper: Process) -> None:
    """It is the same each time, and what another one changes of it is seen."""
    wait_for_rest(sleeper, reads=True)
    before = dict(facts_of(sleeper, is_new=False))
    assert dict(facts_of(sleeper, is_new=False)) == before
    assert {"Umask", "SigIgn", "limits", "coredump_filter", "processors", "scheduling", "code"} <= {*before}
    assert before["state"] == "S"
    assert re.search(r"r-xp /\S+ 0 kB written", before["code"])
    os.sched_setscheduler(sleeper.pid, os.SCHED_BATCH, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, sleeper.pid, 5)
    Path(f"/proc/{sleeper.pid}/oom_score_adj").write_text("500")
    after = dict(facts_of(sleeper, is_new=False))
    changed = {name for name, value in after.items() if before[name] != value}
    assert changed == {"policy", "nice", "oom_score_adj", "scheduling"}


def test_written_code_is_seen() -> None:
    """A page of a program's code that was written to is no longer the file's."""
    program = (
        "import ctypes, mmap, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "at = ctypes.cast(libc.abs, ctypes.c_void_p).value & ~4095\n"
        "assert libc.mprotect(ctypes.c_void_p(at), 4096, 7) == 0\n"
        "if sys.argv[1:]:\n    ctypes.memmove(at, ctypes.string_at(at, 1), 1)\n"
        "assert libc.mprotect(ctypes.c_void_p(at), 4096, 5) == 0\n"
        "print(flush=True)\nsys.stdin.read()\n"
    )
    told = []
    for arguments in ([], ["write"]):
        with subprocess.Popen(
            [sys.executable, "-c", program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            told.append(dict(facts_of(Process(process.pid, 1, "python"), is_new=False))["code"])
            process.kill()
    unwritten, written = (re.findall(r"(\d+) kB written", each) for each in told)
    assert sum(map(int, unwritten)) == 0
    assert sum(map(int, written)) == 4


class Pair:
    """A parent, and its child that reads the same input."""

    def __init__(self, script: str) -> None:
        self.process = subprocess.Popen(
            ["sh", "-c", f"sh -c {script!r}; echo $?; :"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self.parent = Process(self.process.pid, 1, "sh")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while not (found := children.read_text().split()):
            assert self.process.poll() is None
        self.child = Process(int(found[0]), 7, "sh")

    def end(self) -> bytes:
        """Return what the parent says of its child."""
        said, _ = self.process.communicate()
        return said


def test_a_shell_at_rest_is_killed() -> None:
    """Its parent goes on."""
    pair = Pair("read line; :")
    kill_at_rest(pair.child, pair.parent)
    assert pair.end() == b"137\n"


def test_what_is_in_the_shells_input_is_left() -> None:
    """A shell that does not read it, or waits for something else, is no clean one."""
    pair = Pair("sleep 1000 </dev/null; :")
    with pytest.raises(ContainerError, match="left behind: process sh, pid 7, which does not wait"):
        kill_at_rest(pair.child, pair.parent)
    assert pair.process.stdin is not None
    pair.process.stdin.write(b"commands\n")
    subprocess.run(["pkill", "-KILL", "-P", str(pair.child.pid)], check=True)
    pair.end()


def test_a_shell_that_is_another_processes(sleeper: Process) -> None:
    """Only what the container's first process has started is killed."""
    with pytest.raises(ContainerError, match="its shell has ended"):
        kill_at_rest(sleeper, Process(1, 1, "init"))
