"""Steps through our agent as it is shipped: how they end, are cut off, and are told again."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clnrm_testing.agent import OWN, LocalStream

from pytest_clnrm.engine.api import ExecOutcome, ExecSpec
from pytest_clnrm.engine.kubernetes import frames
from pytest_clnrm.engine.kubernetes.steps import Agent, Steps
from pytest_clnrm.errors import ContainerError, EngineUnavailableError

pytestmark = pytest.mark.skipif(
    OWN is None or sys.platform != "linux", reason="there is no agent for this machine"
)
SOON_S = 20.0


class Here:
    """Steps in a container that is this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "journal"
        self.folder.mkdir()
        self.program = folder / "agent"
        self.program.write_bytes(OWN or b"")
        self.program.chmod(0o755)
        self.environ = {**os.environ, "GREETING": "hello", "KEPT": "yes"}
        self.streams: list[LocalStream] = []
        self.ended: tuple[bool, bool] | None = None
        self.refusals: list[Exception] = []
        self.heard = {"stdout": bytearray(), "stderr": bytearray()}
        self.on_output: Callable[[], None] = lambda: None
        self.steps = Steps(self.open, lambda container: self.ended)

    def open(self, container: str) -> LocalStream:
        if self.refusals:
            raise self.refusals.pop()
        self.streams.append(LocalStream(self.program, self.folder, self.environ))
        return self.streams[-1]

    def run(self, *argv: str, deadline_s: float | None = None, **facts: object) -> ExecOutcome:
        for each in self.heard.values():
            each.clear()

        def hear(stream: str, data: bytes) -> None:
            self.heard[stream].extend(data)
            self.on_output()

        spec = ExecSpec(argv=argv, **facts)  # type: ignore[arg-type]
        return self.steps.run("c", spec, on_output=hear, deadline_s=deadline_s)

    def sh(self, text: str, **facts: object) -> ExecOutcome:
        return self.run("sh", "-c", text, **facts)  # type: ignore[arg-type]

    def cut_first(self) -> None:
        self.streams[0].cut()

    @property
    def out(self) -> str:
        return self.heard["stdout"].decode()

    @property
    def err(self) -> str:
        return self.heard["stderr"].decode()

    def journals(self) -> list[Path]:
        return list(self.folder.iterdir())


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    """Return this machine as a container; the agents that it has started end with the test."""
    here = Here(tmp_path)
    yield here
    here.steps.close()
    for each in here.streams:
        each.end()


def test_streams_apart_and_exit_code(here: Here) -> None:
    """What a command says on each stream, and its own exit code, of steps one after the other in one exec."""
    assert here.sh("echo out; echo err >&2; exit 3") == ExecOutcome(exit_code=3)
    assert (here.out, here.err) == ("out\n", "err\n")
    assert here.sh("printf '\\0\\377x'") == ExecOutcome(exit_code=0)
    assert bytes(here.heard["stdout"]) == b"\0\xffx"
    assert here.sh("kill -9 $$") == ExecOutcome(exit_code=137)
    assert len(here.streams) == 1


def test_journals_go_with_their_steps(here: Here) -> None:
    """What a step has said is kept until we have it, and no longer."""
    for _ in range(3):
        here.sh("echo x")
    here.sh("true")
    deadline_s = time.monotonic() + SOON_S
    while here.journals() and time.monotonic() < deadline_s:
        pass
    assert here.journals() == []


def test_environment_folder_and_input(here: Here, tmp_path: Path) -> None:
    """A step sees the container's variables with its own over them, its folder, and its input to the end."""
    assert here.sh(
        'echo "$GREETING $KEPT $NEW"; pwd; wc -c; readlink /proc/self/fd/0',
        env={"GREETING": "bye", "NEW": "a=b c"},
        workdir=str(tmp_path),
        stdin=b"x" * 300_000,
    ) == ExecOutcome(exit_code=0)
    greeting, folder, count, _ = here.out.splitlines()
    assert (greeting, folder, count) == ("bye yes a=b c", str(tmp_path), "300000")
    # Input that nobody reads holds nothing up, and without any there is none.
    assert here.run("true", stdin=b"x" * 1_000_000) == ExecOutcome(exit_code=0)
    assert here.run("readlink", "/proc/self/fd/0") == ExecOutcome(exit_code=0)
    assert here.out == "/dev/null\n"


