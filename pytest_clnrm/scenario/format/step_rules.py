"""What types cannot say of the steps of a scenario file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.format.check_document import CheckDoc
from pytest_clnrm.scenario.format.check_rules import check_check, check_since
from pytest_clnrm.scenario.format.container_rules import names_host
from pytest_clnrm.scenario.format.end_check_document import EndCheckDoc
from pytest_clnrm.scenario.format.http_document import table_of
from pytest_clnrm.scenario.format.http_rules import check_answer, check_request, service_at
from pytest_clnrm.scenario.format.parts import Source
from pytest_clnrm.scenario.format.place_rules import check_place
from pytest_clnrm.scenario.format.problems import (
    Problem,
    duration,
    exactly_one,
    regex,
    texts,
    unknown_service,
)
from pytest_clnrm.scenario.format.service_document import ServiceDoc
from pytest_clnrm.scenario.format.service_rules import check_reference
from pytest_clnrm.scenario.format.step_document import CaptureDoc, ExitDoc, StepDoc, StepExpectDoc
from pytest_clnrm.scenario.format.text_rules import check_text
from pytest_clnrm.scenario.names import has_control
from pytest_clnrm.scenario.templates.places import SERVICE, places_in
from pytest_clnrm.toml.checking import listed, some
from pytest_clnrm.toml.positions import leaves

if TYPE_CHECKING:
    from pytest_clnrm.scenario.format.document import FileDoc, ScenarioDoc

_KEYS = {"stream": "from", "arguments": "with"}
"""Fields whose keys are words of Python."""
_NOT_GIVEN: tuple[object, ...] = (None, {}, "")


@dataclass
class StepRules:
    """Checks lists of steps.

    :param services: of the file.
    :param deferred: names that steps capture.
    :param source: returns the absolute path of a path in the file, or raises ValueError.
    :param origin: returns where a key path is written: a step of a block may be used several times.
    """

    services: Mapping[str, ServiceDoc]
    deferred: frozenset[str]
    source: Source
    origin: Callable[[KeyPath], KeyPath]

    def check(
        self,
        doc: FileDoc | ScenarioDoc,
        path: KeyPath,
        usual: str | None = None,
        before: Sequence[StepDoc] = (),
    ) -> Iterator[Problem]:
        """Yield the mistakes of the steps of a file or of one of its scenarios.

        :param usual: the service of steps that name none, where the file says which.
        :param before: the steps of its file that run before those of a scenario.
        """
        captured = {
            name: self.origin(("setup", index)) for index, step in enumerate(before) for name in step.capture
        }
        names = _names("setup", before)
        for key, steps in (("setup", doc.setup), ("step", doc.step), ("cleanup", doc.cleanup)):
            yield from self.check_list(key, steps or (), (*path, key), usual, names, captured)

    def check_list(  # noqa: PLR0917 the list, where it stands, and what was before it
        self,
        key: str,
        steps: Sequence[StepDoc],
        path: KeyPath,
        usual: str | None,
        names: list[str],
        captured: dict[str, KeyPath],
    ) -> Iterator[Problem]:
        """Yield the mistakes of one list of steps.

        :param key: with which the names begin of those that have none.
        :param path: of the list.
        :param names: of the steps before them; theirs are added.
        :param captured: what those capture, and where they are written; theirs are added.
        """
        for index, (step, name) in enumerate(zip(steps, _names(key, steps), strict=True)):
            names.append(name)
            yield from self._step(step, (*path, index), names)
            yield from self._where_it_runs(step, (*path, index), usual)
            own = self.origin((*path, index))
            for each in step.capture:
                if captured.setdefault(each, own) != own:
                    yield Problem((*path, index, "capture", each), f'"{each}" is captured by an earlier step')

    def _step(self, doc: StepDoc, path: KeyPath, names: Sequence[str]) -> Iterator[Problem]:
        """Yield the mistakes of a step.

        :param names: of the steps until then, its own too.
        """
        yield from _name(doc.name, (*path, "name"))
        yield from exactly_one(doc, path, but="run" if doc.image is not None else "")
        yield from self._image(doc, path)
        if doc.fault and doc.fault[1] not in self.services:
            yield Problem((*path, doc.fault[0]), *unknown_service(doc.fault[1], self.services))
        if doc.service is not None and doc.service not in self.services:
            yield Problem((*path, "service"), *unknown_service(doc.service, self.services))
        yield from _of_action(doc, doc.action, path)
        if doc.http is not None:
            yield from check_request(
                doc.http,
                (*path, "http"),
                services=self.services,
                deferred=self.deferred,
                source=self.source,
            )
        yield from texts(doc, ("run", "entrypoint", "env", "workdir", "user"), path)
        yield from duration(doc.timeout, (*path, "timeout"), zero=False)
        yield from _again(doc, path)
        if doc.expect:
            yield from _of_action(doc.expect, doc.action, (*path, "expect"))
            if isinstance(doc.expect.exit, ExitDoc):
                yield from exactly_one(doc.expect.exit, (*path, "expect", "exit"))
            for stream in ("stdout", "stderr"):
                yield from check_text(getattr(doc.expect, stream), (*path, "expect", stream), self.deferred)
            request = None if doc.http is None else table_of(doc.http)
            yield from check_answer(doc.expect, (*path, "expect"), self.deferred, request)
        for index, check in enumerate(doc.check):
            at = (*path, "check", index)
            yield from check_check(check, at, self.services, self.deferred)
            yield from check_since(check.since, (*at, "since"), names)
        yield from self._running(doc, path)
        for name, capture in doc.capture.items():
            below = (*path, "capture", name)
            yield from _of_action(capture, doc.action, below)
            yield from self._capture(capture, doc.action, below)

    def check_final(
        self,
        checks: Iterable[EndCheckDoc],
        path: KeyPath,
        names: Sequence[Sequence[str]],
        usual: str | None,
    ) -> Iterator[Problem]:
        """Yield the mistakes of checks that are made after all steps.

        :param names: of the steps of each scenario that has these checks, see :func:`names_before_checks`.
        :param usual: the service of checks that name none, where the file says which.
        """
        for index, each in enumerate(checks):
            at = (*path, index)
            yield from _name(each.name, (*at, "name"))
            yield from duration(each.timeout, (*at, "timeout"), zero=False)
            yield from _again(each, at)
            yield from check_check(each, at, self.services, self.deferred)
            yield from self._running(each, at)
            for begun in names:
                yield from check_since(each.since, (*at, "since"), begun)
            yield from self._says_where(each, at, usual)

    def _running(self, doc: StepDoc | EndCheckDoc, path: KeyPath) -> Iterator[Problem]:
        """Yield the mistakes in what templates name of running services."""
        if SERVICE not in self.deferred:
            return
        for at, text in leaves(msgspec.to_builtins(doc), path):
            for place in places_in(text):
                yield from check_place(place, at, self.services)

    def _image(self, doc: StepDoc, path: KeyPath) -> Iterator[Problem]:
        """Yield the mistakes of a container of a step's own."""
        if doc.image is None:
            return
        yield from check_reference(doc.image, (*path, "image"))
        if isinstance(doc.run, str):
            message = "with `image` it is the list of arguments of the entry point, which need not be a shell"
            run = json.dumps(doc.run, ensure_ascii=False)
            hint = f'write run = ["--version"], or entrypoint = ["sh", "-c"] and run = [{run}]'
            yield Problem((*path, "run"), message, hint)
        if doc.entrypoint == [] and not doc.run:
            yield Problem((*path, "entrypoint"), "without an entry point there is nothing to run: give `run`")

    def check_usual(self, name: str | None, path: KeyPath) -> Iterator[Problem]:
        """Yield a mistake unless the service of what names none is there."""
        if name is not None and name not in self.services:
            yield Problem((*path, "service"), *unknown_service(name, self.services))

    def _says_where(self, check: CheckDoc, path: KeyPath, usual: str | None) -> Iterator[Problem]:
        """Yield a mistake if it is not known which service a check looks at."""
        named = check.of_service is not None or usual is not None
        if check.about not in {"", "image"} and not named and len(self.services) > 1:
            known = some(self.services)
            yield Problem(path, f'the key "service" is missing: there are several, {known}')

    def _where_it_runs(self, doc: StepDoc, path: KeyPath, usual: str | None) -> Iterator[Problem]:
        """Yield the mistakes of a step that are about its service.

        Of a job the container has ended by then, and not every network leads to this host.
        """
        if doc.action == "image" or (doc.http is not None and not doc.host):
            # Which container checks of it look at, it does not say.
            for index, check in enumerate(doc.check):
                yield from self._says_where(check, (*path, "check", index), usual)
        if doc.action not in {"run", "http"}:
            return
        own = doc.service or usual or usual_service(self.services)
        name = service_at(doc.host, self.services) if doc.http is not None else own
        service = self.services.get(name)
        if service and service.network == "none" and doc.action == "run":
            yield from names_host(doc, path)
        if service and service.is_job:
            key = "http" if doc.http is not None else "service"
            yield Problem(
                path if getattr(doc, key) is None else (*path, key),
                f'"{name}" is a job (ready = {{ exit = ... }}), which has ended by then: name another one',
            )
        elif doc.action == "run" and doc.expect and doc.expect.service_ends:
            yield from _ends_service(doc.expect, service, (*path, "expect"), name)

    def _capture(self, doc: CaptureDoc, action: str, path: KeyPath) -> Iterator[Problem]:
        refined = doc.regex is not None and (doc.header or doc.cookie)
        given = [name for name in doc.ONE_OF if getattr(doc, name) is not None]
        if len(given) != 1 + bool(refined):
            allowed = doc.ONE_OF if action == "http" else doc.ONE_OF[:2]
            found = " and ".join(given) or "none"
            message = f"exactly one of {listed(allowed)} must be given, found {found}"
            yield Problem(path, message, "" if given else doc.REMEDY)
        if path[-1] in {"vars", "matrix", "env"}:
            yield Problem(path, "a captured value cannot be called vars, matrix or env")
        if doc.regex is not None:
            yield from regex(doc.regex, (*path, "regex"))


