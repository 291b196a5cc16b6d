"""An engine over ssh://: what becomes of requests and streams when an ssh process ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clnrm_testing.patience import patient_until

from pytest_clnrm.engine.connect.client import ProbeError, open_client
from pytest_clnrm.engine.connect.endpoints import Endpoint
from pytest_clnrm.engine.docker.containers import inspect_container, start_container
from pytest_clnrm.engine.docker.logs import follow_log
from pytest_clnrm.errors import EngineUnavailableError

if TYPE_CHECKING:
    from docker import APIClient

URL = "ssh://me@Build-Host:2222"
ENDED = (
    "the connection over ssh to me@Build-Host:2222 has ended: {said}; see what "
    f"`ssh -o BatchMode=yes {URL} docker version` says"
)
# Answers requests for containers as they are named; each process leaves its arguments in a file of its own.
PROGRAM = """
import json, os, signal, sys

with open(os.path.join(os.environ["STARTED"], str(os.getpid())), "w") as file:
    json.dump(sys.argv[1:], file)
if "NO_LOGIN" in os.environ:
    sys.exit("me@Build-Host: Permission denied (publickey).")


def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()


def end(how):
    if how == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stderr.write("Timeout, server Build-Host not responding.\\r\\n" if how == "words" else "")
    sys.stderr.flush()
    os._exit(0 if how == "engine" else 255)


answers = 0
while True:
    method, path, _ = sys.stdin.readline().split()
    while sys.stdin.readline().strip():
        pass
    how, _, where = path.partition("/containers/")[2].partition("/")[0].partition("-")
    if where == "before" or (where == "stale" and answers):
        end(how)
    body = '{"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Id": "x"}'
    if where == "never":
        signal.pause()
    if where == "headers":
        say("HTTP/1.1 200 OK\\r\\nContent-Le")
        end(how)
    if where == "body":
        say(f"HTTP/1.1 200 OK\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body[:9]}")
        end(how)
    if where == "stream":
        say("HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
        say("b\\r\\n\\1\\0\\0\\0\\0\\0\\0\\3abc\\r\\n")
        end(how)
    say("HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\n")
    say(f"Content-Length: {len(body)}\\r\\n\\r\\n{body}")
    answers += 1
    if where == "behind":
        end(how)
"""


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which each process of the command ssh leaves its arguments."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "started").mkdir()
    (tmp_path / "bin/ssh").write_text(f"#!{sys.executable} -S\n{PROGRAM}", encoding="utf-8")
    (tmp_path / "bin/ssh").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STARTED", str(tmp_path / "started"))
    return tmp_path / "started"


@pytest.fixture
def client(started: Path) -> Iterator[APIClient]:
    """Return a client of the engine that this command leads to."""
    client, _ = open_client(Endpoint(url=URL))
    yield client
    client.close()
    assert not [each for each in started.iterdir() if Path(f"/proc/{each.name}").exists()]


def test_one_process_serves_all_calls(started: Path, client: APIClient) -> None:
    """It is told where to, never asks anything, and is none over which others go."""
    before = set(started.iterdir())
    for number in range(5):
        inspect_container(client, f"c{number}")
    (process,) = set(started.iterdir()) - before
    told = process.read_text("utf-8")
    assert f'"--", "{URL}", "docker system dial-stdio"' in told
    assert '"BatchMode=yes"' in told
    assert '"ControlMaster=no"' in told


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("words", "Timeout, server Build-Host not responding"),
        ("silent", "ssh ended with code 255"),
        ("signal", "ssh was killed by signal 9"),
    ],
)
@pytest.mark.parametrize("where", ["before", "headers", "body"])
def test_it_ends_in_the_midst_of_a_request(client: APIClient, where: str, how: str, said: str) -> None:
    """The error says which connection has ended, why, and what to do; it is not tried again by itself."""
    for call in (inspect_container, start_container):
        with pytest.raises(EngineUnavailableError) as caught:
            call(client, f"{how}-{where}")
        assert str(caught.value) == ENDED.format(said=said)
    assert inspect_container(client, "c1")["Id"] == "x", "another request has a connection of its own"


def test_it_ends_in_the_midst_of_a_stream(client: APIClient) -> None:
    """What has come of a log is no whole log, whichever way it is read."""
    said = ENDED.format(said="Timeout, server Build-Host not responding")
    log = follow_log(client, "words-stream")
    assert log.receive(patient_until(30)) == [("stdout", b"abc")]
    with pytest.raises(EngineUnavailableError) as caught:
        log.receive(patient_until(30))
    assert str(caught.value) == said
    log.close()


def test_the_engine_ends_it(client: APIClient) -> None:
    """Then it is the engine that does not answer, and nothing is said of ssh."""
    with pytest.raises(EngineUnavailableError, match=r"^the container engine does not answer any more \(to"):
        inspect_container(client, "engine-before")


def test_the_engine_does_not_answer(client: APIClient) -> None:
    """It is not waited for without end."""
    client.timeout = 1
    with pytest.raises(EngineUnavailableError, match="did not answer in time"):
        inspect_container(client, "silent-never")


def test_an_idle_connection_that_has_gone_is_made_anew(started: Path, client: APIClient) -> None:
    """Nobody notices, whether it went before the next request or with it; then that is sent once more."""
    inspect_container(client, "silent-behind")
    assert inspect_container(client, "c1")["Id"] == "x"
    before = set(started.iterdir())
    assert inspect_container(client, "silent-stale")["Id"] == "x"
    assert len(set(started.iterdir()) - before) == 1


def test_what_changes_something_is_not_sent_twice(started: Path, client: APIClient) -> None:
    """The engine may have done it."""
    inspect_container(client, "c1")
    before = set(started.iterdir())
    with pytest.raises(EngineUnavailableError, match="has ended: ssh ended with code 255"):
        start_container(client, "silent-stale")
    assert set(started.iterdir()) == before


def test_no_login(started: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ssh says is the reason why no engine answers."""
    monkeypatch.setenv("NO_LOGIN", "1")
    with pytest.raises(ProbeError) as caught:
        open_client(Endpoint(url=URL))
    assert caught.value.reason == ENDED.format(said="me@Build-Host: Permission denied (publickey)")
    assert len(list(started.iterdir())) == 1


def test_no_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is named as missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ProbeError, match="the command ssh cannot be started: No such file or directory; inst"
    ):
        open_client(Endpoint(url=URL))
