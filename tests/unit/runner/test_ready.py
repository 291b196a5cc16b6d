"""Waiting for a service: each condition, and every way in which it may end."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.engine.api import ContainerState, ExecOutcome
from pytest_clnrm.errors import (
    ContainerError,
    EngineUnavailableError,
    NotReadyError,
    ScenarioTimeoutError,
)
from pytest_clnrm.model.service import HealthCheck, HttpProbe, Ready, Service
from pytest_clnrm.runner.ready import pause_s, wait_ready
from pytest_clnrm.runner.ready_conditions import NoSpans
from pytest_clnrm.runtime.network import Network
from pytest_clnrm.util import patterns

RUNNING = ContainerState(id="c", running=True, exit_code=None, oom_killed=False)
ENDED = replace(RUNNING, running=False, exit_code=7, lived_s=1.25)

CHANGED = [True]
BROKEN = b"BROKEN"
HERE, FAR = Network("n", "127.0.0.1", "net"), Network("n", "", "net")


class Stream:
    """An output of which each piece is given beforehand; None is a time without output, BROKEN its end."""

    def __init__(self, pieces: list[bytes | None]) -> None:
        self.pieces = pieces

    def receive(self, deadline_s: float) -> list[tuple[str, bytes]] | None:
        piece = self.pieces.pop(0) if self.pieces else b""
        if piece == BROKEN:
            raise EngineUnavailableError("it broke")
        return None if piece is None else [("stdout", piece)] if piece else []

    def close(self) -> None:
        self.pieces.append(b"closed")


class Engine:
    """An engine of which each answer is given beforehand."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.facts = SimpleNamespace(kind=answers.get("kind", "docker"))
        self.execs: list[tuple[str, ...]] = []

    def state(self, container: str) -> ContainerState:
        states = self.answers.get("states", [RUNNING])
        state: ContainerState = states.pop(0) if len(states) > 1 else states[0]
        return state

    def exec(self, container: str, spec: Any, *, on_output: Any, deadline_s: float) -> ExecOutcome:
        self.execs.append(spec.argv)
        on_output("stdout", self.answers.get("output", b""))
        codes = self.answers.get("codes", [0])
        code = codes.pop(0) if len(codes) > 1 else codes[0]
        return code if isinstance(code, ExecOutcome) else ExecOutcome(exit_code=code)

    def look_at_path(self, container: str, path: str) -> object:
        there = self.answers["there"]
        return there.pop(0) if len(there) > 1 else there[0]

    def follow_log(self, container: str, *, until_now: bool = False) -> Stream:
        return Stream(self.answers.get("kept", []).copy() if until_now else self.answers["printed"])

    def follow_changes(self, container: str) -> Changes:
        if "changes" not in self.answers:
            raise ContainerError("it does not tell")
        changes: Changes = self.answers["changes"]
        return changes

    def logs(self, container: str, *, tail_bytes: int) -> str:
        return "the last words"


class Changes:
    """Each answer of an engine that tells of changes; None is that it tells no more, as is the end."""

    def __init__(self, *told: bool | None) -> None:
        self.told = [*told]
        self.closed = False

    def wait(self, deadline_s: float) -> bool | None:
        return self.told.pop(0) if self.told else None

    def close(self) -> None:
        self.closed = True


def wait(
    engine: Engine, *ready: Ready, timeout_s: float = 10.0, given: dict[str, Any] | None = None, **more: Any
) -> None:
    """Wait for a service of an engine; the scenario's time is over after *timeout_s*."""
    service = Service(name="db", image="i", ready=ready, **given or {})
    more = {"network": HERE, "deadline_s": time.monotonic() + timeout_s, **more}
    wait_ready(engine, "c", service, **more)  # type: ignore[arg-type]


def test_command_until_it_succeeds() -> None:
    """The command is run again until it exits with 0."""
    engine = Engine(codes=[1, 1, 0])
    wait(engine, Ready(command=("pg_isready",), interval_s=0.001))
    assert engine.execs == [("pg_isready",)] * 3


