"""Waiting until a service is ready; it fails at once when the container ends first."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_clnrm.engine.api import ContainerState, Engine, ExecSpec
from pytest_clnrm.errors import NotReadyError, ScenarioTimeoutError
from pytest_clnrm.util.patterns import PatternTimeoutError, within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_clnrm.scenario.model import Ready, Service

__all__ = ["wait_ready"]

LOG_TAIL_BYTES = 8_192
PROBE_TIMEOUT_S = 1.0
LOG_SLICE_S = 1.0
LISTEN_COLUMNS = 4
LISTEN_STATE = "0A"  # of /proc/net/tcp, see proc(5) and the kernel's tcp_states.h


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wait:
    """One wait for one service.

    :param ends_s: ``time.monotonic()`` at which the service's own time, or the scenario's, is over.
    """

    engine: Engine
    container: str
    service: Service
    ready: Ready
    env: Mapping[str, str]
    ends_s: float

    def left_s(self) -> float:
        return self.ends_s - time.monotonic()

    def probe_s(self) -> float:
        return max(0.05, min(PROBE_TIMEOUT_S, self.left_s()))


def wait_ready(
    engine: Engine,
    container: str,
    service: Service,
    *,
    env: Mapping[str, str] = MappingProxyType({}),
    deadline_s: float,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Return when *service* is ready.

    :param env: what a command that asks whether it is ready gets; a request carries its TRACEPARENT.
    :param deadline_s: ``time.monotonic()`` moment at which the scenario's time is over.
    :param cancelled: tells that the wait is in vain, because another service has failed.
    :raises NotReadyError: if the container ends, turns unhealthy, or the service's own time is over.
    :raises ScenarioTimeoutError: if the scenario's time is over first.
    """
    ready = service.ready
    if ready is None:
        return
    own_end_s = time.monotonic() + ready.timeout_s
    wait = _Wait(
        engine=engine,
        container=container,
        service=service,
        ready=ready,
        env=env,
        ends_s=min(own_end_s, deadline_s),
    )
    what, probe = _probe(wait)
    while True:
        if probe():
            return
        state = engine.state(container)
        if not state.running:
            raise _not_ready(wait, f"ended before it was ready ({what}): {state.describe_end()}")
        if ready.healthcheck and state.health == "unhealthy":
            raise _not_ready(wait, "turned unhealthy, as its image's health check says")
        if cancelled():
            raise _not_ready(wait, f"was given up, as another service failed ({what})")
        if wait.left_s() <= 0:
            if deadline_s <= own_end_s:
                raise ScenarioTimeoutError(f"waiting for service {service.name!r} ({what})")
            raise _not_ready(wait, f"was not ready after {ready.timeout_s:g} s ({what})")
        time.sleep(max(0.0, min(ready.interval_s, wait.left_s())))


def _not_ready(wait: _Wait, what: str) -> NotReadyError:
    logs = ""
    with contextlib.suppress(Exception):  # the logs are a help, their loss must not hide the cause
        logs = wait.engine.logs(wait.container, tail_bytes=LOG_TAIL_BYTES)
    return NotReadyError(f"service {wait.service.name!r} {what}", logs)


def _probe(wait: _Wait) -> tuple[str, Callable[[], bool]]:
    """Return what is waited for, in words, and the function that tells whether it holds now."""
    ready = wait.ready
    if ready.command is not None:
        argv = ready.command
        return f"command {' '.join(argv)}", lambda: _command(wait, argv)
    if ready.log is not None:
        pattern = ready.log
        return f"log {pattern!r}", lambda: _log(wait, pattern)
    if ready.port is not None:
        port = ready.port
        return f"port {port}", lambda: _port(wait, port)
    if ready.http is not None:
        port, path = _http_target(wait.service, ready.http)
        return f"http {path} on port {port}", lambda: _http(wait, port, path)
    return "the image's health check", lambda: _healthy(wait)


