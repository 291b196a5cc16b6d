"""The life of a container: created, started, looked at, stopped, removed."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import docker.errors

from pytest_clnrm.engine.api import ContainerSpec, ContainerState
from pytest_clnrm.engine.docker.clock import moment_s
from pytest_clnrm.engine.docker.copied_files import copy_files
from pytest_clnrm.engine.docker.create_arguments import BUILT_IN_NETWORKS
from pytest_clnrm.engine.docker.logs import read_logs
from pytest_clnrm.engine.docker.removed_files import removed_bytes
from pytest_clnrm.engine.plain_errors import container_reason, engine_text, plain_errors
from pytest_clnrm.errors import ContainerError, EngineError, LostContainerError, UnsharedError
from pytest_clnrm.util.exit_codes import exit_code_in_words

if TYPE_CHECKING:
    from docker import APIClient

_CONFLICT = 409
# Init processes say on the container's output why its command could not be run, and exit with one of these:
# tini (Docker) with 126 or 127, catatonit (Podman) with 1, without the command's name. Where there is none,
# runtimes end with one of these, or with 255.
_INIT_FAILED = frozenset({1, 126, 127, 255})
_INIT_SAYS = ("[FATAL tini", "(catatonit:")
_INIT_TAIL_BYTES = 4096

_AT_ONCE = 4
_CHECK_CHARS = 300
_REMOVAL_S = 30.0
_REMOVAL_POLL_S = 0.05
_BEING_REMOVED = ("removing", "dead")
_ENDING_S = 1.0
_ENDING_POLL_S = 0.02


# What docker-py's ``create_container`` takes that is no part of a container's configuration.
_OF_THE_CALL = frozenset({"name", "platform", "use_config_proxy"})


def create_container(client: APIClient, spec: ContainerSpec, arguments: Mapping[str, Any]) -> str:
    """Create a container, connected to all its networks, with its files; return its id.

    :param arguments: of docker-py's ``create_container``.
    :raises ContainerError: with the engine's reason; no container is left then.
    """
    with _unshared(), plain_errors(f"create the container {spec.name!r}", ContainerError):
        container = _create(client, arguments, outlives=spec.outlives)
        try:
            # Engines before API 1.44 take one network at creation.
            for network in spec.networks[1:]:
                aliases = None if network in BUILT_IN_NETWORKS else list(spec.aliases)
                client.connect_container_to_network(container, network, aliases=aliases)
            copy_files(client, container, spec.files)
        except BaseException:
            client.remove_container(container, v=True, force=True)
            raise
    return container


def _create(client: APIClient, arguments: Mapping[str, Any], *, outlives: bool) -> str:
    if not outlives:
        return str(client.create_container(**arguments)["Id"])
    # As docker-py does it, but that an open standard input stays open when who is connected to it goes.
    given = {key: value for key, value in arguments.items() if key not in _OF_THE_CALL}
    config = client.create_container_config(**given)
    config["StdinOnce"] = False
    made = client.create_container_from_config(  # type: ignore[no-untyped-call]
        config, arguments["name"], arguments.get("platform")
    )
    return str(made["Id"])


@contextmanager
def _unshared() -> Iterator[None]:
    """Tell of a mount's source that the engine does not have.

    :raises UnsharedError: in place of the engine's own words.
    """
    try:
        yield
    except ContainerError as error:
        missing = re.search(r"bind source path does not exist: (.+)", str(error))
        if missing is None:
            raise
        raise UnsharedError(missing[1], "it has nothing there") from error


def start_container(client: APIClient, container: str) -> None:
    """Start it.

    :raises ContainerError: with the engine's reason.
    """
    with plain_errors("start the container", ContainerError):
        client.start(container)


def ended_without(client: APIClient, container: str) -> bool:
    """Tell whether a container, whose streams have ended, exited because its image lacks the command."""
    deadline_s = time.monotonic() + _ENDING_S
    while (state := inspect_container(client, container)["State"]).get("Running"):
        if time.monotonic() >= deadline_s:
            # Only the connection was lost.
            return False
        time.sleep(_ENDING_POLL_S)
    return state.get("ExitCode") in _INIT_FAILED


def inspect_container(client: APIClient, container: str) -> dict[str, Any]:
    """Return what the engine says of it, in the API's words.

    :raises ContainerError: if it is gone.
    """
    with plain_errors("look at the container", ContainerError):
        try:
            return dict(client.inspect_container(container))
        except docker.errors.NotFound as error:
            raise LostContainerError(f"the container {container[:12]} is gone") from error


def written_bytes(client: APIClient, container: str) -> int:
    """Return how much it has written into its own layer, with files that it has removed and holds open.

    :raises ContainerError: if it is gone.
    """
    # docker-py's own call cannot ask for sizes.
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/json"
    with plain_errors("look at the size of the container", ContainerError):
        answer = client.get(url, params={"size": 1}, timeout=client.timeout)
        answer.raise_for_status()
        found = answer.json()
    return int(found.get("SizeRw") or 0) + removed_bytes(found.get("State", {}).get("Pid") or 0, found["Id"])


def state_of(client: APIClient, container: str, *, host: str) -> ContainerState:
    """Return what the engine says of it now.

    :param host: under which published ports are reached.
    :raises ContainerError: if it is gone.
    """
    facts = inspect_container(client, container)
    state = read_state(facts, host=host)
    if not state.running and not state.error and state.exit_code in _INIT_FAILED:
        said = read_logs(client, container, tail_bytes=_INIT_TAIL_BYTES)
        for line in said.split("\n"):
            if any(words in line for words in _INIT_SAYS):
                config = facts.get("Config") or {}
                command = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()), "pid1"]
                return replace(state, error=container_reason(line.replace("exec pid1", f"exec {command[0]}")))
    return state


def read_state(facts: Mapping[str, Any], *, host: str) -> ContainerState:
    """Return the state that the engine's answer to an inspection holds."""
    state = facts["State"]
    running = bool(state.get("Running"))
    started = running or not str(state.get("StartedAt") or "0001").startswith("0001") or state.get("ExitCode")
    health = str((state.get("Health") or {}).get("Status") or "")
    network = facts.get("NetworkSettings") or {}
    ports: dict[str, dict[int, tuple[str, int]]] = {"tcp": {}, "udp": {}}
    for name, bindings in (network.get("Ports") or {}).items():
        number, _, protocol = name.partition("/")
        if (protocol or "tcp") in ports and bindings:
            ports[protocol or "tcp"][int(number)] = (host, int(bindings[0]["HostPort"]))
    addresses = {
        str(name): str(each["IPAddress"])
        for name, each in (network.get("Networks") or {}).items()
        if each and each.get("IPAddress")
    }
    text = str(state.get("Error") or "")
    began_s, ended_s = moment_s(state.get("StartedAt")), moment_s(state.get("FinishedAt"))
    return ContainerState(
        id=str(facts["Id"]),
        running=running,
        exit_code=None if running or not started else int(state.get("ExitCode") or 0),
        oom_killed=bool(state.get("OOMKilled")),
        health="" if health == "none" else health,
        health_said=_last_check((state.get("Health") or {}).get("Log") or ()),
        ports=ports["tcp"],
        udp_ports=ports["udp"],
        addresses=addresses,
        error=container_reason(text) if text else "",
        pid=int(state.get("Pid") or 0),
        lived_s=max(0.0, ended_s - began_s) if not running and began_s and ended_s else None,
    )


