"""The spans of one process: those of our own, and those that programs in its containers export.

For those who run scenarios. With ``--clnrm-spans off`` everything here does nothing, and nothing of
OpenTelemetry is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.errors import SpansError
from pytest_clnrm.model.span import Span
from pytest_clnrm.telemetry.environment import environment, merged, of_attempt, probe_environment, warnings
from pytest_clnrm.telemetry.record.recorder import Recorder
from pytest_clnrm.telemetry.traceparent import new_traceparent, parse_traceparent

if TYPE_CHECKING:
    import socket

    from pytest_clnrm.model.demand import Demand
    from pytest_clnrm.model.span import AttributeValue, SpanKind
    from pytest_clnrm.telemetry.receive.inbox import Inbox
    from pytest_clnrm.telemetry.receive.receiver import Receiver
    from pytest_clnrm.telemetry.record.recorder import RunningSpan

    Attributes = Mapping[str, AttributeValue]

SERVICE = "pytest-clnrm"


def slot_attributes(demand: Demand, position: int) -> dict[str, AttributeValue]:
    """Return the attributes of ``clnrm.slot.wait``.

    :param demand: what was to be reserved.
    :param position: the place in the queue at which the wait began, 0 if there was none.
    """
    found: dict[str, AttributeValue] = {
        f"clnrm.demand.{name}": amount for name, amount in demand.amounts().items()
    }
    if position:
        found["clnrm.queue.position"] = position
    return found


def out_of_reach(engine: str, why: str) -> str:
    """Return why no span arrives from the containers of *engine*, and what to do, for a user.

    :param why: there is no relay to it.
    """
    return (
        f"containers of the engine at {engine} cannot reach this process, and no relay could be started: "
        f"{why}; run pytest on the engine's host, with a rootful engine"
    )


class OurSpan:
    """What was set on a running span of ours, with secrets as they are."""

    def __init__(self) -> None:
        self.attributes: dict[str, AttributeValue] = {}
        self.error = ""
        self.error_type = ""
        self.traceparent = ""

    def set(self, key: str, value: AttributeValue) -> None:
        """Set an attribute; None leaves it unset."""
        if value is not None:
            self.attributes[key] = value

    def fail(self, message: str, error_type: str = "") -> None:
        """Set its status to error."""
        self.error, self.error_type = message, error_type


@contextmanager
def _stored_in(folder: Path) -> Iterator[None]:
    """Turn an error of the disk into one that says where, and what to do."""
    try:
        yield
    except OSError as error:
        raise SpansError(
            f"spans cannot be stored in {folder}: {error.strerror or error}; where the disk is full, make "
            "room, set TMPDIR to another folder, or do without (--clnrm-spans off)"
        ) from error


class Tracing:
    """The recorder and the receiver of one process; the receiver starts with the first scenario.

    :param folder: where spans are stored until they are merged; None switches everything off.
    :param parent: ``traceparent`` of the session's span.
    :raises SpansError: if nothing can be stored there.
    """

    def __init__(self, folder: Path | None, worker: str, parent: str) -> None:
        self._folder = folder
        self._worker = worker
        self._receiver: Receiver | None = None
        self._gateways: set[str] = set()
        if folder is None:
            self.recorder = Recorder(None, worker, {})
            return
        from pytest_clnrm.telemetry.record.resource import resource_attributes

        with _stored_in(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self.recorder = Recorder(folder, worker, resource_attributes(worker), parent)

    def scenario(
        self,
        nodeid: str,
        attributes: Attributes,
        *,
        redact: Callable[[str], str] | None = None,
        held: bool = False,
        book: Path | None = None,
        token: str = "",
    ) -> ScenarioTrace:
        """Start the trace of one scenario.

        :param redact: hides secrets in a text; spans are judged as they are, and stored without secrets.
        :param held: not all secrets are known yet: store no span of its programs before
            :meth:`ScenarioTrace.release`.
        :param book: the file in which the users of a shared service find its spans.
        :param token: by which its programs know it already, "" for a new one.
        """
        span = self.recorder.span("clnrm.scenario", attributes={"test.case.name": nodeid, **attributes})
        if self._folder is None:
            return ScenarioTrace(self, nodeid, span, None, redact)
        if self._receiver is None:
            from pytest_clnrm.telemetry.receive.receiver import Receiver

            with _stored_in(self._folder):
                self._receiver = Receiver(self._folder, self._worker, addresses=self._gateways)
        with _stored_in(self._folder if book is None else book.parent):
            inbox = self._receiver.open(
                nodeid, span.traceparent or None, redact=redact, held=held, book=book, token=token
            )
        return ScenarioTrace(self, nodeid, span, inbox, redact)

    def allow(self, gateway: str) -> None:
        """Receive from the network whose gateway, an address of this host, is *gateway*."""
        self._gateways.add(gateway)
        if self._receiver is not None:
            self._receiver.allow(gateway)

    def connect_receiver(self) -> socket.socket | None:
        """Return a new connection to the receiver, None if nothing is received."""
        try:
            return self._receiver.connect() if self._receiver is not None else None
        except OSError:
            return None

    def listen(self, port: int) -> bool:
        """Receive on a port too, which an earlier process had; return False if it is not free any more."""
        return self._receiver is not None and self._receiver.listen(port)

    def lose_connections(self, why: str) -> None:
        """Note that spans of every scenario that runs here may have been lost."""
        if self._receiver is not None:
            self._receiver.lose_connections(why)

    def forbid(self, gateway: str) -> None:
        """Receive no longer from that network."""
        self._gateways.discard(gateway)
        if self._receiver is not None:
            self._receiver.forbid(gateway)

    @property
    def port(self) -> int:
        """The receiver's port, 0 if nothing is received."""
        return self._receiver.port if self._receiver is not None else 0

    def problems(self) -> tuple[str, ...]:
        """Return what was lost and why, in sentences for a user."""
        found = [self.recorder.problem, self._receiver.problem if self._receiver else ""]
        return tuple(each for each in found if each)

    def close(self) -> None:
        """Stop receiving and recording."""
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None
        self.recorder.close()


