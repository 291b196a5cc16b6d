"""A process with limits: what it answers, and how it ends when it takes too much."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_clnrm.util.confined import Confined, ConfinedError, note

HERE = "clnrm_testing.confined_work"


@pytest.fixture(name="work")
def _work() -> Iterator[Confined]:
    confined = Confined(f"{HERE}:work", memory_bytes=256 << 20)
    yield confined
    confined.close()


def ask(confined: Confined, request: bytes, *, cpu_s: float = 0.3, wall_s: float = 20) -> bytes:
    """Send a request with low limits."""
    return confined.call(request, cpu_s=cpu_s, wall_s=wall_s)


def test_it_answers_one_request_after_the_other(work: Confined) -> None:
    """In one process."""
    first = ask(work, b"pid")
    assert first == ask(work, b"pid") != str(os.getpid()).encode()
    assert ask(work, b"echo" + b"x" * 5_000_000) == b"x" * 5_000_000


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (b"loop", "time"),
        (b"one call", "time"),
        (b"memory", "memory"),
        (b"exit", "ended"),
        (b"raise", "ended"),
        (b"large reply", "memory"),
    ],
)
def test_what_takes_too_much_is_ended(
    work: Confined, request_: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it does; the last note is told, and the next request is answered by another process."""
    monkeypatch.setattr("pytest_clnrm.util.confined.MAX_REPLY_BYTES", 1 << 20)
    before = ask(work, b"pid")
    with pytest.raises(ConfinedError) as raised:
        ask(work, request_)
    assert (raised.value.reason, raised.value.note) == (reason, b"doing " + request_)
    assert ask(work, b"pid") != before


def test_imports_are_no_part_of_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine, or without bytecode, they take longer than a piece of work may."""
    slow = "import time\nends = time.process_time() + 0.4\nwhile time.process_time() < ends: pass\n"
    (tmp_path / "needed.py").write_text(slow)
    (tmp_path / "working.py").write_text(f"{slow}def work(request): import needed; return request\n")
    monkeypatch.syspath_prepend(tmp_path)
    confined = Confined("working:work", memory_bytes=256 << 20, imports=("needed",))
    assert ask(confined, b"done") == b"done"
    confined.close()


def test_it_is_ended_at_its_deadline(work: Confined) -> None:
    """A wait costs no CPU time, but ends too."""
    with pytest.raises(ConfinedError, match="time"):
        ask(work, b"sleep", wall_s=0.5)


def test_it_ends_with_the_one_who_asks(tmp_path: Path) -> None:
    """However that one ends: no process is left."""
    code = (
        "import os, sys; from pytest_clnrm.util.confined import Confined\n"
        f"confined = Confined('{HERE}:work', memory_bytes=1 << 28)\n"
        "print(confined.call(b'pid', cpu_s=5, wall_s=20).decode(), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    path = os.pathsep.join(each for each in sys.path if each)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    pid = int(done.stdout)
    # It has read the end of its input by the time that its end is waited for, or will.
    descriptor = None
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    assert poll.poll(20_000)
    os.close(descriptor)


def test_a_note_elsewhere_is_nothing() -> None:
    """In a process that serves nobody."""
    note(b"x")
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 256 << 20
