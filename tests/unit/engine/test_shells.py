"""Lending shells, against a client whose execs answer by the book."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from pytest_clnrm.engine.api import ExecOutcome, ExecSpec
from pytest_clnrm.engine.exec import shell as shell_module
from pytest_clnrm.engine.exec.execs import Execs
from pytest_clnrm.engine.exec.shell_marks import Marks
from pytest_clnrm.engine.exec.shell_script import AGAIN
from pytest_clnrm.engine.exec.shells import Shells
from pytest_clnrm.engine.exec.waiting import ENDS_CONTAINER
from pytest_clnrm.errors import ContainerError

MARKS = Marks("b" * 32, "e" * 32)
BEGIN, END = b"\x1d" + MARKS.begin.encode() + b"\n", b"\x1e" + MARKS.end.encode()
FACTS = (
    b"/\n\0/bin/setsid\0/bin/env\x000\x000\x001\x007\0PATH=/bin\0"
    b"cat\0/proc/7/environ\0/proc/self/cmdline\0/proc/self/environ\0PATH=/bin\0"
)


def frame(stream: int, payload: bytes) -> bytes:
    """Return one frame."""
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def between(output: bytes, numbers: bytes = b"0 0 0") -> bytes:
    """Return what a shell sends: *output* between the marks."""
    return frame(1, BEGIN + output + END + b" " + numbers + b"\n") + frame(2, BEGIN + END + b"\n")


@dataclass
class Client:
    """Each exec answers with what ``says`` is at its start, and ends if ``ends``."""

    says: bytes = between(FACTS)
    ends: bool = False
    error: Exception | None = None
    theirs: list[socket.socket] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    base_url: str = "http+docker://localhost"
    api_version: str = "1.41"
    timeout: float = 60.0

    def exec_create(self, container: str, argv: list[str], **_: Any) -> dict[str, str]:
        self.asked.append(f"{container} {argv[0]}")
        if self.error is not None:
            raise self.error
        return {"Id": "1"}

    def exec_start(self, exec_id: str, socket: bool) -> Any:  # noqa: FBT001 -- docker-py's own
        return self.connect()

    def connect(self) -> Any:
        """Return what docker-py would return."""
        ours, theirs = socket.socketpair()
        theirs.sendall(self.says)
        if self.ends:
            theirs.close()
        else:
            self.theirs.append(theirs)
        reader: Any = ours.makefile("rb")
        raw = reader.raw
        raw._response = SimpleNamespace(
            raw=SimpleNamespace(_fp=SimpleNamespace(fp=reader)), close=reader.close
        )
        return raw

    def post(self, url: str, **_: Any) -> Any:
        self.asked.append(" ".join(url.split("/")[-2:]))
        return SimpleNamespace(raise_for_status=lambda: None)

    def _get_raw_response_socket(self, answer: Any) -> Any:
        return self.connect()

    def exec_inspect(self, exec_id: str) -> dict[str, Any]:
        return {"Running": False, "ExitCode": 0, "Pid": 1}


@pytest.fixture(autouse=True)
def _marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the marks known to the client."""
    monkeypatch.setattr(shell_module, "Marks", lambda: MARKS)


@pytest.fixture
def client() -> Iterator[Client]:
    """Return a client; its ends of the connections are closed afterwards."""
    client = Client()
    yield client
    for each in client.theirs:
        each.close()


@pytest.fixture
def shells(client: Client) -> Iterator[Shells]:
    """Return the shells of its containers."""
    shells = Shells(client)  # type: ignore[arg-type]
    yield shells
    shells.close()


def test_a_shell_is_lent_to_one_at_a_time(client: Client, shells: Shells) -> None:
    """Who comes second has none; other users and containers have their own."""
    shell = shells.take("c", None, None)
    assert shell is not None
    assert shells.take("c", None, None) is None
    other = shells.take("c", "nobody", None)
    assert other is not None
    shells.give_back("c", "nobody", other)
    assert ("c", None) not in shells._idle
    shells.give_back("c", None, shell)
    assert shells._idle[("c", None)] is shell
    assert shells.take("c", None, None) is shell
    shells.give_back("c", None, shell)
    assert client.asked == ["c sh", "c sh"]


