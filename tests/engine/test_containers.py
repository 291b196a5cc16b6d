"""Containers on a real engine: what they are given, how they are told of, how they go."""

from __future__ import annotations

import gc
import os
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clnrm_testing.capabilities import Needs
from clnrm_testing.engine_fixtures import wait_log
from clnrm_testing.patience import patient_s, patient_until

from pytest_clnrm.engine.api import ContainerSpec, Mount
from pytest_clnrm.engine.exec.waiting import KEEP_ALIVE, KEEP_SHELL
from pytest_clnrm.errors import ContainerError, EngineUnavailableError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.docker.engine import DockerEngine

pytestmark = pytest.mark.engine


def test_the_limits_asked_for_are_those_of_the_container(
    start: Callable[..., Any], client: APIClient
) -> None:
    """`docker inspect` shows memory, swap, CPU, processes, no new privileges, labels."""
    box = start(memory_bytes=48 << 20, cpus=0.5, pids=33, labels={"own": "yes"})
    facts = client.inspect_container(box.id)
    host = facts["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (48 << 20, 48 << 20)
    assert (host["NanoCpus"], host["PidsLimit"]) == (500_000_000, 33)
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert not host["Privileged"]
    assert host["NetworkMode"] == "none"
    assert facts["Config"]["Labels"]["own"] == "yes"
    assert "clnrm-test" in facts["Config"]["Labels"]


@pytest.mark.parametrize(
    "waiting", [KEEP_SHELL, KEEP_ALIVE, ("sleep", "1000")], ids=["shell", "sleep", "own"]
)
def test_orphans_that_have_ended_are_taken_in(start: Callable[..., Any], waiting: tuple[str, ...]) -> None:
    """A process whose parent is gone leaves no zombie, whatever the first process is."""
    box = start(command=waiting)
    for before in ("true", "kill -9 $PPID"):
        # The second ends the shell of the session; in an exec of its own it finds nothing to end.
        box.run("sh", "-c", before)
        pid = box.run("sh", "-c", "(sleep 0.3 >/dev/null 2>&1 & echo $!)").stdout.decode().strip()
        gone = f"for i in 1 2 3 4 5 6 7 8 9; do [ -e /proc/{pid} ] || exit 0; sleep 0.2; done; exit 1"
        assert box.run("sh", "-c", gone).exit_code == 0


@pytest.mark.parametrize(
    "steps",
    [
        ("kill -9 -1",),
        ("kill 1; kill -9 1; kill -STOP 1",),
        ("kill -9 $PPID", "killall sleep"),
    ],
    ids=["all others", "the first", "what the first waits for"],
)
def test_steps_do_not_end_a_container_that_waits(
    start: Callable[..., Any], engine: DockerEngine, steps: tuple[str, ...]
) -> None:
    """Its first process outlives the signals of all others, and the end of the shell that it waits for."""
    box = start(command=KEEP_SHELL, pids=16)
    for step in steps:
        box.run("sh", "-c", step)
    time.sleep(0.3)
    assert engine.state(box.id).running


def test_a_container_that_waits_is_stopped_at_once(start: Callable[..., Any], client: APIClient) -> None:
    """The signal with which an engine stops it, as when that is stopped itself, is one that it heeds."""
    box = start(command=KEEP_SHELL)
    client.stop(box.id, timeout=60)
    facts = client.inspect_container(box.id)
    assert (facts["State"]["Running"], facts["State"]["ExitCode"]) == (False, 137)
    assert str(facts["Config"]["StopSignal"]) in {"SIGKILL", "9"}


def test_a_container_runs_its_own_command_and_tells_how_it_ended(
    engine: DockerEngine, start: Callable[..., Any]
) -> None:
    """Exit code, and its output in order."""
    box = start(command=("sh", "-c", "echo one; echo two >&2; exit 9"))
    assert not wait_log(engine, box.id, "never", deadline_s=patient_until(60))
    state = engine.state(box.id)
    assert (state.running, state.exit_code, state.oom_killed, state.error) == (False, 9, False, "")
    assert sorted(engine.logs(box.id, tail_bytes=1000).split()) == ["one", "two"]


def test_a_running_container_has_no_exit_code_nor_has_one_not_started(
    engine: DockerEngine, box: Any, spec: ContainerSpec
) -> None:
    """An exit code is there once it ended."""
    state = engine.state(box.id)
    assert (state.running, state.exit_code, state.health) == (True, None, "")
    waiting = engine.state(engine.create_container(spec))
    assert (waiting.running, waiting.exit_code) == (False, None)


def test_a_container_that_ran_out_of_memory_says_so(
    engine: DockerEngine, start: Callable[..., Any], needs: Needs
) -> None:
    """The engine's own flag."""
    needs("out of memory in the state")
    box = start(command=("tail", "/dev/zero"))
    wait_log(engine, box.id, "never", deadline_s=patient_until(60))
    assert engine.state(box.id).oom_killed


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("nosuch",), "command not found: nosuch"),
        (("/etc",), "permission denied: /etc is no program"),
    ],
)
def test_a_command_that_cannot_be_run_stands_in_the_state(
    engine: DockerEngine, start: Callable[..., Any], command: tuple[str, ...], error: str
) -> None:
    """The init process starts in any case; what it could not run is found in its output."""
    box = start(command=command)
    wait_log(engine, box.id, "never", deadline_s=patient_until(60))
    assert engine.state(box.id).error == error


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": "clnrm-nosuch:1"}, r"no such image on the engine: (docker.io/library/)?clnrm-nosuch:1$"),
        ({"memory_bytes": 1 << 20}, "the memory limit is too low: "),
        ({"cpus": 4096.0}, r"the CPU limit is out of range: the engine allows 0.01 to [\d.]+$"),
        ({"user": "stranger"}, "the image has no user 'stranger'"),
        ({"networks": ("clnrm-nosuch",)}, "no such network: clnrm-nosuch"),
        ({"gpus": 1}, "the engine cannot pass GPUs to containers"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_the_engine_refuses_is_said_in_plain_words(
    start: Callable[..., Any], needs: Needs, changes: dict[str, Any], words: str
) -> None:
    """At creation or start, whenever the engine looks at it."""
    if {"cpus", "gpus"} & set(changes):
        needs("refusing too many CPUs and GPUs")
    with pytest.raises(ContainerError, match=f"^cannot (create|start) the container.*: {words}"):
        start(**changes)


def test_a_port_that_is_taken_is_said_as_such(
    engine: DockerEngine, client: APIClient, spec: ContainerSpec
) -> None:
    """Ports of ours are free ones, but an engine may still find one taken."""
    first = engine.create_container(replace(spec, ports=(80,), networks=("bridge",)))
    engine.start(first)
    port = engine.state(first).ports[80][1]
    host = client.create_host_config(port_bindings={80: ("127.0.0.1", port)})
    second = client.create_container(spec.image, ["true"], ports=[80], host_config=host)["Id"]
    try:
        with pytest.raises(
            ContainerError, match=rf"port taken: 127.0.0.1:{port} is (used by another container|in use)"
        ):
            engine.start(second)
    finally:
        engine.remove([second])


def test_mounts_and_tmpfs(start: Callable[..., Any], tmp_path: Path) -> None:
    """Read-only stays read-only, a colon in a path does no harm, a tmpfs is for everybody."""
    for name in ("plain", "a:b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    box = start(
        mounts=(
            Mount(source=str(tmp_path / "plain"), target="/ro", read_only=True),
            Mount(source=str(tmp_path / "plain"), target="/rw", read_only=False),
            Mount(source=str(tmp_path / "a:b"), target="/colon", read_only=True),
        ),
        tmpfs=("/scratch",),
    )
    assert box.shell("cat /ro/file /colon/file").stdout == b"plaina:b"
    assert box.shell("echo x > /ro/new").exit_code != 0
    assert box.shell("echo x > /colon/new").exit_code != 0
    assert box.shell("echo new > /rw/new").exit_code == 0
    assert (tmp_path / "plain/new").read_text() == "new\n"
    ran = box.shell(
        "printf '#!/bin/sh\\necho runs\\n' > /scratch/x; chmod +x /scratch/x; /scratch/x", user="65534"
    )
    assert ran.stdout == b"runs\n"


def test_entrypoint_and_command_are_those_asked_for(start: Callable[..., Any], client: APIClient) -> None:
    """A command alone leaves the image's entrypoint; no command at all leaves both."""
    config = client.inspect_container(start(command=KEEP_ALIVE, replace_entrypoint=False).id)["Config"]
    assert (config["Entrypoint"], config["Cmd"]) in (
        (None, ["sleep", "2147483647"]),
        ([], ["sleep", "2147483647"]),
    )
    config = client.inspect_container(start(command=KEEP_ALIVE).id)["Config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["sleep"], ["2147483647"])
    config = client.inspect_container(start(command=None, replace_entrypoint=False).id)["Config"]
    assert config["Cmd"] == ["sh"]


def test_the_end_of_the_output_is_bounded_and_decoded(
    engine: DockerEngine, start: Callable[..., Any]
) -> None:
    """At most as many bytes as asked for; what is no UTF-8 is replaced."""
    box = start(command=("sh", "-c", "seq 100000; printf 'end \\377\\n'"))
    wait_log(engine, box.id, "never", deadline_s=patient_until(60))
    text = engine.logs(box.id, tail_bytes=20)
    assert text.endswith("100000\nend \ufffd\n")
    assert len(text) <= 20


def test_waiting_for_a_line(engine: DockerEngine, start: Callable[..., Any]) -> None:
    """True once it is there, False at the deadline or at once when the container exits."""
    text = "echo starting; sleep 0.3; printf 'ready on port 80'; sleep 0.5; echo; exec sleep 1000"
    box = start(command=("sh", "-c", text))
    assert wait_log(engine, box.id, r"ready on port \d+", deadline_s=patient_until(60))
    assert wait_log(engine, box.id, r"^starting$", deadline_s=patient_until(60))
    assert not wait_log(engine, box.id, "never", deadline_s=time.monotonic() + 0.2)
    with closing(engine.follow_log(box.id, until_now=True)) as kept:
        pieces = list(iter(lambda: kept.receive(patient_until(60)), []))
    assert b"ready on port" in b"".join(data for piece in pieces for _, data in piece or ())
    threading.Timer(0.2, engine.remove, ([box.id],)).start()
    assert not wait_log(engine, box.id, "never", deadline_s=patient_until(60))


def test_a_log_that_has_lost_its_beginning(
    engine: DockerEngine, start: Callable[..., Any], needs: Needs
) -> None:
    """That is told of one from which the engine has dropped something, and not of one that is short."""
    needs("telling that a log has lost its beginning")
    for last, whole in ((100, True), (10_000, False)):
        box = start(log_bytes=90_000, command=("sh", "-c", f"echo ERROR >&2; seq {last}"))
        wait_log(engine, box.id, "never", deadline_s=patient_until(60))
        with closing(engine.follow_log(box.id, until_now=True)) as log:
            told: dict[str, bytes] = {"stdout": b"", "stderr": b""}
            while pieces := log.receive(patient_until(60)):
                for stream, data in pieces:
                    told[stream] += data
            assert (log.may_lack() == "") == whole
        assert told["stderr"] == (b"ERROR\n" if whole else b"")
        assert told["stdout"].endswith(f"\n{last}\n".encode())


def test_changes_are_told(engine: DockerEngine, start: Callable[..., Any]) -> None:
    """The end of a container is told to who follows it; commands in it, and others' ends, are none of it."""
    box, other = start(), start()
    with closing(engine.follow_changes(box.id)) as changes:
        assert box.run("true").exit_code == 0
        engine.control(other.id, "kill")
        assert changes.wait(time.monotonic() + 0.3) is False
        engine.control(box.id, "kill")
        assert changes.wait(patient_until(60)) is True
        assert not engine.state(box.id).running


def test_peak_memory(engine: DockerEngine, box: Any) -> None:
    """Told by the container's cgroup where the kernel counts it; unknown for a container that is gone."""
    box.run("dd", "if=/dev/zero", "of=/dev/null", "bs=20M", "count=1")
    counts = ("cat", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes", "/sys/fs/cgroup/memory.peak")
    told = box.run(*counts).stdout.split()
    state = engine.state(box.id)
    peak = engine.peak_memory_bytes(state)
    if told:
        assert peak is not None
        assert 20 << 20 <= peak <= 64 << 20
    else:
        assert peak is None
    engine.remove([box.id])
    assert engine.peak_memory_bytes(state) is None


def test_stopping_asks_first_and_kills_then(engine: DockerEngine, start: Callable[..., Any]) -> None:
    """A container may end in its own way; one that does not listen is killed; again is no error."""
    polite = start(command=("sh", "-c", "trap 'exit 5' TERM; echo on; while :; do sleep 0.05; done"))
    assert wait_log(engine, polite.id, "on", deadline_s=patient_until(60))
    engine.stop(polite.id, grace_s=30)
    assert engine.state(polite.id).exit_code == 5
    deaf = start(command=("sh", "-c", "trap '' TERM; echo on; while :; do sleep 0.05; done"))
    assert wait_log(engine, deaf.id, "on", deadline_s=patient_until(60))
    engine.stop(deaf.id, grace_s=0.5)
    assert engine.state(deaf.id).exit_code == 137
    engine.stop(deaf.id, grace_s=0)
    engine.remove([deaf.id])
    engine.stop(deaf.id, grace_s=0)


def test_removal_is_complete_and_can_be_repeated(
    engine: DockerEngine, start: Callable[..., Any], client: APIClient
) -> None:
    """Running containers go, several at once, from several threads, with their anonymous volumes."""
    boxes = [start() for _ in range(3)]
    host = client.create_host_config(network_mode="none")
    with_volume = client.create_container("clnrm-busybox:1", ["true"], volumes=["/data"], host_config=host)[
        "Id"
    ]
    volume = client.inspect_container(with_volume)["Mounts"][0]["Name"]
    ids = [*(each.id for each in boxes), with_volume]
    threads = [threading.Thread(target=engine.remove, args=(ids,)) for _ in range(2)]
    for each in threads:
        each.start()
    engine.remove(ids)
    for each in threads:
        each.join()
    known = {each["Id"] for each in client.containers(all=True)}
    assert not known & set(ids)
    assert volume not in {each["Name"] for each in client.volumes()["Volumes"] or ()}
    engine.remove([])
    with pytest.raises(ContainerError, match=r"^the container [0-9a-f]{12} is gone$"):
        engine.state(ids[0])


def test_what_is_ours_is_found_by_its_labels_and_removed(
    engine: DockerEngine, start: Callable[..., Any], client: APIClient
) -> None:
    """Containers, networks and volumes, whatever state they are in; nothing that has other labels."""
    mark = {"clnrm-sweep": os.urandom(6).hex()}
    network = engine.create_network("clnrm-sweep-" + mark["clnrm-sweep"], internal=True, labels=mark)
    start(labels=mark, networks=(network,))
    start(labels=mark, command=("true",))
    other = start()
    client.create_volume("clnrm-sweep-" + mark["clnrm-sweep"], labels=mark)
    found = engine.list_owned(mark)
    assert sorted(each.kind for each in found) == ["container", "container", "network", "volume"]
    assert all(each.labels["clnrm-sweep"] == mark["clnrm-sweep"] for each in found)
    assert {each.id for each in found} <= {each.id for each in engine.list_owned({"clnrm-sweep": ""})}
    engine.remove_owned(found)
    engine.remove_owned(found)
    assert engine.list_owned(mark) == ()
    assert engine.state(other.id).running


def test_published_ports_are_on_loopback_and_reachable(
    engine: DockerEngine, start: Callable[..., Any], client: APIClient, needs: Needs
) -> None:
    """Also for a container whose first network is internal, which publishes nothing itself."""
    needs("ports beside an internal network")
    network = engine.create_network(f"clnrm-test-{os.urandom(4).hex()}", internal=True, labels={})
    script = "printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello' > /a; while :; do nc -l -p 8080 < /a; done"
    box = start(command=("sh", "-c", script), ports=(8080,), networks=(network, "bridge"), aliases=("web",))
    state = engine.state(box.id)
    host, port = state.ports[8080]
    assert len(state.addresses) == 2
    assert (
        client.inspect_container(box.id)["HostConfig"]["PortBindings"]["8080/tcp"][0]["HostIp"] == "127.0.0.1"
    )
    deadline_s = patient_until(30)
    while True:
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/", timeout=patient_s(5)) as answer:
                text = answer.read()
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)
        else:
            assert text == b"hello"
            return


def test_a_remote_engine_publishes_where_it_can_be_reached(
    reached: Any, spec: ContainerSpec, client: APIClient
) -> None:
    """Its loopback address is not ours; ports are reached under its host's name."""
    from pytest_clnrm.engine.docker.engine import DockerEngine

    facts = replace(reached[1], remote=True, host="there", published_on="0.0.0.0")  # noqa: S104 -- what it is about
    remote = DockerEngine(client, facts, locks=lambda _: None)  # type: ignore[arg-type, return-value]
    container = remote.create_container(replace(spec, ports=(80,), networks=("bridge",)))
    try:
        remote.start(container)
        bindings = client.inspect_container(container)["HostConfig"]["PortBindings"]
        assert bindings["80/tcp"][0]["HostIp"] == "0.0.0.0"  # noqa: S104 -- what it is about
        assert remote.state(container).ports[80][0] == "there"
    finally:
        remote.remove([container])


# docker-py leaves a socket that found nobody to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_is_gone_is_said_as_such(tmp_path: Path, reached: Any, spec: ContainerSpec) -> None:
    """Not the scenario's fault, and no traceback of the client library."""
    import docker

    from pytest_clnrm.engine.docker.engine import DockerEngine

    client = docker.APIClient(f"unix://{tmp_path}/none.sock", version="1.41")
    engine = DockerEngine(client, reached[1], locks=lambda _: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(
        EngineUnavailableError, match=r"^the container engine does not answer any more \(to create"
    ):
        engine.create_container(spec)
    engine.close()
    gc.collect()
