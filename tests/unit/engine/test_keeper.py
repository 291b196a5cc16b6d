"""The keeper of an embedded engine: when it starts and ends, what it leaves; with programs of our own."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_clnrm.engine.embedded import host_network, join, keeper, kinds
from pytest_clnrm.engine.embedded.host_network import HostNetwork, dockerd_of_this_network, undo
from pytest_clnrm.engine.embedded.keeper import Keeper, flock, is_held
from pytest_clnrm.engine.embedded.kinds import EmbeddedKind, answers, containers_conf, end_process, runs
from pytest_clnrm.errors import EngineUnavailableError

Serve = Callable[..., tuple[str, list[str]]]

ENGINE = """
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nOK")
socketserver.UnixStreamServer(sys.argv[1], Handler).serve_forever()
"""
HOLD = """
import sys
from pathlib import Path
from pytest_clnrm.engine.embedded.keeper import record_lock
lock = record_lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""
# A keeper that stops just before it removes the file of a user that it has waited for.
WAIT = """
import sys
from pathlib import Path
from pytest_clnrm.engine.embedded.keeper import Keeper
def unlink(file):
    print("has it", flush=True)
    sys.exit(sys.stdin.read())
Path.unlink = unlink
print("waits", flush=True)
Keeper(Path(sys.argv[1]), None).wait_for_users()
"""


@pytest.fixture
def hold() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Return a function that starts a process which holds a record lock."""
    holders: list[subprocess.Popen[str]] = []

    def start(file: Path) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        holder = subprocess.Popen([sys.executable, "-c", HOLD, file], stdin=pipe, stdout=pipe, text=True)
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        return holder

    yield start
    for holder in holders:
        holder.kill()
        holder.communicate()


def kind(folder: Path, code: str = ENGINE, name: str = "podman") -> EmbeddedKind:
    """Return an engine that runs *code*."""
    (folder / "users").mkdir(exist_ok=True)
    command = [sys.executable, "-c", code, str(folder / "engine.sock")]
    return EmbeddedKind(
        name=name, folder=folder, storage=folder / "storage", command=command, environ=dict(os.environ)
    )


def test_ends_without_users(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine without a user is ended, and nothing but its storage and the locks is left."""
    monkeypatch.setattr(kinds, "find_program", lambda _: "true")
    held = Keeper(short_path, kind(short_path))
    process = held.start()
    assert answers(short_path / "engine.sock")
    assert runs(process.pid, str(short_path / "engine.sock"))
    held.serve(process)
    assert process.returncode == -signal.SIGTERM
    assert sorted(path.name for path in short_path.iterdir()) == ["lock", "storage", "users"]


def test_waits_for_users(short_path: Path, hold: Callable[[Path], subprocess.Popen[str]]) -> None:
    """A user counts until its process has ended, even by SIGKILL; its file is removed."""
    held = Keeper(short_path, kind(short_path))
    first, second = (short_path / "users" / f"{n}.lock" for n in "12")
    users = [hold(first), hold(second)]
    assert is_held(first)
    for user in users:
        user.kill()
    held.wait_for_users()
    assert not first.exists()
    assert not second.exists()
    assert not is_held(first)


