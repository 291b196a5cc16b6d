"""Our shells in real containers: used, unseen, and given up when in doubt."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from clnrm_testing.capabilities import Needs
from clnrm_testing.patience import patient_s, patient_until

from pytest_clnrm.engine.docker.engine import DockerEngine
from pytest_clnrm.engine.exec.waiting import KEEP_ALIVE, KEEP_SHELL
from pytest_clnrm.errors import NoShellError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import EngineFacts

pytestmark = pytest.mark.engine


def parent(box: Any, **options: Any) -> int:
    """Return the process id of the parent of a command: our shell, or 0 without one."""
    return int(box.shell("cat >/dev/null; echo $PPID", **options).stdout)


@pytest.fixture(params=[KEEP_SHELL, KEEP_ALIVE], ids=["main", "exec"])
def waiting(request: pytest.FixtureRequest, needs: Needs) -> tuple[str, ...]:
    """Return the containers' command: our shell itself, or a process that waits beside shells."""
    if request.param == KEEP_SHELL:
        needs("a shell as main process")
    return tuple(request.param)


@pytest.fixture
def alone(box: Any, reached: tuple[APIClient, EngineFacts], locks: Any) -> Any:
    """Return the container of ``box``, where each command has an exec of its own."""
    return type(box)(DockerEngine(*reached, locks=locks, in_shells=False), box.id)


def test_commands_share_a_shell(box: Any) -> None:
    """Its shell is their parent, one for each user."""
    first = parent(box)
    assert first > 1
    assert parent(box) == parent(box, stdin=b"x") == first
    assert parent(box, user="65534") not in {0, first}
    assert parent(box) == first


LOOKS = {
    "environment": ("cat", "/proc/self/environ"),
    "arguments": ("cat", "/proc/self/cmdline", "it's", "", "a\nb", "*"),
    "status": ("cat", "/proc/self/status"),
    "limits": ("cat", "/proc/self/limits"),
    "score": ("cat", "/proc/self/oom_score_adj"),
    "group": ("cat", "/proc/self/cgroup"),
    "mounts": ("cat", "/proc/self/mounts"),
    "folder": ("readlink", "/proc/self/cwd"),
    "program": ("readlink", "/proc/self/exe"),
    "files": ("ls", "-l", "/proc/self/fd"),
    "leader": (
        "sh",
        "-c",
        # Its number is that of its group and its process session.
        'read -r pid _ _ _ group session tty _ </proc/$$/stat; echo "$0" $pid/$$/$group/$session/ $tty',
    ),
    "input": ("cat",),
    "masks": ("sh", "-c", "umask; ulimit -a; trap; echo $-"),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "user": {"user": "nobody"},
    "folder": {"workdir": "/etc"},
    "input": {"stdin": b"-n %s %% \\n\\0\0\xff'\n"},
    "variables": {
        "env": {
            "WORD": 'it\'s "$x" `y`\n= \\',
            "a.b": "1",
            "X-Y": "2",
            "É": "ü\x81",
            "EMPTY": "",
            "SHLVL": "7",
            "_": "under",
            "PWD": "/nowhere",
            "UID": "5",
            "IFS": "x",
            "HOME": "/bin",
            "PATH": "/nosuch:/bin",
        }
    },
}
# Numbers of this very process, and moments.
CHANGING = re.compile(
    rb"CLNRM_EXEC_ID=\w+|pipe:\[\d+\]|(?<=sh )(\d+)/\1/\1/\1/|\w+ +\d+ \d\d:\d\d"
    rb"|^(?:Vm\w*|Rss\w*|Tgid|Pid|PPid|NStgid|NSpid|NSpgid|NSsid|SigQ|\w+_ctxt_switches|State):.*$",
    re.MULTILINE,
)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_command_sees_what_it_would_see_in_an_exec_of_its_own(
    box: Any, alone: Any, settings: dict[str, Any]
) -> None:
    """Environment, limits, masks, files, user, terminal, process session: everything but the parent."""
    assert parent(box, **settings) > 1
    assert parent(alone, **settings) == 0

    def look(where: Any, argv: tuple[str, ...]) -> tuple[object, list[bytes], bytes]:
        ran = where.run(*argv, **settings)
        seen = CHANGING.sub(b"", ran.stdout)
        return ran.outcome, sorted(re.split(rb"[\0\n]", seen)), ran.stderr

    # Podman 4.3 says "connection reset by peer" in an exec whose command does not read its input.
    looks = {"input": LOOKS["input"]} if "stdin" in settings and box.engine.facts.kind == "podman" else LOOKS
    for name, argv in looks.items():
        assert look(box, argv) == look(alone, argv), name
    assert parent(box, **settings) > 1


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        (("cat",), {"stdin": b"x" * 300_000}),
        (("echo", "x" * 100_000), {}),
        (("sh", "-c", ":", "\udc80"), {}),
        (("true",), {"env": {"HOME": ""}}),
        (("true",), {"env": {"PATH": "bin:/bin"}}),
        (("nosuch",), {}),
        (("true",), {"workdir": "/nosuch"}),
        (("/script",), {}),
        (("/loaderless",), {}),
        (("a=b",), {}),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_a_shell_does_not_do_an_exec_does(
    box: Any, alone: Any, argv: tuple[str, ...], options: dict[str, Any]
) -> None:
    """The outcome is that of an exec, and the shell goes on."""
    box.shell(
        "echo echo hi >/script; chmod +x /script; printf '#!/nosuch\\n' >/loaderless; chmod +x /loaderless"
    )
    shell = parent(box)
    one, other = box.run(*argv, **options), alone.run(*argv, **options)
    assert (one.outcome, one.stdout, one.stderr) == (other.outcome, other.stdout, other.stderr)
    assert parent(box) == shell


