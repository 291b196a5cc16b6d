"""A container in a Python test: what ``clnrm.container(...)`` yields."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pytest_clnrm.engine.api import ContainerState, ExecSpec
from pytest_clnrm.errors import ClnrmError, ContainerError
from pytest_clnrm.items.container_arguments import command_line, variables
from pytest_clnrm.items.plain_errors import shows_caller
from pytest_clnrm.model.result import StepResult, tail
from pytest_clnrm.model.units import parse_duration_s
from pytest_clnrm.runner.service_ends import describe_end, last_logs, state_once_ended
from pytest_clnrm.util.output import BoundedOutput

if TYPE_CHECKING:
    from pytest_clnrm.items.container_group import ContainerGroup
    from pytest_clnrm.items.python_tests import LiveContainer

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
    """

    def __init__(self, group: ContainerGroup, live: LiveContainer) -> None:
        self._group = group
        self._runtime = group.runtime
        self._live = live
        self._running = live.running
        self._trace = group.trace
        self.id = live.running.id
        self.name = live.running.name

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
        self._group.check()
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
                self._ran(name, service.name, text, began_s, result)
            span.set("process.exit.code", result.exit_code)
            if result.timed_out:
                span.fail(f"timed out after {timeout_s:g} s", "timeout")
            return result

    def _ran(
        self, name: str, service: str, command: str, began_s: float, result: CommandResult | None
    ) -> None:
        """Note a command for the report; *result* is None if it raised an error."""
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
        self._group.tests.ran(self._group.redactor.result(step))

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
        """Return how it ended, with its last output; "" if the engine can no longer tell."""
        engine = self._runtime.engine()
        try:
            state = state_once_ended(engine, self.id)
        except ClnrmError:
            return ""
        ended = f": {describe_end(self._running, state, '')}"
        return self._group.with_logs(ended, last_logs(engine, self.id))

    @shows_caller
    def stop(self, *, timeout: str | float = 10) -> None:
        """Let its main process end (SIGTERM), kill it after *timeout*; that it has ended is no error then.

        :param timeout: seconds, or text such as "1.5m".
        :raises ServiceEndedError: if it had ended before, and should not have.
        """
        self._group.check()
        self._live.may_have_ended = True
        self._runtime.engine().stop(self.id, grace_s=parse_duration_s(timeout))

    @shows_caller
    def wait(self, *, timeout: str | float | None = None) -> int:
        """Wait until its main process has ended by itself, and return its exit code, which is no error then.

        :param timeout: seconds, or text such as "1.5m"; None is the time of ``--clnrm-timeout``.
        :raises ContainerError: if it still runs then.
        """
        self._live.may_have_ended = True
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
            raise ContainerError(self._group.with_logs(f"container {self.name} {ended}", self.logs()))
        if port not in state.ports:
            published = ", ".join(map(str, sorted(state.ports))) or "none"
            raise ContainerError(
                f"port {port} of container {self.name} is not published (published: {published}): "
                f"add it to ports=[...]"
            )
        try:
            return self._runtime.networks().published(state, port)
        except OSError as error:
            raise ContainerError(
                f"port {port} of container {self.name} cannot be reached: {error}"
            ) from error

    @shows_caller
    def url(self, port: int | None = None, scheme: str = "http") -> str:
        """Return ``http://127.0.0.1:32768`` for container port *port*.

        Without a port it is the one that the container's ``url=``, or that of its preset, gives.

        :raises ContainerError: if the port is not published, or the container has no url of its own.
        """
        if port is None:
            service = self._running.service
            if not (service.url and service.ports):
                raise ContainerError(
                    f"container {self.name} has no url of its own: name the port, url(8080), or give the "
                    'container one: url="http://{host}:{port}", with ports=[8080]'
                )
            return service.url_at(*self.address(service.ports[0]))
        host, published = self.address(port)
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{published}"

    def _state(self) -> ContainerState:
        return self._runtime.engine().state(self.id)