def test_what_a_command_did_last_is_told() -> None:
    """Its exit code in words and the end of what it printed, on one line."""
    printed = b"x" * 5000 + b"\nsh: pg_ready: not found\n"
    with pytest.raises(NotReadyError) as info:
        wait(Engine(codes=[127], output=printed), Ready(command=("sh", "-c", "pg_ready"), timeout_s=0.03))
    assert str(info.value).startswith(
        "service 'db' was not ready after 0.03 s (command pg_ready): "
        "its last run ended with exit code 127 (command not found) and printed: ...xxx"
    )
    assert str(info.value).endswith("x sh: pg_ready: not found")


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (ExecOutcome(exit_code=None, timed_out=True), "(command x): it had not ended"),
        (ExecOutcome(exit_code=None, container_lost=True), "was cut off, as the container ended"),
        (ExecOutcome(exit_code=137, oom=True), "exit code 137 (killed by SIGKILL), out of memory"),
    ],
)
def test_a_command_that_does_not_end_by_itself(outcome: ExecOutcome, told: str) -> None:
    """How it was ended is told."""
    with pytest.raises(NotReadyError, match=re.escape(told)):
        wait(Engine(codes=[outcome]), Ready(command=("x",), timeout_s=0.03, interval_s=0.1))


def test_a_command_that_is_cut_off_by_the_time_limit() -> None:
    """What the run before it did is told all the same."""
    cut = ExecOutcome(exit_code=None, timed_out=True)
    with pytest.raises(NotReadyError, match=r"its last run ended with exit code 1; one more had not ended$"):
        wait(Engine(codes=[1, cut]), Ready(command=("x",), timeout_s=0.1, interval_s=0.001))


@pytest.mark.parametrize(
    ("argv", "said", "told"),
    [
        (("pg_ready",), "command not found: pg_ready", "command not found: pg_ready"),
        (
            ("sh", "-c", "x"),
            "command not found: sh",
            "the image has no shell (sh); give the command as a list",
        ),
    ],
)
def test_a_command_that_cannot_be_run_fails_at_once(argv: tuple[str, ...], said: str, told: str) -> None:
    """Without its program a service can never be ready: its time is not waited for."""
    engine = Engine(codes=[ExecOutcome(exit_code=127, started=False)], output=f"{said}\n".encode())
    with pytest.raises(
        NotReadyError, match=r"service 'db' can never be ready: command .* cannot be run"
    ) as info:
        wait(engine, Ready(command=argv, timeout_s=600), timeout_s=600)
    assert str(info.value).endswith(told)
    assert len(engine.execs) == 1


def test_log() -> None:
    """A line is waited for, in pieces and with silence in between; the log is followed once, and closed."""
    engine = Engine(printed=[b"on\nrea", None, b"dy 1", None])
    wait(engine, Ready(log=r"ready \d"))
    assert engine.answers["printed"] == [b"closed"]


def test_log_several_times() -> None:
    """So many lines must match; how many have is told."""
    wait(Engine(printed=[b"ready\n", None, b"ready\n"]), Ready(log="ready", times=2))
    with pytest.raises(
        NotReadyError,
        match=r"after 0.05 s \(log 'ready', 2 times\): 1 of 2 matching lines in 3 lines of output",
    ):
        wait(Engine(printed=[b"on\nready\non\n"]), Ready(log="ready", times=2, timeout_s=0.05))


def test_log_that_the_engine_lost_lines_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is silent is read again: what is there counts, once, whatever the following missed."""
    monkeypatch.setattr("pytest_clnrm.runner.ready_conditions.LOG_SILENT_S", 0.0)
    silence: list[bytes | None] = [None] * 1000
    wait(Engine(printed=[b"on\n", *silence], kept=[b"on\nrea", b"dy"]), Ready(log="ready"))
    wait(Engine(printed=[b"on\n"], kept=[b"on\nready"], states=[ENDED]), Ready(log="ready"))
    wait(Engine(printed=[b"on\n", BROKEN], kept=[b"on\nready"]), Ready(log="ready"))
    with pytest.raises(NotReadyError, match="2 times\\): 1 of 2 matching lines in 3 lines of output"):
        wait(
            Engine(printed=[b"on\nready\n", *silence], kept=[b"on\non\nready\n"]),
            Ready(log="ready", times=2, timeout_s=0.05),
        )


def test_log_for_whose_pattern_no_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service was not ready in time; a pattern that was never tried is not at fault."""
    monkeypatch.setattr(patterns, "LEAST_S", -120.0)
    monkeypatch.setattr(
        "pytest_clnrm.runner.ready_conditions.within", lambda ends_s: patterns.within(ends_s - 60)
    )
    with pytest.raises(NotReadyError, match=r"was not ready after 0.05 s \(log 'ready'\): 0 of 1 matching"):
        wait(Engine(printed=[b"ready\n", *[None] * 1000]), Ready(log="ready", timeout_s=0.05))


