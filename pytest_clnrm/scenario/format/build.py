"""From a checked document to the scenarios of a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from pytest_clnrm.model.expectations import Expectations
from pytest_clnrm.model.priority import Priority
from pytest_clnrm.model.scenario import (
    Build,
    Capture,
    KeyPath,
    Limits,
    Retry,
    Scenario,
    Service,
    Step,
    StepExpect,
    TextExpect,
    Volume,
)
from pytest_clnrm.model.units import parse_duration_s, parse_size_bytes
from pytest_clnrm.scenario.format.document import (
    CaptureDoc,
    FileDoc,
    LimitsDoc,
    ScenarioDoc,
    ServiceDoc,
    StepDoc,
    TextDoc,
)
from pytest_clnrm.scenario.format.expect_document import ExpectDoc
from pytest_clnrm.scenario.format.readiness import argv, build_ready, exit_codes
from pytest_clnrm.scenario.format.rules import IMPLICIT
from pytest_clnrm.scenario.matrix import as_text
from pytest_clnrm.scenario.templates.render import names_deferred


@dataclass(frozen=True, kw_only=True)
class Builder:
    """Builds the scenarios of one combination of a file.

    :param doc: in which no mistake was found.
    :param origin: canonical key path -> the path in the file as its author wrote it.
    :param source: path in the file (and of a volume, whether it is read-only) -> absolute path on the host.
    :param deferred: names that steps capture.
    """

    doc: FileDoc
    file: str
    name: str
    default_image: str
    deferred: frozenset[str]
    origin: Callable[[KeyPath], KeyPath]
    source: Callable[..., str]

    def build(self) -> Iterator[Scenario]:
        """Yield the scenarios in the order of the file."""
        if self.doc.scenario is None:
            meta = self.doc.meta
            steps = self._steps(self.doc.step or [], ("step",))
            yield Scenario(
                name=self.name if meta.name is None else meta.name,
                file=self.file,
                description=meta.description,
                tags=tuple(dict.fromkeys(meta.tags)),
                priority=_priority(meta.priority),
                timeout_s=_seconds(meta.timeout),
                services=self._services(set(self.doc.service) | {step.service for step in steps}),
                steps=steps,
                expect=self._expectations(None, ()),
            )
            return
        for index, each in enumerate(self.doc.scenario):
            yield self._scenario(each, ("scenario", index))

    def _scenario(self, doc: ScenarioDoc, path: KeyPath) -> Scenario:
        meta = self.doc.meta
        steps = self._steps(doc.step, (*path, "step"))
        return Scenario(
            name=doc.name,
            file=self.file,
            description=meta.description if doc.description is None else doc.description,
            tags=tuple(dict.fromkeys([*meta.tags, *doc.tags])),
            priority=_priority(doc.priority or meta.priority),
            timeout_s=_seconds(meta.timeout if doc.timeout is None else doc.timeout),
            services=self._services(self._reached(doc) | self._reached_by_none()),
            steps=steps,
            expect=self._expectations(doc.expect, path),
            at=self.origin(path),
        )

    def _service_of(self, step: StepDoc) -> str:
        """Return the name of the service that a step runs in."""
        if step.service is not None:
            return step.service
        return next(iter(self.doc.service)) if len(self.doc.service) == 1 else IMPLICIT

    def _reached(self, doc: ScenarioDoc) -> set[str]:
        """Return the services that steps of a scenario name, and those that these depend on."""
        names = [self._service_of(step) for step in doc.step]
        reached: set[str] = set()
        while names:
            name = names.pop()
            if name not in reached:
                reached.add(name)
                names += self.doc.service[name].depends_on if name in self.doc.service else ()
        return reached

    def _reached_by_none(self) -> set[str]:
        """Return the services that no scenario names: they are there for all."""
        reached = (name for each in self.doc.scenario or () for name in self._reached(each))
        return set(self.doc.service).difference(reached)

    def _services(self, names: set[str]) -> tuple[Service, ...]:
        services = [self._service(name, doc) for name, doc in self.doc.service.items() if name in names]
        if IMPLICIT in names and IMPLICIT not in self.doc.service:
            services.append(
                Service(
                    name=IMPLICIT, image=self.default_image, limits=_limits(self.doc.limits), implicit=True
                )
            )
        return tuple(services)

    def _service(self, name: str, doc: ServiceDoc) -> Service:
        path: KeyPath = ("service", name)
        own = _limits(doc.limits) if doc.limits else Limits()
        ready = tuple(build_ready(doc.ready, (*path, "ready"), self.origin))
        return Service(
            name=name,
            image=doc.image,
            build=self._build(doc, (*path, "build")),
            command=argv(doc.command),
            env=_env(doc.env),
            workdir=doc.workdir,
            user=doc.user,
            ports=tuple(doc.ports),
            volumes=tuple(
                Volume(
                    source=self.source(each.source, read_only=each.read_only),
                    target=each.target,
                    read_only=each.read_only,
                    at=self.origin((*path, "volumes", index)),
                )
                for index, each in enumerate(doc.volumes)
            ),
            depends_on=tuple(doc.depends_on),
            ready=ready,
            may_end=exit_codes(doc.may_end) + tuple(code for each in ready for code in each.exit),
            limits=own.over(_limits(self.doc.limits)),
            network=doc.network,
            fresh=doc.fresh,
            scratch=tuple(doc.scratch),
            at=self.origin(path),
        )

    def _build(self, doc: ServiceDoc, path: KeyPath) -> Build | None:
        if doc.build is None:
            return None
        at = self.origin(path)
        if isinstance(doc.build, str):
            return Build(context=self.source(doc.build), at=at)
        return Build(
            context=self.source(doc.build.context),
            dockerfile=doc.build.dockerfile,
            target=doc.build.target,
            args=_env(doc.build.args),
            network=doc.build.network,
            at=at,
        )

    def _steps(self, docs: list[StepDoc], path: KeyPath) -> tuple[Step, ...]:
        return tuple(self._step(doc, index, (*path, index)) for index, doc in enumerate(docs))

    def _step(self, doc: StepDoc, index: int, path: KeyPath) -> Step:
        retry = doc.retry
        step = Step(
            name=f"step {index + 1}" if doc.name is None else doc.name,
            service=self._service_of(doc),
            run=doc.run if isinstance(doc.run, str) else tuple(doc.run),
            env=_env(doc.env),
            workdir=doc.workdir,
            user=doc.user,
            stdin=doc.stdin,
            timeout_s=_seconds(doc.timeout),
            retry=Retry(times=retry.times, delay_s=parse_duration_s(retry.delay)) if retry else Retry(),
            continue_on_failure=doc.continue_on_failure,
            expect=self._expect(doc, (*path, "expect")),
            captures=tuple(
                self._capture(name, each, (*path, "capture", name)) for name, each in doc.capture.items()
            ),
            at=self.origin(path),
        )
        return dataclasses.replace(step, templated=True) if self._waits(step) else step

    def _waits(self, step: Step) -> bool:
        """Tell whether a string of *step* names a captured value."""
        strings: list[Any] = [step.run, dict(step.env), step.workdir, step.user, step.stdin]
        for text in (step.expect.stdout, step.expect.stderr):
            if text is not None:
                strings += [
                    text.contains,
                    text.not_contains,
                    text.regex,
                    text.not_regex,
                    text.equals,
                    text.json,
                ]
        return bool(self.deferred) and names_deferred(strings, self.deferred)

    def _expect(self, doc: StepDoc, path: KeyPath) -> StepExpect:
        if doc.expect is None:
            return StepExpect(at=self.origin(path))
        exit_in: tuple[int, ...] = (0,)
        exit_not_in: tuple[int, ...] = ()
        if isinstance(doc.expect.exit, int):
            exit_in = (doc.expect.exit,)
        elif doc.expect.exit is not None and doc.expect.exit.one_of is not None:
            exit_in = tuple(doc.expect.exit.one_of)
        elif doc.expect.exit is not None and doc.expect.exit.ne is not None:
            exit_in, exit_not_in = (), (doc.expect.exit.ne,)
        return StepExpect(
            exit_in=exit_in,
            exit_not_in=exit_not_in,
            stdout=self._text(doc.expect.stdout, (*path, "stdout")),
            stderr=self._text(doc.expect.stderr, (*path, "stderr")),
            at=self.origin(path),
        )

    def _text(self, doc: TextDoc | None, path: KeyPath) -> TextExpect | None:
        if doc is None:
            return None
        return TextExpect(
            contains=_several(doc.contains),
            not_contains=_several(doc.not_contains),
            regex=_several(doc.regex),
            not_regex=_several(doc.not_regex),
            equals=doc.equals,
            json=None if doc.json is UNSET else doc.json,
            has_json=doc.json is not UNSET,
            at=self.origin(path),
        )

    def _capture(self, name: str, doc: CaptureDoc, path: KeyPath) -> Capture:
        return Capture(
            name=name,
            regex=doc.regex,
            json=doc.json,
            stream=doc.stream,
            secret=doc.secret,
            at=self.origin(path),
        )

    def _expectations(self, doc: ExpectDoc | None, path: KeyPath) -> Expectations:
        """Return what the file expects, and the scenario on top of it."""
        shared = self._expect_table(self.doc.expect, ("expect",))
        if doc is None:
            return shared
        own = self._expect_table(doc, (*path, "expect"))
        single = ("graph", "counts", "order", "status", "hermeticity")
        changes = {name: getattr(own, name) or getattr(shared, name) for name in single}
        return dataclasses.replace(
            shared,
            spans=shared.spans + own.spans,
            edges=shared.edges + own.edges,
            windows=shared.windows + own.windows,
            wait_s=shared.wait_s if doc.wait is None else own.wait_s,
            settle_s=shared.settle_s if doc.settle is None else own.settle_s,
            **changes,
        )

    def _expect_table(self, doc: ExpectDoc | None, path: KeyPath) -> Expectations:
        return Expectations() if doc is None else doc.built(lambda *keys: self.origin((*path, *keys)))


def _priority(name: str | None) -> Priority | None:
    return None if name is None else Priority.parse(name)


def _seconds(value: float | str | None) -> float | None:
    return None if value is None else parse_duration_s(value)


def _limits(doc: LimitsDoc) -> Limits:
    memory = None if doc.memory is None else parse_size_bytes(doc.memory)
    return Limits(memory_bytes=memory, cpus=doc.cpu, pids=doc.pids, gpus=doc.gpus)


def _env(env: Mapping[str, Any]) -> dict[str, str]:
    return {name: as_text(value) for name, value in env.items()}


def _several(value: str | list[str] | None) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return () if value is None else tuple(value)
