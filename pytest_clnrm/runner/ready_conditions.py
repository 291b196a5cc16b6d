"""The conditions under which a service is ready. Each is tried again and again, and notes what it saw."""

from __future__ import annotations

import contextlib
import posixpath
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_clnrm.engine.api import ContainerState, Engine, ExecSpec, StreamName
from pytest_clnrm.engine.log_stream import LogStream
from pytest_clnrm.errors import EngineUnavailableError, NotReadyError
from pytest_clnrm.model.service import READY_TIMEOUT_S, HealthCheck, HttpProbe, Ready
from pytest_clnrm.runner.ready_network import ask, connect, http_target, listens_in
from pytest_clnrm.runner.service_ends import last_logs
from pytest_clnrm.util.exit_codes import exit_code_in_words
from pytest_clnrm.util.line_count import LineCount
from pytest_clnrm.util.patterns import PatternTimeoutError, within

if TYPE_CHECKING:
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.runtime.network import Network, Place

PROBE_TIMEOUT_S = 1.0
LOG_SLICE_S = 1.0
LOG_QUIET_S = 0.05
LOG_SILENT_S = 0.5
OUTPUT_BYTES = 4096
SHOWN_CHARS = 300
SHOWN_NAMES = 10
_IN_MEMORY = ("dev", "proc", "sys")
SpanNames = Callable[[str], tuple[bool, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class NoSpans:
    """Stands for the spans where none can arrive.

    :param why: in words.
    """

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One wait for one service.

    :param network: the service's own, None if it has none.
    :param began_s: ``time.monotonic()`` of its beginning.
    :param deadline_s: ``time.monotonic()`` at which the scenario's time is over.
    """

    engine: Engine
    container: str
    service: Service
    network: Network | None
    env: Mapping[str, str]
    began_s: float
    deadline_s: float
    healthcheck_s: float
    spans: SpanNames | NoSpans

    def places(self, state: ContainerState, port: int) -> list[tuple[Network, Place]]:
        """Return where *port* may be reached from here, each with the network over which that is."""
        network = self.network
        return [] if network is None else [(network, place) for place in network.places(state, port)]

    def fails(self, what: str) -> NotReadyError:
        """Return the error that says *what* is wrong with the service, with the end of its logs."""
        logs = last_logs(self.engine, self.container)
        return NotReadyError(f"service {self.service.name!r} {what}", self.service.name, logs)


class Condition(ABC):
    """One condition that must hold.

    :param what: what is waited for, in words.
    :ivar interval_s: the longest pause till the next try.
    :ivar has_waited: the last try has waited already, for what the engine tells by itself.
    """

    interval_s = 0.0
    has_waited = False

    def __init__(self, wait: Wait, what: str) -> None:
        self._wait = wait
        self.what = what
        self._seen = ""

    @property
    def seen(self) -> str:
        """Return what was seen at the last try, in words."""
        return self._seen

    @abstractmethod
    def holds(self, state: ContainerState, ends_s: float) -> bool:
        """Try once.

        :param ends_s: ``time.monotonic()`` at which its time is over.
        :raises NotReadyError: if it never can hold.
        """


def condition_of(wait: Wait, ready: Ready, followed: contextlib.ExitStack) -> Condition:
    """Return what tries a condition.

    :param followed: closes what it follows.
    """
    condition = _of_its_kind(wait, ready, followed)
    condition.interval_s = ready.interval_s
    return condition


def limit_s(wait: Wait, ready: Ready) -> float:
    """Return how many seconds a condition may take to hold."""
    if ready.timeout_s is not None:
        return ready.timeout_s
    check = ready.healthcheck
    if isinstance(check, HealthCheck):
        return check.start_period_s + check.retries * (check.interval_s + check.timeout_s)
    return (wait.healthcheck_s if check else 0.0) or READY_TIMEOUT_S


def _of_its_kind(  # noqa: PLR0911 -- one for each kind
    wait: Wait, ready: Ready, followed: contextlib.ExitStack
) -> Condition:
    if ready.command is not None:
        return _Command(wait, ready.command)
    if ready.log is not None:
        return _Log(wait, ready.log, ready.times, followed)
    if ready.port is not None:
        return _Port(wait, ready.port)
    if ready.http is not None:
        return _Http(wait, ready.http)
    if ready.file is not None:
        return _File(wait, ready.file)
    if ready.exit:
        return _Exit(wait, ready.exit)
    if ready.span is not None:
        return _Span(wait, ready.span)
    if isinstance(ready.healthcheck, HealthCheck):
        return _HealthCheck(wait, ready.healthcheck)
    return _ImageHealth(wait, "the image's health check")


class _Command(Condition):
    """A command in the container that must exit with 0."""

    def __init__(self, wait: Wait, argv: tuple[str, ...], timeout_s: float | None = None) -> None:
        shell = argv[:2] == ("sh", "-c")
        super().__init__(wait, f"command {argv[2] if shell and len(argv) == 3 else ' '.join(argv)}")  # noqa: PLR2004
        self._argv = argv
        self._timeout_s = timeout_s
        self._last = ""

    def holds(self, state: ContainerState, ends_s: float) -> bool:
        """Run it."""
        if not state.running:
            return False
        if self._timeout_s is not None:
            ends_s = min(ends_s, time.monotonic() + self._timeout_s)
        printed = bytearray()

        def keep(_stream: str, data: bytes) -> None:
            printed.extend(data)
            del printed[:-OUTPUT_BYTES]

        wait = self._wait
        outcome = wait.engine.exec(
            wait.container, ExecSpec(argv=self._argv, env=wait.env), on_output=keep, deadline_s=ends_s
        )
        said = _one_line(printed)
        if not outcome.started:
            if self._argv[0] == "sh" and said == "command not found: sh":
                said = "the image has no shell (sh); give the command as a list"
            raise wait.fails(f"can never be ready: {self.what} cannot be run in it: {said}")
        printed_text = f" and printed: {said}" if said else ""
        if outcome.timed_out:
            # What the run before did says more than that this one was cut off.
            last = self._last
            self._seen = f"{last}; one more had not ended" if last else f"it had not ended{printed_text}"
            return False
        how = "was cut off, as the container ended"
        if outcome.exit_code is not None:
            how = f"ended with {exit_code_in_words(outcome.exit_code)}"
        memory = ", out of memory" if outcome.oom else ""
        self._seen = self._last = f"its last run {how}{memory}{printed_text}"
        return outcome.exit_code == 0


class _HealthCheck(Condition):
    """A command that may fail during a start period, and then so many times in a row.

    An engine runs it at its interval only. We run it in between too, to know sooner that it succeeds; of its
    failures only those count that are an interval apart, as an engine's would be.
    """

    def __init__(self, wait: Wait, check: HealthCheck) -> None:
        self._command = _Command(wait, check.command, check.timeout_s)
        super().__init__(wait, f"health check: {self._command.what}")
        self._check = check
        self._counts_s = 0.0
        self._failures = 0

    @property
    def seen(self) -> str:
        """Return what its command did last."""
        return self._command.seen

    def holds(self, state: ContainerState, ends_s: float) -> bool:
        """Run it."""
        if self._command.holds(state, ends_s):
            return True
        check, now_s = self._check, time.monotonic()
        # An engine makes its first try after an interval. Ours comes at once, so its failure does not count.
        if self._counts_s and now_s >= self._counts_s:
            self._failures += now_s >= self._wait.began_s + check.start_period_s
        if not self._counts_s or now_s >= self._counts_s:
            self._counts_s = now_s + check.interval_s
        self.interval_s = self._counts_s - now_s
        if state.running and self._failures >= check.retries:
            raise self._wait.fails(
                f"is unhealthy: {self._failures} failures in a row ({self._command.what}): {self.seen}"
            )
        return False


class _ImageHealth(Condition):
    """The image's own health check."""

    def holds(self, state: ContainerState, ends_s: float) -> bool:  # noqa: ARG002
        """Ask the engine; not for one that has ended, which it calls unhealthy."""
        if not state.running:
            return False
        if not state.health:
            raise self._wait.fails(
                "waits for a health check, but its image has none: use command, log, port or http, "
                "or give one: healthcheck = { command = ... }"
            )
        last = f"its last run: {state.health_said}" if state.health_said else self._not_run()
        self._seen = f"{state.health}; {last}"
        if state.health == "unhealthy":
            raise self._wait.fails(f"turned unhealthy, as its image's health check says ({last})")
        return state.health == "healthy"

    def _not_run(self) -> str:
        text = "it has not been run yet"
        if self._wait.engine.facts.kind == "podman":
            text += " (Podman has systemd run it: where there is none, use command, log, port or http)"
        return text


class _Log(Condition):
    """Lines of its output. It is followed once, and what was found stays found.

    An engine may lose lines where it changes to another file of its log while that is followed, as Docker
    20.10 does, and then say nothing. So a log that is silent is read again, ever more rarely.
    """

    def __init__(self, wait: Wait, pattern: str, times: int, followed: contextlib.ExitStack) -> None:
        super().__init__(wait, f"log {pattern!r}" + (f", {times} times" if times > 1 else ""))
        self._times = times
        self._pattern = pattern
        self._count = self._kept = LineCount(pattern)
        self._followed = followed
        self._silent_s = LOG_SILENT_S
        self._heard_s = time.monotonic()
        self._stream: LogStream | None = None
        self._ended = False

    @property
    def seen(self) -> str:
        """Return how many lines have matched."""
        count = self._most()
        return f"{count.matching} of {self._times} matching lines in {count.lines} lines of output"

    def holds(self, state: ContainerState, ends_s: float) -> bool:
        """Read on, but only for a moment at a time while it runs: another service may fail meanwhile."""
        if self._stream is None:
            self._stream = self._wait.engine.follow_log(self._wait.container)
            self._followed.callback(self._stream.close)
        until_s = ends_s if not state.running else min(ends_s, time.monotonic() + LOG_SLICE_S)
        try:
            with within(ends_s):
                self._read(self._stream, until_s)
                silent = time.monotonic() >= self._heard_s + self._silent_s
                if not self._found() and (silent or not state.running):
                    self._read_again(ends_s)
        except PatternTimeoutError as error:
            # Whatever took the time of the wait, it was not a pattern that was never tried: the wait is over.
            if error.was_tried:
                raise self._wait.fails(f"cannot be waited for: {error}") from None
        # Where its output has ended but not yet the container, the engine tells of that later.
        self.has_waited = not self._ended
        return self._found()

    def _most(self) -> LineCount:
        """Return what missed less: what was followed, or what was read again."""
        return max(self._count, self._kept, key=lambda count: (count.matching, count.lines))

    def _found(self) -> bool:
        return self._most().matching >= self._times

    def _read(self, stream: LogStream, until_s: float) -> None:
        while not self._found() and not self._ended:
            pieces: Sequence[tuple[StreamName, bytes]] | None = ()
            # Where only the connection is lost, all of it is read again.
            with contextlib.suppress(EngineUnavailableError):
                pieces = stream.receive(min(until_s, time.monotonic() + LOG_QUIET_S))
            if pieces:
                self._heard_s = time.monotonic()
                self._count.feed(pieces)
            else:
                self._count.pause()
                self._ended = pieces is not None
            if time.monotonic() >= until_s:
                break

    def _read_again(self, ends_s: float) -> None:
        """Count the lines of all that the engine has kept."""
        self._kept = LineCount(self._pattern)
        with contextlib.closing(self._wait.engine.follow_log(self._wait.container, until_now=True)) as stream:
            while pieces := stream.receive(ends_s):
                self._kept.feed(pieces)
        self._kept.pause()
        # Of an output that has ended nothing more is heard: if the container runs, only the stream is lost.
        self._silent_s = self.interval_s if self._ended else 2 * self._silent_s
        self._heard_s = time.monotonic()


class _Port(Condition):
    """A TCP port that accepts connections; whether what listens there answers is not asked."""

    def __init__(self, wait: Wait, port: int) -> None:
        super().__init__(wait, f"port {port}")
        self._port = port

    def holds(self, state: ContainerState, ends_s: float) -> bool:
        """Connect to it; where it cannot be reached from here, read the container's table of sockets."""
        wait = self._wait
        places = wait.places(state, self._port)
        for network, place in places:
            by_proxy = place == state.ports.get(self._port)
            self._seen = connect(network, place, _probe_s(ends_s), by_proxy=by_proxy)
            if not self.seen:
                return True
        if places or not state.running:
            return False
        table = bytearray()
        wait.engine.exec(
            wait.container,
            ExecSpec(argv=("cat", "/proc/net/tcp", "/proc/net/tcp6")),
            on_output=lambda stream, data: table.extend(data) if stream == "stdout" else None,
            deadline_s=ends_s,
        )
        self._seen = "nothing listens on it"
        return listens_in(table.decode("ascii", "replace"), self._port)


class _Http(Condition):
    """A request that must be answered with an expected status."""

    def __init__(self, wait: Wait, probe: HttpProbe) -> None:
        self._port, self._path = http_target(wait.service, probe)
        super().__init__(wait, f"{'https' if probe.tls else 'http'} {self._path} on port {self._port}")
        trace = {"traceparent": wait.env["TRACEPARENT"]} if "TRACEPARENT" in wait.env else {}
        self._probe = replace(probe, headers={**trace, **probe.headers})

    def holds(self, state: ContainerState, ends_s: float) -> bool:
        """Make the request."""
        wait = self._wait
        places = wait.places(state, self._port)
        if state.running and not places:
            raise wait.fails(
                f"cannot be asked over http from here: its network is out of reach, and port "
                f"{self._port} is not published; add it to `ports`, or use command, log or port"
            )
        for network, place in places:
            meant, said = ask(
                network, place, self._path, self._probe, name=wait.service.name, timeout_s=_probe_s(ends_s)
            )
            if meant:
                return True
            self._seen = f"the last answer was {said}, expected {_statuses(self._probe)}"
            if not said[:1].isdigit():
                self._seen = f"no answer: {said}"
        return False


class _File(Condition):
    """A path in the container at which something must lie.

    The engine tells, so the image needs no program, but it does not see what is in memory: there the
    container's own ``test`` is asked.
    """

    def __init__(self, wait: Wait, path: str) -> None:
        super().__init__(wait, f"file {path}")
        self._path = path
        parts = posixpath.normpath(path).split("/")
        may_be_in_memory = bool(wait.service.scratch) or parts[1] in _IN_MEMORY
        self._test = _Command(wait, ("test", "-e", path)) if may_be_in_memory else None
        self._nothing = "nothing lies there"

    def holds(self, state: ContainerState, ends_s: float) -> bool:
        """Look for it."""
        self._seen = self._nothing
        if self._wait.engine.look_at_path(self._wait.container, self._path) is not None:
            return True
        if self._test is None:
            return False
        try:
            return self._test.holds(state, ends_s)
        except NotReadyError:
            self._test = None
            self._nothing += (
                ", as far as the engine sees: it does not see memory, and the image has no `test`"
            )
            return False


class _Exit(Condition):
    """A job that must have ended with one of these codes."""

    def __init__(self, wait: Wait, codes: tuple[int, ...]) -> None:
        self._expected = " or ".join(map(str, codes))
        super().__init__(wait, f"exit {self._expected}")
        self._codes = codes
        self._seen = "it still runs"

    def holds(self, state: ContainerState, ends_s: float) -> bool:  # noqa: ARG002
        """Look at how it ended."""
        if state.running:
            return False
        if state.exit_code not in self._codes:
            raise self._wait.fails(f"ended with {how_it_ended(state)}, expected {self._expected}")
        return True


class _Span(Condition):
    """A span that a program of the scenario must have exported."""

    def __init__(self, wait: Wait, name: str) -> None:
        super().__init__(wait, f"span {name!r}")
        self._name = name
        self._seen = "no span has arrived"

    def holds(self, state: ContainerState, ends_s: float) -> bool:  # noqa: ARG002
        """Look at what has arrived."""
        spans = self._wait.spans
        if isinstance(spans, NoSpans):
            raise self._wait.fails(f"can never be ready ({self.what}): {spans.why}")
        found, names = spans(self._name)
        if names:
            more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
            self._seen = f"arrived: {', '.join(map(repr, names[:SHOWN_NAMES]))}{more}"
        return found


def how_it_ended(state: ContainerState) -> str:
    """Return how a container ended, and when."""
    when = "" if state.lived_s is None else f", {state.lived_s:.1f} s after its start"
    return f"{state.describe_end()}{when}"


def _probe_s(ends_s: float) -> float:
    return max(0.05, min(PROBE_TIMEOUT_S, ends_s - time.monotonic()))


def _statuses(probe: HttpProbe) -> str:
    if probe.status == HttpProbe(target="").status:
        return "one below 400"
    told = [str(low) if low == high else f"{low // 100}xx" for low, high in probe.status]
    return " or ".join(told)


def _one_line(printed: bytes | bytearray) -> str:
    """Return the end of an output as one line."""
    text = " ".join(printed.decode("utf-8", "replace").split())
    return text if len(text) <= SHOWN_CHARS else f"...{text[-SHOWN_CHARS:]}"
