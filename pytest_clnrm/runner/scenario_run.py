"""One run of one scenario, from its images to the removal of its containers.

``prepare`` gets the images, which is not counted as the scenario's time; ``execute`` starts the services,
runs the steps and judges; ``clean_up`` removes the containers. The caller holds the reservation meanwhile.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError, ScenarioTimeoutError, ServiceError
from pytest_clnrm.expect.texts import Output
from pytest_clnrm.model.result import ContainerFacts, Failure, Result, SpanCounts, StepResult
from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.model.service import Service
from pytest_clnrm.model.step import Step
from pytest_clnrm.pool.idle_leases import Leftover
from pytest_clnrm.pool.proof import specification_of, why_changed
from pytest_clnrm.runner.actions.attempt import Faults, Surroundings
from pytest_clnrm.runner.actions.fault import unpause_all
from pytest_clnrm.runner.artifacts import ArtifactFolder, Artifacts
from pytest_clnrm.runner.blame import Blame
from pytest_clnrm.runner.disk_watch import DiskWatch
from pytest_clnrm.runner.golden import Draft, settle
from pytest_clnrm.runner.judge_spans import SpanJudge
from pytest_clnrm.runner.launch import launch
from pytest_clnrm.runner.place import Place
from pytest_clnrm.runner.room import Room
from pytest_clnrm.runner.running_services import Running
from pytest_clnrm.runner.scenario_images import ScenarioImages
from pytest_clnrm.runner.service_ends import ServiceEnds, last_logs
from pytest_clnrm.runner.services import Timeline, entry_points_replaced, start_in_order
from pytest_clnrm.runner.sharing.part import SharedPart
from pytest_clnrm.runner.sharing.upkeep import with_values
from pytest_clnrm.runner.steps import StepRunner
from pytest_clnrm.runner.volumes import problems_left
from pytest_clnrm.util.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_clnrm.model.key_path import KeyPath
    from pytest_clnrm.model.priority import Priority
    from pytest_clnrm.model.span import AttributeValue
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.steps import OnStepOutput
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace


@dataclass(kw_only=True)
class ScenarioRun:
    """One run of one scenario.

    :param nodeid: the item's node id.
    :param file: the scenario's file as it is shown.
    :param locate: returns line and column of a key path in that file.
    :param reuse: ids of the leases whose idle containers are used.
    :param on_output: gets the output of each step as it arrives.
    :param slot_wait_s: seconds that its room was waited for; *slot_attributes* are of the span of that.
    :param attempt: which of the scenario's attempts it is, from 1.
    :param redactor: hides the scenario's secrets in all that leaves the run; learns those that steps capture.
    :param artifacts_in: where files of its containers are kept; None: nowhere.
    :param within: the lease of one that is part of a Python test ("" for the test's), which leaves nothing.
    """

    scenario: Scenario
    runtime: Runtime
    nodeid: str
    file: str
    priority: Priority
    locate: Callable[[KeyPath], tuple[int, int]]
    reuse: tuple[str, ...] = ()
    on_output: OnStepOutput | None = None
    slot_wait_s: float = 0.0
    attempt: int = 1
    slot_attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    redactor: Redactor = field(default_factory=Redactor)
    artifacts_in: ArtifactFolder | None = None
    within: str | None = None
    _granted_s: float = field(default_factory=time.monotonic)
    _started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    _blame: Blame = field(init=False)
    _images: ScenarioImages = field(init=False)
    _containers: dict[str, RunningContainer] = field(default_factory=dict)
    _timeline: Timeline = field(init=False)
    _steps: list[StepResult] = field(default_factory=list)
    _failures: list[Failure] = field(default_factory=list)
    _facts: list[ContainerFacts] = field(default_factory=list)
    _captured: dict[str, str] = field(default_factory=dict)
    _shown_logs: dict[str, str] = field(default_factory=dict)
    _failed: bool = False
    _judged: bool = False
    _up: list[str] = field(default_factory=list)
    _room_wait_s: float = 0.0
    _ends: ServiceEnds = field(init=False)
    _faults: Faults = field(default_factory=Faults)
    _run_once: dict[str, str] = field(default_factory=dict)
    _golden: dict[str, Draft] = field(default_factory=dict)
    _proven: dict[str, RunningContainer] = field(default_factory=dict)
    _trace: ScenarioTrace = field(init=False)
    _artifacts: Artifacts = field(init=False)
    _place: Place = field(init=False)
    _shared: SharedPart = field(init=False)
    leftover: Leftover | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._timeline = Timeline(self._granted_s)
        self._blame = Blame(
            scenario=self.scenario,
            file=self.file,
            locate=self.locate,
            settings=self.runtime.settings,
            redactor=self.redactor,
        )
        self._place = Place(self.runtime)
        self._artifacts = Artifacts(runtime=self.runtime, folder=self.artifacts_in, redactor=self.redactor)
        self._ends = ServiceEnds(self.runtime, self.redactor, self._timeline.note_end)
        captures_secrets = self.scenario.captures_secrets
        self._trace = self.runtime.tracing().scenario(
            self.nodeid,
            {
                "code.file.path": self.file,
                "code.line.number": self.scenario.line,
                "clnrm.priority": self.priority.label,
                "clnrm.scenario.name": self.scenario.name,
                **({"clnrm.attempt": self.attempt} if self.attempt > 1 else {}),
            },
            redact=self.redactor.text if self.redactor or captures_secrets else None,
            held=captures_secrets,
        )
        self._images = ScenarioImages(
            scenario=self.scenario,
            runtime=self.runtime,
            trace=self._trace,
            about=self._blame.about,
            labels=partial(self.runtime.labels, self.nodeid),
            hide=self.redactor.text,
        )
        self._shared = SharedPart(
            self.runtime, self.scenario.file, self._trace, self.within or "", self.scenario.services
        )

    # Waiting: not the scenario's time.

    def prepare(self) -> None:
        """Get the images.

        :raises ClnrmError: if an image cannot be had, or no engine answers.
        """
        self.runtime.board.hide(self.redactor.text)
        if self.slot_wait_s:
            self._trace.add("clnrm.slot.wait", self.slot_wait_s, self.slot_attributes)
        try:
            self._images.get()
        except ClnrmError as error:
            self._trace.finish("fail", str(error))
            raise

    # The scenario's time.

    def execute(self) -> Result:
        """Start the services, run the steps and judge; what goes wrong is in the result's failures."""
        own_s, usual_s = self.scenario.timeout_s, self.runtime.settings.timeout_s
        timeout_s = usual_s if own_s is None else own_s
        deadline_s = time.monotonic() + timeout_s
        disk = DiskWatch(self.runtime, self._containers, self._run_once, self._shared.containers)
        try:
            with disk:
                self._start_services(deadline_s)
                deadline_s += self._room_wait_s
                self._run_steps(deadline_s)
                judge = SpanJudge(
                    runtime=self.runtime,
                    scenario=self.scenario,
                    trace=self._trace,
                    captured=self._captured,
                    containers=self._containers,
                    shared=self._shared.containers,
                    shared_spans=self._shared.spans,
                    unseen=self._shared.unseen,
                    where=self._blame.where,
                    began_s=self._granted_s,
                )
                if not self._failures:
                    judge.wait(deadline_s)
                # Before judging, which may stop services.
                self._look_at_containers()
                if not self._failures:
                    self._judged = True
                    self._failures += judge.judge()
            if not (self._failures or disk.problem):
                self._prove()
        except ScenarioTimeoutError as error:
            self._failures.append(self._blame.timed_out(timeout_s, str(error), self._steps))
        except ClnrmError as error:
            self._failures.append(self.failure_of(error))
        if disk.problem:
            self._failures.insert(0, Failure(kind="error", message=disk.problem))
        self._look_at_containers()
        self._failed = bool(self._failures)
        self._explain()
        self._failures += problems_left(self.runtime, self._containers.values(), failed=self._failed)
        unwritten = settle(self._golden, passed=not self._failures)
        self._failures += [Failure(kind="error", message=each) for each in unwritten]
        self._failed = bool(self._failures)
        self._keep_artifacts()
        self._trace.finish(
            "fail" if self._failed else "pass", self._failures[0].message if self._failures else ""
        )
        return self.result()

    def broken_off(self, message: str, *, at_once: bool) -> Result:
        """Return the result of a run that something foreign has ended: Ctrl-C, another plugin's time limit.

        :param message: what it was, one line.
        :param at_once: nothing is waited for any more, so no artifacts are kept.
        """
        failure = self._blame.cut_off(message, self._steps)
        step = next((each for each in self._steps if each.name == failure.step), None)
        outputs = () if step is None else (Output("stderr", step.stderr, 0), Output("stdout", step.stdout, 0))
        details = "\n".join(each.excerpt() for each in outputs if each.text)
        self._failures.append(self.redactor.result(replace(failure, details=details)))
        self._failed = True
        if not self._facts:
            containers = tuple(self._all_containers.values())
            self._facts = [replace(each.facts, timeline=self._told_of(each)) for each in containers]
        if not at_once:
            self._keep_artifacts()
        self._trace.finish("fail", message)
        return self.result()

    def failure_of(self, error: ClnrmError) -> Failure:
        """Return an error of this run as a failure, with its place in the file, and its service or step."""
        if isinstance(error, ServiceError):
            self._shown_logs[error.service] = self.redactor.end_of_text(error.logs)
        return self._blame.failure_of(error, self._steps)

    def _start_services(self, deadline_s: float) -> None:
        """Start them all; where the engine has its room for others too, anew until all of them have room."""
        if not self.runtime.engine().facts.room_is_shared:
            self._start_all(self._shared.stem, deadline_s, None)
            return
        own = sum(not each.is_shared for each in self.scenario.services)
        with Room(self.runtime, self.priority, own) as room:
            try:
                room.start(
                    self._shared.stem,
                    lambda stem: self._start_all(stem, deadline_s, room),
                    self._remove_started,
                )
            finally:
                self._note_room_wait(room.waited_s)

    def _note_room_wait(self, seconds: float) -> None:
        """Note that room was waited for, which is not the scenario's time."""
        self._room_wait_s = seconds
        self.slot_wait_s += seconds
        self._granted_s += seconds
        if seconds:
            self._trace.add("clnrm.slot.wait", seconds, self.slot_attributes)

    def _remove_started(self) -> None:
        """Remove what was started of it, as if nothing had been."""
        containers = list(self._containers.values())
        for each in containers:
            each.sources.close()
        self.runtime.board.count(-len(containers), -sum(each.spec.memory_bytes for each in containers))
        self.runtime.remove([*self._place.unused, *(each.id for each in containers)])
        # The same object, which others look at.
        self._containers.clear()
        self._up.clear()
        self._shared.leave(at_once=self._place.network is None)
        self._place.leave()
        self._place = Place(self.runtime)

    def _start_all(self, stem: str, deadline_s: float, room: Room | None) -> None:
        labels = self.runtime.labels(self.nodeid, self.within or "")
        own = [each for each in self.scenario.services if not each.is_shared]
        shares = len(own) < len(self.scenario.services)
        idle = self._place.enter(
            own,
            self._images.of,
            stem=stem,
            labels=labels,
            reuse=self.reuse,
            trace=self._trace,
            with_others=bool(self.scenario.image_runs) or shares,
            guests=self._shared.ready_ones() if shares else (),
        )

        def created(container: RunningContainer) -> None:
            self._containers[container.service.name] = container
            self._place.used(container.id)
            if not container.reused:
                self._timeline.note(container.service, "created")

        def start(service: Service, cancelled: Callable[[], bool]) -> None:
            def in_vain() -> bool:
                self._ends.check([self._all_containers[name] for name in tuple(self._up)])
                return cancelled()

            if service.is_shared:
                with self._blame.about(service):
                    image, network = self._images.of[service.name], self._place.network
                    around = partial(self._around, deadline_s)
                    self._shared.join(
                        service, image, network, room, around=around, deadline_s=deadline_s, cancelled=in_vain
                    )
                self._up.append(service.name)
                return
            running = Running(self.runtime, self._all_containers, self._place.network)
            with self._blame.about(service):
                launch(
                    self.runtime,
                    with_values(service, self._shared.users, running),
                    self._images.of[service.name],
                    name=f"{stem}-{service.name}",
                    labels=labels,
                    deadline_s=deadline_s,
                    on_created=created,
                    trace=self._trace,
                    network=self._place.network,
                    volumes=self._place.volumes,
                    idle=idle.get(service.name),
                    may_be_reused=self.runtime.settings.pool != "off" and self.within is None,
                    on_started=partial(self._timeline.note, service, "started"),
                    cancelled=in_vain,
                    room=room,
                )
            self._up.append(service.name)
            if service.ready:
                self._timeline.note(service, "ready")

        start_in_order(self.scenario.services, start, shared_first=room is not None)

    def _around(self, deadline_s: float) -> Surroundings:
        """Return what there is for steps, with the services that have been started by now."""
        return Surroundings(
            runtime=self.runtime,
            scenario=self.scenario,
            containers=self._all_containers,
            network=self._place.network,
            deadline_s=deadline_s,
            where=self._blame.where,
            trace=self._trace,
            redactor=self.redactor,
            images=self._images.checked,
            labels=self.runtime.labels(self.nodeid, self.within or ""),
            faults=self._faults,
            run_once=self._run_once,
            golden=self._golden,
            users=self._shared.users,
        )

    def _run_steps(self, deadline_s: float) -> None:
        around = self._around(deadline_s)
        runner = StepRunner(
            around=around, began_s=self._granted_s, on_output=self.on_output, captured=self._captured
        )
        last_secret = max(
            (i for i, each in enumerate(self.scenario.steps) if each.captures_secrets), default=-1
        )
        steps = iter(self.scenario.steps)
        broken = False
        for step in steps:
            if broken and step.phase != "cleanup":
                self._not_run([step])
                continue
            self.runtime.board.at("step", step.name)
            try:
                result, error = runner.run(step)
            except BaseException:
                self._steps.append(runner.cut_off(step))
                self._not_run(steps)
                raise
            if broken and not result.attempts:
                # It would undo what was never done: a value that it names was not captured.
                self._not_run([step])
                continue
            self._steps.append(result)
            self._failures += result.failures
            if len(self._steps) > last_secret:
                self._trace.release()
            if error is not None:
                self._not_run(steps)
                raise error
            broken = broken or bool(result.failures and not step.continue_on_failure)
        unpause_all(around)

    def _not_run(self, steps: Iterable[Step]) -> None:
        self._steps += (
            StepResult(name=step.name, service=step.service, phase=step.phase, outcome="not run", attempts=0)
            for step in steps
        )

    @property
    def _all_containers(self) -> dict[str, RunningContainer]:
        """Return its own containers, and those that it shares with others."""
        return {**self._containers, **self._shared.containers}

    def _prove(self) -> None:
        """Find out which containers are unchanged since they were new, and note why others are not reused."""
        for at, facts in enumerate(self._facts):
            if facts.shared:
                continue
            container = self._containers[facts.service]
            why_not = container.never_reused
            if not why_not:
                self.runtime.board.at("cleanup")
                about: dict[str, AttributeValue] = {
                    "container.name": container.name,
                    "clnrm.container.reused": container.reused,
                }
                with self._trace.span("clnrm.container.prove", about) as span:
                    why_not = why_changed(self.runtime.engine(), container)
                    span.set("clnrm.container.unclean", why_not or None)
            if not why_not:
                had_secrets = container.had_secrets or bool(self.redactor)
                self._proven[facts.service] = replace(container, had_secrets=had_secrets)
            self._facts[at] = replace(facts, reuse=why_not)

    def _look_at_containers(self) -> None:
        """Note, once, what the engine tells of the containers, and judge how services have ended."""
        if not self._facts:
            # In the file's order: which of them is created first is chance.
            containers = self._all_containers
            names = [service.name for service in self.scenario.services if service.name in containers]
            self._facts = [self._look_at(containers[name]) for name in names]

    def _told_of(self, each: RunningContainer) -> str:
        return self._shared.told.get(each.service.name) or self._timeline.of(each)

    def _look_at(self, container: RunningContainer) -> ContainerFacts:
        engine = self.runtime.engine()
        facts = container.facts
        if container.reused and not self._failures:
            # It has just run the steps, and its peak of memory would be that of all its scenarios.
            return replace(facts, timeline=self._told_of(container))
        try:
            state = engine.state(container.id)
        except ClnrmError as error:
            # A service whose state is not known must not pass; but this must not hide an earlier failure.
            if not self._failures and not container.keeps_alive:
                failure = self._ends.unknown(container, error)
                self._failures.append(replace(failure, where=self._blame.where(container.service.at)))
            return facts
        ended_as_told = container.keeps_alive or facts.service in self._faults.ended
        if not state.running and not ended_as_told:
            ends = list(self._ends.judge(container, state, self._failures))
            self._failures += (replace(each, where=self._blame.where(container.service.at)) for each in ends)
        return replace(
            facts,
            timeline=self._told_of(container),
            oom_killed=state.oom_killed,
            exit_code=state.exit_code,
            # A reused or shared container's peak would be that of all its scenarios.
            peak_memory_bytes=engine.peak_memory_bytes(state)
            if state.running and not (container.reused or facts.shared)
            else None,
        )

    def _keep_artifacts(self) -> None:
        """Keep the files that services name, before their containers go to whoever is next."""
        if not any(each.artifacts for each in self.scenario.services):
            return
        self.runtime.board.at("cleanup", "artifacts")
        there = self._all_containers
        containers = [there[each.name] for each in self.scenario.services if each.name in there]
        with self._trace.span("clnrm.artifacts.keep", {}) as span:
            self._artifacts.keep(containers, failed=self._failed)
            span.set("clnrm.artifacts.count", len(self._artifacts.files))

    def _explain(self) -> None:
        """Add the services' logs. What a failure shows is not read again, or it would be shown twice."""
        if self._failed and not self._judged:
            self._shared.spans.settle(self.scenario.expect.settle_s)
        for at, facts in enumerate(self._facts if self._failed else ()):
            self._facts[at] = replace(
                facts,
                logs=self._shown_logs.get(facts.service) or self._logs_of(facts),
                spans=self.redactor.text(self._shared.spans.text(facts.service)) if facts.shared else "",
            )

    def _logs_of(self, facts: ContainerFacts) -> str:
        shared = self._shared.containers.get(facts.service)
        logs = self._shared.logs(shared) if shared else last_logs(self.runtime.engine(), facts.id)
        return self.redactor.end_of_text(logs)

    def result(self) -> Result:
        """Return the result so far, without secrets."""
        result = Result(
            nodeid=self.nodeid,
            name=self.scenario.name,
            file=self.file,
            line=self.scenario.line,
            tags=self.scenario.tags,
            priority=self.priority.label,
            outcome="failed" if self._failures else "passed",
            started=self._started.isoformat(timespec="microseconds"),
            duration_s=time.monotonic() - self._granted_s,
            slot_wait_s=self.slot_wait_s,
            worker=self.runtime.worker,
            containers=tuple(self._facts),
            steps=tuple(self._steps),
            failures=tuple(self._failures),
            spans=SpanCounts(runner=self._trace.count_ours(), workload=self._count_workload()),
            unchecked=tuple(each.path for each in self.scenario.unchecked),
            artifacts=tuple(self._artifacts.files),
            notes=(
                *self.warnings(),
                *self._images.notes,
                *self.problems(),
                *self._not_judged(),
                *(entry_points_replaced(self._containers.values()) if self._failed else ()),
            ),
        )
        return self.redactor.result(result)

    def _count_workload(self) -> int:
        return len(self._trace.workload()) + len(self._shared.spans.own())

    def _not_judged(self) -> Iterator[str]:
        """Yield that spans were expected but not judged."""
        if self._failed and self.scenario.expect and not self._judged:
            step = next((each.step for each in self._failures if each.step), "")
            why = f"step {step!r} failed" if step else "the scenario had failed before"
            yield f"what [expect] says of spans was not judged, as {why}"

    def problems(self) -> tuple[str, ...]:
        """Return what is no failure but worth telling: spans and artifacts that lack, services that ended."""
        return (*self._ends.notes, *self._trace.problems(), *self._artifacts.notes)

    def warnings(self) -> Iterator[str]:
        """Yield what is wrong with variables that the file sets: they may keep spans from arriving."""
        for service in self.scenario.services:
            for warning in self._trace.warnings(service.env):
                yield f"service {service.name!r}: {warning}"
        for step in self.scenario.steps:
            for warning in self._trace.warnings(step.env):
                yield f"step {step.name!r}: {warning}"

    def clean_up(self, *, is_last: bool = True) -> tuple[str, ...]:
        """Remove the containers and end the trace; may be called at any moment, and twice.

        :param is_last: False if the scenario is tried again: that needs the room, so nothing is kept.
        :return: names of containers that ``--clnrm-keep failed`` keeps.
        """
        self._trace.finish("fail")
        containers, self._containers = list(self._containers.values()), {}
        for each in containers:
            each.sources.close()
        board = self.runtime.board
        board.at("cleanup")
        board.count(-len(containers), -sum(each.spec.memory_bytes for each in containers))
        try:
            if is_last and containers and self._failed and self.runtime.settings.keep == "failed":
                self.runtime.keep([*(each.id for each in containers), *self._place.keep()], self.within or "")
                self._place.remove(self._place.unused)
                return tuple(each.name for each in containers)
            ids = [*self._place.unused, *(each.id for each in containers)]
            if ids and (self._place.unused or not self._leave(containers)):
                self.runtime.remove_all(ids, self.within or "")
        finally:
            self._shared.leave(at_once=self._place.network is None)
            self._place.leave()
        return ()

    def _leave(self, containers: Sequence[RunningContainer]) -> bool:
        """Leave a passed scenario's containers under its lease; return False where that cannot be done."""
        lease = self.runtime.holdings.lease()
        if self._failed or self.within is not None or not lease or self._place.volumes:
            # A volume goes once no container has it.
            return False
        proven, self._proven = self._proven, {}
        specification = specification_of(self.runtime.settings, self.scenario) or "" if proven else ""
        self.leftover = Leftover(
            lease=lease,
            worker=self.runtime.worker,
            specification=specification,
            containers=tuple(container.id for container in containers),
        )
        stays = None
        if proven and self.runtime.keeps_warm:
            from pytest_clnrm.runner.idle_warm import Leaving

            stays = Leaving(runtime=self.runtime, lease=lease, specification=specification, trace=self._trace)
        removed = [each.id for each in containers if each.service.name not in proven]
        self.runtime.shelf().put(lease, proven, removed, stays=stays)
        return True
