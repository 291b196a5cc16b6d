"""An engine over ssh://, through a real sshd of this test's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clnrm_testing.left_behind import WITHIN_S, Project, wait_until

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


@pytest.fixture
def sshd_log(
    tmp_path: Path, reached: tuple[APIClient, EngineFacts], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Let DOCKER_HOST lead to the engine through a server, and return the server's log."""
    pytest.importorskip("paramiko", reason="the client library needs paramiko for ssh://")
    ssh, sshd, docker = shutil.which("ssh"), shutil.which("sshd", path="/usr/sbin"), shutil.which("docker")
    if os.geteuid() or not (ssh and sshd and docker):
        pytest.skip("needs root, and ssh, sshd and docker")
    folder = tmp_path / "ssh"
    folder.mkdir()
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    config = CONFIG.format(port=port, folder=folder, engine=reached[1].url)
    (folder / "config").write_text(config, encoding="utf-8")
    (folder / "bin").mkdir()
    (folder / "bin/ssh").write_text(SSH.format(ssh=ssh, folder=folder), encoding="utf-8")
    (folder / "bin/ssh").chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", f"ssh://root@127.0.0.1:{port}")
    Path("/run/sshd").mkdir(exist_ok=True)
    log = folder / "log"
    with subprocess.Popen([sshd, "-D", "-f", folder / "config", "-E", log]) as server:
        wait_until(lambda: log.exists() and "listening" in log.read_text(), WITHIN_S, "the server")
        yield log
        server.kill()


def test_connections_are_used_again(
    tmp_path: Path, engine: DockerEngine, reached: tuple[APIClient, EngineFacts], sshd_log: Path
) -> None:
    """Scenarios of two workers pass over few connections, and no ssh process is left."""
    project = Project(tmp_path, engine, reached[1].identity)
    for number in range(4):
        project.add(f"work{number}", "true")
    run = project.start("-n", "2")
    try:
        assert run.end() == 0, project.output()
    finally:
        project.remove()
    # Some for the questions who is there, and for what goes on at once; it was one for each request.
    count = sshd_log.read_text("utf-8").count("Accepted publickey")
    assert 0 < count < 30
