"""Judging the spans of a scenario: when no more of them are waited for, and what they should be."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_clnrm.expect.spans import judge_spans, satisfied_early
from pytest_clnrm.result import Failure
from pytest_clnrm.scenario.binding import bind_expectations
from pytest_clnrm.scenario.templating import TemplateError
from pytest_clnrm.tracing import out_of_reach
from pytest_clnrm.util.patterns import within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_clnrm.launch import Running
    from pytest_clnrm.runtime import Runtime
    from pytest_clnrm.scenario.expectations import Expectations
    from pytest_clnrm.scenario.model import KeyPath, Scenario
    from pytest_clnrm.span import Span
    from pytest_clnrm.tracing import ScenarioTrace

__all__ = ["SpanJudge"]

STOP_GRACE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanJudge:
    """Judges the spans of one scenario whose steps have ended.

    :param captured: what its steps have captured, by name.
    :param containers: by the names of their services.
    :param where: names file and line of a key path.
    """

    runtime: Runtime
    scenario: Scenario
    trace: ScenarioTrace
    captured: Mapping[str, str]
    containers: Mapping[str, Running]
    where: Callable[[KeyPath], str]

    def judge(self, deadline_s: float) -> tuple[Failure, ...]:
        """Return which expectations about spans do not hold, once no more spans are to be waited for.

        That is when all containers have ended and what they sent has been read. Where some go on running, it
        is when all is as expected and it is quiet, or after ``wait``.
        """
        try:
            expect = self._bound()
        except TemplateError as error:
            return (Failure(kind="error", message=str(error), where=self.where(("expect",))),)
        inbox = self.trace.inbox
        services = self._own_hosts() if expect.hermeticity else frozenset()
        why_not = self._cannot_receive()
        if inbox is None or why_not:
            message = f"spans are expected, but {why_not or 'they are off (--clnrm-spans on)'}"
            return (Failure(kind="error", message=message),)
        self._stop_services()

        def early(spans: Sequence[Span]) -> bool:
            with within(deadline_s):
                return satisfied_early(expect, [*self.trace.ours, *spans], services=services)

        ends_s = min(time.monotonic() + expect.wait_s, deadline_s)
        while True:
            left_s = max(0.0, ends_s - time.monotonic())
            ended = inbox.wait(early, timeout_s=left_s, settle_s=expect.settle_s)
            arrived = inbox.spans()
            seen, lost = [*self.trace.ours, *arrived], inbox.losses()
            with within(deadline_s):
                failures = judge_spans(expect, seen, where=self.where, services=services, lost=lost)
            if not failures or ended != "settled" or not self._still_running():
                break
            inbox.wait(partial(_more_than, len(arrived)), timeout_s=max(0.0, ends_s - time.monotonic()))
        problems = "\n".join(inbox.problems())
        if failures and problems:
            failures = (replace(failures[0], details=f"{problems}\n{failures[0].details}"), *failures[1:])
        return failures

    def _bound(self) -> Expectations:
        """Return what is expected, with what the steps have captured.

        :raises TemplateError: if something of it was never captured.
        """
        names = frozenset(each.name for step in self.scenario.steps for each in step.captures)
        return bind_expectations(self.scenario.expect, {**self.scenario.variables, **self.captured}, names)

    def _own_hosts(self) -> frozenset[str]:
        """Return the names and addresses under which the scenario's containers reach one another, and us."""
        hosts = {self.runtime.gateway()}
        for name, container in self.containers.items():
            # Asked while it still runs: who has ended has no address.
            state = self.runtime.engine().state(container.id)
            hosts |= {name, container.id[:12], *state.addresses.values()}
        return frozenset(hosts - {""})

    def _cannot_receive(self) -> str:
        """Return why no span can reach us, "" if some can."""
        services = self.scenario.services
        if all(service.network == "none" for service in services):
            return (
                'no service of the scenario has a network to export them over: take network = "none" away, '
                "or expect no spans"
            )
        if not self.runtime.gateway():
            return out_of_reach(self.runtime.engine().facts.url)
        return ""

    def _still_running(self) -> bool:
        """Tell whether a container goes on after :meth:`_stop_services`: one that only waits for commands."""
        return any(container.keeps_alive for container in self.containers.values())

    def _stop_services(self) -> None:
        """Let services end in order, or the last batch of spans that they hold is lost."""
        for service in reversed(self.scenario.services):
            container = self.containers[service.name]
            if container.keeps_alive:
                continue
            with self.trace.span("clnrm.container.stop", {"container.name": container.name}):
                self.runtime.engine().stop(container.id, grace_s=STOP_GRACE_S)


def _more_than(count: int, spans: Sequence[Span]) -> bool:
    return len(spans) > count
