"""Commands in real containers: the same whether they run in a shell of ours or by an exec of their own."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from clnrm_testing.capabilities import Needs
from clnrm_testing.patience import patient_s

from pytest_clnrm.engine.exec.shell_script import SHELL
from pytest_clnrm.engine.exec.waiting import KEEP_ALIVE, KEEP_SHELL

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.docker.engine import DockerEngine

pytestmark = pytest.mark.engine


@pytest.fixture(params=["main", "shell", "alone"])
def way(request: pytest.FixtureRequest, needs: Needs) -> str:
    """Return each way of running commands."""
    if request.param == "main":
        needs("a shell as main process")
    return str(request.param)


@pytest.fixture
def waiting(way: str) -> tuple[str, ...]:
    """Return the containers' command: our shell itself, or nothing but a process that waits."""
    return KEEP_SHELL if way == "main" else KEEP_ALIVE


@pytest.fixture
def in_shells(way: str) -> bool:
    """Return whether commands run in shells."""
    return way != "alone"


def test_argv_env_workdir_and_user_arrive_as_given(box: Any) -> None:
    """Nothing is joined, split or expanded on the way."""
    ran = box.run("printf", "%s|", "a b", "$HOME", "it's", "", "*")
    assert (ran.exit_code, ran.stdout) == (0, b"a b|$HOME|it's||*|")
    ran = box.shell('echo "$WORD $(pwd) $(id -u)"', env={"WORD": "x=y z"}, workdir="/etc", user="65534")
    assert ran.stdout == b"x=y z /etc 65534\n"


def test_stdout_and_stderr_stay_apart_and_the_exit_code_is_kept(box: Any) -> None:
    """The engine's multiplexed stream is taken apart."""
    ran = box.shell("echo out; echo err >&2; exit 42")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (42, b"out\n", b"err\n")


@pytest.mark.parametrize("data", [b"", b"one line\n", bytes(range(256)) * 3, b"x" * 3_000_000])
def test_stdin_is_sent_and_closed(box: Any, data: bytes) -> None:
    """A command that reads to the end of its input sees all of it, and its end, while its output is read."""
    ran = box.run("cat", stdin=data)
    assert (ran.exit_code, ran.stdout) == (0, data)


def test_input_that_nobody_reads_is_no_error(box: Any) -> None:
    """A command may end, or close its input, before it has read all of it."""
    assert box.run("true", stdin=b"x" * 3_000_000).exit_code == 0


def test_without_input_stdin_is_at_its_end(box: Any) -> None:
    """A command that reads does not wait for ever."""
    assert box.run("cat").exit_code == 0


def test_output_of_100_mb_is_streamed(box: Any) -> None:
    """All bytes arrive in small pieces; what is kept is the receiver's choice."""
    sizes: list[int] = []
    ran = box.run("head", "-c", "100000000", "/dev/zero", on_output=lambda _, piece: sizes.append(len(piece)))
    assert ran.exit_code == 0
    assert sum(sizes) == 100_000_000
    assert max(sizes) <= 65536


@pytest.mark.parametrize("output", [b"", b"x", b"\n", b"x\n\n", bytes(range(256)), b"0123456789abcdef" * 4])
def test_output_is_reproduced_exactly(box: Any, output: bytes) -> None:
    """Whether or not it ends with a line, and whatever bytes it has."""
    ran = box.shell("tee /file | cat; cat /file >&2", stdin=output)
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, output, output)


@pytest.mark.parametrize(
    ("text", "exit_code", "stdout"),
    [
        ("echo it's", 2, b""),
        ("if true; fi", 2, b""),
        ("echo hi # note", 0, b"hi\n"),
        ("echo hi \\", 0, b"hi \\\n"),
        ("true ) ; exit 7; ( true", 2, b""),
        ("cat <<END\nhi\nEND", 0, b"hi\n"),
        ("echo hi; exec false", 1, b"hi\n"),
        ("echo hi; kill -9 $$", 137, b"hi\n"),
        ("echo hi; kill $$", 143, b"hi\n"),
        ("exec 0<&- 1<&- 2<&- 3<&- 4<&-; exit 9", 9, b""),
        ("trap 'exit 3' EXIT; cd /; umask 0; ulimit -n 9; export A=1; set -e; false", 3, b""),
    ],
)
def test_nothing_of_a_command_reaches_the_next(box: Any, text: str, exit_code: int, stdout: bytes) -> None:
    """Odd quoting, syntax and endings stay within their own command."""
    before = box.shell("umask; ulimit -n; env | grep -v CLNRM; pwd").stdout
    ran = box.shell(text)
    assert (ran.exit_code, ran.stdout) == (exit_code, stdout)
    assert box.shell("umask; ulimit -n; env | grep -v CLNRM; pwd").stdout == before


