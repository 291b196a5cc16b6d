"""What an engine is and has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.engine.connect.endpoints import Endpoint
from pytest_clnrm.engine.connect.facts import (
    Surroundings,
    default_gateway,
    find_gateway,
    look_around,
    own_container_ids,
    read_facts,
)

HERE = Surroundings(hostname="here", kernel="6.1", machine_id="m1")
UNIX = Endpoint(url="unix:///var/run/docker.sock")
DOCKER = {"Version": "20.10.24", "Components": [{"Name": "Engine"}]}
PODMAN = {"Version": "4.3.1", "Components": [{"Name": "Podman Engine"}]}
INFO = {
    "ID": "AA",
    "DockerRootDir": "/data",
    "Name": "here",
    "KernelVersion": "6.1",
    "NCPU": 4,
    "MemTotal": 9,
}
ROUTES = "Iface\tDestination\tGateway\neth0\t000011AC\t00000000\neth0\t00000000\t010011AC\t0003\n"
ID = "ab" * 32


def test_local_docker() -> None:
    """A local engine publishes on our loopback address and shares our files."""
    facts = read_facts(INFO, DOCKER, UNIX, HERE)
    assert (facts.kind, facts.version, facts.url) == ("docker", "20.10.24", "unix:///var/run/docker.sock")
    assert (facts.host, facts.remote, facts.rootless) == ("127.0.0.1", False, False)
    assert not facts.elsewhere
    assert (facts.cpus, facts.memory_bytes, facts.gpus, facts.warnings) == (4, 9, 0, ())


@pytest.mark.parametrize("other", [{"KernelVersion": "6.6.87-linuxkit"}, {"Name": "docker-desktop"}])
def test_an_engine_in_a_virtual_machine(other: dict[str, str]) -> None:
    """A local socket may lead to another machine: its kernel or name says so."""
    facts = read_facts({**INFO, **other}, DOCKER, UNIX, HERE)
    assert (facts.elsewhere, facts.remote) == (True, False)


@pytest.mark.parametrize(
    ("url", "host", "remote"),
    [
        ("tcp://dind:2375", "dind", True),
        ("ssh://me@there", "there", True),
        ("ssh://me@localhost", "localhost", True),
        ("tcp://127.0.0.1:2375", "127.0.0.1", False),
        ("http://localhost:2375", "127.0.0.1", False),
    ],
)
def test_host_of_published_ports(url: str, host: str, *, remote: bool) -> None:
    """Ports are published where the engine is."""
    facts = read_facts(INFO, DOCKER, Endpoint(url=url), HERE)
    assert (facts.host, facts.remote) == (host, remote)
    assert facts.published_on == ("0.0.0.0" if remote else "127.0.0.1")  # noqa: S104 -- what it is about


def test_tunnel_is_remote() -> None:
    """An engine on a loopback address that names another machine is at the end of a tunnel."""
    assert read_facts({**INFO, "Name": "there"}, DOCKER, Endpoint(url="tcp://127.0.0.1:2375"), HERE).remote


def test_sibling_container() -> None:
    """In a CI container that shares its host's socket, ports are on that host and files are not ours."""
    here = Surroundings(hostname="job", kernel="6.1", gateway="172.17.0.1")
    facts = read_facts(INFO, DOCKER, UNIX, here)
    assert (facts.host, facts.remote, facts.published_on) == ("172.17.0.1", True, "0.0.0.0")  # noqa: S104


def test_sibling_container_with_the_hosts_network() -> None:
    """It has that host's loopback address, and nobody else does."""
    here = Surroundings(hostname="job", kernel="6.1", gateway="127.0.0.1")
    facts = read_facts(INFO, DOCKER, UNIX, here)
    assert (facts.host, facts.remote, facts.published_on) == ("127.0.0.1", True, "127.0.0.1")


def test_identity_of_docker() -> None:
    """Docker's id and storage make its identity, whoever asks and whichever way."""
    mine = read_facts(INFO, DOCKER, UNIX, HERE).identity
    theirs = read_facts(INFO, DOCKER, Endpoint(url="tcp://dind:1"), Surroundings(hostname="x", kernel="y"))
    assert mine == theirs.identity
    for change in ({"ID": "BB"}, {"DockerRootDir": "/other"}):
        assert read_facts({**INFO, **change}, DOCKER, UNIX, HERE).identity != mine


def test_identity_of_podman() -> None:
    """Podman's id is empty or random, so machine and storage make its identity."""
    first = read_facts({**INFO, "ID": "random1"}, PODMAN, UNIX, HERE)
    assert first.kind == "podman"
    assert read_facts({**INFO, "ID": ""}, PODMAN, UNIX, HERE).identity == first.identity
    other = Surroundings(hostname="here", kernel="6.1", machine_id="m2")
    assert read_facts(INFO, PODMAN, UNIX, other).identity != first.identity
    remote = Endpoint(url="tcp://there:1")
    assert read_facts(INFO, PODMAN, remote, HERE) == read_facts(INFO, PODMAN, remote, other)


@pytest.mark.parametrize(
    "extra", [{"Rootless": True}, {"SecurityOptions": ["name=seccomp", "name=rootless"]}]
)
def test_rootless(extra: dict[str, Any]) -> None:
    """Docker and Podman each have a way of saying that they run without root."""
    assert read_facts({**INFO, **extra}, DOCKER, UNIX, HERE).rootless