def _last_check(log: Sequence[Mapping[str, Any]]) -> str:
    """Return what a health check did last, "" if it has not ended once: ``exit code 1: refused``."""
    if not log:
        return ""
    said = " ".join(str(log[-1].get("Output") or "").split())
    code = exit_code_in_words(int(log[-1].get("ExitCode") or 0))
    return f"{code}: {said[-_CHECK_CHARS:]}" if said else code


def stop_container(client: APIClient, container: str, *, grace_s: float) -> None:
    """Ask it to end, kill it after *grace_s* (the engine counts whole seconds: rounded up)."""
    with plain_errors("stop the container", ContainerError), suppress(docker.errors.NotFound):
        client.stop(container, timeout=math.ceil(grace_s))


def for_each(subjects: Sequence[str], act: Callable[[str], None]) -> None:
    """Do the same to all of them, some at a time.

    :raises EngineError: the first failure, after each has been tried.
    """
    if len(subjects) == 1:
        act(subjects[0])
    elif subjects:
        with ThreadPoolExecutor(min(len(subjects), _AT_ONCE), "clnrm-engine") as threads:
            results = [threads.submit(act, each) for each in subjects]
        for each in results:
            each.result()


def remove_container(client: APIClient, container: str) -> None:
    """Kill and remove it with its anonymous volumes; return when it is gone.

    :raises EngineError: if it is still there after half a minute.
    """
    deadline_s = time.monotonic() + _REMOVAL_S
    while True:
        with plain_errors("remove the container", EngineError):
            try:
                client.remove_container(container, v=True, force=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                # Another one removes it just now; or it did not die at once, as happens on a busy host.
                busy = error.status_code == _CONFLICT or "could not kill" in engine_text(error).lower()
                if not busy and _is_gone(client, container):
                    # Podman says what it could not clean up behind it.
                    return
                if not busy or time.monotonic() >= deadline_s:
                    raise
            else:
                return
        time.sleep(_REMOVAL_POLL_S)


def disconnect_container(client: APIClient, network: str, container: str) -> None:
    """Take it off a network; while another one removes it, wait until it is gone.

    :raises LostContainerError: if it is gone.
    :raises ContainerError: with the engine's reason; it is still there.
    """
    deadline_s = time.monotonic() + _REMOVAL_S
    with plain_errors("take the container off its network", ContainerError):
        try:
            client.disconnect_container_from_network(container, network)
        except docker.errors.APIError:
            while _is_being_removed(client, container) and time.monotonic() < deadline_s:
                time.sleep(_REMOVAL_POLL_S)
            raise


def _is_being_removed(client: APIClient, container: str) -> bool:
    """Tell whether a container will soon be gone.

    :raises LostContainerError: if it is.
    """
    return inspect_container(client, container)["State"]["Status"] in _BEING_REMOVED


def _is_gone(client: APIClient, container: str) -> bool:
    try:
        client.inspect_container(container)
    except docker.errors.NotFound:
        return True
    return False
