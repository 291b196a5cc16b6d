"""The containers of one test, or of one fixture: what they share, and whether each still runs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError, ContainerError, ServiceEndedError, ServiceError
from pytest_clnrm.items.python_tests import last_lines
from pytest_clnrm.items.tags import ScenarioWarning
from pytest_clnrm.model.priority import Priority
from pytest_clnrm.model.units import parse_duration_s
from pytest_clnrm.runner.launch import get_image
from pytest_clnrm.runner.prepared import image_to_start
from pytest_clnrm.runner.service_ends import ServiceEnds, last_logs
from pytest_clnrm.runner.sharing.spans import SharedSpans
from pytest_clnrm.telemetry.tracing import out_of_reach
from pytest_clnrm.util.redaction import Redactor
from pytest_clnrm.util.terminal_text import shown

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.items.python_tests import LiveContainer, PythonTests
    from pytest_clnrm.model.limits import Limits
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.model.span import AttributeValue, Span
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.room import Room
    from pytest_clnrm.runtime.runtime import Runtime

Reserve = Callable[["Limits", str], AbstractContextManager[str]]


class ContainerGroup:
    """What the containers of one test, or of ``clnrm_factory``, have in common.

    :param label: the node id of the test, or the fixture's name, for labels and warnings.
    :param reserve: holds what one more container of these limits, and of this name, takes while it is there;
        yields the id of the lease, "" for that of the test.
    :param attributes: of the span that all others are part of.
    :param is_of_test: they are those of one test, and end with it.
    :ivar connected: one of them has had a network.
    :ivar volumes: that they share: name -> the engine's.
    """

    def __init__(
        self,
        runtime: Runtime,
        label: str,
        reserve: Reserve,
        tests: PythonTests,
        attributes: Mapping[str, AttributeValue],
        *,
        is_of_test: bool = False,
    ) -> None:
        self.runtime = runtime
        self.label = label
        self.reserve = reserve
        self.tests = tests
        self.is_of_test = is_of_test
        secrets = runtime.settings.secrets
        self.redactor = Redactor(os.environ.get(name, "") for name in secrets)
        self.trace = runtime.tracing().scenario(
            label, attributes, redact=self.redactor.text if secrets else None
        )
        self.shared_spans = SharedSpans(self.trace, runtime.spans_folder())
        self.connected = False
        self.volumes: dict[str, str] = {}
        self._at_close = ExitStack()
        self._ready: list[LiveContainer] = []
        self._ends = ServiceEnds(runtime, self.redactor, _since_its_start, noun="container")

    def close(self, status: str = "", error: str = "") -> None:
        """End the trace: exports from now on are refused. Warn of what was refused or lost before.

        :param status: of the test: "pass" or "fail"; "" if that is not known.
        :param error: why it failed, "" if it did not.
        """
        __tracebackhide__ = True
        try:
            self._at_close.close()
        finally:
            self._end_trace(status, error)

    def _end_trace(self, status: str, error: str) -> None:
        volumes, self.volumes = self.volumes, {}
        for volume in volumes.values():
            # What a kept container has stays; what cannot be removed now is swept at the end of the run.
            with suppress(ClnrmError):
                self.runtime.engine().remove_volume(volume)
        self.trace.finish(status, error)
        for problem in self.trace.problems():
            self.warn(problem)

    def share(self, service: Service, lease: str) -> None:
        """Create the volumes of *service* that no other container of these has had yet.

        :param lease: under which its container is; "" for that of the test.
        :raises EngineError: with the engine's reason.
        """
        for each in service.shared_volumes:
            if each.name not in self.volumes:
                name = f"{self.runtime.next_name()}-{each.name}"
                self.runtime.engine().create_volume(name, labels=self.runtime.labels(self.label, lease))
                self.volumes[each.name] = name

    def at_close(self, end: Callable[[], None]) -> None:
        """Let *end* be called before the trace ends."""
        self._at_close.callback(end)

    def add(self, live: LiveContainer) -> None:
        """Look after a container that is ready."""
        self.connected = self.connected or live.running.service.network != "none"
        self._ready.append(live)

    def room(self, in_vain: Callable[[], bool]) -> Room | None:
        """Return how a container waits for room, where others than our ledger knows of want the same.

        :param in_vain: tells that waiting makes no sense any more.
        """
        runtime = self.runtime
        if not runtime.engine().facts.room_is_shared:
            return None
        from pytest_clnrm.runner.room import Room

        def check() -> None:
            if in_vain():
                raise ContainerError("nobody waits for it any more")

        current = runtime.holdings.current()
        priority = Priority(current.priority) if current else Priority.parse(runtime.settings.priority)
        return Room(runtime, priority, 1, check)

    def start_in(
        self, room: Room | None, name: str, start: Callable[[str], None], undo: Callable[[], None]
    ) -> None:
        """Start a container, anew until it has room, and note how long that was waited for.

        :param name: with which its own begins, at the first attempt.
        :param start: starts it under such a name.
        :param undo: removes what was started of it in vain.
        """
        if room is None:
            start(name)
            return
        with room:
            try:
                room.start(name, start, undo)
            finally:
                if room.waited_s:
                    self.trace.add("clnrm.slot.wait", room.waited_s, {})
                    self.tests.waited(room.waited_s)

    def drop(self, live: LiveContainer) -> None:
        """Look no longer after a container whose block is over."""
        self._ready = [each for each in self._ready if each is not live]

    def image_of(self, service: Service, lease: str) -> ImageFacts:
        """Return the image of which a service is to be started: its own, or one that holds its first start.

        :param lease: under which it is started.
        :raises ImageError: if it cannot be had.
        """
        return image_to_start(
            service,
            get_image(self.runtime, service, self.trace),
            runtime=self.runtime,
            trace=self.trace,
            labels=partial(self.runtime.labels, self.label, lease),
            hide=self.redactor.text,
            note=self.warn,
        )

    def warn(self, message: str) -> None:
        """Warn at the line of the test; to be called by the method that the test has called."""
        text = self.redactor.text(f"{self.label}: {message}")
        warnings.warn(ScenarioWarning(text), stacklevel=4)

    def _due(self) -> list[RunningContainer]:
        """Return the containers that should run."""
        return [each.running for each in self._ready if not each.may_have_ended]

    def check(self) -> None:
        """Look whether the containers still run.

        :raises ServiceEndedError: if one has ended that should run.
        """
        try:
            self._ends.check_now(self._due())
        except ServiceEndedError as error:
            raise self.told(error) from None

    def told(self, error: ClnrmError) -> ClnrmError:
        """Return *error* with its logs as a part of its message."""
        if isinstance(error, ServiceError) and error.logs:
            return type(error)(self.with_logs(str(error), error.logs), error.service, error.logs)
        return error

    def last_logs(self, container: str) -> str:
        """Return the end of a container's output, without secrets."""
        return self.redactor.end_of_text(last_logs(self.runtime.engine(), container))

    def with_logs(self, message: str, logs: str) -> str:
        """Return *message* with the end of a container's output below it, without secrets."""
        end = last_lines(self.redactor.end_of_text(logs))
        return shown(self.redactor.text(message)) + (f"; its last output:\n{end}" if end.strip() else "")

    def in_vain(self) -> bool:
        """Return False: a wait for another container may go on.

        :raises ServiceEndedError: if a container has ended that should run.
        """
        self._ends.check(self._due())
        return False

    def spans(
        self, *, count: int = 0, timeout: str | float, of: Callable[[Span], bool] = lambda _: True
    ) -> tuple[Span, ...]:
        """Return the spans that programs in these containers have exported.

        Of shared containers those below what was done here.

        :param count: wait until there are so many; fewer are returned once the time is over, or at once, with
            a warning that says what to do, where none can arrive.
        :param timeout: seconds, or text such as "1.5m".
        :param of: which of them are meant.
        """
        inbox = self.trace.inbox
        if inbox is None:
            if count:
                self.warn("spans are asked for, but they are off (--clnrm-spans on)")
            return ()

        def found() -> list[Span]:
            return list(filter(of, [*inbox.spans(), *self.shared_spans.own()]))

        if count and not inbox.spans() and (why_not := self._cannot_receive()):
            self.warn(f"spans are asked for, but {why_not}")
        elif count and self.shared_spans.are_expected():
            self.shared_spans.wait(lambda: len(found()) >= count, parse_duration_s(timeout))
        elif count:
            inbox.wait(lambda spans: sum(map(of, spans)) >= count, timeout_s=parse_duration_s(timeout))
        return tuple(found())

    def _cannot_receive(self) -> str:
        """Return why no span can reach us, "" if some can."""
        if not self.connected:
            return (
                'no container here has had a network to export them over: take network="none" away, '
                "or ask for them once there is a container"
            )
        if not self.runtime.networks().reach_us:
            why = self.runtime.networks().why_out_of_reach
            return out_of_reach(self.runtime.engine().facts.url, why)
        return ""

    def explain(self, error: Exception) -> None:
        """Add a note to *error* if a container has ended, which is often its cause."""
        if isinstance(error, ServiceEndedError):
            return
        try:
            self.check()
        except ClnrmError as ended:
            if hasattr(error, "add_note"):
                error.add_note(self.redactor.text(str(ended)))
            else:  # Python 3.10
                self.warn(str(ended))

    def judge_end(self, live: LiveContainer) -> None:
        """Judge a container at the end of its block.

        :raises ServiceEndedError: if it has ended in a way that was not announced.
        """
        running = live.running
        if running.keeps_alive or live.may_have_ended:
            return
        state = self.runtime.engine().state(running.id)
        if state.running:
            return
        for failure in self._ends.judge(running, state, ()):
            told = self.with_logs(failure.message, failure.details)
            raise ServiceEndedError(told, running.service.name, failure.details)
        for note in self._ends.notes:
            self.warn(note)
        self._ends.notes.clear()


def _since_its_start(service: Service, lived_s: float | None) -> str:  # noqa: ARG001
    return "" if lived_s is None else f"{lived_s:.1f} s after its start"