def usual_service(services: Mapping[str, ServiceDoc]) -> str:
    """Return the service of what names none where the file does not say which; "" if there is none."""
    return next(iter(services)) if len(services) == 1 else ""


def names_before_checks(doc: FileDoc | ScenarioDoc, before: Sequence[StepDoc] = ()) -> list[str]:
    """Return the names of all steps that have begun when the checks after them are made.

    :param before: the steps of its file that run before those of a scenario.
    """
    return [*_names("setup", before), *_names("setup", doc.setup or ()), *_names("step", doc.step or ())]


def _names(key: str, steps: Iterable[StepDoc]) -> list[str]:
    """Return the names of steps, which they have without a name too."""
    return [each.name or f"{key} {index + 1}" for index, each in enumerate(steps)]


def _again(doc: StepDoc | EndCheckDoc, path: KeyPath) -> Iterator[Problem]:
    """Yield the mistakes in how a step is run again."""
    if doc.retry:
        yield from duration(doc.retry.delay, (*path, "retry", "delay"))
    if doc.until is None:
        return
    at = (*path, "until")
    if doc.retry:
        yield Problem(at, "retry and until both say how it is run again; write one of them")
    yield from duration(doc.until.delay, (*at, "delay"))
    yield from duration(doc.until.timeout, (*at, "timeout"), zero=False)
    if doc.until.times is None and doc.until.timeout is None:
        hint = 'write until = { timeout = "30s" }'
        yield Problem(at, "it says not how long: the key timeout or times is missing", hint)