def test_who_waits_is_no_user(short_path: Path, hold: Callable[[Path], subprocess.Popen[str]]) -> None:
    """A file counts as held while its user lives, not when a keeper has waited for its end."""
    file = short_path / "users" / "1.lock"
    file.parent.mkdir()
    user = hold(file)
    waiting = (
        "import pathlib, sys, fcntl; f = pathlib.Path(sys.argv[1]).open('rb'); print('here', flush=True); "
    )
    waiting += "fcntl.lockf(f, fcntl.LOCK_SH); print('has it', flush=True); sys.stdin.read()"
    keeper_of_it = subprocess.Popen(
        [sys.executable, "-c", waiting, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert keeper_of_it.stdout is not None
    assert keeper_of_it.stdout.readline() == "here\n"
    assert is_held(file)
    user.kill()
    assert keeper_of_it.stdout.readline() == "has it\n"
    assert not is_held(file)
    keeper_of_it.communicate("")


def test_record_lock_replaces_the_file(
    short_path: Path, hold: Callable[[Path], subprocess.Popen[str]]
) -> None:
    """A file has its name once it is locked, so who asks or waits for the one before is not in the way."""
    file = short_path / "keeper.lock"
    file.touch()
    with file.open("rb") as before:
        fcntl.lockf(before, fcntl.LOCK_SH)
        hold(file)
        assert os.fstat(before.fileno()).st_nlink == 0
    assert is_held(file)
    assert [path.name for path in short_path.iterdir()] == ["keeper.lock"]


def test_engine_that_ends_at_once(short_path: Path) -> None:
    """An engine that does not come up is an error with its exit code; its output is in the log."""
    with pytest.raises(RuntimeError, match="podman ended with exit code 3"):
        Keeper(short_path, kind(short_path, "print('no cgroups', flush=True); raise SystemExit(3)")).start()
    assert (short_path / "log").read_text() == "no cgroups\n"


def test_engine_that_never_answers(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that does not answer in time is ended, by SIGKILL if need be."""
    monkeypatch.setattr(keeper, "START_TIMEOUT_S", 0.3)
    monkeypatch.setattr(keeper, "STOP_TIMEOUT_S", 0.3)
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
    with pytest.raises(RuntimeError, match=r"podman did not answer within 0\.3 s"):
        Keeper(short_path, kind(short_path, code)).start()
    pid = int((short_path / "engine.pid").read_text())
    assert not runs(pid, str(short_path))


def test_flock_can_be_given_up(short_path: Path) -> None:
    """Who waits for the lock is asked between two tries."""

    def give_up() -> None:
        raise TimeoutError

    with flock(short_path / "lock"), pytest.raises(TimeoutError), flock(short_path / "lock", give_up):
        pass


def test_emptied_through_its_api(short_path: Path, serve: Serve) -> None:
    """What is left on a dockerd is removed through its API."""
    url, asked = serve({"/containers/json": [{"Id": "a"}, {"Id": "b"}]})
    engine = kind(short_path, name="dockerd")
    Path(url.removeprefix("unix://")).rename(engine.socket)
    engine.empty()
    assert asked == [
        "/containers/json?all=1",
        "/containers/a?force=1&v=1",
        "/containers/b?force=1&v=1",
        "/networks/prune",
    ]


def test_emptying_what_does_not_answer(short_path: Path) -> None:
    """An engine that does not answer any more does not keep the keeper from ending it."""
    kind(short_path, name="dockerd").empty()


def test_stranger_on_the_socket(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What listens but does not speak HTTP is no engine that answers."""
    monkeypatch.setattr(keeper, "START_TIMEOUT_S", 0.3)
    stranger = Keeper(short_path, kind(short_path, ENGINE.replace("HTTP/1.0", "SSH-2.0")))
    with pytest.raises(RuntimeError, match="did not answer"):
        stranger.start()


def test_busy_engine(
    short_path: Path, hold: Callable[[Path], subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that runs but does not answer is left alone, as others use it, and the process is named."""
    monkeypatch.setattr(join, "BUSY_TIMEOUT_S", 0.1)
    folder = short_path / "engine"
    folder.mkdir()
    (folder / "engine.pid").write_text("77\n")
    hold(folder / "keeper.lock")
    with pytest.raises(EngineUnavailableError, match=r"\(process 77\) has not answered for 0\.1 s"):
        join.join(short_path, {})


def test_end_process(short_path: Path) -> None:
    """A process that does not end when asked to is killed."""
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"{ignore}; print('up', flush=True); signal.pause()"
    stubborn = subprocess.Popen(
        [sys.executable, "-c", code, str(short_path)], stdout=subprocess.PIPE, text=True
    )
    assert stubborn.stdout is not None
    assert stubborn.stdout.readline() == "up\n"
    end_process(stubborn.pid, str(short_path), 0.2)
    assert stubborn.wait() == -signal.SIGKILL
    stubborn.stdout.close()


def test_emptied_by_command(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left on Podman is removed by its own commands, on the engine's own storage."""
    noted = short_path / "noted"
    program = short_path / "podman"
    program.write_text(f'#!/bin/sh\necho "$*" >> {noted}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{short_path}:{os.environ['PATH']}")
    kind(short_path).empty()
    first, second = noted.read_text().splitlines()
    assert first.startswith(f"--root {short_path}/storage --runroot {short_path}/exec ")
    assert first.endswith(" rm --all --force --time 0")
    assert second.endswith(" network prune --force")


def test_join_and_leave(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who joins starts the engine if need be; who leaves last finds it gone, with its files."""
    program = short_path / "podman"
    # The same program is asked to empty the storage: then its last word is no socket.
    start = "import sys\nsys.argv[1] = sys.argv[-1].partition('unix://')[2] or sys.exit()\n"
    program.write_text(f"#!{sys.executable}\n{start}{ENGINE}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{short_path}:{os.environ['PATH']}")
    monkeypatch.setattr(join, "find_program", lambda name: name)
    environ = {"XDG_CACHE_HOME": str(short_path / "cache")}
    url = join.join(short_path, environ, kinds=("podman",))
    assert url == f"unix://{short_path}/engine/engine.sock"
    assert is_held(short_path / "engine/keeper.lock")
    assert join.join(short_path, environ, kinds=()) == url
    assert len(list((short_path / "engine/users").iterdir())) == 1
    join.leave(short_path)
    assert not is_held(short_path / "engine/keeper.lock")
    assert sorted(path.name for path in (short_path / "engine").iterdir()) == ["keeper.lock", "lock", "users"]
    join.leave(short_path)


def test_leave_while_others_stay(short_path: Path, hold: Callable[[Path], subprocess.Popen[str]]) -> None:
    """Who leaves while there are others does not wait for the end."""
    users = short_path / "engine/users"
    users.mkdir(parents=True)
    hold(short_path / "engine/keeper.lock")
    hold(users / "other.lock")
    join.leave(short_path)
    assert is_held(short_path / "engine/keeper.lock")


def test_end_process_of_another(short_path: Path) -> None:
    """A process that only has the number of an engine of old is left alone."""
    end_process(os.getpid(), str(short_path / "engine.sock"), 0.1)


def test_commands(short_path: Path) -> None:
    """Each engine gets storage, state and socket of its own, and ends with its keeper."""
    docker = EmbeddedKind.of("dockerd", short_path, Path("/images"))
    assert docker.command[1:3] == ["--pdeathsig", "TERM"]
    assert docker.command[4:] == [
        *("--data-root", "/images", "--exec-root", f"{short_path}/exec"),
        *("--pidfile", f"{short_path}/docker.pid", "-H", f"unix://{short_path}/engine.sock"),
    ]
    podman = EmbeddedKind.of("podman", short_path, Path("/images"))
    assert podman.command[4:8] == ["--root", "/images", "--runroot", f"{short_path}/exec"]
    assert podman.command[-4:] == ["system", "service", "--time=0", f"unix://{short_path}/engine.sock"]
    assert podman.environ["CONTAINERS_CONF"] == f"{short_path}/containers.conf"


def test_what_dockerd_leaves_elsewhere(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and folders that came with it go with it; those from before, and those in use, stay."""
    old, new, used, never = (short_path / name for name in ("old", "new", "used", "never"))
    old.mkdir()
    outside = (old, new / "key.json", new, used, never)
    monkeypatch.setattr(kinds, "OUTSIDE", outside)
    monkeypatch.setattr(HostNetwork, "note", lambda *_, **__: None)
    kind = EmbeddedKind.of("dockerd", short_path, short_path / "storage")
    kind.prepare()
    for folder in (new, used):
        folder.mkdir()
    (new / "key.json").touch()
    (used / "of somebody").touch()
    kind.clean()
    assert [path.exists() for path in outside] == [True, False, False, True, False]


def test_podman_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Podman's limits are ours; runc where cgroup v1 is; no systemd where there is none."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 5000))
    monkeypatch.setattr(kinds, "find_program", lambda name: name)
    text = containers_conf(tmp_path, tmp_path / "none")
    assert 'default_ulimits = ["nofile=5000:5000", "nproc=5000:5000"]' in text
    assert text.endswith('runtime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
    (tmp_path / "cgroup.controllers").touch()
    assert containers_conf(tmp_path, tmp_path).endswith("[engine]\n")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, -1))
    assert '"nofile=1048576:1048576", "nproc=32768:32768"' in containers_conf(tmp_path, tmp_path)


def test_undo_firewall() -> None:
    """Docker's rules go before its chains; what was there before and what is not Docker's stays."""
    before = ["-P FORWARD ACCEPT", "-N DOCKER-MINE"]
    after = [
        "-P FORWARD DROP",
        "-N DOCKER-MINE",
        "-N DOCKER",
        "-N OTHER",
        "-A FORWARD -o docker0 -j ACCEPT",
        '-A DOCKER -m comment --comment "two words" -j RETURN',
        "-A OTHER -j RETURN",
    ]
    assert undo(before, after) == [
        ["-D", "FORWARD", "-o", "docker0", "-j", "ACCEPT"],
        ["-D", "DOCKER", "-m", "comment", "--comment", "two words", "-j", "RETURN"],
        ["-X", "DOCKER"],
        ["-P", "FORWARD", "ACCEPT"],
    ]


def test_network_is_noted_once(tmp_path: Path) -> None:
    """After a keeper was killed the state before it is the one that counts; after a reboot it is not."""
    file = tmp_path / "network.json"
    first = HostNetwork.note(file, firewall=False)
    earlier = HostNetwork(boot=first.boot, bridges=["docker0"], rules={})
    text = file.read_text().replace('"rules": {}', '"rules": {"filter": []}')
    file.write_text(text)
    assert HostNetwork.note(file, firewall=False).rules == {"filter": []}
    file.write_text(text.replace(earlier.boot, "another boot"))
    assert HostNetwork.note(file, firewall=False).rules == {}


def test_network_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what came since is taken away; a bridge that is not ours to delete stays without an error."""
    ran: list[tuple[str, ...]] = []
    rules = {"filter": "-P FORWARD ACCEPT\n", "nat": ""}

    def iptables(table: str, *command: str) -> str:
        if command != ("-S",):
            ran.append((table, *command))
        return rules[table]

    monkeypatch.setattr(host_network, "_iptables", iptables)
    monkeypatch.setattr(host_network, "_bridges", lambda: ["br-0123456789ab"])
    before = HostNetwork.note(tmp_path / "network.json", firewall=True)
    before.restore()
    assert ran == []
    rules["nat"] = "-N DOCKER\n-A DOCKER -i docker0 -j RETURN\n"
    monkeypatch.setattr(host_network, "_bridges", lambda: ["br-0123456789ab", "br-none"])
    before.restore()
    assert ran == [("nat", "-D", "DOCKER", "-i", "docker0", "-j", "RETURN"), ("nat", "-X", "DOCKER")]


def test_no_iptables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where iptables is not installed there are no rules."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert host_network._rules("filter") == []


def test_dockerd_of_this_network(tmp_path: Path) -> None:
    """A dockerd counts if it is in our network namespace."""
    for pid, name, network in (("self", "python", "1"), ("7", "dockerd", "2"), ("8", "sh", "1")):
        folder = tmp_path / pid
        (folder / "ns").mkdir(parents=True)
        (folder / "comm").write_text(name + "\n")
        (folder / "ns/net").symlink_to(f"net:[{network}]")
    assert dockerd_of_this_network(tmp_path) is None
    (tmp_path / "8/comm").write_text("dockerd\n")
    assert dockerd_of_this_network(tmp_path) == 8
    assert dockerd_of_this_network(tmp_path / "none") is None


def test_nothing_installed(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error lists each program that is missing, what else is in the way, and how to install them."""
    monkeypatch.setattr(join, "find_program", lambda _: None)
    monkeypatch.setattr(join, "dockerd_of_this_network", lambda: 77)
    monkeypatch.setattr(join, "CATATONIT", short_path / "none")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EngineUnavailableError, match="no embedded engine can be started") as caught:
        join.join(short_path, {"HOME": str(short_path)})
    text = "\n".join(caught.value.details)
    for part in (
        "dockerd: setpriv is not installed (package util-linux)\n",
        "\ndockerd is not installed (package docker.io)\n",
        "runc is not installed (package runc)",
        "iptables is not installed (package iptables)",
        "it needs root, and this process is not root's",
        "another dockerd runs already, process 77",
        "podman is not installed (package podman)",
        "catatonit is not installed (package catatonit)",
        "apt-get install docker.io iptables",
    ):
        assert part in text
    assert not join._joined


def test_failed_start(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that cannot start is an error with the end of its log."""
    program = short_path / "podman"
    program.write_text("#!/bin/sh\nfor n in $(seq 30); do echo line $n; done; exit 4\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{short_path}:{os.environ['PATH']}")
    monkeypatch.setattr(join, "find_program", lambda name: name)
    with pytest.raises(EngineUnavailableError) as caught:
        join.join(short_path, {"XDG_CACHE_HOME": str(short_path / "cache")}, kinds=("podman",))
    assert caught.value.details[0] == "podman: podman ended with exit code 4"
    assert caught.value.details[1:16] == tuple(f"  line {n}" for n in range(16, 31))
    assert not is_held(short_path / "engine/keeper.lock")


def test_long_path(tmp_path: Path) -> None:
    """A folder whose path is too long for a socket is refused with what to do."""
    with pytest.raises(EngineUnavailableError, match="too long for a socket") as caught:
        join.join(tmp_path / ("x" * 90), {})
    assert "XDG_RUNTIME_DIR" in caught.value.details[0]


def test_unusable_folder(short_path: Path) -> None:
    """A folder that cannot be made is an error with the system's reason."""
    (short_path / "engine").touch()
    with pytest.raises(EngineUnavailableError, match="the embedded engine's folder cannot be made: "):
        join.join(short_path, {})


def test_hanging_starter(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits too long for another starter says which lock it is."""
    monkeypatch.setattr(join, "START_TIMEOUT_S", 0.05)
    monkeypatch.setattr(join, "STOP_TIMEOUT_S", 0.05)
    (short_path / "engine").mkdir()
    with (
        flock(short_path / "engine/lock"),
        pytest.raises(EngineUnavailableError, match=r"another process has held .*engine/lock for 0\.1 s"),
    ):
        join.join(short_path, {})


def test_storage_folder() -> None:
    """Images are kept in the user's cache."""
    assert join.storage_folder({"HOME": "/me"}) == Path("/me/.cache/pytest-clnrm/engine")
    assert join.storage_folder({"XDG_CACHE_HOME": "/c", "HOME": "/me"}) == Path("/c/pytest-clnrm/engine")
