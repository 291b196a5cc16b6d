"""A container in a Python test: what ``clnrm.container(...)`` yields."""

from __future__ import annotations

import math
import re
import shlex
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload
from urllib.parse import quote

from pytest_clnrm.engine.api import ContainerState, ExecSpec
from pytest_clnrm.errors import ClnrmError, ContainerError
from pytest_clnrm.items.command_result import BytesResult, CommandResult, Ran
from pytest_clnrm.items.container_arguments import as_in_files, command_line, in_python, variables
from pytest_clnrm.items.container_files import copied_in, copy_out, read_file
from pytest_clnrm.items.container_logs import engine_moment_s, follow, logs_since
from pytest_clnrm.items.plain_errors import calling_folder, plain, shows_caller
from pytest_clnrm.model.result import StepResult, tail
from pytest_clnrm.model.units import parse_duration_s
from pytest_clnrm.runner.launch import await_ready
from pytest_clnrm.runner.service_ends import describe_end, last_logs, state_once_ended
from pytest_clnrm.scenario.format.one_service import read_condition
from pytest_clnrm.telemetry.environment import OF_STEP, SERVICE_NAME
from pytest_clnrm.util.output import BoundedOutput

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pytest_clnrm.items.container_group import ContainerGroup
    from pytest_clnrm.items.python_tests import LiveContainer
    from pytest_clnrm.items.service_arguments import Condition, StrPath
    from pytest_clnrm.model.span import Span
    from pytest_clnrm.runtime.network import Network

LOG_TAIL_BYTES = 1 << 20
STEP_NAME_CHARS = 80
SHOWN_OUTPUT_CHARS = 4096
GRACE_S = 10.0
"""How long a container has to end by itself when it is stopped; the engines' own default."""
_END_POLL_S = 0.05
_UDP = re.compile(r"(\d+)/(tcp|udp)")