@pytest.mark.parametrize(
    ("argv", "facts", "code", "said"),
    [
        (("no-such-program",), {}, 127, "command not found: no-such-program"),
        (("/etc/passwd",), {}, 126, "permission denied: /etc/passwd"),
        (("/no/such",), {}, 127, "command not found: /no/such"),
        (("true",), {"workdir": "/no/such"}, 127, "no such folder in the container: /no/such"),
        (("true",), {"user": "nobody-at-all"}, 126, "the image has no user 'nobody-at-all'"),
    ],
)
def test_what_cannot_be_started(
    here: Here, argv: tuple[str, ...], facts: dict[str, object], code: int, said: str
) -> None:
    """It is told what is missing, and nothing has run."""
    assert here.run(*argv, **facts) == ExecOutcome(exit_code=code, started=False)  # type: ignore[arg-type]
    assert here.err == f"{said}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become others")
def test_users(here: Here) -> None:
    """By name or number, with their groups and home as the container's files have them."""
    for user, seen in (("daemon", "1 1"), ("2", "2 2"), ("daemon:0", "1 0"), ("12345:54321", "12345 54321")):
        assert here.sh('echo "$(id -u) $(id -g)"', user=user) == ExecOutcome(exit_code=0)
        assert here.out == f"{seen}\n"
    here.sh("echo $HOME", user="daemon")
    assert here.out == "/usr/sbin\n"


def test_time_over_ends_all_of_a_step(here: Here) -> None:
    """Also what left its session and ignores signals; what an earlier step has left goes on."""
    assert here.sh("sleep 87654 >/dev/null 2>&1 & echo $!") == ExecOutcome(exit_code=0)
    earlier = int(here.out)
    outcome = here.sh(
        "trap '' TERM HUP; echo $$; setsid sh -c 'echo $$; exec sleep 1000' & sleep 1000",
        deadline_s=time.monotonic() + 0.5,
    )
    assert outcome == ExecOutcome(exit_code=None, timed_out=True)
    assert len(here.out.split()) == 2
    assert not any(Path(f"/proc/{each}").exists() for each in here.out.split())
    os.kill(earlier, signal.SIGKILL)
    assert here.sh("echo next") == ExecOutcome(exit_code=0)


def test_who_stays_behind_may_go_on_talking(here: Here, tmp_path: Path) -> None:
    """A step has ended with its program; what it left behind does not die by writing."""
    mark = tmp_path / "mark"
    assert (
        here.sh(f"(while [ ! -e {mark} ]; do echo noise; done; echo x > {mark}.seen) & echo done").exit_code
        == 0
    )
    mark.touch()
    deadline_s = time.monotonic() + SOON_S
    while not Path(f"{mark}.seen").exists():
        assert time.monotonic() < deadline_s


def test_a_broken_stream_is_no_end(here: Here, tmp_path: Path) -> None:
    """The rest is read from the journal: each byte once, and the exit code that the command has."""
    mark = tmp_path / "mark"
    cut: list[int] = []

    def once() -> None:
        if not cut:
            cut.append(1)
            here.streams[-1].cut()
            mark.touch()

    here.on_output = once
    text = f"echo first; while [ ! -e {mark} ]; do :; done; seq 1 5000; echo err >&2; exit 7"
    assert here.sh(text) == ExecOutcome(exit_code=7)
    assert here.out.splitlines() == ["first", *map(str, range(1, 5001))]
    assert here.err == "err\n"
    assert len(here.streams) == 2


def test_broken_again_and_again(here: Here) -> None:
    """However often it breaks nothing is heard twice, and nothing is missing."""
    heard = 0

    def each_time() -> None:
        nonlocal heard
        heard += 1
        if heard in {2, 5, 9, 14}:
            here.streams[-1].cut()

    here.on_output = each_time
    assert here.sh("for i in $(seq 1 40); do echo $i; sleep 0.01; done; exit 4") == ExecOutcome(exit_code=4)
    assert here.out.splitlines() == [str(each) for each in range(1, 41)]


