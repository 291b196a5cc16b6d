"""Execs against a client that answers by the book, where a real engine cannot be made to."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from pytest_clnrm.engine.api import ExecOutcome, ExecSpec
from pytest_clnrm.engine.exec import calls, execs
from pytest_clnrm.engine.exec.execs import Execs
from pytest_clnrm.errors import ContainerError, EngineUnavailableError


@dataclass
class Answer:
    """What one exec does.

    :param output: framed bytes; None leaves the stream open.
    """

    output: bytes | None = b""
    exit_code: int | None = 0
    pid: int = 1
    create: Exception | None = None
    start: Exception | None = None
    inspect: Exception | None = None


class Stream:
    """As much of docker-py's stream as is used."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self._events = iter(events)
        self._response = SimpleNamespace(close=lambda: None)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._events

    def close(self) -> None:
        """Nobody waits."""


@dataclass
class Client:
    """Answers each exec with the next answer."""

    answers: list[Answer]
    history: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)

    def exec_create(self, container: str, argv: list[str], **options: Any) -> dict[str, str]:
        """Return the exec's number."""
        number = len(self.asked)
        self.asked.append({"container": container, "argv": argv, **options})
        if error := self.answers[number].create:
            raise error
        return {"Id": str(number)}

    def exec_start(self, exec_id: str, socket: bool) -> Any:  # noqa: FBT001 -- docker-py's own
        """Return a connection on which the output waits."""
        assert socket
        answer = self.answers[int(exec_id)]
        if answer.start:
            raise answer.start
        return self.connect(answer.output)

    def connect(self, output: bytes | None) -> Any:
        """Return what docker-py would return."""
        ours, theirs = socket.socketpair()
        if output is not None:
            theirs.sendall(output)
            theirs.close()
        else:
            self.sockets.append(theirs)
        reader: Any = ours.makefile("rb")
        raw = reader.raw
        raw._response = SimpleNamespace(
            raw=SimpleNamespace(_fp=SimpleNamespace(fp=reader)), close=reader.close
        )
        return raw

    def exec_inspect(self, exec_id: str) -> dict[str, Any]:
        """Tell how it ended."""
        answer = self.answers[int(exec_id)]
        if answer.inspect:
            raise answer.inspect
        return {"Running": answer.exit_code is None, "ExitCode": answer.exit_code, "Pid": answer.pid}

    def events(self, **_: Any) -> Stream:
        """Tell what happened."""
        return Stream(self.history)


Run = Callable[..., tuple[ExecOutcome, bytes, bytes]]


def frame(stream: int, payload: bytes) -> bytes:
    """Return one frame."""
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def refusal(text: str, status: int = 500) -> docker.errors.APIError:
    """Return what docker-py raises."""
    error = docker.errors.NotFound if status == 404 else docker.errors.APIError
    return error(text, response=SimpleNamespace(status_code=status), explanation=text)  # type: ignore[arg-type]


def run(
    client: Client, *, podman: bool = False, deadline_s: float | None = None, of: Execs | None = None
) -> Any:
    """Run a command; return its outcome and output."""
    pieces: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    def take(stream: str, piece: bytes) -> None:
        pieces[stream] += piece

    subject = of or Execs(client, is_podman=podman, in_shells=False)  # type: ignore[arg-type]
    outcome = subject.run("c", ExecSpec(argv=("x",)), on_output=take, deadline_s=deadline_s)
    return outcome, pieces["stdout"], pieces["stderr"]


def test_the_engines_own_message_goes_to_stderr() -> None:
    """Docker writes it to the command's stdout; without a process it cannot be the command's."""
    text = b'OCI runtime exec failed: exec failed: exec: "x": executable file not found in $PATH: unknown\r\n'
    client = Client([Answer(frame(1, text), exit_code=126, pid=0)])
    assert run(client) == (ExecOutcome(exit_code=127, started=False), b"", b"command not found: x\n")


@pytest.mark.parametrize(
    ("text", "podman", "exit_code"),
    [
        (frame(1, b"OCI runtime exec failed: exec failed: no room\r\n"), False, 128),
        (frame(2, b"Error: runc: exec failed: no room: OCI runtime error\n"), True, 125),
    ],
    ids=["docker", "podman"],
)
def test_engines_have_more_exit_codes_for_what_did_not_start(
    text: bytes, exit_code: int, *, podman: bool
) -> None:
    """It is a shell's in any case; a process of that exit code has nothing to do with the engine."""
    outcome, stdout, stderr = run(Client([Answer(text, exit_code=exit_code, pid=0)]), podman=podman)
    assert (outcome, stdout) == (ExecOutcome(exit_code=126, started=False), b"")
    assert b"no room" in stderr
    said = frame(1, b"no room\r\n")
    outcome, stdout, _ = run(Client([Answer(said, exit_code=exit_code, pid=1)]), podman=podman)
    assert (outcome, stdout) == (ExecOutcome(exit_code=exit_code), b"no room\r\n")