def test_log_of_a_container_that_has_ended() -> None:
    """What it printed before its end counts; else its end is the error."""
    wait(Engine(printed=[b"ready\n"], states=[ENDED]), Ready(log="ready"))
    with pytest.raises(
        NotReadyError,
        match=r"\(log 'ready'\): exit code 7, 1.2 s after its start; 0 of 1 matching lines in 1 lines",
    ):
        wait(Engine(printed=[b"no\n"], states=[ENDED]), Ready(log="ready"))


def test_all_conditions_hold_in_one_round() -> None:
    """One that holds no longer is waited for again; the one that was late is told."""
    engine = Engine(codes=[0, 1, 1, 0, 0])
    first, second = Ready(command=("a",), interval_s=0.001), Ready(command=("b",), interval_s=0.001)
    wait(engine, first, second)
    assert [argv[0] for argv in engine.execs] == ["a", "b", "a", "a", "b"]
    with pytest.raises(NotReadyError, match=r"was not ready after 0.02 s \(command b\)"):
        wait(Engine(codes=[0, 1] * 1000), replace(first, timeout_s=5), replace(second, timeout_s=0.02))


def test_a_job_is_waited_for_until_it_ends() -> None:
    """With one of its codes it is ready; what it has printed by then may be asked for too."""
    states = [RUNNING, RUNNING, replace(ENDED, exit_code=3)]
    wait(Engine(states=states), Ready(exit=(0, 3), interval_s=0.001))
    done = Engine(states=[replace(ENDED, exit_code=0)], printed=[b"12 rows\n"])
    wait(done, Ready(exit=(0,)), Ready(log="rows"))


def test_what_the_engine_tells_is_not_asked_for() -> None:
    """The state is asked for before and after the stream begins, and when a change is told."""
    states = [RUNNING, RUNNING, RUNNING, replace(ENDED, exit_code=0), ENDED]
    changes = Changes(*[False] * 50, *CHANGED, *[False] * 50, *CHANGED)
    wait(Engine(states=states, changes=changes), Ready(exit=(0,), interval_s=0.0))
    assert (states, changes.told, changes.closed) == ([ENDED], [], True)


def test_a_change_that_is_told_before_it_shows() -> None:
    """The state is asked for again soon after that, whatever the interval."""
    states = [RUNNING, RUNNING, RUNNING, RUNNING, replace(ENDED, exit_code=0)]
    changes = Changes(*CHANGED, *[False] * 100_000)
    wait(Engine(states=states, changes=changes), Ready(exit=(0,), interval_s=600, timeout_s=60))
    assert len(states) == 1