@pytest.mark.parametrize("text", ["kill -9 $PPID; kill -9 $$", "kill $PPID; kill $$"])
def test_a_command_may_kill_what_runs_it(box: Any, text: str) -> None:
    """It is told as killed, and the container takes the next one."""
    ran = box.shell(f"echo hi; {text}")
    assert (ran.exit_code, ran.stdout) == (137 if "-9" in text else 143, b"hi\n")
    assert box.shell("echo next").stdout == b"next\n"


def test_what_is_left_behind_says_nothing_in_the_next_command(box: Any) -> None:
    """A job in the background belongs to the command that started it, as long as the engine listens to it."""
    one = box.shell("(sleep 0.3; echo LATE; sleep 0.4; echo LATER) & echo one")
    assert one.stdout in {b"one\n", b"one\nLATE\nLATER\n"}
    assert box.shell("sleep 1; echo two").stdout == b"two\n"


def test_a_job_in_the_background_runs_on(box: Any) -> None:
    """Neither the end of its command nor that of our shell ends it."""
    for text in ("sleep 1001 &", "sleep 1002 >/dev/null 2>&1 &", "setsid sleep 1003 >/dev/null 2>&1 &"):
        assert box.shell(text).exit_code == 0
    # A job that has just been started may still be the shell that becomes it.
    listed = "until [ \"$(ps -o args | grep -c '^sleep 100[123]$')\" = 3 ]; do sleep 0.05; done"
    assert box.shell(listed).exit_code == 0


def test_output_arrives_while_the_command_runs(box: Any) -> None:
    """The first line is there before the command ends: it is what lets the command end."""
    seen = threading.Event()
    answers: list[int | None] = []

    def answer() -> None:
        assert seen.wait(patient_s(30))
        answers.append(box.run("touch", "/go").exit_code)

    thread = threading.Thread(target=answer)
    thread.start()
    ran = box.shell("echo ready; until [ -e /go ]; do sleep 0.02; done", on_output=lambda *_: seen.set())
    thread.join()
    assert (ran.exit_code, answers) == (0, [0])


def test_a_first_line_that_ends_with_cr_lf_is_the_commands_own(box: Any) -> None:
    """Only a message of the engine is taken for one."""
    assert box.run("printf", "a\\r\\n").stdout == b"a\r\n"
    ran = box.shell("printf 'a\\r\\n'; exit 127")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (127, b"a\r\n", b"")


@pytest.mark.parametrize(
    ("argv", "options", "exit_code", "words"),
    [
        (("nosuch", "-x"), {}, 127, b"command not found: nosuch\n"),
        (("/bin/nosuch",), {}, 127, b"command not found: /bin/nosuch\n"),
        (("/etc",), {}, 126, b"permission denied: /etc is no program\n"),
        (("/etc/passwd",), {}, 126, b"permission denied: /etc/passwd is no program\n"),
        (("cat",), {"env": {"PATH": "/nosuch"}}, 127, b"command not found: cat\n"),
        (("pwd",), {"workdir": "/nosuch"}, 126, b"no such folder in the container: /nosuch\n"),
        (("true",), {"user": "stranger"}, 126, b"the image has no user 'stranger'\n"),
    ],
)
def test_a_command_that_cannot_be_run_says_why(
    box: Any, argv: tuple[str, ...], options: dict[str, str], exit_code: int, words: bytes
) -> None:
    """The exit code is a shell's, the engine's reason stands in stderr in plain words."""
    ran = box.run(*argv, **options)
    assert (ran.exit_code, ran.stdout, ran.stderr) == (exit_code, b"", words)