def test_podman_says_it_on_stderr() -> None:
    """It does not tell whether there was a process; its message is known by its form."""
    text = (
        b'Error: runc: exec failed: exec: "x": executable file not found in $PATH: OCI runtime\n',
        b"Error: read unixpacket @->/proc/self/fd/13/attach: read: connection reset by peer\n",
    )
    client = Client([Answer(frame(2, text[0]) + frame(2, text[1]), exit_code=127, pid=0)])
    assert run(client, podman=True) == (
        ExecOutcome(exit_code=127, started=False),
        b"",
        b"command not found: x\n",
    )


@pytest.mark.parametrize("podman", [False, True])
def test_a_command_may_speak_like_an_engine(*, podman: bool) -> None:
    """What it says stays its own, in its order, on its stream."""
    said = frame(2, b"Error: no\n") + frame(1, b"out\r\n") + frame(2, b"Error: OCI\n")
    client = Client([Answer(said, exit_code=127, pid=0 if podman else 1)])
    outcome, stdout, stderr = run(client, podman=podman)
    assert (outcome.exit_code, stdout, stderr) == (127, b"out\r\n", b"Error: no\nError: OCI\n")
    client = Client([Answer(frame(2, b"Error: no\n"), exit_code=127, pid=0 if podman else 1)])
    assert run(client, podman=podman)[1:] == (b"", b"Error: no\n")


def test_a_start_that_never_was_without_a_message() -> None:
    """The exit code is all there is."""
    assert run(Client([Answer(exit_code=126, pid=0)])) == (ExecOutcome(exit_code=126), b"", b"")


def test_a_refused_start_is_told_alike() -> None:
    """Podman answers the start itself with an error, Docker the creation if there is no such user."""
    client = Client([Answer(start=refusal("crun: executable file `x` not found in $PATH: No such file"))])
    assert run(client) == (ExecOutcome(exit_code=127, started=False), b"", b"command not found: x\n")
    client = Client([Answer(start=refusal("permission denied"))])
    assert run(client) == (ExecOutcome(exit_code=126, started=False), b"", b"permission denied\n")
    text = "unable to find user bob: no matching entries in passwd file"
    client = Client([Answer(create=refusal(text, 400))])
    assert run(client) == (ExecOutcome(exit_code=126, started=False), b"", b"the image has no user 'bob'\n")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(create=refusal("No such container: c", 404)),
        Answer(create=refusal("Container c is not running", 409)),
        Answer(
            create=refusal("can only create exec sessions on running containers: container state improper")
        ),
        Answer(start=refusal("No such exec instance", 404)),
        Answer(inspect=refusal("No such exec instance", 404)),
    ],
)
def test_a_container_that_is_gone_is_lost(answer: Answer) -> None:
    """Whenever it is noticed; no exit code is made up."""
    held = frame(1, b"said\r\n")
    if answer.inspect:
        answer.output = held
    outcome, stdout, _ = run(Client([answer]))
    assert outcome == ExecOutcome(exit_code=None, container_lost=True)
    assert stdout == (b"said\r\n" if answer.inspect else b"")


def test_a_refusal_of_another_kind_is_an_error() -> None:
    """It says what was tried."""
    with pytest.raises(ContainerError, match=r"^cannot ask for an exit code: nonsense$"):
        run(Client([Answer(inspect=refusal("nonsense"))]))


def test_a_stream_that_ends_before_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is asked again for a while, then it is an error."""
    monkeypatch.setattr(calls, "_CODE_S", 0.05)
    with pytest.raises(ContainerError, match="closed its stream but says that it runs"):
        run(Client([Answer(exit_code=None)]))


KILL = Answer(exit_code=137)


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([], ExecOutcome(exit_code=137)),
        (["oom", "exec_create: other", "0", "exec_die"], ExecOutcome(exit_code=137)),
        (["0", "oom", "exec_die"], ExecOutcome(exit_code=137, oom=True)),
        (["oom"], ExecOutcome(exit_code=137, oom=True)),
        (["0", "oom", "die", "never read"], ExecOutcome(exit_code=None, oom=True, container_lost=True)),
    ],
)
def test_why_a_command_was_killed_stands_in_the_events(events: list[str], outcome: ExecOutcome) -> None:
    """Those after this exec's creation count; if that is forgotten already, all that are left do."""
    history = [
        {"Action": "exec_create: x", "Actor": {"Attributes": {"execID": "0"}}}
        if each == "0"
        else {"Action": each}
        for each in events
    ]
    assert run(Client([KILL], history))[0] == outcome