def test_broken_before_it_began(here: Here) -> None:
    """A step that the agent never heard of is begun once."""
    here.sh("true")
    here.streams[-1].cut()
    assert here.sh("echo once") == ExecOutcome(exit_code=0)
    assert here.out == "once\n"


def test_time_over_after_a_break(here: Here, tmp_path: Path) -> None:
    """A step of an exec that is no more is ended over another one."""
    here.on_output = here.cut_first
    outcome = here.sh("echo $$; exec sleep 1000", deadline_s=time.monotonic() + 0.7)
    assert outcome == ExecOutcome(exit_code=None, timed_out=True)
    assert not Path(f"/proc/{here.out.strip()}").exists()


def test_input_that_did_not_all_come(here: Here) -> None:
    """A program never takes a part of its input for all of it: it is ended, by the cluster's fault."""
    here.on_output = here.cut_first
    with pytest.raises(EngineUnavailableError, match="broke before all of its input was sent"):
        here.sh("echo x; sleep 1; cat", stdin=b"y" * 500_000)


def test_who_notes_it_was_killed(here: Here) -> None:
    """No exit code is made up that would look like success."""
    outcome = here.sh('kill -9 "$PPID"')
    assert outcome == ExecOutcome(exit_code=137)
    here.ended = (True, True)
    assert here.sh('kill -9 "$PPID"') == ExecOutcome(exit_code=None, container_lost=True, oom=True)


def test_container_that_is_gone(here: Here) -> None:
    """It is told, and whether that was for memory."""
    here.sh("true")
    here.streams[-1].cut()
    here.ended = (True, False)
    here.refusals = [ContainerError("gone")]
    assert here.sh("true") == ExecOutcome(exit_code=None, container_lost=True)


def test_cluster_that_does_not_answer(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried for some time, and is then told as no fault of the step; a deadline ends that too."""
    monkeypatch.setattr("pytest_clnrm.engine.kubernetes.steps.RECONNECT_S", 0.3)
    here.refusals = [EngineUnavailableError("the cluster does not answer") for _ in range(9)]
    with pytest.raises(EngineUnavailableError, match="does not answer"):
        here.sh("true")
    here.refusals = [EngineUnavailableError("the cluster does not answer") for _ in range(9)]
    assert here.sh("true", deadline_s=time.monotonic()) == ExecOutcome(exit_code=None, timed_out=True)


def test_much_output_and_much_text(here: Here) -> None:
    """More than a journal keeps passes whole as long as the connection holds; a long command too."""
    assert here.run("head", "-c", "40000000", "/dev/zero") == ExecOutcome(exit_code=0)
    assert len(here.heard["stdout"]) == 40_000_000
    assert here.run("printf", "%s", "x" * 100_000) == ExecOutcome(exit_code=0)
    assert here.out == "x" * 100_000
    with pytest.raises(ContainerError, match=r"arguments and variables are .* bytes, at most 2097152 go"):
        here.run("printf", "x" * 3_000_000)


def test_several_at_once(here: Here) -> None:
    """Each has an exec of its own while it runs."""
    codes: dict[int, int | None] = {}

    def one(code: int) -> None:
        spec = ExecSpec(argv=("sh", "-c", f"sleep 0.2; exit {code}"))
        codes[code] = here.steps.run("c", spec, on_output=lambda *_: None, deadline_s=None).exit_code

    threads = [threading.Thread(target=one, args=(code,)) for code in range(1, 6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(SOON_S)
    assert codes == {code: code for code in range(1, 6)}


def test_an_agent_that_says_nothing(here: Here, tmp_path: Path) -> None:
    """Its own message is told, as of a pod that cannot run it."""
    program = tmp_path / "other"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    here.streams.append(LocalStream(program, here.folder))
    with pytest.raises(OSError, match="the connection has ended"):
        Agent(here.streams[0])


def test_frames_cut_anywhere() -> None:
    """However the bytes come, the frames are the same."""
    data = frames.frame(b"O", b"abc") + frames.frame(b"Z", b"\0" * 16) + frames.frame(b"E")
    for size in range(1, len(data)):
        reader = frames.Reader()
        found = [each for at in range(0, len(data), size) for each in reader.feed(data[at : at + size])]
        assert found == [(frames.OUTPUT, b"abc"), (frames.END, b"\0" * 16), (frames.ERRORS, b"")]
