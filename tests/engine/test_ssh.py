"""An engine over ssh://, through a real sshd of this test's own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clnrm_testing.left_behind import WITHIN_S, Project
from clnrm_testing.patience import wait_until

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import EngineFacts
    from pytest_clnrm.engine.docker.engine import DockerEngine

pytestmark = pytest.mark.engine

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PidFile none
SetEnv DOCKER_HOST={engine}
"""
# The user's own configuration stays out of it.
SSH = """#!/bin/sh
exec {ssh} -F none -i {folder}/key -o UserKnownHostsFile={folder}/known \\
  -o StrictHostKeyChecking=accept-new "$@"
"""


@dataclass
class Server:
    """A server, and its log."""

    pid: int
    log: Path

    def drop_connections(self) -> None:
        """Kill the processes that serve its connections, without a word to the other side."""
        for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii").split():
            os.kill(int(child), signal.SIGKILL)


def begin(program: str, folder: Path, engine: str) -> tuple[subprocess.Popen[bytes], int] | None:
    """Start a server that listens, and return it with its port; None if somebody else has taken that."""
    log = folder / "log"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder, engine=engine), encoding="utf-8")
    log.touch()
    server = subprocess.Popen([program, "-D", "-f", folder / "config", "-E", log])
    wait_until(lambda: "listening" in log.read_text() or server.poll() is not None, WITHIN_S, "the server")
    if server.poll() is None:
        return server, port
    assert "Address already in use" in log.read_text(), log.read_text()
    return None


@pytest.fixture
def sshd(
    tmp_path: Path, reached: tuple[APIClient, EngineFacts], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """Let DOCKER_HOST lead to the engine through a server."""
    ssh, program, docker = shutil.which("ssh"), shutil.which("sshd", path="/usr/sbin"), shutil.which("docker")
    if os.geteuid() or not (ssh and program and docker):
        pytest.skip("needs root, and ssh, sshd and docker")
    folder = tmp_path / "ssh"
    folder.mkdir()
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "bin").mkdir()
    (folder / "bin/ssh").write_text(SSH.format(ssh=ssh, folder=folder), encoding="utf-8")
    (folder / "bin/ssh").chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    Path("/run/sshd").mkdir(exist_ok=True)
    began = None
    while began is None:
        began = begin(program, folder, reached[1].url)
    with began[0] as server:
        monkeypatch.setenv("DOCKER_HOST", f"ssh://root@127.0.0.1:{began[1]}")
        yield Server(server.pid, folder / "log")
        server.kill()


@pytest.fixture
def project(
    tmp_path: Path, engine: DockerEngine, reached: tuple[APIClient, EngineFacts], sshd: Server
) -> Iterator[Project]:
    """Return a project whose runs reach the engine over ssh."""
    project = Project(tmp_path, engine, reached[1].identity)
    yield project
    project.remove()


def test_connections_are_used_again(project: Project, sshd: Server) -> None:
    """Scenarios of two workers pass over few connections, no ssh process is left, open ports are named."""
    for number in range(4):
        project.add(f"work{number}", "true")
    path = project.tests / "work0.clnrm.toml"
    path.write_text(path.read_text("utf-8").replace("[[step]]", "ports = [80]\n[[step]]"), encoding="utf-8")
    run = project.start("-n", "2")
    assert run.end() == 0, project.output()
    # Some for the questions who is there, and for what goes on at once; it was one for each request.
    count = sshd.log.read_text("utf-8").count("Accepted publickey")
    assert 0 < count < 30
    told = "clnrm: port 80 of service 'box' was published on all addresses of the engine's machine: whoever"
    assert told in project.output()


def test_a_connection_that_breaks(project: Project, sshd: Server) -> None:
    """The step that ran says which one and why; the next scenario has connections of its own."""
    project.add("cut", "echo so far; touch /begun; sleep 60")
    project.add("next", "true")
    run = project.start("-p", "no:xdist")
    engine = project.engine
    wait_until(
        lambda: any(engine.look_at_path(each.id, "/begun") for each in project.containers()),
        WITHIN_S,
        "the step",
    )
    sshd.drop_connections()
    assert run.end() == 1, project.output()
    output = project.output()
    assert "1 failed, 1 passed" in output
    address = os.environ["DOCKER_HOST"].removeprefix("ssh://")
    told = (
        rf"cut\.clnrm\.toml:7: step 'work': the connection over ssh to {address} has ended: \S.*; see what "
        rf"`ssh -o BatchMode=yes ssh://{address} docker version` says"
    )
    assert re.search(told, output), output
    assert "so far" in output
    assert "Traceback" not in output
    project.expect_nothing_left()