def test_a_shell_that_is_not_usable_is_not_lent_again(client: Client, shells: Shells) -> None:
    """Another one is opened, unless none has ever worked in the container."""
    for worked in (True, False):
        shell = shells.take("c", None, None)
        assert shell is not None
        shell.usable, shell.worked = False, worked
        shells.give_back("c", None, shell)
    assert shells.take("c", None, None) is None
    assert client.asked == ["c sh"] * 2


def test_a_container_that_is_removed_while_its_shell_is_lent(client: Client, shells: Shells) -> None:
    """The shell is closed when it comes back."""
    shell = shells.take("c", None, None)
    assert shell is not None
    shells.forget("c")
    shells.give_back("c", None, shell)
    assert not shell.usable
    assert ("c", None) not in shells._idle
    client.theirs[0].settimeout(5)
    while client.theirs[0].recv(65536):
        pass


MISSING = frame(1, b'OCI runtime exec failed: exec: "sh": executable file not found in $PATH: unknown\r\n')
NO_SETSID = between(FACTS.replace(b"/bin/setsid", b""))
NO_KILLS = between(FACTS.replace(b"0\x001\x007\0P", b"\x001\x007\0P"))
NO_STREAMS = between(FACTS.replace(b"1\x007\0P", b"0\x007\0P"))


@pytest.mark.parametrize(
    ("says", "asked"),
    [
        (MISSING, ["one sh"]),
        (NO_SETSID, ["one sh"]),
        (NO_KILLS, ["one sh", "two sh"]),
        (NO_STREAMS, ["one sh", "two sh"]),
        (between(b"nonsense"), ["one sh", "two sh"]),
        (b"", ["one sh", "two sh"]),
    ],
    ids=["no shell", "no setsid", "no counter", "no own streams", "no answer", "nothing"],
)
def test_what_cannot_have_a_shell_is_asked_once(
    client: Client, shells: Shells, says: bytes, asked: list[str]
) -> None:
    """An image that lacks a program once for all its containers, else each container once."""
    client.says, client.ends = says, True
    shells.register_container("one", "image")
    shells.register_container("two", "image")
    for container in ("one", "one", "two", "two"):
        assert shells.take(container, None, None) is None
    assert client.asked == asked