class Container:
    """A running container.

    :ivar id: the engine's id.
    :ivar name: its name in the engine.
    """

    def __init__(self, group: ContainerGroup, live: LiveContainer, network: Network | None) -> None:
        self._group = group
        self._network = network
        self._runtime = group.runtime
        self._live = live
        self._running = live.running
        self._trace = group.trace
        self.id = live.running.id
        self.name = live.running.name

    @overload
    def run(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        user: str | None = None,
        stdin: str | bytes | None = None,
        timeout: str | float | None = None,
        text: Literal[True] = True,
    ) -> CommandResult: ...

    @overload
    def run(
        self,
        command: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        user: str | None = None,
        stdin: str | bytes | None = None,
        timeout: str | float | None = None,
        text: Literal[False],
    ) -> BytesResult: ...

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
        text: bool = True,
    ) -> CommandResult | BytesResult:
        """Run *command* in the container and wait for its end, within a span of its own.

        :param command: text runs under ``sh -c``; a list is an argv, never joined or split.
        :param timeout: seconds, or text such as "1.5m"; None is the time of ``--clnrm-timeout``.
        :param text: False: stdout and stderr are bytes.
        :raises ValueError: if an argument is not what it must be.
        :raises ContainerError: if the container ended, is paused, or ran out of memory.
        :raises ServiceEndedError: if a container of this test has ended that should run.
        """
        if self._live.paused:
            raise ContainerError(f"container {self.name} is paused: call unpause() first")
        self._group.check()
        timeout_s = self._timeout_s(timeout)
        spec = ExecSpec(
            argv=("sh", "-c", command) if isinstance(command, str) else command_line("command", command),
            env=variables(env),
            workdir=workdir,
            user=user,
            stdin=stdin.encode() if isinstance(stdin, str) else stdin,
        )
        line = command if isinstance(command, str) else shlex.join(spec.argv)
        service = self._running.service
        # A name for people: the command, cut where it is a whole script.
        name = next(iter(line.strip().splitlines()), "")[:STEP_NAME_CHARS]
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
            result: Ran | None = None
            try:
                result = self._exec(replace(spec, env=exported), timeout_s)
            finally:
                self._ran(name, service.name, line, began_s, result)
            span.set("process.exit.code", result.exit_code)
            if result.timed_out:
                span.fail(f"timed out after {timeout_s:g} s", "timeout")
            return result.as_text() if text else result.as_bytes()

    exec = run
    """The same, by the name that others have for it."""

    def _ran(self, name: str, service: str, command: str, began_s: float, result: Ran | None) -> None:
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
            stdout=tail(result.stdout.text(), SHOWN_OUTPUT_CHARS) if result else "",
            stderr=tail(result.stderr.text(), SHOWN_OUTPUT_CHARS) if result else "",
        )
        self._group.tests.ran(self._group.redactor.result(step))

    def _exec(self, spec: ExecSpec, timeout_s: float) -> Ran:
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
        return Ran(exit_code=outcome.exit_code, timed_out=outcome.timed_out, **outputs)

    def _why_ended(self) -> str:
        """Return how it ended, with its last output; "" if the engine can no longer tell."""
        engine = self._runtime.engine()
        try:
            state = state_once_ended(engine, self.id)
        except ClnrmError:
            return ""
        ended = f": {describe_end(self._running, state, '')}"
        return self._group.with_logs(ended, last_logs(engine, self.id))

    # its life

    @shows_caller
    def stop(self, *, timeout: str | float | None = None) -> None:
        """Let its main process end (SIGTERM), kill it after *timeout*; that it has ended is no error then.

        :param timeout: seconds, or text such as "1.5m"; None is its ``stop_grace``, or 10 s.
        :raises ServiceEndedError: if it had ended before, and should not have.
        """
        self._check_own()
        self._stop(timeout)

    def _check_own(self) -> None:
        """Look whether all still run, and whether this one's life is the test's alone."""
        if self._running.service.scope != "scenario":
            raise ContainerError(
                f"container {self.name} is shared: it is not stopped, started or paused for one of its users"
            )
        self._group.check()

    def _stop(self, timeout: str | float | None) -> None:
        own_s = self._running.service.stop_grace_s
        grace_s = GRACE_S if own_s is None else own_s
        self._unpause()
        self._live.may_have_ended = True
        self._runtime.engine().stop(
            self.id, grace_s=grace_s if timeout is None else parse_duration_s(timeout)
        )

    @shows_caller
    def kill(self) -> None:
        """End its main process at once (SIGKILL); that it has ended is no error then.

        :raises ServiceEndedError: if it had ended before, and should not have.
        """
        self._check_own()
        self._live.may_have_ended = True
        self._runtime.engine().control(self.id, "kill")
        self._live.paused = False

    @shows_caller
    def start(self, *, timeout: str | float | None = None) -> None:
        """Start it again after its end, and wait until it is ready, as at its first start.

        :param timeout: seconds, or text such as "1.5m"; None is the time of ``--clnrm-timeout``.
        :raises ContainerError: if it runs, or cannot be started.
        :raises NotReadyError: if it does not become ready.
        """
        self._check_own()
        if self._state().running:
            raise ContainerError(f"container {self.name} runs already: stop() it first, or call restart()")
        self._start(timeout)

    @shows_caller
    def restart(self, *, timeout: str | float | None = None) -> None:
        """Stop it if it runs, start it, and wait until it is ready, as at its first start.

        :param timeout: for its start: seconds, or text such as "1.5m"; None is that of ``--clnrm-timeout``.
        :raises NotReadyError: if it does not become ready.
        """
        self._check_own()
        if self._state().running:
            self._stop(None)
        self._start(timeout)

    def _start(self, timeout: str | float | None) -> None:
        deadline_s = time.monotonic() + self._timeout_s(timeout)
        self._runtime.engine().start(self.id, deadline_s=deadline_s)
        self._runtime.networks().restarted(self.id)
        self._live.may_have_ended = False
        try:
            await_ready(
                self._runtime,
                self._running,
                network=self._network,
                trace=self._trace,
                deadline_s=deadline_s,
                cancelled=self._group.in_vain,
            )
        except ClnrmError as error:
            raise self._group.told(error) from None

    @shows_caller
    def pause(self) -> None:
        """Stop all its processes where they are, until ``unpause()``.

        :raises ContainerError: if it does not run.
        """
        self._check_own()
        if not self._live.paused:
            self._runtime.engine().control(self.id, "pause")
            self._live.paused = True

    @shows_caller
    def unpause(self) -> None:
        """Let its processes go on after ``pause()``.

        :raises ContainerError: with the engine's reason.
        """
        self._unpause()

    def _unpause(self) -> None:
        if self._live.paused:
            self._runtime.engine().control(self.id, "unpause")
            self._live.paused = False

    @property
    def exit_code(self) -> int | None:
        """Return the exit code of its main process, None while that runs."""
        try:
            return self._state().exit_code
        except ClnrmError as error:
            raise plain(error) from None

    @shows_caller
    def wait(self, *, timeout: str | float | None = None) -> int:
        """Wait until its main process has ended by itself, and return its exit code, which is no error then.

        :param timeout: seconds, or text such as "1.5m"; None is the time of ``--clnrm-timeout``.
        :raises ContainerError: if it still runs then.
        """
        self._live.may_have_ended = True
        timeout_s = self._timeout_s(timeout)
        ends_s = time.monotonic() + timeout_s
        while (state := self._state()).exit_code is None:
            if time.monotonic() >= ends_s:
                raise ContainerError(f"container {self.name} still runs after {timeout_s:g} s")
            time.sleep(_END_POLL_S)
        return state.exit_code

    @shows_caller
    def wait_for(self, **condition: Unpack[Condition]) -> None:
        """Wait until a condition holds: one kind of those of ``ready`` in files, and what goes with it.

        ``box.wait_for(log="migrated")``, ``box.wait_for(http=":8080/health", status=200, timeout=5)``.
        A log is read from the container's start on.

        :raises ValueError: if the condition is not what it must be.
        :raises NotReadyError: if it did not hold in time (30 s), with what was seen last.
        :raises ServiceEndedError: if a container of this test has ended that should run.
        """
        ready, problems = read_condition(as_in_files(condition))
        if ready is None:
            raise ValueError("; ".join(in_python(*each) for each in problems))
        if ready.exit:
            self._live.may_have_ended = True
        self._group.check()
        running = replace(self._running, service=replace(self._running.service, ready=(ready,)))
        try:
            await_ready(
                self._runtime,
                running,
                network=self._network,
                trace=self._trace,
                deadline_s=math.inf,
                cancelled=self._group.in_vain,
            )
        except ClnrmError as error:
            raise self._group.told(error) from None

    # its output

    @overload
    def logs(
        self,
        *,
        follow: Literal[False] = False,
        since: datetime | float | None = None,
        timeout: str | float | None = None,
    ) -> str: ...

    @overload
    def logs(
        self,
        *,
        follow: Literal[True],
        since: datetime | float | None = None,
        timeout: str | float | None = None,
    ) -> Iterator[str]: ...

    @shows_caller
    def logs(
        self,
        *,
        follow: bool = False,
        since: datetime | float | None = None,
        timeout: str | float | None = None,
    ) -> str | Iterator[str]:
        """Return the end of what its main process has printed, at most 1 MB; or its lines as they come.

        :param follow: True: return an iterator over all lines, which ends with the container.
        :param since: a moment of this host, as ``time.time()`` tells it: without what was printed before.
        :param timeout: of following: seconds, or text such as "1.5m"; None is that of ``--clnrm-timeout``.

        The iterator raises ContainerError if the container still runs after that time.
        """
        engine = self._runtime.engine()
        if follow:
            return self._lines(since, timeout)
        if since is None:
            return engine.logs(self.id, tail_bytes=LOG_TAIL_BYTES)
        since_s, deadline_s = engine_moment_s(engine, since), time.monotonic() + self._timeout_s(timeout)
        return logs_since(engine, self.id, since_s, deadline_s=deadline_s, kept_bytes=LOG_TAIL_BYTES)

    def _lines(self, since: datetime | float | None, timeout: str | float | None) -> Iterator[str]:
        __tracebackhide__ = True
        with closing(self.follow(since, timeout)) as lines:
            yield from (line for line in lines if line is not None)

    def follow(
        self, since: datetime | float | None, timeout: str | float | None
    ) -> Generator[str | None, None, None]:
        """Yield lines as ``logs(follow=True)`` does, and None where nothing comes for a moment."""
        __tracebackhide__ = True
        engine = self._runtime.engine()
        since_s = None if since is None else engine_moment_s(engine, since)
        timeout_s = self._timeout_s(timeout)
        with closing(follow(engine, self.id, self.name, since_s=since_s, timeout_s=timeout_s)) as lines:
            try:
                yield from lines
            except ClnrmError as error:
                raise plain(error) from None

    def spans(self, *, count: int = 0, timeout: str | float = 5) -> tuple[Span, ...]:
        """Return the spans that programs in this container have exported under its name.

        :param count: wait until there are so many, as ``clnrm.spans`` does.
        :param timeout: seconds, or text such as "1.5m".
        """
        service = self._running.service
        names = {service.name, f"{service.name}{OF_STEP}"}
        names.update(env[SERVICE_NAME] for env in (service.env, self._running.env) if SERVICE_NAME in env)
        return self._group.spans(count=count, timeout=timeout, of=lambda span: span.service in names)

    # its files

    @shows_caller
    def copy_in(self, source: StrPath | bytes, dest: str, *, mode: int | None = None) -> None:
        """Copy a file, a folder with all that is in it, or bytes into the container; they are root's there.

        :param source: a path is relative to the calling file.
        :param dest: an absolute path; one that ends with "/" is a folder into which a file is put.
        :param mode: such as 0o600; None: 0o755 for files that may be executed, else 0o644.
        :raises ValueError: if *dest* is no such path.
        :raises ContainerError: if that cannot be read or copied, or is more than ``clnrm_max_artifacts``.
        """
        given = source if isinstance(source, bytes) else Path(calling_folder("."), source)
        self._runtime.engine().copy_in(self.id, copied_in(self._runtime, given, dest, mode))

    @shows_caller
    def copy_out(self, source: str, dest: StrPath) -> Path:
        """Copy a file, or a folder with all that is in it, out of the container, and return its path here.

        Links, devices and the like are left out, with a warning. What is in memory is not seen.

        :param source: an absolute path; a link is followed within the container.
        :param dest: relative to the calling file. A folder's content is put below it; a file too, if it is a
            folder, or ends with "/".
        :raises ContainerError: if it is not there, cannot be written, or exceeds ``clnrm_max_artifacts``.
        """
        into = str(dest).endswith("/")
        place = Path(calling_folder("."), dest)
        made, left_out = copy_out(self._runtime, self.id, source, place, into=into)
        if left_out:
            self._group.warn(f"{source} of container {self.name}: {left_out} links or devices are left out")
        return made

    @shows_caller
    def read_file(self, path: str) -> bytes:
        """Return the content of a file of the container, which need not run. What is in memory is not seen.

        :param path: absolute; a link is followed within the container.
        :raises ContainerError: if there is no such file, or it is more than ``clnrm_max_artifacts``.
        """
        return read_file(self._runtime, self.id, path)

    # where it is reached

    @property
    def host(self) -> str:
        """Return the name or address under which its published ports are reached from here."""
        ports = self._running.spec.ports
        return self.address(ports[0])[0] if ports else self._runtime.engine().facts.host

    def port(self, port: int | str) -> int:
        """Return the port of :attr:`host` that leads to container port *port*, as ``address`` does."""
        return self.address(port)[1]

    @shows_caller
    def address(self, port: int | str) -> tuple[str, int]:
        """Return host and port at which container port *port*, ``5432`` or ``"53/udp"``, is reached.

        :raises ContainerError: if it is not published; name it in ``ports``.
        """
        number, protocol = self._number(port)
        state = self._state()
        if not state.running:
            ended = describe_end(self._running, state, "")
            raise ContainerError(self._group.with_logs(f"container {self.name} {ended}", self.logs()))
        found = state.udp_ports if protocol == "udp" else state.ports
        if number not in found:
            both = [*map(str, sorted(state.ports)), *(f"{each}/udp" for each in sorted(state.udp_ports))]
            raise ContainerError(
                f"port {port} of container {self.name} is not published (published: "
                f"{', '.join(both) or 'none'}): add it to ports=[...]"
            )
        if protocol == "udp":
            return found[number]
        try:
            return self._runtime.networks().published(state, number)
        except OSError as error:
            raise ContainerError(
                f"port {port} of container {self.name} cannot be reached: {error}"
            ) from error

    @staticmethod
    def _number(port: int | str) -> tuple[int, str]:
        found = _UDP.fullmatch(port) if isinstance(port, str) else None
        if found is not None:
            return int(found[1]), found[2]
        if isinstance(port, int) and not isinstance(port, bool):
            return port, "tcp"
        raise ValueError(f'port={port!r}: it is a port of the container: write 5432, or "53/udp"')

    @shows_caller
    def url(
        self,
        port: int | str | None = None,
        scheme: str = "http",
        *,
        user: str | None = None,
        password: str | None = None,
        path: str = "",
    ) -> str:
        """Return ``http://127.0.0.1:32768`` for container port *port*.

        ``box.url(5432, "postgresql", user="u", password="p", path="orders")`` returns
        ``postgresql://u:p@127.0.0.1:32769/orders``. Without a port it is that of the container's ``url=``,
        or of its preset.

        :param user: it and *password* are quoted as a URL wants.
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
        who = "" if user is None else quote(user, safe="")
        who += "" if password is None else f":{quote(password, safe='')}"
        at = f"[{host}]" if ":" in host else host
        return f"{scheme}://{who and f'{who}@'}{at}:{published}{path and '/' + path.removeprefix('/')}"

    def _timeout_s(self, timeout: str | float | None) -> float:
        return self._runtime.settings.timeout_s if timeout is None else parse_duration_s(timeout)

    def _state(self) -> ContainerState:
        return self._runtime.engine().state(self.id)