def test_a_change_that_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is asked for now and then all the same, and each time once the stream has ended."""
    done = replace(ENDED, exit_code=0)
    monkeypatch.setattr("pytest_clnrm.runner.ready.ASKED_AGAIN_S", 0.0)
    lost = Changes(*[False] * 10)
    wait(Engine(states=[RUNNING, RUNNING, RUNNING, done], changes=lost), Ready(exit=(0,)))
    assert lost.told, "the stream had not ended"
    broken = Changes(*CHANGED, None)
    wait(Engine(states=[RUNNING] * 6 + [done], changes=broken), Ready(exit=(0,), interval_s=0.001))
    assert broken.closed


def test_a_log_whose_stream_breaks() -> None:
    """It is read again while the container runs: its end is not that of the output."""
    engine = Engine(printed=[b"on\n"], kept=[b"on\nready\n"])
    wait(engine, Ready(log="ready", interval_s=0.001))


@pytest.mark.parametrize(
    ("waited_s", "took_s", "pause"),
    [
        (0.0, 0.0, 0.005),
        (1.0, 0.001, 0.1),
        (60.0, 0.001, 0.2),
        (0.1, 0.02, 0.06),
        (0.1, 5.0, 0.2),
    ],
)
def test_pauses(waited_s: float, took_s: float, pause: float) -> None:
    """They grow with what was waited and with what a try takes, up to the interval."""
    assert pause_s(waited_s, took_s, 0.2) == pytest.approx(pause)


def test_a_job_that_fails() -> None:
    """Another code is an error at once, with its log."""
    with pytest.raises(
        NotReadyError, match=r"^service 'db' ended with exit code 7, 1.2 s after its start, expected 0 or 3$"
    ) as info:
        wait(Engine(states=[RUNNING, ENDED]), Ready(exit=(0, 3), interval_s=0.001, timeout_s=600))
    assert info.value.logs == "the last words"


def test_a_job_that_does_not_end() -> None:
    """Its own time, and that of the scenario, say so."""
    with pytest.raises(NotReadyError, match=r"was not ready after 0.02 s \(exit 0\): it still runs"):
        wait(Engine(), Ready(exit=(0,), timeout_s=0.02))
    with pytest.raises(ScenarioTimeoutError, match=r"waiting for service 'db' \(exit 0\): it still runs"):
        wait(Engine(), Ready(exit=(0,)), timeout_s=0.02)


def test_a_span() -> None:
    """A span is asked for until it has arrived; what has arrived instead is told; where none can, that is."""
    arrived: list[str] = []

    def spans(name: str) -> tuple[bool, list[str]]:
        arrived.append(f"s{len(arrived)}")
        return name in arrived, arrived

    wait(Engine(), Ready(span="s3", interval_s=0.001), spans=spans)
    ready = Ready(span="x", timeout_s=0.02)
    with pytest.raises(NotReadyError, match=r"\(span 'x'\): arrived: 's0', 's1', .*'s9' and 2 more$"):
        wait(Engine(), ready, spans=lambda _name: (False, [f"s{each}" for each in range(12)]))
    with pytest.raises(NotReadyError, match=r"\(span 'x'\): no span has arrived$"):
        wait(Engine(), ready, spans=lambda _name: (False, []))
    with pytest.raises(NotReadyError, match=r"can never be ready \(span 'x'\): spans are off$"):
        wait(Engine(), replace(ready, timeout_s=600), spans=NoSpans("spans are off"))


def test_a_container_that_is_gone() -> None:
    """One that somebody has removed is no longer waited for, and named."""

    class Gone(Engine):
        def state(self, container: str) -> ContainerState:
            raise ContainerError("the container c is gone")

    with pytest.raises(
        NotReadyError, match=r"^service 'db' is not to be waited for any more: the container c is"
    ):
        wait(Gone(), Ready(port=1))


def test_a_container_that_ends_fails_at_once() -> None:
    """A container that ends before it is ready is an error at once, with exit code and logs."""
    with pytest.raises(
        NotReadyError,
        match=r"service 'db' ended before it was ready .command x.: exit code 7, 1.2 s after its start$",
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
    service = Service(name="db", image="i", ready=(Ready(command=("x",)),))
    with pytest.raises(NotReadyError, match="was given up, as another service failed"):
        wait_ready(
            Engine(codes=[1]),  # type: ignore[arg-type]
            "c",
            service,
            deadline_s=time.monotonic() + 10,
            cancelled=lambda: True,
        )


def test_file() -> None:
    """The engine sees it; in memory the program ``test`` does, and without that it is said."""
    engine = Engine(there=[None, None, object()])
    wait(engine, Ready(file="/data/up", interval_s=0.001))
    assert engine.execs == []
    for path, given in (("/dev/shm/up", {}), ("/var/run/up", {"scratch": ("/run",)})):  # noqa: S108
        engine = Engine(there=[None], codes=[1, 0])
        wait(engine, Ready(file=path, interval_s=0.001), given=given)
        assert engine.execs == [("test", "-e", path)] * 2
    never = Ready(file="/data/up", timeout_s=0.03)
    with pytest.raises(NotReadyError, match=r"0\.03 s \(file /data/up\): nothing lies there$"):
        wait(Engine(there=[None]), never)
    without = ExecOutcome(exit_code=None, started=False)
    with pytest.raises(NotReadyError, match="it does not see memory, and the image has no `test`"):
        wait(Engine(there=[None], codes=[without]), never, given={"scratch": ("/run",)})
    wait(Engine(there=[None, object()], codes=[without]), Ready(file="/x"), given={"scratch": ("/run",)})


def test_healthcheck() -> None:
    """The image's health check is waited for."""
    states = [replace(RUNNING, health=health) for health in ("starting", "starting", "healthy")]
    wait(Engine(states=states), Ready(healthcheck=True, interval_s=0.001))
    assert len(states) == 1


