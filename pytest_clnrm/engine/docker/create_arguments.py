"""A container's specification, as the engine's API takes it, and the proxy settings that go with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from docker.types import DeviceRequest, Ulimit
from docker.types import Mount as ApiMount

from pytest_clnrm.engine.api import ContainerSpec, Mount
from pytest_clnrm.engine.exec.main_shell import LOG_BYTES

if TYPE_CHECKING:
    from docker import APIClient

# Networks of the engine's own, on which a container cannot have further names.
BUILT_IN_NETWORKS = frozenset({"bridge", "default", "host", "none", "podman"})

_NANO = 1_000_000_000
_LOG_FILES = 3
# Of output that is passed on as it comes: it is not to wait for its log.
_SHORT_LOG = {
    "Type": "json-file",
    "Config": {"max-size": str(LOG_BYTES), "max-file": "1", "mode": "non-blocking"},
}
_LOCAL = ("localhost", "127.0.0.1")
# As an image's own folder would be: programs may run from it, everybody may write. It counts as memory.
_TMPFS = "rw,exec,nosuid,nodev,mode=1777"


def create_arguments(
    client: APIClient,
    spec: ContainerSpec,
    *,
    proxies: Mapping[str, str],
    published_on: str,
    relabel: bool,
    is_shared: bool = True,
    is_podman: bool = False,
    end_mark: str = "",
) -> dict[str, Any]:
    """Return the keyword arguments of docker-py's ``create_container``.

    :param proxies: variables below ``spec.env``.
    :param published_on: the engine's address on which ports are published.
    :param relabel: True where SELinux has to let containers at bind mounts.
    :param is_shared: False where the engine may lack what is to be mounted.
    :param is_podman: its logs are called otherwise, and are one file.
    :param end_mark: of a container whose command takes our commands on its standard input.
    """
    arguments: dict[str, Any] = {
        "image": spec.image,
        "name": spec.name,
        "environment": {**proxies, **spec.env},
        "labels": {**spec.more_labels, **spec.labels},
        "host_config": client.create_host_config(
            **_host_options(spec, published_on, relabel=relabel, is_shared=is_shared)
        ),
        # Ours are in `environment` already, completed by the names that need no proxy.
        "use_config_proxy": False,
    }
    if spec.log_bytes:
        arguments["host_config"]["LogConfig"] = _log_config(spec.log_bytes, is_podman=is_podman)
    if spec.command:
        # An entrypoint of our own makes the engine drop the image's command.
        if spec.replace_entrypoint:
            arguments["entrypoint"] = list(spec.command[:1])
            arguments["command"] = list(spec.command[1:])
        else:
            arguments["command"] = list(spec.command)
    if spec.hostname is not None:
        arguments["hostname"] = spec.hostname
    if spec.stop_signal is not None:
        arguments["stop_signal"] = spec.stop_signal
    if end_mark:
        arguments["command"].append(end_mark)
        arguments["stdin_open"] = True
        arguments["host_config"] |= {"LogConfig": _SHORT_LOG, "Init": False}
        # It is process 1, to which other signals mean nothing: an engine that stops it would wait in vain.
        arguments["stop_signal"] = "SIGKILL"
    if spec.workdir is not None:
        arguments["working_dir"] = spec.workdir
    if spec.user is not None:
        arguments["user"] = spec.user
    if spec.ports or spec.udp_ports:
        arguments["ports"] = [*spec.ports, *((port, "udp") for port in spec.udp_ports)]
    if spec.own_volumes:
        arguments["volumes"] = list(spec.own_volumes)
    if spec.networks and spec.networks[0] not in BUILT_IN_NETWORKS:
        endpoint = client.create_endpoint_config(aliases=list(spec.aliases))
        # The stubs know no mapping here.
        endpoints: Any = {spec.networks[0]: endpoint}
        arguments["networking_config"] = client.create_networking_config(endpoints)
    return arguments


def _log_config(size: int, *, is_podman: bool) -> dict[str, Any]:
    """Return what makes the engine keep the last *size* bytes of a container's output, roughly."""
    if is_podman:
        return {"Type": "k8s-file", "Config": {"max-size": str(size)}}
    # Docker drops a whole file when the last one is full.
    each = {"max-size": str(max(size // _LOG_FILES, 1)), "max-file": str(_LOG_FILES)}
    return {"Type": "json-file", "Config": each}


def _host_options(
    spec: ContainerSpec, published_on: str, *, relabel: bool, is_shared: bool
) -> dict[str, Any]:
    """Return the keyword arguments of docker-py's ``create_host_config``."""
    options: dict[str, Any] = {
        "mem_limit": spec.memory_bytes,
        # The sum of memory and swap: equal means no swap.
        "memswap_limit": spec.memory_bytes,
        "nano_cpus": round(spec.cpus * _NANO),
        "pids_limit": spec.pids,
        "security_opt": [] if spec.new_privileges else ["no-new-privileges"],
        "init": True,
        "network_mode": spec.networks[0] if spec.networks else "none",
    }
    if spec.ports or spec.udp_ports:
        ports = [*spec.ports, *(f"{port}/udp" for port in spec.udp_ports)]
        options["port_bindings"] = dict.fromkeys(ports, (published_on,))
    if spec.shm_bytes:
        options["shm_size"] = spec.shm_bytes
    if spec.ulimits:
        options["ulimits"] = [
            Ulimit(name=name, soft=soft, hard=hard) for name, (soft, hard) in spec.ulimits.items()
        ]
    for name in ("cap_add", "cap_drop"):
        if names := getattr(spec, name):
            options[name] = list(names)
    if spec.read_only:
        options["read_only"] = True
    if spec.extra_hosts:
        options["extra_hosts"] = dict(spec.extra_hosts)
    if spec.tmpfs:
        options["tmpfs"] = dict.fromkeys(spec.tmpfs, _TMPFS)
    if spec.gpus:
        options["device_requests"] = [DeviceRequest(count=spec.gpus, capabilities=[["gpu"]])]
    # Only this form carries `:z`. Only the other one carries a path with a colon, and is refused where the
    # engine has no such source, instead of an empty folder being made there.
    as_binds = [each for each in spec.mounts if (is_shared or relabel) and not _has_colon(each)]
    binds = [_bind(each, relabel=relabel) for each in as_binds]
    if binds:
        options["binds"] = binds
    mounts = [
        ApiMount(target=each.target, source=each.source, type="bind", read_only=each.read_only)
        for each in spec.mounts
        if each not in as_binds
    ]
    mounts += [
        ApiMount(target=each.target, source=each.source, type="volume", read_only=each.read_only)
        for each in spec.volumes
    ]
    if mounts:
        options["mounts"] = mounts
    return options


def _has_colon(mount: Mount) -> bool:
    return ":" in mount.source or ":" in mount.target


def _bind(mount: Mount, *, relabel: bool) -> str:
    mode = "ro" if mount.read_only else "rw"
    return f"{mount.source}:{mount.target}:{mode}{',z' if relabel else ''}"


def proxy_environment(
    settings: Mapping[str, Any], url: str, env: Mapping[str, str], direct: Sequence[str]
) -> dict[str, str]:
    """Return the proxy variables that Docker's own command would add to *env*, which always wins.

    Names that are local to the container stay reachable.

    :param settings: content of Docker's ``config.json``.
    :param url: the engine's address: ``proxies`` may hold an entry for it besides ``default``.
    :param env: the container's own variables.
    :param direct: names to be reached without a proxy.
    """
    proxies = settings.get("proxies")
    chosen = (proxies.get(url) or proxies.get("default")) if isinstance(proxies, Mapping) else None
    chosen = chosen if isinstance(chosen, Mapping) else {}
    found: dict[str, str] = {}
    for key, name in (("httpProxy", "http_proxy"), ("httpsProxy", "https_proxy"), ("ftpProxy", "ftp_proxy")):
        if value := chosen.get(key):
            found[name] = found[name.upper()] = str(value)
    proxied = found or {each for each in env if each.lower() in {"http_proxy", "https_proxy", "all_proxy"}}
    if proxied:
        names = [each for each in str(chosen.get("noProxy") or "").split(",") if each]
        names += [each for each in (*_LOCAL, *direct) if each not in names]
        found["no_proxy"] = found["NO_PROXY"] = ",".join(names)
    # A user who sets one spelling means both: ours in the other one would win in some programs.
    own = {each.lower() for each in env}
    return {name: value for name, value in found.items() if name.lower() not in own}