def _name(name: str | None, path: KeyPath) -> Iterator[Problem]:
    """Yield what is wrong with the name of a step."""
    if name is not None and (not name.strip() or has_control(name)):
        yield Problem(path, "the name must not be empty or hold control characters")


def _ends_service(
    expect: StepExpectDoc, service: ServiceDoc | None, path: KeyPath, name: str
) -> Iterator[Problem]:
    """Yield the mistakes of a step that ends its own service."""
    if expect.exit is not None:
        yield Problem((*path, "exit"), "a step that ends its service may not get to tell it", "leave it out")
    at = (*path, "service_ends")
    if service is None:
        yield Problem(at, "it runs in no service of the file", "name its `service`")
    elif service.may_end is None:
        yield Problem(at, f'"{name}" may not end', "say with which code: may_end = 143")


def _of_action(doc: StepDoc | StepExpectDoc | CaptureDoc, action: str, path: KeyPath) -> Iterator[Problem]:
    """Yield a mistake for each key that goes with another action than that of the step."""
    allowed = doc.OF_ACTION.get(action)
    if allowed is None:
        return
    for key in dict.fromkeys(key for keys in doc.OF_ACTION.values() for key in keys):
        if key not in allowed and getattr(doc, key) not in _NOT_GIVEN:
            name = _KEYS.get(key, key)
            owners = [each for each, keys in doc.OF_ACTION.items() if key in keys]
            message = f"`{name}` goes with {listed(owners)} only, and this step has `{action}`"
            going = ", ".join(_KEYS.get(each, each) for each in allowed)
            hint = f"with `{action}` go {going}" if allowed else ""
            yield Problem((*path, name), message, hint)
    if isinstance(doc, StepExpectDoc) and action == "wait" and doc.stderr is not None:
        hint = "write stdout: it is the log, what came on stdout and on stderr"
        yield Problem((*path, "stderr"), "the log of a service is one text", hint)
