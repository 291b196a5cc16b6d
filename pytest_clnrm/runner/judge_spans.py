"""Waiting for the spans of a scenario whose steps have ended, and judging them."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError, ScenarioTimeoutError
from pytest_clnrm.expect.spans import judge_spans, lower_bound_only, satisfied_early
from pytest_clnrm.model.expectations import Expectations
from pytest_clnrm.model.result import Failure
from pytest_clnrm.model.scenario import service_of
from pytest_clnrm.pool.proof import OWN_PROCESSES, processes_in
from pytest_clnrm.runner.sharing.spans import LOOK_S as SHARED_LOOK_S
from pytest_clnrm.scenario.templates.binding import bind_expectations
from pytest_clnrm.scenario.templates.confined import bind
from pytest_clnrm.scenario.templates.render import TemplateError
from pytest_clnrm.telemetry.environment import OF_STEP, SERVICE_NAME
from pytest_clnrm.telemetry.tracing import out_of_reach
from pytest_clnrm.util.patterns import within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_clnrm.model.key_path import KeyPath
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.model.span import Loss, Span
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.sharing.spans import SharedSpans
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.receive.inbox import Inbox
    from pytest_clnrm.telemetry.tracing import ScenarioTrace

STOP_GRACE_S = 5.0
DRAIN_S = 0.2
"""How long nothing must arrive once nobody can send any more: what was sent may still be on its way."""
LOOK_S = 0.5
"""Seconds between two looks whether a program still runs that could send spans."""
SCHEDULE_DELAY = "OTEL_BSP_SCHEDULE_DELAY"


@dataclass(kw_only=True)
class SpanJudge:
    """Judges the spans of one scenario whose steps have ended.

    First :meth:`wait`, then :meth:`judge`. In between the services still run.

    :param captured: what its steps have captured, by name.
    :param containers: the scenario's own, by the names of their services.
    :param shared: those that it shares with others, likewise.
    :param shared_spans: what those have sent.
    :param unseen: tells of which shared services spans may be missing.
    :param where: names file and line of a key path.
    :param began_s: ``time.monotonic()`` of the scenario's start.
    """

    runtime: Runtime
    scenario: Scenario
    trace: ScenarioTrace
    captured: Mapping[str, str]
    containers: Mapping[str, RunningContainer]
    shared: Mapping[str, RunningContainer]
    shared_spans: SharedSpans
    unseen: Callable[[], Sequence[Loss]]
    where: Callable[[KeyPath], str]
    began_s: float
    _expect: Expectations = field(default_factory=Expectations)
    _deadline_s: float = 0.0
    _unbound: tuple[Failure, ...] = ()
    _satisfied: bool = False
    _seen_early: int = -1
    _cut_short: bool = False
    _hosts: frozenset[str] = frozenset()
    _told: list[str] = field(default_factory=list)

    def wait(self, deadline_s: float) -> None:
        """Return when nobody can send spans any more, or enough have arrived, or ``wait`` is over.

        Enough are those that further spans cannot undo: for "at least one", but not for "none" or "all".

        :param deadline_s: ``time.monotonic()`` at which the scenario's time is over.
        """
        if not self.scenario.expect:
            return
        self.runtime.board.at("spans")
        self._deadline_s = deadline_s
        try:
            self._expect = self._bound(deadline_s)
        except TemplateError as error:
            where = self.where(error.path or ("expect",))
            self._unbound = (Failure(kind="error", message=str(error), where=where),)
            return
        inbox = self.trace.inbox
        if inbox is None or self._cannot_receive():
            return
        if self._expect.hermeticity:
            self._hosts = self._own_hosts()
        began_s = time.monotonic()
        ends_s = began_s + self._expect.wait_s
        why = self._wait(inbox, min(ends_s, deadline_s))
        self._cut_short = why == "time" and deadline_s < ends_s
        said = {
            "ended": "nothing that could send more was running any longer",
            "enough": "enough had arrived",
            "time": f"wait = {self._expect.wait_s:g} s",
        }
        self._told.append(f"spans were waited for, {time.monotonic() - began_s:.1f} s long ({said[why]})")

    def _wait(self, inbox: Inbox, ends_s: float) -> str:
        """Wait, and return why no longer: "ended", "enough" or "time"."""
        early = self._holds if lower_bound_only(self._expect) else None
        look_s = SHARED_LOOK_S if early and self.shared_spans.are_expected() else LOOK_S
        looked = False
        while True:
            if self._all_ended():
                # A moment at least, however little time is left: what was sent may not have been read yet.
                left_s = max(DRAIN_S, ends_s - time.monotonic())
                inbox.wait(early, timeout_s=left_s, settle_s=DRAIN_S)
                self._satisfied = True
                return "ended"
            left_s = ends_s - time.monotonic()
            if left_s <= 0 and looked:
                return "time"
            looked = True
            if inbox.wait(early, timeout_s=max(0.0, min(look_s, left_s))) == "held":
                # What is still on its way should be in the report.
                inbox.wait(timeout_s=max(0.0, ends_s - time.monotonic()), settle_s=self._quiet_s())
                self._satisfied = True
                return "enough"

    def judge(self) -> tuple[Failure, ...]:
        """Return which expectations about spans do not hold; services are stopped first if that can matter.

        :raises ScenarioTimeoutError: if all holds, but the scenario's time was over before ``wait`` was.
        """
        expect, inbox = self._expect, self.trace.inbox
        if self._unbound or not self.scenario.expect:
            return self._unbound
        why_not = self._cannot_receive()
        if inbox is None or why_not:
            message = f"spans are expected, but {why_not or 'they are off (--clnrm-spans on)'}"
            return (Failure(kind="error", message=message),)
        if not self._satisfied:
            self._stop_services(inbox)
        if not lower_bound_only(expect):
            # What is below a span of another scenario is known to be once that has arrived, too.
            left_s = max(0.0, min(self._quiet_s(), self._deadline_s - time.monotonic()))
            # Each look may search all that the run has recorded.
            self.shared_spans.wait(lambda: not self.shared_spans.doubtful(), left_s, look_s=left_s / 2)
        spans = [*self.trace.ours, *inbox.spans(), *self.shared_spans.own()]
        lost = [*inbox.losses(), *self.unseen()]
        with within(self._deadline_s):
            failures = judge_spans(
                expect,
                spans,
                where=self.where,
                services=self._hosts,
                named=self._named(),
                lost=lost,
                doubtful=self.shared_spans.doubtful,
            )
        if not failures and self._cut_short and not lower_bound_only(expect):
            raise ScenarioTimeoutError(f"waiting for spans (wait = {expect.wait_s:g} s)")
        if failures:
            told = "\n".join([*inbox.problems(), *self._told])
            failures = (replace(failures[0], details=f"{told}\n{failures[0].details}"), *failures[1:])
        return failures

    def _bound(self, deadline_s: float) -> Expectations:
        """Return the expectations, with the values that steps have captured.

        :raises TemplateError: if one of them was never captured, or leaves nothing to judge.
        """
        names = frozenset(each.name for step in self.scenario.steps for each in step.captures)
        values = {**self.scenario.variables, **self.captured}
        left_s = max(1.0, deadline_s - time.monotonic())
        return bind(bind_expectations, self.scenario.expect, values, names, wall_s=left_s)

    def _holds(self, spans: Sequence[Span]) -> bool:
        shared = self.shared_spans.own()
        seen = len(spans) + len(shared)
        if seen == self._seen_early:
            return False
        self._seen_early = seen
        with within(self._deadline_s):
            all_spans = [*self.trace.ours, *spans, *shared]
            return satisfied_early(self._expect, all_spans, services=self._hosts)

    def _quiet_s(self) -> float:
        """Return how long nothing must arrive: twice the time for which an exporter holds spans back."""
        envs = [*(each.env for each in self.scenario.services), *(each.env for each in self.scenario.steps)]
        own_ms = [env[SCHEDULE_DELAY] for env in envs if env.get(SCHEDULE_DELAY, "").isdecimal()]
        return max([self.scenario.expect.settle_s, *(2 * int(each) / 1000 for each in own_ms)])

    def _named(self) -> frozenset[str]:
        """Return the names of services that spans of the scenario's containers may have, by its file."""
        own = {each.name for each in self.scenario.services}
        own |= {service_of(each).name for each in self.scenario.image_runs}
        envs = [*(each.env for each in self.scenario.services), *(each.env for each in self.scenario.steps)]
        own |= {env[SERVICE_NAME] for env in envs if SERVICE_NAME in env}
        return frozenset(own | {f"{name}{OF_STEP}" for name in own})

    def _own_hosts(self) -> frozenset[str]:
        """Return the names and addresses under which the scenario's containers reach one another, and us."""
        hosts: set[str] = set()
        for name, container in {**self.containers, **self.shared}.items():
            # While it still runs: a container that has ended has no address.
            state = self.runtime.engine().state(container.id)
            hosts |= {name, container.id[:12], *state.addresses.values()}
            # Our own address on this network, where spans are received.
            hosts |= {*container.spec.no_proxy}
        return frozenset(hosts)

    def _cannot_receive(self) -> str:
        """Return why no span can reach us, "" if spans can."""
        services = self.scenario.services
        if all(service.network == "none" for service in services) and not self.scenario.image_runs:
            return (
                'no service of the scenario has a network to export them over: take network = "none" away, '
                "or expect no spans"
            )
        if not self.runtime.networks().reach_us:
            why = self.runtime.networks().why_out_of_reach
            return out_of_reach(self.runtime.engine().facts.url, why)
        return ""

    def _all_ended(self) -> bool:
        """Tell whether no program runs any more that could send spans of the scenario."""
        if self.shared_spans.are_expected():
            # A shared service runs on, for others.
            return False
        return not any(self._runs(container) for container in self.containers.values())

    def _runs(self, container: RunningContainer) -> bool:
        """Tell whether a program may run in *container*: one that cannot be looked at counts as running."""
        engine = self.runtime.engine()
        with contextlib.suppress(ClnrmError):
            if not container.keeps_alive:
                return engine.state(container.id).running
            return len(processes_in(engine.observe(container.id))) > OWN_PROCESSES
        return True

    def _stop_services(self, inbox: Inbox) -> None:
        """End the services so that they send the spans they still hold, and read these."""
        stopped = []
        began_s = time.monotonic()
        for service in reversed(self.scenario.services):
            # One that is shared goes on for the others.
            container = self.containers.get(service.name)
            if container is None or container.keeps_alive:
                continue
            with self.trace.span("clnrm.container.stop", {"container.name": container.name}):
                self.runtime.engine().stop(
                    container.id,
                    grace_s=STOP_GRACE_S if service.stop_grace_s is None else service.stop_grace_s,
                )
            stopped.append(service.name)
        if stopped:
            self._told.append(
                f"then {', '.join(stopped)} had to end (SIGTERM), {began_s - self.began_s:.1f} s after the "
                f"scenario's start, which took {time.monotonic() - began_s:.1f} s"
            )
        inbox.wait(timeout_s=STOP_GRACE_S, settle_s=DRAIN_S)