def test_unhealthy_fails_at_once() -> None:
    """An unhealthy service does not wait for its timeout."""
    with pytest.raises(NotReadyError, match="turned unhealthy"):
        wait(Engine(states=[replace(RUNNING, health="unhealthy")]), Ready(healthcheck=True, timeout_s=60))


def test_a_container_that_ends_is_not_unhealthy() -> None:
    """The engine calls it that too, but its end is what happened."""
    with pytest.raises(
        NotReadyError, match=r"ended before it was ready \(the image's health check\): exit code 7"
    ):
        wait(Engine(states=[replace(ENDED, health="unhealthy")]), Ready(healthcheck=True))


def test_no_healthcheck_in_the_image() -> None:
    """Waiting for a health check that does not exist is an error that names the alternatives."""
    with pytest.raises(NotReadyError, match="its image has none: use command, log, port or http"):
        wait(Engine(states=[RUNNING]), Ready(healthcheck=True))


def test_what_the_images_health_check_did_last() -> None:
    """It is told at the time limit, and of one that turned unhealthy; the check's own time is the limit."""
    state = replace(RUNNING, health="starting", health_said="exit code 1: refused")
    with pytest.raises(
        NotReadyError,
        match=r"after 0.02 s \(the image's health check\): starting; its last run: exit code 1: refused",
    ):
        wait(Engine(states=[state]), Ready(healthcheck=True, interval_s=0.001), healthcheck_s=0.02)
    with pytest.raises(NotReadyError, match=r"check says \(its last run: exit code 1: refused\)$"):
        wait(Engine(states=[replace(state, health="unhealthy")]), Ready(healthcheck=True))
    for kind, told in (
        ("docker", "$"),
        ("podman", r" \(Podman has systemd run it: where there is none, use "),
    ):
        with pytest.raises(NotReadyError, match=rf"starting; it has not been run yet{told}"):
            wait(
                Engine(states=[replace(state, health_said="")], kind=kind),
                Ready(healthcheck=True, timeout_s=0.01),
                healthcheck_s=600,
            )


def test_a_health_check_of_the_file() -> None:
    """It may fail, but only so many times in a row, and as often as it likes in its start period."""
    check = HealthCheck(command=("c",), interval_s=0.001, retries=3)
    wait(Engine(codes=[1, 1, 1, 0]), Ready(healthcheck=check))
    engine = Engine(codes=[1], output=b"refused")
    with pytest.raises(
        NotReadyError,
        match=r"is unhealthy: 3 failures in a row \(command c\): its last run ended with exit code 1 and",
    ):
        wait(engine, Ready(healthcheck=check))
    assert len(engine.execs) == 4, "the one at once does not count"
    wait(Engine(codes=[*[1] * 20, 0]), Ready(healthcheck=replace(check, start_period_s=60)))
    # It is tried in between too, which counts for its success only.
    wait(Engine(codes=[*[1] * 10, 0]), Ready(healthcheck=replace(check, interval_s=60)))


def test_the_time_limit_of_a_health_check_of_the_file() -> None:
    """One that is given counts, whatever its own times allow."""
    check = HealthCheck(command=("c",), interval_s=0.001, start_period_s=60)
    told = r"was not ready after 0.02 s \(health check: command c\): its last run ended with exit code 1$"
    with pytest.raises(NotReadyError, match=told):
        wait(Engine(codes=[1]), Ready(healthcheck=check, timeout_s=0.02))


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
    engine = Engine(output=TABLE.encode(), states=[RUNNING])
    condition = Ready(port=port, timeout_s=0.05, interval_s=0.01)
    if ready:
        wait(engine, condition, network=FAR)
    else:
        with pytest.raises(NotReadyError):
            wait(engine, condition, network=FAR)
    assert engine.execs[0] == ("cat", "/proc/net/tcp", "/proc/net/tcp6")