@pytest.mark.parametrize(
    ("extra", "devices", "count"),
    [
        ({"DiscoveredDevices": [{"ID": f"nvidia.com/gpu={n}"} for n in ("0", "1", "all", "GPU-1f")]}, 0, 2),
        ({"GenericResources": [{"NamedResourceSpec": {"Kind": "NVIDIA-GPU", "Value": "GPU-1"}}] * 3}, 0, 3),
        ({"GenericResources": [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 4}}]}, 0, 4),
        ({"GenericResources": [{"DiscreteResourceSpec": {"Kind": "ssd", "Value": 4}}]}, 2, 0),
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, 2, 2),
        ({"Runtimes": {"runc": {}}}, 2, 0),
    ],
)
def test_gpus(extra: dict[str, Any], devices: int, count: int) -> None:
    """GPUs are counted from what the engine tells; our own devices count where it has NVIDIA's runtime."""
    here = Surroundings(hostname="here", kernel="6.1", gpu_devices=devices)
    assert read_facts({**INFO, **extra}, DOCKER, UNIX, here).gpus == count


def test_gpus_of_a_remote_engine() -> None:
    """Our own devices say nothing about a remote engine's."""
    here = Surroundings(hostname="here", kernel="6.1", gpu_devices=2)
    facts = read_facts({**INFO, "Runtimes": {"nvidia": {}}}, DOCKER, Endpoint(url="tcp://dind:1"), here)
    assert facts.gpus == 0


def test_warnings() -> None:
    """A limit that the engine says it cannot enforce is named with the option it affects."""
    keys = ("MemoryLimit", "SwapLimit", "CpuCfsQuota", "PidsLimit")
    facts = read_facts({**INFO, **dict.fromkeys(keys, False)}, DOCKER, UNIX, HERE)
    assert facts.warnings == (
        "The engine cannot limit memory: --clnrm-memory has no effect.",
        "The engine cannot limit swap: a container may use swap on top of --clnrm-memory.",
        "The engine cannot limit CPU time: --clnrm-cpu has no effect.",
        "The engine cannot limit the number of processes: `pids` of [limits] has no effect.",
    )


def test_rootless_with_cgroup_v1() -> None:
    """Podman tells what its kernel could limit; without root that is nothing."""
    (warning,) = read_facts({**INFO, "Rootless": True, "CgroupVersion": "1"}, DOCKER, UNIX, HERE).warnings
    assert "cgroup v1: containers have no limits, and --clnrm-memory, --clnrm-cpu and `pids`" in warning
    assert read_facts({**INFO, "Rootless": True, "CgroupVersion": "2"}, DOCKER, UNIX, HERE).warnings == ()
    assert read_facts({**INFO, "CgroupVersion": "1"}, DOCKER, UNIX, HERE).warnings == ()


def test_look_around(tmp_path: Path) -> None:
    """Machine id and NVIDIA's devices are read from the file system; a machine may have neither."""
    assert look_around(root=tmp_path).machine_id == ""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("m3\n")
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / "dev" / name).touch()
    here = look_around("10.0.0.1", tmp_path)
    assert (here.machine_id, here.gpu_devices, here.gateway) == ("m3", 2, "10.0.0.1")


@pytest.mark.parametrize(
    ("mountinfo", "cgroup"),
    [
        (f"1 2 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw", ""),
        (f"1 2 0:9 /containers/overlay-containers/{ID}/userdata/hosts /etc/hosts rw", ""),
        ("", f"4:memory:/docker/{ID}"),
        ("", f"0::/system.slice/docker-{ID}.scope"),
        ("", f"0::/machine.slice/libpod-{ID}.scope"),
        (f"1 2 8:1 /containers/{ID}/hosts /etc/hosts rw", f"4:memory:/docker/{ID}"),
    ],
)
def test_own_container_ids(mountinfo: str, cgroup: str) -> None:
    """Mounts and control groups of a container carry its id."""
    assert own_container_ids(mountinfo, cgroup) == (ID,)


def test_containers_beside_us() -> None:
    """What an engine mounts on the folders of its containers is none of ours."""
    shared_memory = f"1 2 0:68 / /var/lib/docker/containers/{ID}/mounts/shm rw,nosuid shared:9 - tmpfs shm rw"
    assert own_container_ids(shared_memory, "0::/user.slice") == ()


def test_default_gateway() -> None:
    """The default route's gateway is read; there may be none."""
    assert default_gateway(ROUTES) == "172.17.0.1"
    assert default_gateway("Iface\n") == ""


@pytest.mark.parametrize(("mode", "gateway"), [(None, ""), ("bridge", "172.17.0.1"), ("host", "127.0.0.1")])
def test_find_gateway(mode: str | None, gateway: str, tmp_path: Path) -> None:
    """Only in a container that the engine knows do we have a gateway to its host."""
    for name, text in {"self/mountinfo": "", "self/cgroup": f"0::/docker/{ID}", "net/route": ROUTES}.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    asked: list[str] = []

    def knows(container: str) -> str | None:
        asked.append(container)
        return mode

    assert find_gateway(knows, tmp_path) == gateway
    assert asked == [ID]


def test_no_proc(tmp_path: Path) -> None:
    """Without /proc we are in no container."""
    assert find_gateway(lambda _: "bridge", tmp_path) == ""
