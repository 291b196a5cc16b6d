"""What an engine is and has, read from what it tells of itself. Pure but for :func:`look_around`."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_clnrm.engine.api import ANYWHERE, LOOPBACK, EngineFacts
from pytest_clnrm.engine.connect.endpoints import Endpoint

_WARNINGS = {
    "MemoryLimit": "The engine cannot limit memory: --clnrm-memory has no effect.",
    "SwapLimit": "The engine cannot limit swap: a container may use swap on top of --clnrm-memory.",
    "CpuCfsQuota": "The engine cannot limit CPU time: --clnrm-cpu has no effect.",
    "PidsLimit": "The engine cannot limit the number of processes: `pids` of [limits] has no effect.",
}
_ROOTLESS_V1 = (
    "The engine is rootless and its machine has cgroup v1: containers have no limits, and --clnrm-memory, "
    "--clnrm-cpu and `pids` of [limits] have no effect."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where this process runs.

    :param machine_id: systemd's id of this machine, "" if it has none.
    :param gpu_devices: NVIDIA devices among this machine's device files.
    :param gateway: set if this process runs in a container of the engine itself (a CI job that shares
        its host's socket): the address under which that host is reached from here.
    """

    hostname: str
    kernel: str
    machine_id: str = ""
    gpu_devices: int = 0
    gateway: str = ""


def read_facts(
    info: Mapping[str, Any], version: Mapping[str, Any], endpoint: Endpoint, here: Surroundings
) -> EngineFacts:
    """Return the facts of the engine at *endpoint*.

    :param info: the engine's answer to ``GET /info``.
    :param version: its answer to ``GET /version``.
    """
    kind = "podman" if _is_podman(version) else "docker"
    remote = _is_remote(info, endpoint, here)
    return EngineFacts(
        identity=_identity(kind, info, here, remote=remote),
        kind=kind,
        version=str(version.get("Version", "")),
        url=endpoint.url,
        host=here.gateway or (endpoint.host if remote else LOOPBACK),
        remote=remote,
        rootless=_is_rootless(info),
        elsewhere=not _is_our_machine(info, here),
        cpus=int(info.get("NCPU") or 1),
        memory_bytes=int(info.get("MemTotal") or 0),
        gpus=_gpus(info, here, remote=remote),
        warnings=_warnings(info),
        # With its host's network, a container of the engine has that host's loopback address, too.
        published_on=ANYWHERE if remote and here.gateway != LOOPBACK else LOOPBACK,
    )


def look_around(gateway: str = "", root: Path = Path("/")) -> Surroundings:
    """Return where this process runs.

    :param gateway: see :class:`Surroundings`.
    """
    try:
        machine_id = (root / "etc/machine-id").read_text(encoding="utf-8").strip()
    except OSError:
        machine_id = ""
    return Surroundings(
        hostname=socket.gethostname(),
        kernel=os.uname().release,
        machine_id=machine_id,
        gpu_devices=len(list(root.glob("dev/nvidia[0-9]*"))),
        gateway=gateway,
    )


# Its fields: id, parent, device, what is mounted, where; see proc(5).
_MOUNTED = re.compile(
    r"^\d+ \d+ \S+ \S*/(?:overlay-)?containers/([0-9a-f]{64})/\S* /etc/(?:hostname|hosts|resolv\.conf) ",
    re.MULTILINE,
)


def own_container_ids(mountinfo: str, cgroup: str) -> tuple[str, ...]:
    """Return the ids of containers in which this process may run, without repetition.

    :param mountinfo: content of ``/proc/self/mountinfo``: the engine mounts ``/etc/hostname`` from a folder
        named by the container's id (with cgroup v2 the only place where it can be seen). What is mounted *on*
        such a folder, as shared memory is, is seen on the engine's host, too.
    :param cgroup: content of ``/proc/self/cgroup``, which names it with cgroup v1.
    """
    found = _MOUNTED.findall(mountinfo)
    found += re.findall(r"(?:/docker/|docker-|libpod-|/libpod_parent/libpod-)([0-9a-f]{64})", cgroup)
    return tuple(dict.fromkeys(found))


