"""Waiting for a service: each condition, and every way in which it may end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from pytest_clnrm.engine.api import ContainerState, EngineFacts, ExecOutcome
from pytest_clnrm.engine.ready import wait_ready
from pytest_clnrm.errors import NotReadyError, ScenarioTimeoutError
from pytest_clnrm.scenario.model import Ready, Service

RUNNING = ContainerState(id="c", running=True, exit_code=None, oom_killed=False)
ENDED = replace(RUNNING, running=False, exit_code=7)
FACTS = EngineFacts(
    identity="x",
    kind="docker",
    version="1",
    url="unix://",
    host="127.0.0.1",
    remote=False,
    rootless=False,
    cpus=1,
    memory_bytes=1,
)


class Engine:
    """An engine of which each answer is given beforehand."""

    def __init__(self, **answers: Any) -> None:
        self.facts = answers.get("facts", FACTS)
        self.answers = answers
        self.execs: list[tuple[str, ...]] = []

    def state(self, container: str) -> ContainerState:
        states = self.answers.get("states", [RUNNING])
        state: ContainerState = states.pop(0) if len(states) > 1 else states[0]
        return state

    def exec(self, container: str, spec: Any, *, on_output: Any, deadline_s: float) -> ExecOutcome:
        self.execs.append(spec.argv)
        on_output("stdout", self.answers.get("output", b""))
        codes = self.answers.get("codes", [0])
        return ExecOutcome(exit_code=codes.pop(0) if len(codes) > 1 else codes[0])

    def wait_log(self, container: str, pattern: str, *, deadline_s: float) -> bool:
        found: bool = self.answers["found"].pop(0)
        return found

    def logs(self, container: str, *, tail_bytes: int) -> str:
        return "the last words"


def wait(engine: Engine, ready: Ready | None, *, timeout_s: float = 10.0, **service: Any) -> None:
    """Wait for a service of an engine; the scenario's time is over after *timeout_s*."""
    given = Service(name="db", image="i", ready=ready, **service)
    wait_ready(engine, "c", given, deadline_s=time.monotonic() + timeout_s)  # type: ignore[arg-type]


def test_nothing_to_wait_for() -> None:
    """A service without a condition is ready at once, and the engine is not asked."""
    wait(Engine(states=[]), None)


def test_command_until_it_succeeds() -> None:
    """The command is run again until it exits with 0."""
    engine = Engine(codes=[1, 1, 0])
    wait(engine, Ready(command=("pg_isready",), interval_s=0.001))
    assert engine.execs == [("pg_isready",)] * 3


def test_log() -> None:
    """A log line is waited for in slices."""
    engine = Engine(found=[False, True])
    wait(engine, Ready(log="ready", interval_s=0.001))
    assert engine.answers["found"] == []


def test_a_container_that_ends_fails_at_once() -> None:
    """A container that ends before it is ready is an error at once, with exit code and logs."""
    with pytest.raises(
        NotReadyError, match=r"service 'db' ended before it was ready .command x.: exit code 7"
    ) as info:
        wait(Engine(codes=[1], states=[ENDED]), Ready(command=("x",), timeout_s=60))
    assert info.value.logs == "the last words"


def test_its_own_timeout() -> None:
    """A service that is not ready in its own time says so, and what was waited for."""
    with pytest.raises(NotReadyError, match=r"service 'db' was not ready after 0.05 s \(command x\)"):
        wait(Engine(codes=[1]), Ready(command=("x",), timeout_s=0.05, interval_s=0.01))


def test_the_scenarios_timeout() -> None:
    """When the scenario's time is over first, that is the error."""
    with pytest.raises(ScenarioTimeoutError, match=r"waiting for service 'db' \(command x\)"):
        wait(Engine(codes=[1]), Ready(command=("x",), timeout_s=60, interval_s=0.01), timeout_s=0.05)


def test_given_up_when_another_service_failed() -> None:
    """A wait in vain is given up."""
    service = Service(name="db", image="i", ready=Ready(command=("x",)))
    with pytest.raises(NotReadyError, match="was given up, as another service failed"):
        wait_ready(
            Engine(codes=[1]),  # type: ignore[arg-type]
            "c",
            service,
            deadline_s=time.monotonic() + 10,
            cancelled=lambda: True,
        )


