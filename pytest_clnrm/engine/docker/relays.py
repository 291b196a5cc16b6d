"""The container of a relay: a small one of ours, whose only program is our own (docs/design/relay.md)."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import docker.errors
from docker.types import LogConfig

from pytest_clnrm.engine.api import RELAY_PORT
from pytest_clnrm.engine.docker.containers import inspect_container, remove_container
from pytest_clnrm.engine.docker.images import lock_name
from pytest_clnrm.engine.exec.main_shell import attach
from pytest_clnrm.engine.exec.streams import Connection, Demultiplexer
from pytest_clnrm.engine.plain_errors import plain_errors
from pytest_clnrm.engine.relay.multiplexer import Multiplexer
from pytest_clnrm.engine.relay.relayed import MultiplexedRelay
from pytest_clnrm.engine.tool.program import packed, program, relay_arguments, short_digest
from pytest_clnrm.errors import EngineError, EngineUnavailableError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.docker.images import Locks

IMAGE = "clnrm-tool"
_PROGRAM = "clnrm"
_MEMORY_BYTES = 16 << 20
_PIDS = 4
_NOBODY = "65534:65534"
_READY_S = 30.0
_SAID_CHARS = 300


class _AttachedWire:
    """The streams of a container's main process, whose standard output is the relay's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._streams = Demultiplexer()
        self._said = b""

    @property
    def fd(self) -> int:
        return self._connection.fd

    @property
    def unsent(self) -> int:
        return self._connection.unsent

    def send(self, data: bytes) -> None:
        self._connection.send(data)

    def receive_now(self) -> bytes | None:
        while data := self._receive():
            pieces = list(self._streams.feed(data))
            self._said += b"".join(piece for stream, piece in pieces if stream == "stderr")
            if found := b"".join(piece for stream, piece in pieces if stream == "stdout"):
                return found
        return data

    def _receive(self) -> bytes | None:
        try:
            return self._connection.receive(0.0)
        except EngineUnavailableError as error:
            self._said = str(error).encode()
            return b""

    def why_ended(self) -> str:
        return self._said.decode("utf-8", "replace").strip()[:_SAID_CHARS]

    def close(self) -> None:
        self._connection.close()


class DockerRelay(MultiplexedRelay):
    """Implements :class:`pytest_clnrm.engine.api.Relay`."""

    def __init__(self, client: APIClient, container: str, network: str, multiplexer: Multiplexer) -> None:
        super().__init__(container, multiplexer)
        self._client = client
        self._joined = {network}

    def join(self, network: str) -> str:
        """Connect it to a network, and return its address there."""
        with plain_errors("connect the relay to a network"):
            if network not in self._joined:
                self._client.connect_container_to_network(self.id, network)
                self._joined.add(network)
        networks = inspect_container(self._client, self.id)["NetworkSettings"]["Networks"]
        for name, each in networks.items():
            if network in {name, each.get("NetworkID")} and each.get("IPAddress"):
                return str(each["IPAddress"])
        raise EngineError("cannot connect the relay to a network: it has no IPv4 address there")

    def close(self) -> None:
        """End it, and remove its container."""
        super().close()
        remove_container(self._client, self.id)


def open_relay(
    client: APIClient,
    locks: Locks,
    name: str,
    network: str,
    *,
    labels: Mapping[str, str],
    accept: Callable[[], socket.socket | None],
    on_end: Callable[[str], None],
) -> DockerRelay:
    """Start a relay; see :meth:`pytest_clnrm.engine.api.Engine.open_relay`."""
    image = _ensure_image(client, locks)
    with plain_errors("start a relay"):
        container = _create(client, image, name, network, labels)
        try:
            # Attached first: it ends with its standard input.
            connection = _start(client, container)
            multiplexer = Multiplexer(_AttachedWire(connection), accept=accept, on_end=on_end)
            _wait_ready(multiplexer)
        except BaseException:
            remove_container(client, container)
            raise
    return DockerRelay(client, container, network, multiplexer)


def _start(client: APIClient, container: str) -> Connection:
    connection = attach(client, container)
    if connection is None:
        raise EngineError("cannot start a relay: the engine gives no connection to its streams")
    try:
        client.start(container)
    except BaseException:
        connection.close()
        raise
    return connection


def _wait_ready(multiplexer: Multiplexer) -> None:
    try:
        multiplexer.wait_ready(_READY_S)
    except OSError as error:
        multiplexer.close()
        raise EngineError(f"cannot start a relay: {error}") from error


def _ensure_image(client: APIClient, locks: Locks) -> str:
    """Return the reference of the image that holds our program alone, made where it is missing.

    :raises EngineError: if there is no program for the engine's machine.
    """
    with plain_errors("make the image of a relay"):
        architecture = str(client.info().get("Architecture") or "")
        content = program(architecture)
        if content is None:
            raise EngineError(
                f"there is no relay for its architecture, {architecture or 'which it does not tell'}"
            )
        digest = short_digest(content)
        reference = f"{IMAGE}:{digest}"
        with locks(lock_name("relay", reference)):
            try:
                client.inspect_image(reference)  # type: ignore[no-untyped-call]
            except docker.errors.NotFound:
                said = client.import_image_from_data(packed(content, _PROGRAM), repository=IMAGE, tag=digest)
                # Podman 4.3 calls what it imports "latest" whatever it is told.
                client.tag(json.loads(said.splitlines()[-1])["status"], IMAGE, digest)
    return reference


def _create(client: APIClient, image: str, name: str, network: str, labels: Mapping[str, str]) -> str:
    # Docker-py's annotation knows no dictionary here.
    options: Any = {
        "mem_limit": _MEMORY_BYTES,
        "memswap_limit": _MEMORY_BYTES,
        "pids_limit": _PIDS,
        "security_opt": ["no-new-privileges"],
        "cap_drop": ["ALL"],
        "read_only": True,
        "network_mode": network,
        # What it relays is on its standard streams: none of it is to be kept.
        "log_config": LogConfig(type="none"),
        # It is on several networks, and is no way between them.
        "sysctls": {"net.ipv4.ip_forward": "0"},
    }
    answer = client.create_container(
        image=image,
        name=name,
        entrypoint=[f"/{_PROGRAM}"],
        command=list(relay_arguments(RELAY_PORT)),
        user=_NOBODY,
        stdin_open=True,
        labels=dict(labels),
        host_config=client.create_host_config(**options),
        stop_signal="SIGKILL",
        use_config_proxy=False,
    )
    return str(answer["Id"])