class ScenarioTrace:
    """The spans of one scenario: ours as they end, and the inbox of its programs.

    :param inbox: where the spans of its programs arrive, None if nothing is received.
    :param redact: hides secrets in a text.
    """

    def __init__(
        self,
        tracing: Tracing,
        nodeid: str,
        span: RunningSpan,
        inbox: Inbox | None,
        redact: Callable[[str], str] | None,
    ) -> None:
        self._tracing = tracing
        self._nodeid = nodeid
        self._span = span
        self.inbox = inbox
        self.redact = redact
        self.ours: list[Span] = []
        self._steps: set[str] = set()
        self._finished = False
        self._is_upkeep = False
        # Readiness checks have a trace of their own: what continues it is not taken for the workload's.
        self._probe_traceparent = new_traceparent(None)
        probe = parse_traceparent(self._probe_traceparent)
        if inbox is not None and probe is not None:
            inbox.leave_out(probe.trace_id)

    def _shown(self, value: AttributeValue) -> AttributeValue:
        return self.redact(value) if self.redact is not None and isinstance(value, str) else value

    def _all_shown(self, attributes: Attributes) -> dict[str, AttributeValue]:
        return {key: self._shown(value) for key, value in attributes.items()}

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch, by the clock of all our spans."""
        return self._tracing.recorder.now_ns()

    @contextmanager
    def span(
        self, name: str, attributes: Attributes | None = None, *, kind: SpanKind = "internal"
    ) -> Iterator[OurSpan]:
        """Record what happens within as a child of the scenario's span; an exception marks it as failed."""
        recorder = self._tracing.recorder
        told = OurSpan()
        for key, value in (attributes or {}).items():
            told.set(key, value)
        start_ns = recorder.now_ns()
        span = recorder.span(
            name,
            parent=self._span.traceparent,
            kind=kind,
            attributes=self._all_shown(told.attributes),
            start_ns=start_ns,
        )
        told.traceparent = span.traceparent
        try:
            yield told
        except BaseException as error:
            told.fail(str(error) or type(error).__name__, type(error).__qualname__)
            raise
        finally:
            for key, value in told.attributes.items():
                span.set(key, self._shown(value))
            if told.error:
                span.fail(str(self._shown(told.error)), told.error_type)
            span.end()
            self._keep(name, kind, told, start_ns)

    def add(self, name: str, seconds: float, attributes: Attributes | None = None) -> None:
        """Record what took the last *seconds*."""
        recorder = self._tracing.recorder
        end_ns = recorder.now_ns()
        told = OurSpan()
        told.attributes = dict(attributes or {})
        start_ns = end_ns - int(seconds * 1e9)
        told.traceparent = recorder.add(
            name, self._span.traceparent, start_ns, end_ns, self._all_shown(told.attributes)
        )
        self._keep(name, "internal", told, start_ns)

    def _keep(self, name: str, kind: SpanKind, told: OurSpan, start_ns: int) -> None:
        ids, parent = parse_traceparent(told.traceparent), parse_traceparent(self._span.traceparent)
        if ids is None or parent is None:
            return
        self.ours.append(
            Span(
                trace_id=ids.trace_id,
                span_id=ids.span_id,
                parent_id=parent.span_id,
                name=name,
                kind=kind,
                service=SERVICE,
                start_ns=start_ns,
                end_ns=self.now_ns(),
                status="error" if told.error else "unset",
                status_message=told.error,
                attributes=dict(told.attributes),
                resource={"service.name": SERVICE},
                origin="runner",
            )
        )

    def environment(
        self, service: str, gateway: str, own: Mapping[str, str], *, port: int = 0
    ) -> dict[str, str]:
        """Return a container's variables: those that make it export to us, and its own, which win.

        :param gateway: address under which the container reaches this host, "" if it does not.
        :param port: on which; 0 for the receiver's own.
        """
        if self.inbox is None or not gateway:
            return {"OTEL_SERVICE_NAME": service, **own}
        host = f"[{gateway}]" if ":" in gateway else gateway
        endpoint = f"http://{host}:{port or self._tracing.port}"
        return merged(environment(endpoint, self.inbox.token, self._nodeid, service), own)

    def probe_environment(self, made_with: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a readiness command, whose spans do not count as the workload's.

        :param made_with: what the container was made with.
        :param given: what each command in it gets besides.
        """
        return {**given, **probe_environment({**made_with, **given}, self._probe_traceparent)}

    def of_upkeep(self) -> ScenarioTrace:
        """Return a view of it for steps that make a shared service fit for the scenario.

        What they cause does not count as the workload's: it is in the trace of readiness checks.
        """
        trace = copy(self)
        trace._is_upkeep = True  # noqa: SLF001 (it is of this class)
        return trace

    def begin_step(self, name: str, traceparent: str) -> str:
        """Note that a step starts, and return the ``traceparent`` of what it causes."""
        if self._is_upkeep:
            return self._probe_traceparent if traceparent else ""
        step = parse_traceparent(traceparent)
        if step is not None:
            self._steps.add(step.span_id)
        if self.inbox is not None:
            self.inbox.enter_step(str(self._shown(name)), traceparent)
        return traceparent

    def enter_step(
        self,
        name: str,
        traceparent: str,
        *,
        given: Mapping[str, str],
        made_with: Mapping[str, str],
        own: Mapping[str, str],
    ) -> dict[str, str]:
        """Note that a step starts, and return its variables.

        :param given: what all commands in its container get.
        :param made_with: what the container was made with, and so what they inherit; it wins over ours.
        :param own: what the step sets itself, which wins over all.
        """
        traceparent = self.begin_step(name, traceparent)
        ours = {"TRACEPARENT": traceparent} if traceparent and "TRACEPARENT" not in made_with else {}
        variables = merged({**made_with, **given, **ours}, own)
        step = None if self._is_upkeep else parse_traceparent(traceparent)
        if self.inbox is not None and step is not None:
            variables = of_attempt(variables, self.inbox.token, step.span_id)
        # A variable that was dropped cannot be taken out of what the command inherits: it is emptied.
        gone = dict.fromkeys(made_with.keys() - variables.keys(), "")
        inherited = made_with.items() - own.items()
        env = {**{key: each for key, each in variables.items() if (key, each) not in inherited}, **gone}
        return {**env, **probe_environment(variables, traceparent), **own} if self._is_upkeep else env

    def add_printed(self, text: str, omitted_bytes: int = 0, lacks: str = "") -> tuple[str, ...]:
        """Take the spans that a program printed as JSON lines, and return what is wrong with them.

        :param omitted_bytes: how many stood before *text* and were not kept.
        :param lacks: why something else may have stood before it, in words; "" if nothing has.
        """
        from pytest_clnrm.telemetry.receive.printed_spans import printed_spans

        printed = printed_spans(text)
        if self.inbox is not None:
            self.inbox.add(printed.request)
            if omitted_bytes:
                lacks = f"its first {omitted_bytes} bytes were left out, in which spans may have been"
            if lacks:
                self.inbox.lose("output", lacks)
        return printed.problems

    def release(self) -> None:
        """Store the spans of the programs from now on: all secrets are known."""
        if self.inbox is not None:
            self.inbox.release()

    def warnings(self, own: Mapping[str, str]) -> tuple[str, ...]:
        """Return what keeps a program from exporting to us, by the variables that a file sets itself."""
        return tuple(warnings(own)) if self.inbox is not None else ()

    def problems(self) -> tuple[str, ...]:
        """Return which spans were lost and why, in sentences for a user."""
        received = self.inbox.problems() if self.inbox is not None else ()
        return tuple(dict.fromkeys((*received, *self._tracing.problems())))

    @property
    def trace_id(self) -> str:
        """The id of the run's trace, of which its steps are; "" if nothing is recorded."""
        own = parse_traceparent(self._span.traceparent)
        return own.trace_id if own else ""

    def span_ids(self) -> set[str]:
        """Return the ids of its spans in the run's trace: its own, those of its steps, its programs'."""
        own = parse_traceparent(self._span.traceparent)
        programs = {each.span_id for each in self.workload() if own and each.trace_id == own.trace_id}
        ours = {each.span_id for each in self.ours}
        return {*({own.span_id} if own else ()), *self._steps, *ours, *programs}

    def workload(self) -> Sequence[Span]:
        """Return what the scenario's programs have exported so far."""
        return self.inbox.spans() if self.inbox is not None else ()

    def count_ours(self) -> int:
        """Return how many spans of ours the scenario has, its own among them; 0 if none is recorded."""
        return len(self.ours) + 1 if self._span.traceparent else 0

    def finish(self, status: str, error: str = "") -> None:
        """End the scenario's span and refuse what comes late; safe to call twice.

        :param status: of OpenTelemetry's test conventions: "pass" or "fail"; "" if that is not known.
        :param error: why it failed, "" if it did not.
        """
        if self._finished:
            return
        self._finished = True
        if status:
            self._span.set("test.case.result.status", status)
        if error:
            self._span.fail(str(self._shown(error)))
        self._span.end()
        if self.inbox is not None:
            self.inbox.close()