def test_programs_are_found_as_an_exec_finds_them(box: Any, alone: Any) -> None:
    """The path decides, not what the image's shell has built in."""
    box.shell(
        "mkdir /own; printf '#!/bin/sh\\necho own\\n' >/own/ls; chmod +x /own/ls; ln -s /bin/busybox /own/id"
    )
    for argv in (("ls",), ("id", "-u"), ("own/ls",)):
        one = box.run(*argv, env={"PATH": "/own:/bin"}, workdir="/")
        other = alone.run(*argv, env={"PATH": "/own:/bin"}, workdir="/")
        assert (one.outcome, one.stdout, one.stderr) == (other.outcome, other.stdout, other.stderr)


@pytest.mark.parametrize(
    "change",
    ["echo nobody:x:65534:65534::/tmp:/bin/sh >>/etc/passwd", "sed -i 's,::/:,::/tmp:,' /etc/passwd"],
)
@pytest.mark.parametrize("where", ["same", "other"])
def test_changed_accounts_are_seen(box: Any, alone: Any, change: str, where: str) -> None:
    """A user's groups and home are those of now, whoever changed them."""
    box.shell("chmod 666 /etc/passwd /etc/group; chmod 777 /etc")
    assert box.run("id", user="nobody").exit_code == 0
    change = f"{change}; echo staff:x:50:nobody >>/etc/group"
    box.shell(change, user="nobody" if where == "same" else None)
    for _ in range(2):
        ran = box.shell("id; echo $HOME", user="nobody")
        assert ran.stdout == alone.shell("id; echo $HOME", user="nobody").stdout
        assert b"50" in ran.stdout


def test_a_folder_that_comes_and_goes(box: Any, alone: Any) -> None:
    """The folder is the one of that name now, not the one of then."""
    box.shell("mkdir /work")
    assert box.run("pwd", workdir="/work").stdout == b"/work\n"
    box.shell("rmdir /work; mkdir /work; touch /work/new")
    assert box.run("ls", workdir="/work").stdout == b"new\n"
    box.shell("rm -r /work")
    assert box.run("ls", workdir="/work").stderr == alone.run("ls", workdir="/work").stderr


