"""From a checked document to the scenarios of a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import msgspec

from pytest_clnrm.model.expectations import Expectations
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.limits import Limits
from pytest_clnrm.model.priority import Priority
from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.model.service import Service
from pytest_clnrm.model.step import Phase, Step
from pytest_clnrm.scenario.format.check_document import CheckDoc
from pytest_clnrm.scenario.format.document import FileDoc, ScenarioDoc
from pytest_clnrm.scenario.format.end_check_document import EndCheckDoc
from pytest_clnrm.scenario.format.expect_document import ExpectDoc
from pytest_clnrm.scenario.format.http_rules import service_at
from pytest_clnrm.scenario.format.parts import At, Source, seconds
from pytest_clnrm.scenario.format.reset_document import FileServiceDoc
from pytest_clnrm.scenario.format.rules import IMPLICIT
from pytest_clnrm.scenario.format.selection_document import ItemDoc, selection
from pytest_clnrm.scenario.format.step_document import StepDoc
from pytest_clnrm.scenario.format.step_rules import usual_service
from pytest_clnrm.scenario.templates.places import SERVICE, places_in
from pytest_clnrm.scenario.templates.render import names_in_step


@dataclass(frozen=True, kw_only=True)
class Builder:
    """Builds the scenarios of one combination of a file.

    :param doc: in which no mistake was found.
    :param origin: canonical key path -> the path in the file as its author wrote it.
    :param deferred: names that steps capture.
    """

    doc: FileDoc
    file: str
    name: str
    default_image: str
    deferred: frozenset[str]
    origin: Callable[[KeyPath], KeyPath]
    source: Source

    def build(self) -> Iterator[Scenario]:
        """Yield the scenarios in the order of the file."""
        if self.doc.scenario is None:
            name = self.name if self.doc.meta.name is None else self.doc.meta.name
            yield self._scenario(ScenarioDoc(name=name, step=self.doc.step), self._at)
        for index, each in enumerate(self.doc.scenario or ()):
            yield self._scenario(each, partial(self._at, "scenario", index))

    def _at(self, *keys: str | int) -> KeyPath:
        return self.origin(keys)

    def _scenario(self, doc: ScenarioDoc, at: At) -> Scenario:
        meta = self.doc.meta
        priority = doc.priority or meta.priority
        return Scenario(
            name=doc.name,
            file=self.file,
            description=meta.description if doc.description is None else doc.description,
            tags=tuple(dict.fromkeys([*meta.tags, *doc.tags])),
            priority=Priority.parse(priority) if priority else None,
            services=self._services(
                self._reached(doc) | self._reached_by_none, self._named(doc) - self._running(doc)
            ),
            steps=(*self._steps(doc, at), *self._final_checks(doc, at), *self._cleanup(doc, at)),
            expect=self._expectations(doc.expect, partial(at, "expect")),
            selection=selection(meta, doc),
            at=at(),
            **seconds(timeout=meta.timeout if doc.timeout is None else doc.timeout),
        )

    def _steps(self, doc: ScenarioDoc, at: At) -> Iterator[Step]:
        yield from self._built(self.doc.setup, "setup", self._at, self.doc.meta)
        yield from self._built(doc.setup, "setup", at, doc)
        yield from self._built(doc.step, "test", at, doc)

    def _cleanup(self, doc: ScenarioDoc, at: At) -> Iterator[Step]:
        yield from self._built(doc.cleanup, "cleanup", at, doc)
        yield from self._built(self.doc.cleanup, "cleanup", self._at, self.doc.meta)

    def _built(self, steps: list[StepDoc] | None, phase: Phase, at: At, within: ItemDoc) -> Iterator[Step]:
        key = "step" if phase == "test" else phase
        for index, each in enumerate(steps or ()):
            name, service = f"{key} {index + 1}", self._service_of(each, within)
            checked = service or self._usual(within)
            place, limits = partial(at, key, index), self.doc.limits.built()
            yield self._bound_later(each.built(name, service, checked, phase, limits, self.source, place))

    def _final_checks(self, doc: ScenarioDoc, at: At) -> Iterator[Step]:
        """Yield the checks of a scenario, and those of the file, as steps."""
        own, shared = doc.check or (), self.doc.check or ()
        checks: list[tuple[EndCheckDoc, ItemDoc, At]] = [
            (each, doc, partial(at, "check", index)) for index, each in enumerate(own)
        ]
        checks += [
            (each, self.doc.meta, partial(self._at, "check", index)) for index, each in enumerate(shared)
        ]
        for index, (each, within, place) in enumerate(checks):
            yield self._bound_later(each.built_step(index, self._service_of(each, within), place))

    def _bound_later(self, step: Step) -> Step:
        """Return a step that knows whether it names captured values."""
        waits = self.deferred and not self.deferred.isdisjoint(names_in_step(step))
        return dataclasses.replace(step, templated=True) if waits else step

    def _service_of(self, doc: StepDoc | CheckDoc, within: ItemDoc, default: str = "") -> str:
        """Return the service that a step runs in or asks, or a check looks at.

        It is "" for an image that is no service's, and for a request whose host is not known yet.

        :param within: the scenario in which it stands, or what the file says of all of them.
        :param default: of a check in a step: the step's.
        """
        if isinstance(doc, StepDoc) and doc.http is not None:
            return service_at(doc.host, self.doc.service)
        if isinstance(doc, StepDoc) and doc.image is not None:
            return ""
        if isinstance(doc, CheckDoc) and doc.image is not None:
            return doc.image if doc.image in self.doc.service else ""
        if isinstance(doc, StepDoc) and doc.fault:
            return doc.fault[1]
        named = doc.of_service if isinstance(doc, CheckDoc) else doc.service
        if named is not None:
            return named
        return default or self._usual(within)

    def _usual(self, within: ItemDoc) -> str:
        """Return the service of steps and checks that name none."""
        return within.service or self.doc.meta.service or usual_service(self.doc.service) or IMPLICIT

    @cached_property
    def _steps_of(self) -> dict[int, list[tuple[StepDoc, str]]]:
        """Return what is known of scenarios, by the identities of their documents, which stay as long."""
        return {}

    def _all_steps(self, doc: ScenarioDoc) -> list[tuple[StepDoc, str]]:
        """Return each step with the service that it runs in or asks; it is asked for again and again."""
        found = self._steps_of.get(id(doc))
        if found is None:
            own, shared = (doc.setup, doc.step, doc.cleanup), (self.doc.setup, self.doc.cleanup)
            found = self._steps_of[id(doc)] = [
                (each, self._service_of(each, within))
                for within, lists in ((doc, own), (self.doc.meta, shared))
                for steps in lists
                for each in steps or ()
            ]
        return found

    def _named(self, doc: ScenarioDoc) -> set[str]:
        """Return the services in which a scenario's steps run, or that its checks look at."""
        names = {service for _, service in self._all_steps(doc)}
        looked_at = {service for service, _ in self._looked_at(doc)}
        return (names | self._asked(doc) | looked_at | self._placed(doc)) - {""}

    def _placed(self, doc: ScenarioDoc) -> set[str]:
        """Return the services of which templates name address, ports or url."""
        if SERVICE not in self.deferred:
            return set()
        told = [*(step for step, _ in self._all_steps(doc)), *(doc.check or ()), *(self.doc.check or ())]
        places = [place for each in told for place in places_in(msgspec.to_builtins(each))]
        places += [place for each in self.doc.service.values() for place in places_in(dict(each.env))]
        # One that is not constant may be any.
        return {str(place[0]) for place in places if place} | set(() if all(places) else self.doc.service)

    def _asked(self, doc: ScenarioDoc) -> set[str]:
        """Return the services that are sent requests: it may be any where a host is not known yet."""
        hosts = {service for each, service in self._all_steps(doc) if each.http is not None}
        return set(self.doc.service) if "" in hosts else hosts

    def _running(self, doc: ScenarioDoc) -> set[str]:
        """Return the services that have to run by themselves, as steps or checks are about what they do."""
        about = {service for step, service in self._all_steps(doc) if step.fault or step.wait}
        looks = {"log", "process", "port"}
        looked_at = {service for service, kind in self._looked_at(doc) if kind in looks}
        return about | looked_at | self._asked(doc) | self._placed(doc)

    def _looked_at(self, doc: ScenarioDoc) -> Iterator[tuple[str, str]]:
        """Yield each service that a check of a scenario looks at, "" for none, and what it is about."""
        for step, service in self._all_steps(doc):
            for check in step.check:
                yield self._service_of(check, doc, service), check.about
        for within, checks in ((doc, doc.check), (self.doc.meta, self.doc.check)):
            for final in checks or ():
                yield self._service_of(final, within), final.about

    def _reached(self, doc: ScenarioDoc) -> set[str]:
        """Return the services that a scenario's steps and checks name, and those that these depend on."""
        names = [*self._named(doc)]
        reached: set[str] = set()
        while names:
            name = names.pop()
            if name not in reached:
                reached.add(name)
                names += self.doc.service[name].depends_on if name in self.doc.service else ()
        return reached

    @cached_property
    def _reached_by_none(self) -> set[str]:
        """Return the services that no scenario names: they are there for all.

        Found once: looking at all scenarios for each of them takes seconds in a file of hundreds.
        """
        reached = (name for each in self.doc.scenario or () for name in self._reached(each))
        return set(self.doc.service).difference(reached)

    def _services(self, names: set[str], with_steps: Container[str]) -> tuple[Service, ...]:
        limits = self.doc.limits.built()
        services = [
            self._service(name, doc, limits, only_steps=name in with_steps and self._has_only_steps(name))
            for name, doc in self.doc.service.items()
            if name in names
        ]
        if IMPLICIT in names and IMPLICIT not in self.doc.service:
            services.append(Service(name=IMPLICIT, image=self.default_image, limits=limits, implicit=True))
        return tuple(services)

    def _service(self, name: str, doc: FileServiceDoc, limits: Limits, *, only_steps: bool) -> Service:
        service = doc.built(name, limits, self.source, partial(self._at, "service", name))
        reset = tuple(map(self._bound_later, service.reset))
        return dataclasses.replace(service, reset=reset, only_steps=only_steps)

    def _has_only_steps(self, name: str) -> bool:
        """Tell whether nothing in the file says that a service is one that others reach or wait for."""
        doc = self.doc.service[name]
        if doc.scope != "scenario":
            # It is the same service in a file in which steps run in it.
            return False
        says = doc.ready is not None or doc.may_end is not None or bool(doc.ports)
        return not (says or any(name in each.depends_on for each in self.doc.service.values()))

    def _expectations(self, doc: ExpectDoc | None, at: At) -> Expectations:
        """Return what the file expects, and the scenario on top of it."""
        shared = (self.doc.expect or ExpectDoc()).built(partial(self._at, "expect"))
        if doc is None:
            return shared
        own = doc.built(at)
        single = ("graph", "counts", "order", "status", "hermeticity")
        changes = {name: getattr(own, name) or getattr(shared, name) for name in single}
        return dataclasses.replace(
            shared,
            spans=shared.spans + own.spans,
            edges=shared.edges + own.edges,
            windows=shared.windows + own.windows,
            **changes,
            **seconds(wait=doc.wait, settle=doc.settle),
        )