def test_without_such_events_the_cgroup_counts() -> None:
    """Podman: what was counted before is not counted again, until the container is another one."""
    count = Answer(frame(1, b"low 0\noom 1\noom_kill 1\n"))
    gone = Answer(create=refusal("No such container: c", 404))
    client = Client([KILL, count, KILL, count, KILL, Answer(exit_code=127), KILL, count, KILL, gone])
    subject = Execs(client, is_podman=True, in_shells=False)  # type: ignore[arg-type]
    assert run(client, of=subject)[0] == ExecOutcome(exit_code=137, oom=True)
    assert run(client, of=subject)[0] == ExecOutcome(exit_code=137)
    assert run(client, of=subject)[0] == ExecOutcome(exit_code=137)
    subject.forget("c")
    assert run(client, of=subject)[0] == ExecOutcome(exit_code=137, oom=True)
    assert run(client, of=subject)[0] == ExecOutcome(exit_code=None, container_lost=True)


@pytest.mark.parametrize(
    ("enders", "still_running", "users"),
    [
        ([Answer(exit_code=0)], False, [""]),
        ([Answer(frame(1, b"12 14\n"), exit_code=3), Answer()], False, ["", "0"]),
        ([Answer(frame(1, b"12\n"), exit_code=3), Answer(frame(1, b"12\n"), exit_code=3)], True, ["", "0"]),
        ([Answer(frame(1, b"sh: what?\n"), exit_code=2)] * 2, True, ["", ""]),
        ([Answer(frame(1, b"OCI runtime exec failed\r\n"), exit_code=126), Answer()], False, ["", ""]),
        ([Answer(start=refusal("executable file not found in $PATH"))], True, [""]),
        ([Answer(create=refusal("Container c is not running", 409))], False, [""]),
    ],
    ids=["ended", "by root", "by nobody", "odd shell", "full", "no shell", "container gone"],
)
def test_ending_processes_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, *, enders: list[Answer], still_running: bool, users: list[str]
) -> None:
    """First as the command's user, then as root in the process sessions found; what may be left is told."""
    monkeypatch.setattr("pytest_clnrm.engine.exec.kill._TRIES", 2)
    monkeypatch.setattr(execs, "_DRAIN_S", 0.01)
    monkeypatch.setattr(execs, "_SLICE_S", 0.01)
    client = Client([Answer(None), *enders])
    outcome = run(client, deadline_s=time.monotonic() - 1)[0]
    assert outcome == ExecOutcome(exit_code=None, timed_out=True, still_running=still_running)
    assert [each["user"] for each in client.asked[1:]] == users
    mark = client.asked[0]["environment"]["CLNRM_EXEC_ID"]
    assert all(each["argv"][4] == f"CLNRM_EXEC_ID={mark}" for each in client.asked[1:])
    assert all("CLNRM_EXEC_ID" not in each["environment"] for each in client.asked[1:])
    if users == ["", "0"]:
        assert client.asked[2]["argv"][5:] in (["12", "14"], ["12"])
    for each in client.sockets:
        each.close()


def test_an_engine_that_goes_away_while_it_ends_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error arrives at the caller, not in a thread."""
    monkeypatch.setattr(execs, "_SLICE_S", 0.01)
    monkeypatch.setattr(execs, "_DRAIN_S", 0.01)
    client = Client([Answer(None), Answer(create=ConnectionError("gone"))])
    with pytest.raises(EngineUnavailableError, match="gone"):
        run(client, deadline_s=time.monotonic() - 1)
    client.sockets[0].close()


def test_what_was_said_until_the_end_is_kept() -> None:
    """Output and end of the stream arrive while the processes are being ended."""
    client = Client([Answer(frame(1, b"last words")), Answer()])
    outcome, stdout, _ = run(client, deadline_s=time.monotonic() - 1)
    assert outcome.timed_out
    assert stdout == b"last words"


def test_an_ender_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcome says that processes may be left."""
    monkeypatch.setattr("pytest_clnrm.engine.exec.kill._END_S", 0.02)
    monkeypatch.setattr(execs, "_SLICE_S", 0.01)
    monkeypatch.setattr(execs, "_DRAIN_S", 0.01)
    client = Client([Answer(None), Answer(None)])
    assert run(client, deadline_s=time.monotonic() - 1)[0].still_running
    for each in client.sockets:
        each.close()