def test_healthcheck() -> None:
    """The image's health check is waited for."""
    states = [replace(RUNNING, health=health) for health in ("starting", "starting", "healthy")]
    wait(Engine(states=states), Ready(healthcheck=True, interval_s=0.001))
    assert len(states) == 1


def test_unhealthy_fails_at_once() -> None:
    """An unhealthy service does not wait for its timeout."""
    with pytest.raises(NotReadyError, match="turned unhealthy"):
        wait(Engine(states=[replace(RUNNING, health="unhealthy")]), Ready(healthcheck=True, timeout_s=60))


def test_no_healthcheck_in_the_image() -> None:
    """Waiting for a health check that does not exist is an error that names the alternatives."""
    with pytest.raises(NotReadyError, match="its image has none: use command, log, port or http"):
        wait(Engine(states=[RUNNING]), Ready(healthcheck=True))


@pytest.fixture
def listener() -> Iterator[int]:
    """Return the port of a listener that accepts and keeps connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def at_loopback(port: int) -> ContainerState:
    """Return the state of a container that is reached at the loopback address."""
    return replace(RUNNING, addresses={"net": "127.0.0.1"}, ports={port: ("127.0.0.1", port)})


def test_port_that_accepts(listener: int) -> None:
    """A port counts as ready when it accepts a connection and keeps it."""
    wait(Engine(states=[at_loopback(listener)]), Ready(port=listener))


def test_port_that_is_closed_at_once() -> None:
    """A proxy that accepts and closes at once is not a ready service."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        closing = threading.Event()

        def accept() -> None:
            while not closing.is_set():
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        port = server.getsockname()[1]
        try:
            with pytest.raises(NotReadyError, match=rf"was not ready after 0.2 s \(port {port}\)"):
                wait(Engine(states=[at_loopback(port)]), Ready(port=port, timeout_s=0.2, interval_s=0.01))
        finally:
            closing.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


TABLE = """  sl  local_address rem_address   st
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000
   1: 0100007F:0050 00000000:0000 01 00000000:00000000 00:00000000 00000000
"""


@pytest.mark.parametrize(("port", "ready"), [(8080, True), (80, False), (90, False)])
def test_port_inside(port: int, *, ready: bool) -> None:
    """Where no address is reachable from here, the container's own table of sockets tells."""
    engine = Engine(facts=replace(FACTS, remote=True), output=TABLE.encode(), states=[RUNNING])
    condition = Ready(port=port, timeout_s=0.05, interval_s=0.01)
    if ready:
        wait(engine, condition)
    else:
        with pytest.raises(NotReadyError):
            wait(engine, condition)
    assert engine.execs[0] == ("cat", "/proc/net/tcp", "/proc/net/tcp6")


@pytest.fixture
def http_port() -> Iterator[int]:
    """Return the port of a server that answers /good with 200 and anything else with 503."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/good" else 503)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_http(http_port: int) -> None:
    """An answer below 400 is ready; the port may be named, or is the only one of the service."""
    engine = Engine(states=[at_loopback(http_port)])
    wait(engine, Ready(http=f":{http_port}/good"))
    wait(engine, Ready(http="/good"), ports=(http_port,))


def test_http_error_status_is_not_ready(http_port: int) -> None:
    """An answer of 503 is not ready."""
    with pytest.raises(NotReadyError, match=rf"http /bad on port {http_port}"):
        wait(
            Engine(states=[at_loopback(http_port)]),
            Ready(http=f":{http_port}/bad", timeout_s=0.1, interval_s=0.01),
        )


def test_http_out_of_reach() -> None:
    """A remote engine's unpublished port cannot be asked: the error says what to do."""
    with pytest.raises(NotReadyError, match="port 80 is not published; add it to `ports`"):
        wait(Engine(facts=replace(FACTS, remote=True), states=[RUNNING]), Ready(http="/good"))