def _log(wait: _Wait, pattern: str) -> bool:
    try:
        with within(wait.ends_s):
            # In slices, so that a wait in vain is given up.
            return wait.engine.wait_log(
                wait.container, pattern, deadline_s=min(wait.ends_s, time.monotonic() + LOG_SLICE_S)
            )
    except PatternTimeoutError as error:
        raise _not_ready(wait, f"cannot be waited for: {error}") from None


def _command(wait: _Wait, argv: tuple[str, ...]) -> bool:
    outcome = wait.engine.exec(
        wait.container,
        ExecSpec(argv=argv, env=wait.env),
        on_output=lambda _stream, _data: None,
        deadline_s=wait.ends_s,
    )
    return outcome.exit_code == 0


def _healthy(wait: _Wait) -> bool:
    state = wait.engine.state(wait.container)
    if state.running and not state.health:
        raise _not_ready(
            wait, "waits for a health check, but its image has none: use command, log, port or http"
        )
    return state.health == "healthy"


def _http_target(service: Service, target: str) -> tuple[int, str]:
    """Return port and path of ``/path`` (the service's only port, else 80) or ``:port/path``."""
    if target.startswith(":"):
        port, _, path = target[1:].partition("/")
        return int(port), f"/{path}"
    return (service.ports[0] if len(service.ports) == 1 else 80), target


def _direct(wait: _Wait, state: ContainerState, port: int) -> list[tuple[str, int]]:
    """Return where *port* may be reached from here: the container itself, then where it is published."""
    facts = wait.engine.facts
    places = []
    if not facts.remote and not facts.rootless:
        places += [(address, port) for address in state.addresses.values() if address]
    if port in state.ports:
        places.append(state.ports[port])
    return places


def _port(wait: _Wait, port: int) -> bool:
    state = wait.engine.state(wait.container)
    places = _direct(wait, state, port)
    if any(_accepts(place, wait.probe_s()) for place in places):
        return True
    return not places and _listens_inside(wait, port)


def _accepts(place: tuple[str, int], timeout_s: float) -> bool:
    """Tell whether *place* accepts a connection and keeps it.

    A proxy of the engine accepts before the container listens, and then closes at once: so a connection
    that ends within a moment without a byte does not count.
    """
    try:
        with socket.create_connection(place, timeout=timeout_s) as connection:
            connection.settimeout(0.05)
            try:
                return connection.recv(1) != b""
            except TimeoutError:
                return True
    except OSError:
        return False


def _listens_inside(wait: _Wait, port: int) -> bool:
    """Tell whether something in the container listens on *port*, as its /proc/net/tcp says."""
    output = bytearray()
    wait.engine.exec(
        wait.container,
        ExecSpec(argv=("cat", "/proc/net/tcp", "/proc/net/tcp6")),
        on_output=lambda stream, data: output.extend(data) if stream == "stdout" else None,
        deadline_s=wait.ends_s,
    )
    for line in output.decode("ascii", "replace").splitlines():
        columns = line.split()
        local, state = (columns[1], columns[3]) if len(columns) >= LISTEN_COLUMNS else ("", "")
        if state == LISTEN_STATE and local.endswith(f":{port:04X}"):
            return True
    return False


def _http(wait: _Wait, port: int, path: str) -> bool:
    state = wait.engine.state(wait.container)
    places = _direct(wait, state, port)
    if state.running and not places:
        raise _not_ready(
            wait,
            f"cannot be asked over http from here: the engine is remote or rootless, and port {port} is not "
            f"published; add it to `ports`, or use command, log or port",
        )
    trace = {"traceparent": wait.env["TRACEPARENT"]} if "TRACEPARENT" in wait.env else {}
    return any(_answers(place, path, wait.probe_s(), trace) for place in places)


def _answers(place: tuple[str, int], path: str, timeout_s: float, headers: Mapping[str, str]) -> bool:
    connection = http.client.HTTPConnection(*place, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Connection": "close", **headers})
        return connection.getresponse().status < http.HTTPStatus.BAD_REQUEST
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
