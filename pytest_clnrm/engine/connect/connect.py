"""Connecting to the engine that a run uses: the one that is named, one that answers, or one of our own.

What the user names is used or is an error: falling back to another engine would run scenarios where
nobody expects them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_clnrm.engine.connect.client import PROBE_TIMEOUT_S, ProbeError, open_client
from pytest_clnrm.engine.connect.endpoints import Endpoint, named_endpoint, usual_endpoints
from pytest_clnrm.engine.connect.facts import find_gateway, look_around, read_facts
from pytest_clnrm.engine.kubernetes.choice import is_cluster
from pytest_clnrm.engine.kubernetes.connect import connect_cluster
from pytest_clnrm.errors import EngineUnavailableError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import Engine, EngineFacts

CALL_TIMEOUT_S = 120

ADVICE = (
    "Docker: on Debian `apt-get install docker.io`; start it with `systemctl start docker`.",
    "Podman: on Debian `apt-get install podman`; start it with `systemctl --user start podman.socket`.",
    "An engine elsewhere: --clnrm-engine URL or DOCKER_HOST.",
    "Where no service runs, as in a CI container: --clnrm-engine embedded starts one for the run.",
)


def connect(
    choice: str,
    *,
    environ: Mapping[str, str],
    runtime_dir: Path,
    locks: Callable[[str], AbstractContextManager[None]],
    sockets: Sequence[Endpoint] | None = None,
) -> Engine:
    """Return the engine that *choice* means, connected.

    :param choice: "auto" (what answers), "embedded" (the same, else one of our own is started), a URL, or a
        cluster: ``kubernetes[://context[/namespace]]``.
    :param environ: where DOCKER_HOST and its like are looked up.
    :param runtime_dir: this user's folder on this host, for the embedded engine's socket and locks.
    :param locks: name -> lock that processes of this host share; handed to the engine.
    :param sockets: where an engine is looked for if none is named; None means the usual sockets.
    :raises EngineUnavailableError: if there is none, with what was tried and what to do.
    """
    if is_cluster(choice):
        return connect_cluster(choice, environ)
    from pytest_clnrm.engine.docker.engine import DockerEngine

    client, facts = reach(choice, environ=environ, runtime_dir=runtime_dir, sockets=sockets)
    # It has answered: from here on a call may take its time, on a busy engine too.
    client.timeout = CALL_TIMEOUT_S
    return DockerEngine(client, facts, locks=locks)


def reach(
    choice: str,
    *,
    environ: Mapping[str, str],
    runtime_dir: Path,
    sockets: Sequence[Endpoint] | None = None,
    timeout_s: float = PROBE_TIMEOUT_S,
) -> tuple[APIClient, EngineFacts]:
    """Return a client of the engine that *choice* means, and the engine's facts; see :func:`connect`.

    :param timeout_s: how long to wait for an answer at each address.
    """
    named = named_endpoint(choice, environ)
    if named is not None:
        try:
            return _open(named, timeout_s)
        except ProbeError as error:
            raise _named_unavailable(named, error) from None
    tried: dict[str, list[str]] = {}
    remedies: dict[str, None] = {}
    for endpoint in usual_endpoints(environ) if sockets is None else sockets:
        try:
            return _open(endpoint, timeout_s)
        except ProbeError as error:  # noqa: PERF203 -- each address is tried on its own
            tried.setdefault(error.reason, []).append(str(endpoint))
            if error.remedy:
                remedies[error.remedy] = None
    if choice != "embedded":
        raise _nothing_answers(tried, remedies)
    from pytest_clnrm.engine.embedded import join

    endpoint = Endpoint(url=join.join(runtime_dir, environ), origin="--clnrm-engine embedded")
    try:
        return _open(endpoint, timeout_s)
    except ProbeError as error:
        raise _named_unavailable(endpoint, error) from None


def _open(endpoint: Endpoint, timeout_s: float) -> tuple[APIClient, EngineFacts]:
    """Return a client of the engine at *endpoint*, and the engine's facts.

    :raises ProbeError: if none answers there.
    """
    from docker.errors import DockerException, NotFound
    from requests import RequestException

    client, version = open_client(endpoint, timeout_s)

    def network_mode(container: str) -> str | None:
        try:
            details: dict[str, Any] = client.inspect_container(container)
        except NotFound:
            return None
        return str(details["HostConfig"]["NetworkMode"])

    try:
        info = client.info()
        gateway = find_gateway(network_mode) if endpoint.scheme == "unix" else ""
    except (DockerException, RequestException, EngineUnavailableError) as error:
        client.close()
        raise ProbeError(f"it does not tell what it is: {error}") from None
    return client, read_facts(info, version, endpoint, look_around(gateway))


def _named_unavailable(endpoint: Endpoint, error: ProbeError) -> EngineUnavailableError:
    details = [error.remedy] if error.remedy else []
    if endpoint.origin != "--clnrm-engine embedded":
        details.append("It was named, so no other engine was tried.")
    return EngineUnavailableError(f"no container engine at {endpoint}: {error.reason}", tuple(details))


def _nothing_answers(tried: Mapping[str, list[str]], remedies: Iterable[str]) -> EngineUnavailableError:
    """Return that no address answers.

    :param tried: why not -> the addresses.
    """
    lines = (f"tried {', '.join(addresses)}: {reason}" for reason, addresses in tried.items())
    return EngineUnavailableError(
        "no container engine answers; install and start Docker or Podman, or use --clnrm-engine embedded",
        (*lines, *remedies, *ADVICE),
    )
