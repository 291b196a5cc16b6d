"""Networks of scenarios."""

from __future__ import annotations

import ipaddress
import random
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors
from docker.types import IPAMConfig, IPAMPool

from pytest_clnrm.engine.plain_errors import engine_text, plain_errors
from pytest_clnrm.errors import EngineError

if TYPE_CHECKING:
    from docker import APIClient

# Part of 10.0.0.0/8 that neither Docker's nor Podman's own pools use: 1024 networks of 61 containers each.
SPACE = ipaddress.IPv4Network("10.251.0.0/16")
_PREFIX = 26
_TRIES = 64

_POOL_IS_EMPTY = (
    "non-overlapping ipv4 address pool",
    "predefined address pools",
    "could not find free subnet",
)
_TAKEN = ("overlap", "already used", "already in use", "conflicts with network")


class _TakenError(Exception):
    """These addresses cannot be had."""


def subnets(rng: random.Random) -> Iterator[str]:
    """Yield different subnets for networks of ours, in random order: runs side by side rarely collide."""
    size = 2 ** (32 - _PREFIX)
    for index in rng.sample(range(SPACE.num_addresses // size), _TRIES):
        yield f"{SPACE.network_address + index * size}/{_PREFIX}"


def create_network(client: APIClient, name: str, *, internal: bool, labels: Mapping[str, str]) -> str:
    """Create a bridge network and return its id.

    The engine chooses the addresses; once its own pool is empty (Docker's ends after some 29 networks), they
    are a free subnet of :data:`SPACE`.

    :raises EngineError: with the engine's reason.
    """
    doing = f"create the network {name!r}"
    # Not the global generator: tests reseed it, and then all workers would choose alike.
    for subnet in ("", *subnets(random.SystemRandom())):
        with plain_errors(doing), suppress(_TakenError):
            return _create(client, name, internal=internal, labels=labels, subnet=subnet)
    raise EngineError(
        f"cannot {doing}: the engine's address pools are used up, and so are {_TRIES} subnets tried in "
        f"{SPACE}: remove networks that are not needed (`docker network prune`)"
    )


def has_network(client: APIClient, network: str) -> bool:
    """Tell whether a network is there."""
    with plain_errors("look at a network"):
        try:
            client.inspect_network(network)
        except docker.errors.NotFound:
            return False
    return True


def gateway(client: APIClient, network: str, *, is_ours: bool | None) -> str:
    """Return this host's address on *network*, "" if it has none.

    The engine may be on another machine, behind a local socket too, or in a network namespace of its own. So
    what it tells is looked for here.

    :param is_ours: whether the engine's networks are this host's; None if the bridge is to tell.
    :raises EngineError: if there is no such network.
    """
    with plain_errors("look at a network"):
        facts = client.inspect_network(network)
    pools = (facts.get("IPAM") or {}).get("Config") or ()
    # Podman writes the prefix behind it.
    address = next((str(pool["Gateway"]).partition("/")[0] for pool in pools if pool.get("Gateway")), "")
    if not address:
        return ""
    if is_ours is None:
        # Docker names the bridge by the network's id, which no other engine has given.
        is_ours = _has_interface(f"br-{facts['Id'][:12]}")
    return address if is_ours else ""


def _has_interface(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def shares_network(socket_path: str) -> bool:
    """Tell whether who listens on a socket is in this process's network namespace, as far as can be seen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        try:
            peer.connect(socket_path)
            pid, _, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            # 0: of no process in our process namespace, so one of another container, at least.
            return pid != 0 and _own_network() in _networks_of(pid)
        except PermissionError:
            # Another user's, as root's is: that is the usual engine of this host.
            return True
        except (OSError, AttributeError):
            return False


def _networks_of(pid: int) -> Iterator[int]:
    """Yield the network namespaces of a process's threads: one that made a container may be left in its."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            yield (thread / "ns/net").stat().st_ino


def _own_network() -> int:
    return Path("/proc/self/ns/net").stat().st_ino


def remove_network(client: APIClient, network: str, *, is_podman: bool) -> None:
    """Remove it, with what is still connected to it taken off; one that is gone already is no error."""
    with plain_errors("remove a network"), suppress(docker.errors.NotFound):
        if is_podman:
            # Asked by its id Podman 5 removes one that is in use, and cannot clean up its containers then.
            network = str(client.inspect_network(network)["Name"])
        try:
            client.remove_network(network)
        except docker.errors.APIError as error:
            if not _says(error, ("active endpoints", "being used")):
                raise
            for container, endpoint in (client.inspect_network(network)["Containers"] or {}).items():
                # Of a container that is gone, an engine that was ended meanwhile knows the name alone.
                for name in (container, endpoint.get("Name") or container):
                    with suppress(docker.errors.NotFound):
                        client.disconnect_container_from_network(name, network, force=True)
                        break
            client.remove_network(network)


def take_names(client: APIClient, network: str, container: str) -> None:
    """Connect a container anew, without aliases; one that is gone is no error."""
    with plain_errors("connect a container anew"), suppress(docker.errors.NotFound):
        client.disconnect_container_from_network(container, network, force=True)
        client.connect_container_to_network(container, network)


def _create(
    client: APIClient, name: str, *, internal: bool, labels: Mapping[str, str], subnet: str = ""
) -> str:
    ipam = IPAMConfig(pool_configs=[_pool(subnet)]) if subnet else None
    try:
        answer = client.create_network(
            name, driver="bridge", internal=internal, labels=dict(labels), ipam=ipam
        )
    except docker.errors.APIError as error:
        if _says(error, _TAKEN if subnet else _POOL_IS_EMPTY):
            raise _TakenError from error
        raise
    return str(answer["Id"])


def _pool(subnet: str) -> IPAMPool:
    """Return a subnet with its gateway, which Docker does not tell where it has chosen that itself."""
    return IPAMPool(subnet=subnet, gateway=str(ipaddress.IPv4Network(subnet)[1]))


def _says(error: docker.errors.APIError, phrases: tuple[str, ...]) -> bool:
    text = engine_text(error).lower()
    return any(each in text for each in phrases)
