"""Containers for Python tests: what the fixtures ``clnrm`` and ``clnrm_factory`` hand out.

They are started, limited, labelled and removed as those of scenarios are.
"""

from __future__ import annotations

import itertools
import os
import shlex
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pytest_clnrm.engine.api import ContainerState, ExecSpec
from pytest_clnrm.errors import ClnrmError, ContainerError, ServiceEndedError, ServiceError
from pytest_clnrm.items.container_arguments import command_line, service_of, variables
from pytest_clnrm.items.container_block import ContainerBlock
from pytest_clnrm.items.plain_errors import shows_caller
from pytest_clnrm.items.python_tests import last_lines
from pytest_clnrm.model.result import StepResult, tail
from pytest_clnrm.model.scenario import Limits, Service
from pytest_clnrm.model.units import parse_duration_s
from pytest_clnrm.reservation.markers import ScenarioWarning
from pytest_clnrm.runner.service_ends import ServiceEnds, describe_end, last_logs, state_once_ended
from pytest_clnrm.settings.policy import check_service
from pytest_clnrm.telemetry.tracing import out_of_reach
from pytest_clnrm.util.output import BoundedOutput
from pytest_clnrm.util.redaction import Redactor
from pytest_clnrm.util.terminal_text import shown

if TYPE_CHECKING:
    from pytest_clnrm.items.python_tests import PythonTests
    from pytest_clnrm.model.span import AttributeValue, Span
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runtime.runtime import Runtime

