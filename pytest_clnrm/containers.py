"""Containers for Python tests: what the fixtures ``clnrm`` and ``clnrm_factory`` hand out.

They are started, limited, labelled and removed as those of scenarios are.
"""

from __future__ import annotations

import itertools
import os
import shlex
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pytest_clnrm.engine.api import ContainerState, ExecSpec
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.launch import Running, get_image, launch
from pytest_clnrm.markers import ScenarioWarning
from pytest_clnrm.output import BoundedOutput
from pytest_clnrm.policy import check_service
from pytest_clnrm.redaction import Redactor
from pytest_clnrm.scenario.model import Limits, Ready, Service
from pytest_clnrm.tracing import out_of_reach
from pytest_clnrm.units import parse_duration_s, parse_size_bytes

if TYPE_CHECKING:
    from pytest_clnrm.network import Network
    from pytest_clnrm.runtime import Runtime
    from pytest_clnrm.span import AttributeValue, Span
    from pytest_clnrm.tracing import ScenarioTrace

__all__ = ["CommandResult", "Container", "Containers"]

LOG_TAIL_BYTES = 1 << 20
STEP_NAME_CHARS = 80
READY_KEYS = ("command", "log", "port", "http", "healthcheck")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What a command did.

    :param exit_code: None if its time was over first.
    :param stdout: decoded with replacements; of more than 4 MB the end.
    """

    exit_code: int | None
    stdout: str
    stderr: str
    timed_out: bool = False


class Container:
    """A running container.

    :ivar id: the engine's id.
    :ivar name: its name in the engine.
    """

    def __init__(self, runtime: Runtime, running: Running, trace: ScenarioTrace) -> None:
        self._runtime = runtime
        self._running = running
        self._trace = trace
        self.id = running.id
        self.name = running.name

    def run(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        user: str | None = None,
        stdin: str | bytes | None = None,
        timeout: str | float | None = None,
    ) -> CommandResult:
        """Run *command* in the container and wait for its end, within a span of its own.

        :param command: text runs under ``sh -c``; a list is an argv, never joined or split.
        :param timeout: seconds, or text such as "1.5m"; None is the time of ``--clnrm-timeout``.
        :raises ContainerError: if the container ended, or ran out of memory.
        """
        timeout_s = self._runtime.settings.timeout_s if timeout is None else parse_duration_s(timeout)
        spec = ExecSpec(
            argv=("sh", "-c", command) if isinstance(command, str) else tuple(command),
            env=dict(env or {}),
            workdir=workdir,
            user=user,
            stdin=stdin.encode() if isinstance(stdin, str) else stdin,
        )
        text = command if isinstance(command, str) else shlex.join(spec.argv)
        service = self._running.service
        # A name for people: the command, cut where it is a whole script.
        name = next(iter(text.strip().splitlines()), "")[:STEP_NAME_CHARS]
        about = {"clnrm.step.name": name, "clnrm.service": service.name}
        with self._trace.span("clnrm.step", about, kind="client") as span:
            variables = self._trace.enter_step(
                name,
                span.traceparent,
                given=self._running.env,
                made_with=self._running.spec.env,
                own=spec.env,
            )
            result = self._exec(replace(spec, env=variables), timeout_s)
            span.set("process.exit.code", result.exit_code)
            if result.timed_out:
                span.fail(f"timed out after {timeout_s:g} s", "timeout")
            return result

    def _exec(self, spec: ExecSpec, timeout_s: float) -> CommandResult:
        outputs = {"stdout": BoundedOutput(), "stderr": BoundedOutput()}

        def on_output(stream: Literal["stdout", "stderr"], data: bytes) -> None:
            outputs[stream].feed(data)

        outcome = self._runtime.engine().exec(
            self.id, spec, on_output=on_output, deadline_s=time.monotonic() + timeout_s
        )
        if outcome.oom:
            limit_mb = (self._running.limits.memory_bytes or 0) // (1 << 20)
            raise ContainerError(f"container {self.name} ran out of memory: it is limited to {limit_mb} MB")
        if outcome.container_lost:
            raise ContainerError(f"container {self.name} ended before the command did")
        return CommandResult(
            exit_code=outcome.exit_code,
            stdout=outputs["stdout"].text(),
            stderr=outputs["stderr"].text(),
            timed_out=outcome.timed_out,
        )

    def logs(self) -> str:
        """Return the end of what its main process has printed, at most 1 MB."""
        return self._runtime.engine().logs(self.id, tail_bytes=LOG_TAIL_BYTES)

    def address(self, port: int) -> tuple[str, int]:
        """Return host and port at which container port *port* is reached from here.

        :raises ContainerError: if it is not published; name it in ``ports``.
        """
        state = self._state()
        if port not in state.ports:
            published = ", ".join(map(str, sorted(state.ports))) or "none"
            raise ContainerError(
                f"port {port} of container {self.name} is not published (published: {published}): "
                f"add it to ports=[...]"
            )
        return state.ports[port]

    def url(self, port: int, scheme: str = "http") -> str:
        """Return ``http://127.0.0.1:32768`` for container port *port*.

        :raises ContainerError: if it is not published.
        """
        host, published = self.address(port)
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{published}"

    def _state(self) -> ContainerState:
        return self._runtime.engine().state(self.id)


Reserve = Callable[[Limits], AbstractContextManager[str]]


class Containers:
    """Makes containers for one test, or for whatever a wider fixture serves.

    :param label: what the containers' labels call it, a node id.
    :param reserve: holds room for one more container of these limits while it is needed; yields the lease's
        id, "" for that of the test.
    :param attributes: of the span that all others are part of.
    :param slot_wait_s: seconds that the test's reservation was waited for.
    :param slot_attributes: of the span of that wait.
    """

    def __init__(
        self,
        runtime: Runtime,
        label: str,
        reserve: Reserve,
        *,
        attributes: Mapping[str, AttributeValue],
        slot_wait_s: float = 0.0,
        slot_attributes: Mapping[str, AttributeValue] | None = None,
    ) -> None:
        self._runtime = runtime
        self._label = label
        self._reserve = reserve
        self._numbers = itertools.count(1)
        secrets = runtime.settings.secrets
        self._redactor = Redactor(os.environ.get(name, "") for name in secrets)
        self._trace = runtime.tracing().scenario(
            label, attributes, redact=self._redactor.text if secrets else None
        )
        if slot_wait_s:
            self._trace.add("clnrm.slot.wait", slot_wait_s, slot_attributes)
        self._connected = False

    def spans(self, *, count: int = 0, timeout: str | float = 5) -> tuple[Span, ...]:
        """Return the spans that programs in these containers have exported.

        :param count: wait until there are so many; fewer are returned once the time is over, or at once, with
            a warning that says what to do, where none can arrive.
        :param timeout: seconds, or text such as "1.5m".
        """
        inbox = self._trace.inbox
        if inbox is None:
            if count:
                self._warn("spans are asked for, but they are off (--clnrm-spans on)")
            return ()
        if count and not inbox.spans() and (why_not := self._cannot_receive()):
            self._warn(f"spans are asked for, but {why_not}")
        elif count:
            inbox.wait(lambda spans: len(spans) >= count, timeout_s=parse_duration_s(timeout))
        return tuple(inbox.spans())

    def _cannot_receive(self) -> str:
        """Return why no span can reach us, "" if some can."""
        if not self._connected:
            return (
                'no container here has had a network to export them over: take network="none" away, '
                "or ask for them once there is a container"
            )
        if not self._runtime.networks().reach_us:
            return out_of_reach(self._runtime.engine().facts.url)
        return ""

    def _unused_name(self) -> str:
        names = (f"container{number}" for number in self._numbers)
        return next(name for name in names if not self._runtime.networks().is_taken(name))

    def _warn(self, message: str) -> None:
        text = self._redactor.text(f"{self._label}: {message}")
        warnings.warn(ScenarioWarning(text), stacklevel=3)

    def close(self, status: str = "", error: str = "") -> None:
        """End the trace; what programs export from now on is refused, and what was is told.

        :param status: of the test: "pass" or "fail"; "" if that is not known.
        :param error: why it failed, "" if it did not.
        """
        self._trace.finish(status, error)
        for problem in self._trace.problems():
            self._warn(problem)

    @contextmanager
    def container(
        self,
        image: str,
        *,
        command: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        ports: Sequence[int] = (),
        memory: str | int | None = None,
        cpu: float | None = None,
        gpus: int | None = None,
        ready: Mapping[str, object] | None = None,
        name: str | None = None,
        workdir: str | None = None,
        user: str | None = None,
        network: Literal["isolated", "bridge", "none"] = "isolated",
    ) -> Iterator[Container]:
        """Start a container, yield it once it is ready, and remove it at the end.

        :param image: image reference; ``--clnrm-image-map`` applies.
        :param command: argv in place of the image's command; an image that is a bare shell is kept alive.
        :param ports: container ports, published on a free port of 127.0.0.1.
        :param memory: 512 means MB, "1g"; None is ``--clnrm-memory``.
        :param cpu: CPUs; None is ``--clnrm-cpu``.
        :param ready: one of ``command``, ``log``, ``port``, ``http``, ``healthcheck``, with ``timeout`` and
            ``interval``, as in scenario files.
        :param name: under which other containers of fixtures and Python tests of this worker reach it; two
            that are there at once have different ones.
        :raises ValueError: if an argument is not what it must be, or more than the settings allow.
        :raises ClnrmError: if it cannot be reserved, created or started, or is not ready.
        """
        service = Service(
            name=name or self._unused_name(),
            image=image,
            command=None if command is None else tuple(command),
            env=dict(env or {}),
            ports=tuple(ports),
            limits=Limits(
                memory_bytes=None if memory is None else parse_size_bytes(memory), cpus=cpu, gpus=gpus
            ),
            ready=None if ready is None else parse_ready(ready),
            workdir=workdir,
            user=user,
            network=network,
        )
        check_service(self._runtime.settings, service)
        self._redactor.add(
            value for key, value in service.env.items() if key in self._runtime.settings.secrets
        )
        for warning in self._trace.warnings(service.env):
            self._warn(f"container {service.name!r}: {warning}")
        alone: AbstractContextManager[Network | None] = nullcontext()
        if network != "none":
            alone = self._runtime.networks().of_fixtures(service.name)
        with self._reserve(service.limits) as lease, alone as joined:
            created: list[Running] = []

            def note(container: Running) -> None:
                created[:] = [container]

            try:
                launch(
                    self._runtime,
                    service,
                    get_image(self._runtime, service, self._trace),
                    name=f"{self._runtime.next_name()}-{service.name}",
                    labels=self._runtime.labels(self._label, lease),
                    deadline_s=time.monotonic() + self._runtime.settings.timeout_s,
                    on_created=note,
                    trace=self._trace,
                    network=joined,
                )
                self._connected = self._connected or service.network != "none"
                yield Container(self._runtime, created[0], self._trace)
            finally:
                for each in created:
                    each.sources.close()
                self._runtime.remove_all([each.id for each in created], lease)
                memory_bytes = sum(each.limits.memory_bytes or 0 for each in created)
                self._runtime.board.count(-len(created), -memory_bytes)


def parse_ready(ready: Mapping[str, object]) -> Ready:
    """Return the condition that *ready* describes.

    :raises ValueError: unless it names exactly one condition, and nothing unknown.
    """
    values = dict(ready)
    timeout_s = parse_duration_s(values.pop("timeout", 30))
    interval_s = parse_duration_s(values.pop("interval", 0.2))
    if len(values) != 1 or not set(values) <= set(READY_KEYS):
        allowed = ", ".join(READY_KEYS)
        raise ValueError(f"ready={dict(ready)!r}: exactly one of {allowed}, with timeout and interval")
    (kind, value), *_ = values.items()
    if kind == "command" and isinstance(value, (list, tuple)):
        return Ready(command=tuple(map(str, value)), timeout_s=timeout_s, interval_s=interval_s)
    if kind == "command" and isinstance(value, str):
        return Ready(command=("sh", "-c", value), timeout_s=timeout_s, interval_s=interval_s)
    if kind == "log" and isinstance(value, str):
        return Ready(log=value, timeout_s=timeout_s, interval_s=interval_s)
    if kind == "http" and isinstance(value, str):
        return Ready(http=value, timeout_s=timeout_s, interval_s=interval_s)
    if kind == "port" and isinstance(value, int) and not isinstance(value, bool):
        return Ready(port=value, timeout_s=timeout_s, interval_s=interval_s)
    if kind == "healthcheck" and value is True:
        return Ready(healthcheck=True, timeout_s=timeout_s, interval_s=interval_s)
    raise ValueError(f"ready={dict(ready)!r}: {kind} cannot be {value!r}")