def test_a_shell_that_does_not_answer_is_given_up(
    client: Client, shells: Shells, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is none, or none of our kind."""
    monkeypatch.setattr(shell_module, "_OPEN_S", 0.01)
    client.says = b""
    assert shells.take("c", None, None) is None
    assert shells.take("c", None, None) is None
    assert client.asked == ["c sh"]


def test_a_step_that_removes_a_program_says_nothing_of_the_image(client: Client, shells: Shells) -> None:
    """Only a container's first shell tells of its image."""
    shells.register_container("one", "image")
    shell = shells.take("one", None, None)
    assert shell is not None
    shell.usable, shell.worked = False, True
    shells.give_back("one", None, shell)
    client.says, client.ends = MISSING, True
    assert shells.take("one", None, None) is None
    client.says, client.ends = between(FACTS), False
    shells.register_container("two", "image")
    other = shells.take("two", None, None)
    assert other is not None
    shells.give_back("two", None, other)


def test_a_user_who_is_missing_may_be_made_yet(client: Client, shells: Shells) -> None:
    """It is tried again, as it is when time ran out."""
    client.says, client.ends = frame(1, b"unable to find user bob: no matching entries\r\n"), True
    assert shells.take("c", "bob", None) is None
    client.says, client.ends = b"", False
    assert shells.take("c", None, 0.0) is None
    client.says = between(FACTS)
    for user in ("bob", None):
        shell = shells.take("c", user, None)
        assert shell is not None
        shells.give_back("c", user, shell)


@pytest.mark.parametrize("error", [docker.errors.NotFound("No such container: c"), ConnectionError("gone")])
def test_an_opening_that_fails_lends_nothing(client: Client, shells: Shells, error: Exception) -> None:
    """The next one may open a shell; what the engine's absence raises passes."""
    client.error = error
    if isinstance(error, ConnectionError):
        with pytest.raises(Exception, match="gone"):
            shells.take("c", None, None)
    else:
        assert shells.take("c", None, None) is None
    client.error = None
    shell = shells.take("c", None, None)
    assert shell is not None
    shells.give_back("c", None, shell)


def test_a_thousand_containers_leave_nothing_open(client: Client, shells: Shells) -> None:
    """Neither files nor threads."""

    def count() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208 -- no pathlib needed

    before = count()
    for number in range(1000):
        container = f"c{number}"
        shells.register_container(container, "image")
        shell = shells.take(container, None, None)
        assert shell is not None
        shells.give_back(container, None, shell)
        shells.forget(container)
        client.theirs.pop().close()
    files, threads = count()
    # Those of earlier tests may have ended meanwhile.
    assert files <= before[0]
    assert threads <= before[1]
    assert [*shells._idle, *shells._lent, *shells._images, *shells._without] == []


def run(execs: Execs, **spec: Any) -> tuple[ExecOutcome, bytes]:
    """Run a command; return its outcome and output."""
    printed = bytearray()
    outcome = execs.run(
        "c",
        ExecSpec(argv=("sh",), **spec),
        on_output=lambda _, piece: printed.extend(piece),
        deadline_s=None,
    )
    return outcome, bytes(printed)


def test_a_shell_that_breaks_before_its_step_begins(client: Client) -> None:
    """The step has an exec of its own."""
    execs = Execs(client, is_podman=False)  # type: ignore[arg-type]
    shell = execs.shells.take("c", None, None)
    assert shell is not None
    execs.shells.give_back("c", None, shell)
    client.theirs.pop().close()
    client.says, client.ends = frame(1, b"alone"), True
    assert run(execs) == (ExecOutcome(exit_code=0), b"alone")
    execs.close()


def test_junk_before_a_step_is_not_its_output(client: Client) -> None:
    """Nor is what comes behind its end, after which the shell is given up."""
    execs = Execs(client, is_podman=False)  # type: ignore[arg-type]
    shell = execs.shells.take("c", None, None)
    assert shell is not None
    execs.shells.give_back("c", None, shell)
    client.theirs[0].sendall(frame(2, b"late") + between(b"own", b"3 0 0"))
    assert run(execs) == (ExecOutcome(exit_code=3), b"own")
    assert execs.shells._idle[("c", None)] is shell
    client.theirs[0].sendall(between(b"own") + frame(1, b"more"))
    assert run(execs) == (ExecOutcome(exit_code=0), b"own")
    assert execs.shells._idle == {}
    execs.close()


NO_LOADER = b"env: can't execute 'prog': No such file or directory\n"


@pytest.mark.parametrize(
    ("stdout", "stderr", "code", "alone"),
    [
        (b"", NO_LOADER, 127, True),
        (b"", NO_LOADER, 126, True),
        (b"", NO_LOADER, 1, False),
        (b"out", NO_LOADER, 127, False),
        (b"", NO_LOADER * 2, 127, False),
        (b"", b"env: can't execute 'other': No such file or directory\n", 127, False),
        (b"", b"env: prog " + b"x" * 10_000, 127, False),
        (b"", b"en", 127, False),
    ],
)
def test_a_program_that_the_kernel_refuses(
    client: Client, stdout: bytes, stderr: bytes, code: int, *, alone: bool
) -> None:
    """An exec tells why; what a program itself says like that is its own."""
    execs = Execs(client, is_podman=False)  # type: ignore[arg-type]
    shell = execs.shells.take("c", None, None)
    assert shell is not None
    execs.shells.give_back("c", None, shell)
    client.theirs[0].sendall(
        frame(1, BEGIN)
        + frame(2, BEGIN + stderr + END + b"\n")
        + frame(1, stdout + END + f" {code} 0 0\n".encode())
    )
    client.says, client.ends = frame(1, b"alone"), True
    printed = {"stdout": b"", "stderr": b""}

    def take(stream: str, piece: bytes) -> None:
        printed[stream] += piece

    outcome = execs.run("c", ExecSpec(argv=("prog",)), on_output=take, deadline_s=None)
    said = {"stdout": b"alone", "stderr": b""} if alone else {"stdout": stdout, "stderr": stderr}
    assert printed == said
    assert outcome == ExecOutcome(exit_code=0 if alone else code)
    execs.close()


END_MARK = "d" * 32


def started(shells: Shells, container: str = "c") -> bool:
    """Start a container whose main process is a shell."""
    shells.expect_main_shell(container, END_MARK)
    return shells.start(container, lambda: None, None)


def test_a_main_process_is_a_shell_for_all_but_other_users(client: Client, shells: Shells) -> None:
    """It is there before the first command, and ends its container when that is removed."""
    assert started(shells)
    assert shells.state_of_main_shell("c") == "runs"
    shell = shells.take("c", None, None)
    assert shell is not None
    assert shell.is_main
    assert shells.state_of_main_shell("c") == "ended", "of one that is not at rest nothing can be told"
    other = shells.take("c", "nobody", None)
    assert other is not None
    assert not other.is_main
    shells.give_back("c", "nobody", other)
    shells.give_back("c", None, shell)
    assert client.asked == ["c attach", "c sh"]
    client.theirs[0].shutdown(socket.SHUT_WR)
    shells.forget("c")
    said = b""
    while data := client.theirs[0].recv(65536):
        said += data
    assert said.endswith(f"exit {ENDS_CONTAINER}\n".encode())
    assert shells.state_of_main_shell("c") is None


def said_to(theirs: socket.socket) -> bytes:
    """Return all that was said to a shell until its connection was given up."""
    said = b""
    while data := theirs.recv(65536):
        said += data
    return said


def test_another_process_goes_on_with_a_main_process(client: Client, shells: Shells) -> None:
    """Its shell is not told to end, and is replaced by who takes it up."""
    assert started(shells)
    told = json.loads(json.dumps(shells.let_go("c")))
    assert not said_to(client.theirs[0]).endswith(b"exit 0\n")
    assert shells.state_of_main_shell("c") == "ended"
    with pytest.raises(ContainerError, match="its shell has ended"):
        shells.let_go("c")
    others = Shells(client)  # type: ignore[arg-type]
    others.take_up("c", told)
    assert others.state_of_main_shell("c") == "runs"
    shell = others.take("c", None, None)
    assert shell is not None
    assert shell.is_main
    assert (shell.facts.setsid, shell.facts.environment) == ("/bin/setsid", {"PATH": "/bin"})
    others.give_back("c", None, shell)
    others.close()
    assert said_to(client.theirs[1]).endswith(b"exit 0\n"), "nobody goes on with it now"


def test_a_container_without_a_shell_of_ours_is_let_go(shells: Shells) -> None:
    """Its commands have execs, for any process."""
    assert shells.let_go("c") == {}
    shells.take_up("c", {})
    assert shells.state_of_main_shell("c") is None
    with pytest.raises(ContainerError, match="not told which shell"):
        shells.take_up("c", {"end_mark": END_MARK, "facts": {"other": 1}})


def test_commands_of_others_are_no_reason_to_wait(client: Client, shells: Shells) -> None:
    """What they started is not what a step has left."""
    assert started(shells)
    assert started(shells, "d")
    seen = []
    for user in (None, "nobody", None):
        shell = shells.take("c", user, None)
        assert shell is not None
        seen.append(shell.disturbed)
        shells.give_back("c", user, shell)
    assert seen == [False, False, True]
    shell = shells.take("d", None, None)
    assert shell is not None
    assert not shell.disturbed
    shells.give_back("d", None, shell)
    client.theirs[0].recv(65536)
    execs = Execs(client, is_podman=False)  # type: ignore[arg-type]
    execs.shells = shells
    for text in (AGAIN + b"{", b"{"):
        client.theirs[0].sendall(between(b"own"))
        assert run(execs)[1] == b"own"
        assert client.theirs[0].recv(65536).startswith(text)


def test_a_start_that_fails_leaves_no_connection(client: Client, shells: Shells) -> None:
    """Its error passes."""

    def start() -> None:
        raise OSError("port taken")

    shells.expect_main_shell("c", END_MARK)
    with pytest.raises(OSError, match="port taken"):
        shells.start("c", start, None)
    client.theirs[0].settimeout(5)
    assert client.theirs[0].recv(1) == b""


@pytest.mark.parametrize(
    ("says", "ends", "runs", "asked"),
    [
        (frame(2, b"[FATAL tini (7)] exec sh failed: No such file or directory\n"), True, False, []),
        (b"", True, False, []),
        (frame(2, b"sh: setsid: not found\n") + frame(1, f"\x1c{END_MARK} 127\n".encode()), False, True, []),
        (frame(1, f"\x1c{END_MARK} 2\n".encode()), False, True, ["other sh"]),
        (NO_SETSID, False, True, []),
    ],
    ids=["no shell", "ended", "no setsid", "broken", "no programs"],
)
def test_a_main_process_that_is_no_shell(
    client: Client, shells: Shells, says: bytes, *, ends: bool, runs: bool, asked: list[str]
) -> None:
    """If it has ended that is told; else its container has execs, and others of the image are not asked."""
    client.says, client.ends = says, ends
    shells.register_container("c", "image")
    assert started(shells) is runs
    if runs:
        assert shells.state_of_main_shell("c") == "ended"
        assert shells.take("c", None, None) is None
        shells.register_container("other", "image")
        client.says = between(FACTS)
        other = shells.take("other", None, None)
        if other is not None:
            shells.give_back("other", None, other)
        assert client.asked[1:] == asked


def test_a_shell_that_is_killed_tells_how(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command is told as killed with it; what it said is kept, in whatever order it comes."""
    monkeypatch.setattr("pytest_clnrm.engine.exec.execs.watch_ending", lambda *_: (False, False))
    execs = Execs(client, is_podman=False)  # type: ignore[arg-type]
    execs.register_container("c", "image", END_MARK)
    assert execs.shells.start("c", lambda: None, None)
    client.theirs[0].sendall(
        frame(1, BEGIN + b"hi\n")
        + frame(2, BEGIN)
        + frame(1, f"\x1c{END_MARK} 143\n".encode())
        + frame(2, b"killed\n")
    )
    client.says, client.ends = b"", True
    assert run(execs) == (ExecOutcome(exit_code=143), b"hi\nkilled\n")
    assert execs.shells.state_of_main_shell("c") == "ended"
    execs.close()


def test_what_it_says_beside_commands_is_noticed(client: Client) -> None:
    """A container at rest in which something was printed is not what it was."""
    execs = Execs(client, is_podman=False)  # type: ignore[arg-type]
    execs.register_container("c", "image", END_MARK)
    assert execs.shells.start("c", lambda: None, None)
    client.theirs[0].sendall(between(b"own"))
    assert run(execs)[1] == b"own"
    assert execs.shells.state_of_main_shell("c") == "runs"
    client.theirs[0].sendall(frame(1, b"late") + between(b"own"))
    assert run(execs)[1] == b"own"
    assert execs.shells.state_of_main_shell("c") == "has printed"
    execs.close()


def test_an_ended_shells_rest_is_not_waited_for_without_end(
    client: Client, shells: Shells, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left behind may go on printing for ever."""
    monkeypatch.setattr(shell_module, "_REST_S", 0.05)
    assert started(shells)
    shell = shells.take("c", None, None)
    assert shell is not None
    client.theirs[0].sendall(frame(1, f"\x1c{END_MARK} 137\n".encode()))
    done = threading.Event()

    def flood() -> None:
        for _ in range(3000):
            client.theirs[0].sendall(frame(1, b"y\n" * 100))
            if done.wait(0.01):
                return
        client.theirs[0].close()

    thread = threading.Thread(target=flood)
    thread.start()
    while shell.receive(None):
        pass
    assert thread.is_alive()
    done.set()
    thread.join()
    shells.give_back("c", None, shell)


def test_a_deadline_holds_where_output_comes_faster_than_it_is_taken(client: Client) -> None:
    """As it does in an exec of its own."""
    execs = Execs(client, is_podman=False)  # type: ignore[arg-type]
    shell = execs.shells.take("c", None, None)
    assert shell is not None
    client.theirs[0].sendall(frame(1, BEGIN + b"y" * 10) + frame(1, b"y" * 10) + frame(1, b"y" * 10))
    taken: list[bytes] = []
    run = shell.begin(ExecSpec(argv=("sh",)), ("M", "1"), lambda _, piece: taken.append(piece))
    assert run is not None
    assert not run.pump(time.monotonic() - 1)
    assert b"".join(taken).strip(b"y") == b""
    execs.shells.give_back("c", None, shell)
    execs.close()


def test_a_shell_that_was_too_old_for_its_first_step_is_followed_by_another(client: Client) -> None:
    """As users may have been made in between."""
    execs = Execs(client, is_podman=False)  # type: ignore[arg-type]
    execs.register_container("c", "image", END_MARK)
    assert execs.shells.start("c", lambda: None, None)
    client.theirs[0].sendall(frame(1, END + b" 2 0 0\n") + frame(2, END + b"\n"))
    client.says, client.ends = frame(1, b"alone"), True
    assert run(execs) == (ExecOutcome(exit_code=0), b"alone")
    client.says, client.ends = between(FACTS), False
    shell = execs.shells.take("c", None, None)
    assert shell is not None
    assert not shell.is_main
    execs.shells.give_back("c", None, shell)
    execs.close()


def test_a_shell_that_is_replaced(client: Client, shells: Shells) -> None:
    """Shells of execs end; that of the main process is killed, and another one takes its place."""
    assert started(shells)
    main, other = shells.take("c", None, None), shells.take("c", "nobody", None)
    assert main is not None
    assert other is not None
    shells.give_back("c", None, main)
    shells.give_back("c", "nobody", other)
    # The shell of the exec is asked to end, and has.
    client.theirs[1].shutdown(socket.SHUT_WR)

    def answer() -> None:
        said = b""
        while f"again {END_MARK}\n".encode() not in said:
            said += client.theirs[0].recv(65536)
        client.theirs[0].sendall(between(b"31"))

    answering = threading.Thread(target=answer)

    def kill() -> None:
        client.theirs[0].sendall(frame(1, f"\x1c{END_MARK} 137\n".encode()))
        answering.start()

    shells.begin_anew("c", kill)
    answering.join()
    assert shells.state_of_main_shell("c") == "runs"
    assert f"exit {ENDS_CONTAINER}\n".encode() in client.theirs[1].recv(65536)
    shell = shells.take("c", None, None)
    assert shell is not None
    assert shell is not main
    assert shell.is_main
    assert shell.facts == replace(main.facts, pid=31)
    shells.give_back("c", None, shell)
    assert client.asked == ["c attach", "c sh"]


@pytest.mark.parametrize(
    "says",
    [b"", frame(1, b"more"), frame(1, f"more\x1c{END_MARK} 137\n".encode()), frame(2, b"more")],
    ids=["nothing", "no end", "more than its end", "on stderr"],
)
def test_a_shell_that_is_not_replaced(client: Client, shells: Shells, says: bytes) -> None:
    """What a killed shell says beside its end is a scenario's: its container is not used again."""
    assert started(shells)

    def kill() -> None:
        client.theirs[0].sendall(says)
        client.theirs[0].shutdown(socket.SHUT_WR)

    with pytest.raises(ContainerError, match="its shell cannot be started again"):
        shells.begin_anew("c", kill)
    assert shells.state_of_main_shell("c") == "ended"


def test_a_shell_that_is_not_killed(shells: Shells) -> None:
    """The reason is told."""
    assert started(shells)

    def kill() -> None:
        raise ContainerError("left behind: something")

    with pytest.raises(ContainerError, match="left behind: something"):
        shells.begin_anew("c", kill)
    assert shells.state_of_main_shell("c") == "ended"
