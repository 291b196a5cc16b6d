"""What an action is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Literal

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.result import Failure
from pytest_clnrm.runner.cookies import service_cookies
from pytest_clnrm.util.output import BoundedOutput

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.errors import ImageError
    from pytest_clnrm.model.key_path import KeyPath
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.model.step import Step
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.golden import Draft
    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import OurSpan, ScenarioTrace
    from pytest_clnrm.util.redaction import Redactor

Stream = Literal["stdout", "stderr"]
STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What one run of one step has come to; its output is in :attr:`Setting.outputs`.

    :param captured: by name; of no account if there are failures.
    :param exit_code: None where there is none.
    :param is_last: no further attempt can be made: what it needs is gone.
    """

    failures: tuple[Failure, ...] = ()
    captured: Mapping[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    timed_out: bool = False
    is_last: bool = False


@dataclass(slots=True, kw_only=True)
class Faults:
    """Names of the services with whose containers steps have done something that still holds.

    :param ended: how they ended has been judged, or was asked for.
    :param disconnected: from the scenario's network.
    """

    ended: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    disconnected: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What there is for all steps of a scenario.

    :param containers: those that have been started, by the names of their services.
    :param network: on which they are, None where no service has one.
    :param deadline_s: ``time.monotonic()`` at which the scenario's time is over.
    :param where: returns file and line of a key path.
    :param redactor: hides secrets; learns those that steps capture.
    :param images: of checks that name a reference, by these, or why one cannot be had.
    :param labels: of what is created for the scenario.
    :param began_s: when the steps began that checks name, by the engine's clock, by their names.
    :param cookies: that services have set so far.
    :param run_once: ids of the containers that steps run at the moment, by the names of the steps.
    :param golden: files that steps want to be other ones, with ``--clnrm-update-golden``.
    :param users: what ``{{ worker }}`` and ``{{ scenario_id }}`` are.
    """

    runtime: Runtime
    scenario: Scenario
    containers: Mapping[str, RunningContainer]
    network: Network | None
    deadline_s: float
    where: Callable[[KeyPath], str]
    trace: ScenarioTrace
    redactor: Redactor
    images: Mapping[str, ImageFacts | ImageError] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    began_s: dict[str, float] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    cookies: CookieJar = field(default_factory=service_cookies)
    run_once: dict[str, str] = field(default_factory=dict)
    golden: dict[str, Draft] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What one attempt is made in.

    :param step: with captured values filled in.
    :param span: of this attempt.
    :param deadline_s: ``time.monotonic()`` at which its own time is over; not later than the scenario's.
    :param outputs: what it prints, for its result.
    :param show: shows a piece of output while it arrives.
    """

    around: Surroundings
    step: Step
    span: OurSpan
    deadline_s: float
    outputs: Mapping[Stream, BoundedOutput]
    show: Callable[[Stream, bytes], None]

    @property
    def container(self) -> RunningContainer:
        """Return the container of the service that the step names.

        :raises ContainerError: if nothing can be done in it.
        """
        name = self.step.service
        if name in self.around.faults.paused:
            raise ContainerError(f"service {name!r} is paused: a step cannot run in it; unpause it first")
        return self.around.containers[name]

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take a piece of output."""
        self.outputs[stream].feed(data)
        self.show(stream, data)

    def failure(
        self,
        message: str,
        kind: Literal["expectation", "error"] = "expectation",
        *,
        at: KeyPath = (),
        details: str = "",
    ) -> Failure:
        """Return a failure of the step.

        :param at: the key that it is about; () for the step.
        :param details: more lines.
        """
        step, where = self.step, self.around.where(at or self.step.at)
        return Failure(message=message, kind=kind, where=where, step=step.name, details=details)

    def out_of_memory(self, whose: str, limit_mb: int) -> Failure:
        """Return the failure of a step whose container had less memory than it needs.

        :param whose: the container, in words.
        """
        step = self.step.name
        return self.failure(f"step {step!r} ran out of memory: {whose} is limited to {limit_mb} MB", "error")

    def cut_off(self, what: str = "") -> Failure:
        """Return the failure of a step that had not ended when its time, or the scenario's, was over.

        :param what: what had not come by then, in words.
        """
        failure = self._out_of_time()
        return replace(failure, message=f"{failure.message}: {what}") if what else failure

    def _out_of_time(self) -> Failure:
        step, until_s = self.step, self.step.retry.timeout_s
        if self.deadline_s < self.around.deadline_s:
            if step.timeout_s is not None and (until_s is None or step.timeout_s <= until_s):
                return self.failure(f"step {step.name!r} timed out after {step.timeout_s:g} s")
            if until_s is not None:
                return self.failure(f"step {step.name!r} was cut off by the {until_s:g} s of its `until`")
        return Failure(message=f"step {step.name!r} was cut off by the scenario's timeout", step=step.name)
