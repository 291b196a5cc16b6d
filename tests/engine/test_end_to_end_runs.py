"""Whole runs on a real engine: all three ways of running, options, and what is left behind."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

HELLO = """
[meta]
name = "{name}"

[[step]]
name = "greet"
run = "echo hello from a step"
expect = {{ stdout = {{ equals = "hello from a step" }} }}
"""


@pytest.mark.parametrize("mode", [("-p", "no:xdist"), ("-n", "0"), ("-n", "2")], ids=" ".join)
def test_ten_scenarios_pass_and_leave_nothing(project: EndToEnd, mode: tuple[str, ...]) -> None:
    """Ten scenarios pass whatever way they are run, and no container and no network is left."""
    names = [f"hello{number}" for number in range(10)]
    for name in names:
        project.write(f"{name}.clnrm.toml", HELLO.format(name=name))
    run = project.run(mode=mode)
    assert run.outcomes() == dict.fromkeys(names, "passed"), run.text
    assert run.ret == 0, run.text
    assert project.leftovers(run) == []


def test_collecting_needs_no_engine(project: EndToEnd) -> None:
    """``--collect-only`` lists scenarios where no engine answers; running them says so, in a line each."""
    project.environment["DOCKER_HOST"] = "unix:///nonexistent/engine.sock"
    for name in ("a", "b"):
        project.write(f"{name}.clnrm.toml", HELLO.format(name=name))
    project.write("test_python.py", "def test_python(): pass\n")
    collected = project.run("--collect-only", "-q")
    assert collected.ret == 0, collected.text
    assert f"{project.token}/a.clnrm.toml::a" in collected.text
    run = project.run()
    assert run.outcomes() == {"a": "error", "b": "error"}
    assert "1 passed, 2 errors" in run.text
    assert run.text.count("It was named, so no other engine was tried.") == 1, run.text
    assert "Traceback" not in run.text


def entered(command: str, typed: str) -> str:
    """Return what a terminal shows on which *command* is run and *typed* is typed."""
    master, slave = pty.openpty()
    with subprocess.Popen(["sh", "-c", command], stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        os.write(master, typed.encode())
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while piece := os.read(master, 4096):
                shown += piece
        os.close(master)
    assert process.returncode == 0, shown
    return shown.decode()


def test_kept_containers_can_be_entered_and_removed(project: EndToEnd) -> None:
    """``--clnrm-keep failed`` keeps what a failed scenario ran in, says how to enter it."""
    project.write("good.clnrm.toml", HELLO.format(name="good"))
    project.write("bad.clnrm.toml", '[[step]]\nname = "a"\nrun = "touch /trace; exit 1"\n')
    run = project.run("--clnrm-keep", "failed")
    names = project.leftovers(run)
    try:
        (kept,) = [each.removeprefix("/") for each in names if each.startswith("/")]
        assert f"clnrm: container {kept} is kept, and counts until it is removed\n" in run.text
        enter, remove = (
            next(line.partition(words)[2] for line in run.text.split("\n") if words in line)
            for words in ("clnrm: enter it with: ", "clnrm: remove what is kept with: ")
        )
        assert enter.endswith(f" exec -it {kept} sh")
        if shutil.which(enter.partition(" ")[0]):
            assert "hello 42" in entered(enter, "echo hello $((6 * 7)) $(ls /trace)\nexit\n")
        else:
            look = project.client.exec_create(kept, ["test", "-e", "/trace"])["Id"]
            project.client.exec_start(look)
            assert project.client.exec_inspect(look)["ExitCode"] == 0
        # As it was printed, from wherever.
        subprocess.run(["sh", "-c", remove], check=True, cwd="/")
        names = project.leftovers(run)
        assert names == []
    finally:
        for name in names:
            if name.startswith("/"):
                project.client.remove_container(name, force=True)
            else:
                project.client.remove_network(name)
