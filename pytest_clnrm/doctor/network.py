"""Networks: are there addresses, do names resolve, do programs in containers reach us; all of it tried."""

from __future__ import annotations

import secrets
import struct
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_clnrm.doctor.finding import Finding, broken, good, not_tried, warning
from pytest_clnrm.errors import EngineError

if TYPE_CHECKING:
    import socket

    from pytest_clnrm.doctor.patient import Patient

_WAIT_S = 3.0
_DNS = 53
_DOCKERS_DNS = "127.0.0.11"
_REMEDY_OF_NAMES = "restart the engine; Podman needs netavark and aardvark-dns for names (docs/engines.md)"
_A, _IN, _RECURSION = 1, 1, 0x0100
_CODE = 0x000F
_NO_SUCH_NAME = 3


def addresses(patient: Patient) -> Finding:
    """Make a network as each scenario gets one."""
    try:
        patient.network  # noqa: B018 (made here)
    except EngineError as error:
        return broken(str(error), "remove networks that are not needed: docker network prune")
    return good("a network for a scenario could be made")


def receiver(patient: Patient) -> Finding:
    """Send an empty message of OTLP from a container to the receiver of spans."""
    network = patient.network
    if not network.gateway:
        return broken(
            f"containers do not reach this process: {patient.runtime.networks().why_out_of_reach}",
            "run pytest in the engine's network, or use an engine on this machine",
        )
    trace = patient.runtime.tracing().scenario("clnrm doctor", {})
    told = trace.environment("doctor", network.gateway, {}, port=network.receiver_port)
    endpoint = urlsplit(told["OTEL_EXPORTER_OTLP_ENDPOINT"])
    place = f"{endpoint.hostname}, port {endpoint.port}"
    try:
        with patient.relay.dial(network.gateway, endpoint.port or 0, timeout_s=_WAIT_S) as connection:
            connection.sendall(_message(f"{endpoint.path}/v1/traces"))
            said = connection.recv(64).split(b"\r\n")[0].decode("ascii", "replace")
    except OSError as error:
        said = str(error)
    finally:
        trace.finish("passed")
    if " 200 " not in f"{said} ":
        return broken(
            f"a container does not reach the receiver of spans at {place} ({said or 'it hung up'})",
            "let connections from the engine's networks to this machine pass its firewall, such as "
            f"`iptables -I INPUT -d {network.gateway} -p tcp -j ACCEPT`",
        )
    over = ", over a relay" if network.relay is not None else ""
    return good(f"a container's message has reached the receiver of spans at {place}{over}")


def _message(path: str) -> bytes:
    """Return a request of OTLP over HTTP without spans."""
    body = b'{"resourceSpans":[]}'
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: clnrm",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(lines).encode("ascii") + body


def names(patient: Patient) -> Finding:
    """Ask the engine's DNS, from a container, for another container's name."""
    try:
        code, count = _ask(patient, patient.relay_name)
    except OSError as error:
        if patient.facts.kind != "docker":
            return not_tried(f"the engine's DNS answers no question over TCP ({error})")
        return broken(
            f"the engine's DNS does not answer in a container ({error}): services do not find each other",
            "restart the engine, and look whether something else has changed its rules of iptables",
        )
    if code or not count:
        return broken(
            f"the engine's DNS does not know a container on its own network (code {code})", _REMEDY_OF_NAMES
        )
    return good("containers of a scenario find each other by name")


def outside_names(patient: Patient) -> Finding:
    """Ask, from a container with a way out, for the engine's own default registry."""
    name = patient.asked.about.index
    if patient.facts.kind != "docker" or not name:
        return not_tried("the engine names no host that could be asked for")
    engine, relay = patient.engine(), patient.relay
    engine.connect("bridge", relay.id, ())
    try:
        code, count = _ask(patient, name)
    except OSError as error:
        code, count, said = -1, 0, str(error)
    else:
        said = "there is no such name" if code == _NO_SUCH_NAME else f"code {code}"
    if code or not count:
        return warning(
            f'names outside, such as {name}, are not resolved in containers with network = "bridge" ({said})',
            'offline nothing is to be done; else set "dns" in the engine\'s daemon.json',
        )
    return good('containers with network = "bridge" resolve names outside')


def _ask(patient: Patient, name: str) -> tuple[int, int]:
    """Return response code and number of answers of the engine's DNS, asked in a container (RFC 1035).

    :raises OSError: if it does not answer.
    """
    query = dns_query(name)
    # Podman's answers at the network's gateway.
    server = _DOCKERS_DNS if patient.facts.kind == "docker" else patient.network.gateway
    with patient.relay.dial(server, _DNS, timeout_s=_WAIT_S) as connection:
        connection.sendall(struct.pack("!H", len(query)) + query)
        (length,) = struct.unpack("!H", _exactly(connection, 2))
        return dns_answer(_exactly(connection, length), query)


def dns_query(name: str) -> bytes:
    """Return a question for an IPv4 address of *name*."""
    header = secrets.token_bytes(2) + struct.pack("!HHHHH", _RECURSION, 1, 0, 0, 0)
    labels = b"".join(bytes([len(part)]) + part.encode("ascii") for part in name.split("."))
    return header + labels + b"\0" + struct.pack("!HH", _A, _IN)


def dns_answer(data: bytes, query: bytes) -> tuple[int, int]:
    """Return response code and number of answers.

    :raises OSError: if it is no answer to *query*.
    """
    if len(data) < len(query[:12]) or data[:2] != query[:2]:
        raise OSError("its answer is none to the question")
    flags, _, count = struct.unpack("!HHH", data[2:8])
    return flags & _CODE, count


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise OSError("it hung up")
        data += more
    return data