@pytest.fixture
def http_port() -> Iterator[int]:
    """Return the port of a server that answers /good with 200 and anything else with 503."""
    with serving() as port:
        yield port


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Yield the port of a server that answers with the status in the path, 204 to one that is known."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("X-Who") == "me" and self.headers.get_all("Host") == ["api"]
            self.send_response(204 if known else int(self.path[1:]))
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    class Server(HTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that do not like the certificate."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_http(http_port: int) -> None:
    """An answer below 400 is ready; the port may be named, or is the only one of the service."""
    engine = Engine(states=[at_loopback(http_port)])
    wait(engine, Ready(http=HttpProbe(target=f":{http_port}/200")))
    wait(engine, Ready(http=HttpProbe(target="/302")), given={"ports": (http_port,)})
    wait(engine, Ready(http=HttpProbe(target=f":{http_port}/503", status=((200, 299), (503, 503)))))
    known = {"X-Who": "me", "Host": "api"}
    wait(engine, Ready(http=HttpProbe(target=f":{http_port}/500", status=((204, 204),), headers=known)))


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/503", ((100, 399),), "the last answer was 503 Service Unavailable, expected one below 400"),
        ("/200", ((204, 204),), "the last answer was 200 OK, expected 204"),
        ("/302", ((200, 299), (404, 404)), "the last answer was 302 Found, expected 2xx or 404"),
    ],
)
def test_http_answers_that_are_not_meant(
    http_port: int, path: str, status: tuple[tuple[int, int], ...], told: str
) -> None:
    """Another status is not ready, and the last one is told."""
    probe = HttpProbe(target=f":{http_port}{path}", status=status)
    engine = Engine(states=[at_loopback(http_port)])
    with pytest.raises(NotReadyError, match=re.escape(f"(http {path} on port {http_port}): {told}")):
        wait(engine, Ready(http=probe, timeout_s=0.1, interval_s=0.01))


def not_ready(port: int, **probe: Any) -> str:
    """Return why a request is in vain."""
    with pytest.raises(NotReadyError) as info:
        wait(
            Engine(states=[at_loopback(port)]),
            Ready(http=HttpProbe(target=f":{port}/200", **probe), timeout_s=0.1, interval_s=0.01),
        )
    return str(info.value).partition("): ")[2]


def test_http_without_an_answer(http_port: int, listener: int) -> None:
    """What stands in the way is told: nobody there, silence, or another protocol."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    assert not_ready(closed) == "no answer: connection refused"
    assert re.fullmatch(r"no answer: no answer within 0\.\d+ s", not_ready(listener))
    assert not_ready(http_port, tls=True).startswith("no answer: TLS: ")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a file with a key and a certificate that is valid for the name db, and trusted by nobody."""
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout both -out cert "
    )
    command += "-subj /CN=db -addext subjectAltName=DNS:db -days 2"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    both = tmp_path / "both"
    both.write_text(both.read_text() + (tmp_path / "cert").read_text())
    return both


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_https(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate is looked at only if asked for: it is of the service's name then, and trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(context) as port:
        engine = Engine(states=[at_loopback(port)])
        target = f":{port}/200"
        wait(engine, Ready(http=HttpProbe(target=target, tls=True)))
        assert not_ready(port, tls=True, verify=True).startswith("no answer: TLS: self")
        assert not_ready(port).startswith("no answer: ")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        wait(engine, Ready(http=HttpProbe(target=target, tls=True, verify=True)))
        with pytest.raises(NotReadyError, match=r"no answer: TLS: Hostname mismatch.*'web'"):
            wait_ready(
                engine,  # type: ignore[arg-type]
                "c",
                Service(
                    name="web",
                    image="i",
                    ready=(Ready(http=HttpProbe(target=target, tls=True, verify=True), timeout_s=0.1),),
                ),
                network=HERE,
                deadline_s=time.monotonic() + 10,
            )


def test_http_out_of_reach() -> None:
    """A port that is neither reachable nor published cannot be asked: the error says what to do."""
    probe = HttpProbe(target="/good")
    with pytest.raises(NotReadyError, match="port 80 is not published; add it to `ports`"):
        wait(Engine(states=[RUNNING]), Ready(http=probe), network=FAR)
    with pytest.raises(NotReadyError, match="port 443 is not published; add it to `ports`"):
        wait(Engine(states=[RUNNING]), Ready(http=replace(probe, tls=True)), network=FAR)
