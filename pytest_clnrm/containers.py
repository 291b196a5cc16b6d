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
from pytest_clnrm.errors import ClnrmError, ContainerError, ServiceEndedError
from pytest_clnrm.launch import Running, get_image, launch
from pytest_clnrm.markers import ScenarioWarning
from pytest_clnrm.output import BoundedOutput
from pytest_clnrm.policy import check_service
from pytest_clnrm.redaction import Redactor
from pytest_clnrm.result import tail
from pytest_clnrm.scenario.model import Limits, Service
from pytest_clnrm.scenario.readiness import parse_ready
from pytest_clnrm.service_ends import ServiceEnds, describe_end, last_logs, state_once_ended
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
SHOWN_LOG_CHARS = 4096
_END_POLL_S = 0.05


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
    :ivar may_have_ended: it was told to end, or its end was waited for.
    """

    def __init__(
        self, runtime: Runtime, running: Running, trace: ScenarioTrace, check: Callable[[], None]
    ) -> None:
        """Take over a container.

        :param check: raises if a container beside it, or itself, has ended that should run.
        """
        self._runtime = runtime
        self._running = running
        self._trace = trace
        self._check = check
        self.may_have_ended = False
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
        :raises ServiceEndedError: if a container of this test has ended that should run.
        """
        self._check()
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
            raise ContainerError(f"container {self.name} ended before the command did{self._why_ended()}")
        return CommandResult(
            exit_code=outcome.exit_code,
            stdout=outputs["stdout"].text(),
            stderr=outputs["stderr"].text(),
            timed_out=outcome.timed_out,
        )

    def _why_ended(self) -> str:
        """Return how it ended, with its last output; "" if the engine does not tell any more."""
        engine = self._runtime.engine()
        try:
            state = state_once_ended(engine, self.id)
        except ClnrmError:
            return ""
        return with_logs(f": {describe_end(self._running, state, '')}", last_logs(engine, self.id))

    def stop(self, *, timeout: str | float = 10) -> None:
        """Let its main process end (SIGTERM), kill it after *timeout*; that it has ended is no error then.

        :param timeout: seconds, or text such as "1.5m".
        :raises ServiceEndedError: if it had ended before, and should not have.
        """
        self._check()
        self.may_have_ended = True
        self._runtime.engine().stop(self.id, grace_s=parse_duration_s(timeout))

    def wait(self, *, timeout: str | float | None = None) -> int:
        """Wait until its main process has ended by itself, and return its exit code, which is no error then.

        :param timeout: seconds, or text such as "1.5m"; None is the time of ``--clnrm-timeout``.
        :raises ContainerError: if it still runs then.
        """
        self.may_have_ended = True
        timeout_s = self._runtime.settings.timeout_s if timeout is None else parse_duration_s(timeout)
        ends_s = time.monotonic() + timeout_s
        while (state := self._state()).exit_code is None:
            if time.monotonic() >= ends_s:
                raise ContainerError(f"container {self.name} still runs after {timeout_s:g} s")
            time.sleep(_END_POLL_S)
        return state.exit_code

    def logs(self) -> str:
        """Return the end of what its main process has printed, at most 1 MB."""
        return self._runtime.engine().logs(self.id, tail_bytes=LOG_TAIL_BYTES)

    def address(self, port: int) -> tuple[str, int]:
        """Return host and port at which container port *port* is reached from here.

        :raises ContainerError: if it is not published; name it in ``ports``.
        """
        state = self._state()
        if not state.running:
            ended = describe_end(self._running, state, "")
            raise ContainerError(with_logs(f"container {self.name} {ended}", self.logs()))
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
        self._open: list[tuple[Running, Container]] = []
        self._ends = ServiceEnds(runtime, self._redactor, _since_its_start, noun="container")

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
        ready: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None,
        may_end: int | Sequence[int] = (),
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
        :param ready: a condition, or a list of conditions that must all hold, as in scenario files.
        :param may_end: exit codes with which it may end by itself before the block does.
        :param name: under which other containers of fixtures and Python tests of this worker reach it; two
            that are there at once have different ones.
        :raises ValueError: if an argument is not what it must be, or more than the settings allow.
        :raises ClnrmError: if it cannot be reserved, created or started, or is not ready.
        :raises ServiceEndedError: at the end, if it has ended in a way that was not announced.
        """
        conditions = () if ready is None else parse_ready(ready)
        service = Service(
            name=name or self._unused_name(),
            image=image,
            command=None if command is None else tuple(command),
            env=dict(env or {}),
            ports=tuple(ports),
            limits=Limits(
                memory_bytes=None if memory is None else parse_size_bytes(memory), cpus=cpu, gpus=gpus
            ),
            ready=conditions,
            may_end=(
                *((may_end,) if isinstance(may_end, int) else may_end),
                *(code for each in conditions for code in each.exit),
            ),
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
                    cancelled=self._in_vain,
                )
                self._connected = self._connected or service.network != "none"
                box = Container(self._runtime, created[0], self._trace, self._check)
                self._open.append((created[0], box))
                try:
                    yield box
                except Exception as error:
                    self._explain(error)
                    raise
                self._judge_end(created[0], box)
            finally:
                self._open = [each for each in self._open if each[0].id not in {one.id for one in created}]
                for each in created:
                    each.sources.close()
                self._runtime.remove_all([each.id for each in created], lease)
                memory_bytes = sum(each.limits.memory_bytes or 0 for each in created)
                self._runtime.board.count(-len(created), -memory_bytes)

    def _due(self) -> list[Running]:
        """Return the containers that should run."""
        return [running for running, box in self._open if not box.may_have_ended]

    def _check(self) -> None:
        try:
            self._ends.check_now(self._due())
        except ServiceEndedError as error:
            raise ServiceEndedError(with_logs(str(error), error.logs), error.logs) from None

    def _in_vain(self) -> bool:
        self._ends.check(self._due())
        return False

    def _explain(self, error: Exception) -> None:
        """Add to *error* that a container has ended, which is often its cause."""
        if isinstance(error, ServiceEndedError):
            return
        try:
            self._check()
        except ClnrmError as ended:
            if hasattr(error, "add_note"):
                error.add_note(self._redactor.text(str(ended)))
            else:  # Python 3.10
                self._warn(str(ended))

    def _judge_end(self, running: Running, box: Container) -> None:
        if running.keeps_alive or box.may_have_ended:
            return
        state = self._runtime.engine().state(running.id)
        if state.running:
            return
        for failure in self._ends.judge(running, state, ()):
            raise ServiceEndedError(with_logs(failure.message, failure.details), failure.details)
        for note in self._ends.notes:
            self._warn(note)
        self._ends.notes.clear()


def _since_its_start(service: Service, lived_s: float | None) -> str:  # noqa: ARG001
    return "" if lived_s is None else f"{lived_s:.1f} s after its start"


def with_logs(message: str, logs: str) -> str:
    """Return *message* with the end of a container's output below it."""
    shown = tail(logs.strip("\n"), SHOWN_LOG_CHARS)
    return f"{message}; its last output:\n{shown}" if shown else message
