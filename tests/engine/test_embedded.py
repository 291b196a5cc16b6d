"""The embedded engine for real: one for all, gone with its last user, whoever is killed.

Each test runs in a network namespace of its own: a second dockerd would take the bridge of the first.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

pytestmark = pytest.mark.engine

USER = """
import os, sys
from pathlib import Path
from pytest_clnrm.engine.embedded.join import join
from pytest_clnrm.engine.connect.connect import reach
from pytest_clnrm.errors import EngineUnavailableError
runtime, kinds = Path(sys.argv[1]), tuple(sys.argv[2:])
try:
    join(runtime, os.environ, kinds)
    client, facts = reach("embedded", environ=os.environ, runtime_dir=runtime, sockets=())
except EngineUnavailableError as error:
    print(error, *error.details, sep=" | ", flush=True)
    sys.exit(1)
print(facts.kind, (runtime / "engine/engine.pid").read_text().strip(), flush=True)
for line in sys.stdin:
    if line.strip() == "container":
        made = client.import_image_from_file(os.environ["ROOTFS"]).strip().splitlines()[-1]
        image = __import__("json").loads(made)["status"]
        command = ["/bin/busybox", "sh", "-c", "echo hello; exec /bin/busybox sleep 1000"]
        container = client.create_container(image, command)
        client.start(container)
        print(client.inspect_container(container)["State"]["Pid"], flush=True)
"""


class Users:
    """Starts users of one embedded engine, in one network namespace.

    :param namespace: process whose network namespace they use.
    """

    def __init__(self, runtime: Path, namespace: int) -> None:
        self.runtime = runtime
        self.namespace = namespace
        self.all: list[subprocess.Popen[str]] = []

    def start(self, kind: str) -> subprocess.Popen[str]:
        """Start a user without waiting for it."""
        argv = ["nsenter", f"--net=/proc/{self.namespace}/ns/net", sys.executable, "-c", USER]
        # HOME: no Docker context of the user's, and storage that goes with the test.
        hidden = {"DOCKER_HOST", "DOCKER_CONTEXT", "XDG_CACHE_HOME"}
        environ = {name: value for name, value in os.environ.items() if name not in hidden}
        environ |= {"HOME": str(self.runtime), "ROOTFS": str(self.runtime / "rootfs.tar")}
        user = subprocess.Popen(
            [*argv, str(self.runtime), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        self.all.append(user)
        return user

    def show(self, *command: str) -> str:
        """Return the output of a command in the network namespace."""
        argv = ["nsenter", f"--net=/proc/{self.namespace}/ns/net", *command]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def answer(user: subprocess.Popen[str]) -> list[str]:
    """Return the words of a user's next line."""
    assert user.stdout is not None
    return user.stdout.readline().split()


def ask(user: subprocess.Popen[str], line: str) -> list[str]:
    """Send a line to a user and return the words of its answer."""
    assert user.stdin is not None
    user.stdin.write(f"{line}\n")
    user.stdin.flush()
    return answer(user)


def wait_for_end(*pids: int) -> None:
    """Return once none of the processes runs, at the latest when the engine would have been killed."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        with os.fdopen(handle) as process:
            assert select.select([process], [], [], 60)[0], f"process {pid} does not end"


def keeper_of(users: Users) -> int:
    """Return the process id of the keeper."""
    engine = int((users.runtime / "engine/engine.pid").read_text())
    stat = Path(f"/proc/{engine}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def lacks(kind: str) -> str:
    """Return why tests of this engine cannot run here, "" if they can."""
    if os.geteuid() != 0:
        return "an embedded engine's tests need root for a network namespace"
    names = {"dockerd": ("dockerd", "runc", "iptables"), "podman": ("podman", "runc")}[kind]
    missing = [name for name in (*names, "busybox", "unshare") if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


@pytest.fixture(params=["dockerd", "podman"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return each kind of engine that can be embedded."""
    name: str = request.param
    reason = lacks(name)
    if reason:
        pytest.skip(reason)
    return name


@pytest.fixture
def users(kind: str) -> Iterator[Users]:
    """Return a starter of users; afterwards no process and no file of theirs is left."""
    del kind
    runtime = Path(mkdtemp(prefix="clnrm-", dir="/tmp"))
    rootfs = runtime / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, rootfs / "bin/busybox")
    subprocess.run(["tar", "-C", rootfs, "-cf", runtime / "rootfs.tar", "."], check=True)
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo ready; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert answer(holder) == ["ready"]
    users = Users(runtime, holder.pid)
    try:
        yield users
        engine = runtime / "engine/engine.pid"
        pids = [keeper_of(users), int(engine.read_text())] if engine.exists() else []
        for user in users.all:
            user.kill()
            user.communicate()
        wait_for_end(*pids)
        assert sorted(path.name for path in (runtime / "engine").iterdir()) == [
            "keeper.lock",
            "lock",
            "users",
        ]
        assert not list((runtime / "engine/users").iterdir())
        assert "docker0" not in users.show("cat", "/proc/net/dev")
    finally:
        for user in users.all:
            user.kill()
            user.communicate()
        holder.communicate("\n")
        shutil.rmtree(runtime)


def test_one_for_all(kind: str, users: Users) -> None:
    """Users that start at the same time share one engine."""
    started = [users.start(kind) for _ in range(4)]
    told = [answer(user) for user in started]
    assert told[0][0] == {"dockerd": "docker", "podman": "podman"}[kind]
    assert told == [told[0]] * 4


def test_ends_with_the_last(kind: str, users: Users) -> None:
    """The engine outlives a killed starter while there is another user, and ends with the last."""
    first, second = users.start(kind), users.start(kind)
    told = answer(first)
    assert answer(second) == told
    pid, keeper = int(told[1]), keeper_of(users)
    first.kill()
    first.communicate()
    third = users.start(kind)
    assert answer(third) == told
    for user in (second, third):
        user.kill()
        user.communicate()
    wait_for_end(pid, keeper)


def test_containers_end_with_it(kind: str, users: Users) -> None:
    """What a killed user left running ends with the engine, and the next engine starts clean."""
    user = users.start(kind)
    told = answer(user)
    process = int(ask(user, "container")[0])
    keeper = keeper_of(users)
    user.kill()
    user.communicate()
    wait_for_end(int(told[1]), keeper, process)
    fresh = users.start(kind)
    assert answer(fresh)[1] != told[1]


@pytest.mark.parametrize("victim", ["keeper", "engine", "both"])
def test_replaced_after_a_crash(kind: str, users: Users, victim: str) -> None:
    """After keeper, engine or both were killed, stale files do not keep a new one from starting."""
    user = users.start(kind)
    told = answer(user)
    engine, keeper = int(told[1]), keeper_of(users)
    for pid in {"keeper": [keeper], "engine": [engine], "both": [keeper, engine]}[victim]:
        os.kill(pid, signal.SIGKILL)
    wait_for_end(keeper)
    fresh = users.start(kind)
    replaced = answer(fresh)
    assert replaced[0] == told[0], replaced
    assert replaced[1] != told[1]
    wait_for_end(engine)


@pytest.mark.parametrize("kind", ["dockerd"], indirect=True)
def test_another_dockerd_in_the_same_network(users: Users, kind: str) -> None:
    """A second dockerd in one network is refused, naming the process of the first."""
    user = users.start(kind)
    told = answer(user)
    other = Users(Path(mkdtemp(prefix="clnrm-", dir="/tmp")), users.namespace)
    try:
        refused = other.start(kind)
        assert f"another dockerd runs already, process {told[1]}" in refused.communicate()[0]
    finally:
        shutil.rmtree(other.runtime)