@pytest.mark.parametrize(
    "text",
    [
        "sleep 1001 & echo hi",
        "(setsid sleep 1002 &) ; echo hi",
        "echo hi; kill -9 $PPID",
        "echo hi; kill $PPID",
        "echo hi; echo exit 3 >/proc/$PPID/fd/0",
        "echo hi; echo 'echo junk >&3' >/proc/$PPID/fd/0",
        "echo hi; printf junk >/proc/$PPID/fd/3",
    ],
)
def test_a_shell_is_given_up_when_in_doubt(box: Any, text: str) -> None:
    """The next commands are clean, and run in a shell of their own soon."""
    shell = parent(box)
    assert box.shell(text).stdout.startswith(b"hi\n")
    for _ in range(2):
        ran = box.shell("echo next; echo err >&2; exit 5")
        assert (ran.exit_code, ran.stdout, ran.stderr) == (5, b"next\n", b"err\n")
    assert shell in {0, parent(box)} or "junk" in text or parent(box) > shell


@pytest.mark.parametrize("text", ["kill -9 $PPID", "kill $PPID", "sleep 100"])
def test_nothing_is_said_of_a_shell_that_was_killed(box: Any, text: str) -> None:
    """Shells tell of their children's ends; a step's stderr is the step's."""
    for _ in range(2):
        # What takes long is not cut short while its shell is opened.
        assert box.shell("true").stderr == b""
        ran = box.shell(f"echo err >&2; {text}", within_s=patient_s(1) if "sleep" in text else None)
        assert ran.stderr == b"err\n"
    assert box.shell("true").stderr == b""


def test_a_flood_that_is_left_behind_is_not_waited_for(box: Any) -> None:
    """Neither by the command whose shell has ended, nor by the next one."""
    began_s = time.monotonic()
    assert box.shell("yes & kill -9 $PPID").exit_code == 137
    assert box.shell("killall yes; echo next").stdout == b"next\n"
    assert time.monotonic() - began_s < patient_s(20)


def test_a_shell_goes_on_where_nothing_can_be_said_any_more(box: Any) -> None:
    """A daemon that has closed its output is nobody's problem; nor are other containers' processes."""
    shell = parent(box)
    box.shell("exec >/dev/null 2>&1; setsid sleep 1001 &")
    assert parent(box) == shell


def test_a_stopped_shell_is_ended_at_the_deadline(box: Any) -> None:
    """It neither runs on nor keeps the next command waiting."""
    shell = parent(box)
    assert box.shell("kill -STOP $PPID", within_s=0.5).outcome.timed_out
    assert parent(box) not in {0, shell}
    assert box.shell(f"test -e /proc/{shell}").exit_code == 1


def test_a_command_of_a_broken_connection_is_run_by_another(box: Any, engine: DockerEngine) -> None:
    """A shell that broke while nobody used it costs nothing but time."""
    parent(box)
    shells = engine._execs.shells
    shell = shells._idle[box.id, None]
    sock: Any = shell._connection._socket
    sock.shutdown(socket.SHUT_RDWR)
    ran = box.shell("echo x >>/file; cat /file")
    assert (ran.exit_code, ran.stdout) == (0, b"x\n")
    assert parent(box) > 1


def test_a_shell_that_is_killed_for_memory(box: Any) -> None:
    """Its command is told as out of memory, as it is by an exec."""
    outcome = box.shell("echo 1000 >/proc/$PPID/oom_score_adj; tail /dev/zero").outcome
    assert (outcome.exit_code, outcome.oom) == (137, True)
    outcome = box.shell("kill -9 $$").outcome
    assert (outcome.exit_code, outcome.oom) == (137, False)