LOG_TAIL_BYTES = 1 << 20
STEP_NAME_CHARS = 80
SHOWN_OUTPUT_CHARS = 4096
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

    def __init__(self, owner: Containers, running: RunningContainer) -> None:
        """Take over a container.

        :param owner: who has made it.
        """
        self._owner = owner
        self._runtime = owner.runtime
        self._running = running
        self._trace = owner.trace
        self._check = owner.check
        self.may_have_ended = False
        self.id = running.id
        self.name = running.name

    @shows_caller
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
        :raises ValueError: if an argument is not what it must be.
        :raises ContainerError: if the container ended, or ran out of memory.
        :raises ServiceEndedError: if a container of this test has ended that should run.
        """
        self._check()
        timeout_s = self._runtime.settings.timeout_s if timeout is None else parse_duration_s(timeout)
        spec = ExecSpec(
            argv=("sh", "-c", command) if isinstance(command, str) else command_line("command", command),
            env=variables(env),
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
            exported = self._trace.enter_step(
                name,
                span.traceparent,
                given=self._running.env,
                made_with=self._running.spec.env,
                own=spec.env,
            )
            began_s = time.monotonic()
            result: CommandResult | None = None
            try:
                result = self._exec(replace(spec, env=exported), timeout_s)
            finally:
                self._owner.ran(name, service.name, text, began_s, result)
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
            limit_mb = self._running.memory_limit_mb
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
        ended = f": {describe_end(self._running, state, '')}"
        return self._owner.with_logs(ended, last_logs(engine, self.id))

    @shows_caller
    def stop(self, *, timeout: str | float = 10) -> None:
        """Let its main process end (SIGTERM), kill it after *timeout*; that it has ended is no error then.

        :param timeout: seconds, or text such as "1.5m".
        :raises ServiceEndedError: if it had ended before, and should not have.
        """
        self._check()
        self.may_have_ended = True
        self._runtime.engine().stop(self.id, grace_s=parse_duration_s(timeout))

    @shows_caller
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

    @shows_caller
    def logs(self) -> str:
        """Return the end of what its main process has printed, at most 1 MB."""
        return self._runtime.engine().logs(self.id, tail_bytes=LOG_TAIL_BYTES)

    @shows_caller
    def address(self, port: int) -> tuple[str, int]:
        """Return host and port at which container port *port* is reached from here.

        :raises ContainerError: if it is not published; name it in ``ports``.
        """
        state = self._state()
        if not state.running:
            ended = describe_end(self._running, state, "")
            raise ContainerError(self._owner.with_logs(f"container {self.name} {ended}", self.logs()))
        if port not in state.ports:
            published = ", ".join(map(str, sorted(state.ports))) or "none"
            raise ContainerError(
                f"port {port} of container {self.name} is not published (published: {published}): "
                f"add it to ports=[...]"
            )
        return state.ports[port]

    @shows_caller
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
    :param tests: follows the tests of this process.
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
        tests: PythonTests,
        attributes: Mapping[str, AttributeValue],
        slot_wait_s: float = 0.0,
        slot_attributes: Mapping[str, AttributeValue] | None = None,
    ) -> None:
        self.runtime = self._runtime = runtime
        self.label = self._label = label
        self.reserve = reserve
        self.tests = tests
        self._numbers = itertools.count(1)
        secrets = runtime.settings.secrets
        self.redactor = self._redactor = Redactor(os.environ.get(name, "") for name in secrets)
        self.trace = self._trace = runtime.tracing().scenario(
            label, attributes, redact=self._redactor.text if secrets else None
        )
        if slot_wait_s:
            self._trace.add("clnrm.slot.wait", slot_wait_s, slot_attributes)
        self._connected = False
        self._open: list[tuple[RunningContainer, Container]] = []
        self._ends = ServiceEnds(runtime, self._redactor, _since_its_start, noun="container")

    @shows_caller
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
        warnings.warn(ScenarioWarning(text), stacklevel=4)

    def close(self, status: str = "", error: str = "") -> None:
        """End the trace; what programs export from now on is refused, and what was is told.

        :param status: of the test: "pass" or "fail"; "" if that is not known.
        :param error: why it failed, "" if it did not.
        """
        self._trace.finish(status, error)
        for problem in self._trace.problems():
            self._warn(problem)

    @shows_caller
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
    ) -> AbstractContextManager[Container]:
        """Return a block that starts a container, yields it once it is ready, and removes it at its end.

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

        The block raises ClnrmError if the container cannot be reserved, created or started, or is not ready,
        and ServiceEndedError at its end if it has ended in a way that was not announced.
        """
        service = service_of(
            name=self._unused_name() if name is None else name,
            image=image,
            command=command,
            env=env,
            ports=ports,
            memory=memory,
            cpu=cpu,
            gpus=gpus,
            ready=ready,
            may_end=may_end,
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
        return ContainerBlock(self, service)

    def ran(
        self, name: str, service: str, command: str, began_s: float, result: CommandResult | None
    ) -> None:
        """Take note of a command that was run.

        :param result: None if it could not be told.
        """
        outcome: Literal["passed", "timeout", "error"] = "passed"
        if result is None or result.timed_out:
            outcome = "error" if result is None else "timeout"
        step = StepResult(
            name=name,
            service=service,
            outcome=outcome,
            command=command,
            started_s=began_s,
            duration_s=time.monotonic() - began_s,
            exit_code=result.exit_code if result else None,
            stdout=tail(result.stdout, SHOWN_OUTPUT_CHARS) if result else "",
            stderr=tail(result.stderr, SHOWN_OUTPUT_CHARS) if result else "",
        )
        self.tests.ran(self._redactor.result(step))

    def started(self, running: RunningContainer) -> Container:
        """Take over a container that is ready."""
        self._connected = self._connected or running.service.network != "none"
        box = Container(self, running)
        self._open.append((running, box))
        return box

    def ended(self, running: RunningContainer) -> None:
        """Take note that the block of a container is over."""
        self._open = [each for each in self._open if each[0].id != running.id]

    def _due(self) -> list[RunningContainer]:
        """Return the containers that should run."""
        return [running for running, box in self._open if not box.may_have_ended]

    def check(self) -> None:
        """Look after the containers.

        :raises ServiceEndedError: if one has ended that should run.
        """
        try:
            self._ends.check_now(self._due())
        except ServiceEndedError as error:
            raise self.told(error) from None

    def told(self, error: ClnrmError) -> ClnrmError:
        """Return *error* with the logs that it carries in its message."""
        if isinstance(error, ServiceError) and error.logs:
            return type(error)(self.with_logs(str(error), error.logs), error.service, error.logs)
        return error

    def last_logs(self, container: str) -> str:
        """Return the end of a container's output, without secrets."""
        return self._redactor.end_of_text(last_logs(self._runtime.engine(), container))

    def with_logs(self, message: str, logs: str) -> str:
        """Return *message* with the end of a container's output below it, without secrets."""
        end = last_lines(self._redactor.end_of_text(logs))
        return shown(self._redactor.text(message)) + (f"; its last output:\n{end}" if end.strip() else "")

    def in_vain(self) -> bool:
        """Return False while a wait makes sense.

        :raises ServiceEndedError: if a container has ended that should run.
        """
        self._ends.check(self._due())
        return False

    def explain(self, error: Exception) -> None:
        """Add to *error* that a container has ended, which is often its cause."""
        if isinstance(error, ServiceEndedError):
            return
        try:
            self.check()
        except ClnrmError as ended:
            if hasattr(error, "add_note"):
                error.add_note(self._redactor.text(str(ended)))
            else:  # Python 3.10
                self._warn(str(ended))

    def judge_end(self, running: RunningContainer, box: Container) -> None:
        """Judge how a container is at the end of its block.

        :raises ServiceEndedError: if it has ended in a way that was not announced.
        """
        if running.keeps_alive or box.may_have_ended:
            return
        state = self._runtime.engine().state(running.id)
        if state.running:
            return
        for failure in self._ends.judge(running, state, ()):
            told = self.with_logs(failure.message, failure.details)
            raise ServiceEndedError(told, running.service.name, failure.details)
        for note in self._ends.notes:
            self._warn(note)
        self._ends.notes.clear()


def _since_its_start(service: Service, lived_s: float | None) -> str:  # noqa: ARG001
    return "" if lived_s is None else f"{lived_s:.1f} s after its start"