def default_gateway(routes: str) -> str:
    """Return the default gateway's IPv4 address, "" if there is none.

    :param routes: content of ``/proc/net/route``.
    """
    for line in routes.split("\n")[1:]:
        fields = line.split()
        if len(fields) > 2 and fields[1] == "00000000" and fields[2] != "00000000":  # noqa: PLR2004 -- column 3
            return socket.inet_ntoa(bytes.fromhex(fields[2])[::-1])
    return ""


def find_gateway(knows: Callable[[str], str | None], proc: Path = Path("/proc")) -> str:
    """Return our host's address if we run in a container of the engine, "" if we do not.

    :param knows: returns the network mode of the engine's container with this id, None if it has none.
    """
    try:
        mountinfo = (proc / "self/mountinfo").read_text(encoding="utf-8", errors="replace")
        cgroup = (proc / "self/cgroup").read_text(encoding="utf-8", errors="replace")
        routes = (proc / "net/route").read_text(encoding="utf-8")
    except OSError:
        return ""
    for container in own_container_ids(mountinfo, cgroup):
        mode = knows(container)
        if mode is not None:
            return LOOPBACK if mode == "host" else default_gateway(routes)
    return ""


def _is_podman(version: Mapping[str, Any]) -> bool:
    return any("podman" in str(each.get("Name", "")).lower() for each in version.get("Components") or ())


def _is_remote(info: Mapping[str, Any], endpoint: Endpoint, here: Surroundings) -> bool:
    """Tell whether the engine's file system is not ours.

    A loopback address may be a tunnel, so there the engine must say our host's name and kernel as well.
    """
    if here.gateway:
        return True
    if endpoint.scheme == "unix":
        return False
    return not (
        _is_our_machine(info, here)
        and endpoint.scheme != "ssh"
        and endpoint.host in {"localhost", LOOPBACK, "::1"}
    )


def _is_our_machine(info: Mapping[str, Any], here: Surroundings) -> bool:
    return (info.get("Name"), info.get("KernelVersion")) == (here.hostname, here.kernel)


def _warnings(info: Mapping[str, Any]) -> tuple[str, ...]:
    # Podman tells what the kernel can limit, which is nothing for those who are not root with cgroup v1.
    if _is_rootless(info) and str(info.get("CgroupVersion")) == "1":
        return (_ROOTLESS_V1,)
    # A key that is missing says nothing; only an engine that says no is warned of.
    return tuple(text for key, text in _WARNINGS.items() if info.get(key) is False)


def _is_rootless(info: Mapping[str, Any]) -> bool:
    return bool(info.get("Rootless")) or any(
        "name=rootless" in str(each) for each in info.get("SecurityOptions") or ()
    )


def _identity(kind: str, info: Mapping[str, Any], here: Surroundings, *, remote: bool) -> str:
    """Return a short name of the engine that all its clients derive alike.

    Podman's id is empty, or new with each question (4.x), so there the machine stands for it. The storage
    folder tells apart the engines of two users of one machine, and copies of one virtual machine's disk.
    """
    if kind == "docker" and info.get("ID"):
        who = str(info["ID"])
    else:
        who = str(info.get("Name", "")) if remote or not here.machine_id else here.machine_id
    text = "\0".join((kind, who, str(info.get("DockerRootDir", ""))))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _gpus(info: Mapping[str, Any], here: Surroundings, *, remote: bool) -> int:
    """Count GPUs: devices found by CDI, else generic resources, else our own where NVIDIA's runtime is."""
    devices = {
        str(each.get("ID", ""))
        for each in info.get("DiscoveredDevices") or ()
        if re.search(r"/gpu=\d+$", str(each.get("ID", "")))
    }
    if devices:
        return len(devices)
    generic = 0
    for each in info.get("GenericResources") or ():
        named, counted = each.get("NamedResourceSpec") or {}, each.get("DiscreteResourceSpec") or {}
        if "gpu" in str(named.get("Kind", "")).lower():
            generic += 1
        if "gpu" in str(counted.get("Kind", "")).lower():
            generic += int(counted.get("Value") or 0)
    if generic:
        return generic
    return here.gpu_devices if "nvidia" in (info.get("Runtimes") or {}) and not remote else 0
