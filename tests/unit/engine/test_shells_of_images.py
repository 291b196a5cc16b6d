"""Our shell's commands in the shells of this machine: dash, bash and busybox's."""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from pytest_clnrm.engine.api import ExecSpec
from pytest_clnrm.engine.exec.shell_marks import Marks, Scanner
from pytest_clnrm.engine.exec.shell_script import Facts, common_text, read_facts, setup_text, step_text

Stream = Literal["stdout", "stderr"]
# Of its own processes only, like a container: those of this machine come and go.
APART = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")
SHELLS = {"dash": ("dash",), "bash": ("bash", "--posix"), "busybox": ("busybox", "sh")}


class Shell:
    """A shell with the commands of ours."""

    def __init__(self, argv: tuple[str, ...], environment: dict[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            [*APART, *argv, "-s", "pytest-clnrm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment,
            bufsize=0,
        )
        marks = Marks()
        told, _, _ = self.talk(setup_text(marks).encode(), marks)
        facts = read_facts(told)
        assert facts is not None
        self.facts: Facts = facts
        self.say(common_text(facts))

    def say(self, text: bytes) -> None:
        """Say something that has no answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)

    def talk(self, text: bytes, marks: Marks) -> tuple[bytes, bytes, dict[str, Scanner]]:
        """Say something and return what is between the marks."""
        self.say(text)
        scanners = {"stdout": Scanner(marks), "stderr": Scanner(marks)}
        found = {"stdout": b"", "stderr": b""}
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ, "stdout")  # type: ignore[arg-type]
            selector.register(self.process.stderr, selectors.EVENT_READ, "stderr")  # type: ignore[arg-type]
            while not all(each.ended for each in scanners.values()):
                ready = selector.select(20)
                assert ready, "the shell does not answer"
                for key, _ in ready:
                    data = os.read(key.fd, 65536)
                    assert data, "the shell has ended"
                    found[key.data] += scanners[key.data].feed(data)
        return found["stdout"], found["stderr"], scanners

    def run(self, *argv: str, **spec: object) -> tuple[bytes, bytes, tuple[int, ...], bool]:
        """Run a step; return its output, its numbers, and whether it was started."""
        marks = Marks()
        text = step_text(self.facts, ExecSpec(argv=argv, **spec), marks, ("CLNRM_MARK", "1"))  # type: ignore[arg-type]
        assert text is not None
        stdout, stderr, scanners = self.talk(text, marks)
        return stdout, stderr, scanners["stdout"].numbers, scanners["stdout"].begun

    def close(self) -> int:
        """End it as a closed connection does; return its exit code."""
        self.process.communicate()
        return self.process.returncode


ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "name": "kept",
    "path": "kept",
    "HOME": "/",
    "a.b": "dotted",
    "EMPTY": "",
    "LINES": "one\ntwo ",
}
PLAIN = {"PATH": os.environ["PATH"], "HOME": "/", "SOME_URL": "one\ntwo "}


@pytest.fixture(params=[ENVIRONMENT, PLAIN], ids=["odd", "plain"])
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return what a shell starts with: some of it its own business, or nothing."""
    return dict(request.param)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> Iterator[Shell]:
    """Return each shell of this machine, in an empty folder."""
    argv = SHELLS[request.param]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"not installed: {argv[0]}")
    if subprocess.run([*APART, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a process namespace")
    shell = Shell(argv, environment, tmp_path)
    yield shell
    shell.close()


def test_what_it_tells(shell: Shell, environment: dict[str, str], tmp_path: Path) -> None:
    """The environment is what it was started with, not what the shell makes of it."""
    assert shell.facts.environment == environment
    assert shell.facts.is_exact is (environment == PLAIN)
    assert shell.facts.workdir == str(tmp_path.resolve())
    assert shell.facts.pid == 1
    assert shell.facts.has_programs


ODD = {"PWD": "x", "_": "y", "SHLVL": "", "UID": "7", "a-b": "it's", "NEW": '\n$x `y` \\ "z" é\x81=ÿ'}


@pytest.mark.parametrize("added", [{}, {"NEW_ONE": ODD["NEW"], "EMPTY_ONE": ""}, ODD])
def test_environment_and_arguments(shell: Shell, environment: dict[str, str], added: dict[str, str]) -> None:
    """Both arrive byte by byte, whatever a shell would do to them, and nothing else does."""
    stdout, _, numbers, _ = shell.run("cat", "/proc/self/environ", env=added)
    expected = {**environment, **added, "CLNRM_MARK": "1"}
    assert sorted(stdout.decode().split("\0")[:-1]) == sorted(f"{k}={v}" for k, v in expected.items())
    assert numbers == (0, 0, 0)
    arguments = ("-n", "", "it's", "a\nb\n", "*", "$(id)", "é\x85\x88", "\\")
    stdout, _, _, _ = shell.run("printf", "%s\\0", *arguments)
    assert stdout.decode().split("\0")[:-1] == list(arguments)


@pytest.mark.parametrize("data", [b"", bytes(range(256)) * 4, b"-n %s \\n %%\n", b"x" * 4096])
def test_input(shell: Shell, data: bytes) -> None:
    """It comes through a pipe and ends."""
    assert shell.run("cat", stdin=data)[0] == data
    assert shell.run("true", stdin=data)[2:] == ((0, 0, 0), True)


@pytest.mark.parametrize(
    ("text", "stdout", "stderr", "code"),
    [
        ("echo it's", b"", None, 2),
        ("exit 7", b"", b"", 7),
        ("kill -9 $$", b"", b"", 137),
        ("kill -15 $$", b"", b"", 143),
        ("kill -11 $$", b"", b"", 139),
        ("printf out; printf err >&2", b"out", b"err", 0),
        ("umask 0; cd /; A=1; trap '' 1 2 3", b"", b"", 0),
    ],
)
def test_endings(shell: Shell, text: str, stdout: bytes, stderr: bytes | None, code: int) -> None:
    """The code is the step's, the shell says nothing of its own, and goes on as before."""
    look = ("sh", "-c", "umask; pwd; grep '^S[ih][gd][BICP]' /proc/self/status; ls /proc/$$/fd")
    before = shell.run(*look)
    said = shell.run("sh", "-c", text)
    assert (said[0], said[2], said[3]) == (stdout, (code, 0, 0), True)
    assert stderr is None or said[1] == stderr
    assert shell.run(*look) == before


def test_a_step_is_alone(shell: Shell) -> None:
    """It leads a process session, and has three files."""
    text = "read -r pid _ _ _ group session rest </proc/$$/stat; echo $pid $group $session; ls /proc/$$/fd"
    stdout = shell.run("sh", "-c", text)[0].decode().splitlines()
    assert len(set(stdout[0].split())) == 1
    assert stdout[0].split()[0] != str(shell.facts.pid)
    assert [each for each in stdout[1:] if int(each) < 10] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("argv", "workdir"),
    [
        (("nosuch",), None),
        (("/etc",), None),
        (("/etc/passwd",), None),
        (("true",), "/nosuch"),
        (("./odd",), None),
    ],
)
def test_what_is_not_started(
    shell: Shell, tmp_path: Path, argv: tuple[str, ...], workdir: str | None
) -> None:
    """Nothing is said but that, and the shell goes on."""
    (tmp_path / "odd").write_text("echo no interpreter\n")
    (tmp_path / "odd").chmod(0o755)
    assert shell.run(*argv, workdir=workdir) == (b"", b"", (1, 0, 0), False)
    assert shell.run("echo", "next")[0] == b"next\n"


def test_what_is_left_ends_the_shell(shell: Shell) -> None:
    """A process that may still speak is told, and the shell ends; others are not its business."""
    assert shell.run("sh", "-c", "exec >/dev/null 2>&1; setsid sleep 1 &")[2] == (0, 0, 0)
    stdout, _, numbers, _ = shell.run("sh", "-c", "setsid sleep 1 & echo hi")
    assert (stdout, numbers) == (b"hi\n", (0, 0, 1))
    assert shell.process.wait(20) == 0


SET_FLAGS = """
import fcntl, os, sys
for file in map(int, sys.argv[1:]):
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_NONBLOCK | os.O_APPEND)
"""
GET_FLAGS = "import fcntl; print(*[fcntl.fcntl(file, fcntl.F_GETFL) & 0o6000 for file in (0, 1, 2)])"


@pytest.mark.parametrize("stdin", [None, b"input"])
def test_open_files_are_the_steps_own(shell: Shell, stdin: bytes | None) -> None:
    """What a step sets on its streams is not set for the next one, nor for the shell."""

    def flags() -> list[bytes]:
        (child,) = Path(f"/proc/{shell.process.pid}/task/{shell.process.pid}/children").read_text().split()
        told = [Path(f"/proc/{child}/fdinfo/{file}").read_bytes() for file in (3, 4)]
        return [line for each in told for line in each.split(b"\n") if line.startswith(b"flags:")]

    before = flags()
    python = sys.executable
    stdout, _, numbers, _ = shell.run(python, "-c", SET_FLAGS, "0", "1", "2", stdin=stdin)
    assert (stdout, numbers) == (b"", (0, 0, 0))
    assert flags() == before
    stdout, _, numbers, _ = shell.run(python, "-c", GET_FLAGS, stdin=stdin)
    assert (stdout, numbers) == (b"0 0 0\n", (0, 0, 0))
    # More than the pipe holds, at once: nothing of it is lost.
    stdout, _, _, _ = shell.run(python, "-c", "print('x' * 300000)")
    assert len(stdout) == 300001