@pytest.mark.parametrize(
    "text",
    [
        "sleep 100",
        "trap '' TERM INT HUP; echo on; while :; do sleep 1; done",
        "sleep 101 & (setsid sleep 102 &) ; env -i sleep 103 & wait",
        "while :; do (sleep 1 &) ; done",
        "yes",
    ],
    ids=["one", "deaf", "family", "forking", "loud"],
)
@pytest.mark.parametrize("user", [None, "65534"])
def test_at_the_deadline_all_processes_of_the_command_end(box: Any, text: str, user: str | None) -> None:
    """The container keeps running without a process of it, and takes the next command."""
    ran = box.shell(text, within_s=0.3, user=user)
    assert ran.outcome.timed_out
    assert not ran.outcome.still_running
    assert ran.exit_code is None
    # What has been killed is in the list till its parent has taken note.
    left = box.run("ps", "-o", "stat,args").stdout.decode().splitlines()[1:]
    assert [
        each
        for state, each in (line.split(maxsplit=1) for line in left)
        if not state.startswith("Z")
        and each not in {"ps -o stat,args", "sleep 2147483647", " ".join(SHELL)}
        and "init" not in each
        and not each.startswith("sh -c exec 3>&2")
    ] == []


def test_output_from_before_the_deadline_is_kept(box: Any) -> None:
    """What a hanging command said is there to explain it."""
    ran = box.shell("echo before; sleep 100", within_s=patient_s(3))
    assert (ran.outcome.timed_out, ran.stdout) == (True, b"before\n")


def test_a_deadline_ends_only_its_own_command(box: Any) -> None:
    """Another command in the same container goes on."""
    codes: list[int | None] = []
    started = threading.Event()

    def other() -> None:
        text = "echo on; until [ -e /go ]; do sleep 0.02; done; exit 7"
        codes.append(box.shell(text, on_output=lambda *_: started.set()).exit_code)

    thread = threading.Thread(target=other)
    thread.start()
    assert started.wait(patient_s(30))
    assert box.run("sleep", "100", within_s=0.2).outcome.timed_out
    box.run("touch", "/go")
    thread.join()
    assert codes == [7]


def test_without_a_shell_the_outcome_says_that_processes_may_be_left(start: Callable[..., Any]) -> None:
    """The caller then removes the container."""
    box = start()
    box.shell("rm /bin/sh")
    outcome = box.run("sleep", "100", within_s=0.2).outcome
    assert outcome.timed_out
    assert outcome.still_running


def test_a_deadline_that_has_passed_ends_the_command_at_once(box: Any) -> None:
    """It does not get a moment."""
    assert box.run("sleep", "100", within_s=-1).outcome.timed_out


def test_memory_that_runs_out_is_told_from_a_plain_kill(box: Any) -> None:
    """Both end with 137; only one of them was for memory."""
    killed = box.shell("kill -9 $$").outcome
    assert (killed.exit_code, killed.oom, killed.container_lost) == (137, False, False)
    hungry = box.run("tail", "/dev/zero").outcome
    assert (hungry.exit_code, hungry.oom, hungry.container_lost) == (137, True, False)
    killed = box.shell("kill -9 $$").outcome
    assert (killed.exit_code, killed.oom) == (137, False)


@pytest.mark.parametrize("end", ["remove", "kill"])
def test_a_container_that_goes_away_is_said_as_such(
    box: Any, engine: DockerEngine, client: APIClient, end: str
) -> None:
    """The command did not end by itself; its 137 is none."""

    def go(*_: object) -> None:
        engine.remove([box.id]) if end == "remove" else client.kill(box.id)

    outcome = box.shell("echo on; sleep 100", on_output=go).outcome
    assert outcome.container_lost
    assert outcome.exit_code is None
    after = box.run("true").outcome
    assert (after.container_lost, after.exit_code) == (True, None)


def test_ctrl_c_is_not_waited_out(box: Any) -> None:
    """KeyboardInterrupt passes at once, although the command would run for long."""

    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        box.shell("echo on; sleep 1000", within_s=900, on_output=interrupt)


def test_ctrl_c_reaches_a_command_that_says_nothing(box: Any) -> None:
    """The wait for output itself can be interrupted."""
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        while "sleep 999" not in box.run("ps", "-o", "args").stdout.decode():
            time.sleep(0.02)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        box.run("sleep", "999", within_s=900)
    thread.join()


def test_an_error_of_the_receiver_passes(box: Any) -> None:
    """It is not taken for one of the engine, even where it is an OSError."""

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        box.shell("echo on; sleep 1", on_output=fail)


def test_commands_run_side_by_side(box: Any) -> None:
    """Threads share one engine."""
    found: dict[int, bytes] = {}

    def run(number: int) -> None:
        found[number] = box.run("echo", str(number)).stdout

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == {number: f"{number}\n".encode() for number in range(12)}