def test_memory_that_ran_out_in_a_shell_is_not_told_again(box: Any) -> None:
    """Not of the next command that is killed, whichever way it runs."""
    parent(box)
    assert box.run("tail", "/dev/zero").outcome.oom
    for options in ({}, {}, {"stdin": b"x" * 10_000}):
        outcome = box.shell("kill -9 $$", **options).outcome
        assert (outcome.exit_code, outcome.oom) == (137, False)
    assert box.run("tail", "/dev/zero", stdin=b"x" * 10_000).outcome.oom


def test_shells_end_with_their_connections(box: Any, engine: DockerEngine) -> None:
    """No shell stays in a container whose shells are closed, and it runs on."""
    parent(box)
    parent(box, user="65534")
    engine._execs.close()
    alone = type(box)(
        DockerEngine(engine._client, engine.facts, locks=engine._locks, in_shells=False), box.id
    )
    deadline_s = patient_until(10)
    while b"sh -s pytest-clnrm" in alone.run("ps", "-o", "args").stdout.splitlines():
        assert time.monotonic() < deadline_s


def test_a_busy_shell_keeps_nobody_waiting(box: Any) -> None:
    """A second command at the same time has an exec of its own."""
    parent(box)
    started = threading.Event()
    text = "echo on; until [ -e /go ]; do sleep 0.02; done"
    thread = threading.Thread(target=lambda: box.shell(text, on_output=lambda *_: started.set()))
    thread.start()
    assert started.wait(patient_s(30))
    assert parent(box) == 0
    box.run("touch", "/go")
    thread.join()
    assert parent(box) > 1


@pytest.fixture
def created(client: APIClient, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list of the execs that are created from now on."""
    created: list[object] = []
    create = client.exec_create

    def count(*args: Any, **options: Any) -> Any:
        created.append(args)
        return create(*args, **options)

    monkeypatch.setattr(client, "exec_create", count)
    return created


@pytest.mark.parametrize("missing", ["sh", "setsid", "env", "sh setsid env cat ps ls"])
def test_an_image_that_lacks_something_is_tried_once(
    start: Callable[..., Any],
    image_without: Callable[..., str],
    created: list[object],
    missing: str,
    waiting: tuple[str, ...],
) -> None:
    """Commands run as they would without shells, and other containers of the image are not asked again."""
    asked = int(waiting == KEEP_ALIVE)
    image = image_without(missing.split())
    if not asked and "sh" in missing.split():
        with pytest.raises(NoShellError, match="has no shell to wait for commands in"):
            start(image=image)
        return
    one, other = start(image=image), start(image=image)
    for box, execs in ((one, 1 + asked), (one, 1), (other, 1)):
        created.clear()
        ran = box.run("busybox", "echo", "hi")
        assert (ran.exit_code, ran.stdout) == (0, b"hi\n")
        assert len(created) == execs


def test_a_shell_that_the_user_may_not_run_is_none(
    start: Callable[..., Any], image_without: Callable[..., str], waiting: tuple[str, ...]
) -> None:
    """A container of such an image waits without it."""
    image = image_without(["sh"], {"bin/sh": 0o700})
    try:
        box = start(image=image, user="65534")
    except NoShellError:
        # Others (runc 1.3) start it with rights that it has no more when it is to start another one.
        assert waiting == KEEP_SHELL
        return
    ran = box.run("echo", "hi")
    assert (ran.exit_code, ran.stdout) == (0, b"hi\n")


def test_a_command_in_a_shell_costs_the_engine_nothing(
    box: Any, client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call is made for it."""
    parent(box)
    monkeypatch.setattr(client, "send", lambda *_, **__: pytest.fail("asked the engine"))
    for number in range(100):
        ran = box.run("echo", str(number), env={"NUMBER": str(number)})
        assert (ran.exit_code, ran.stdout) == (0, f"{number}\n".encode())
    monkeypatch.undo()
