"""What types cannot say of a scenario file: names, references, and what goes together."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import starmap
from typing import Any, NamedTuple

import msgspec

from pytest_clnrm.errors import MAX_MISTAKES
from pytest_clnrm.model.scenario import KeyPath
from pytest_clnrm.model.units import parse_duration_s, parse_size_bytes
from pytest_clnrm.scenario.format.document import (
    EXACTLY_ONE,
    CaptureDoc,
    ExitDoc,
    FileDoc,
    HealthCheckDoc,
    LimitsDoc,
    MetaDoc,
    ReadyDoc,
    ScenarioDoc,
    ServiceDoc,
    StepDoc,
    TextDoc,
    several,
)
from pytest_clnrm.scenario.format.expect_rules import check_expectations
from pytest_clnrm.scenario.mounts import NotWritableError
from pytest_clnrm.scenario.names import has_control, item_name_problem
from pytest_clnrm.scenario.templates.render import names_deferred
from pytest_clnrm.toml.checking import listed, some, suggestion
from pytest_clnrm.toml.positions import leaves
from pytest_clnrm.util.patterns import problem_of

IMPLICIT = "default"
"""The name of the container that steps without a service share."""

_GOES_WITH = {
    "times": ("log",),
    "status": ("http", "https"),
    "headers": ("http", "https"),
    "verify": ("https",),
}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_MAX_PORT = 65535
_CIRCLE_SHOWN = 12
_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-fA-F]{3,64}|sha256:.*")
_LONGEST_NAME = 11  # hexadecimal names that are longer were ids
_ENGINES_OWN = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/proc", "/sys", "/dev")
_MIN_MEMORY_BYTES = 6 * 1024**2  # what engines accept at least


class Problem(NamedTuple):
    """A mistake at a key path of the canonical form."""

    path: KeyPath
    message: str
    hint: str = ""


def check_file(
    doc: FileDoc, *, name: str, deferred: frozenset[str], source: Callable[..., str]
) -> Iterator[Problem]:
    """Yield all mistakes of a file whose types are right.

    :param name: of its one scenario, if it has no ``[[scenario]]``.
    :param deferred: names that steps capture.
    :param source: returns the absolute path of a path in the file, or raises ValueError.
    """
    yield from _exactly_one(doc, ())
    yield from _meta(doc.meta)
    yield from _limits(doc.limits, ("limits",))
    circles = _circles(doc.service)
    for service, each in doc.service.items():
        yield from _service(each, ("service", service), source)
        yield from _depends_on(service, doc.service, circles.get(service, ()))
    steps = _Steps(doc.service, deferred)
    yield from steps.check(doc.step or (), ("step",))
    if doc.scenario:
        yield from _scenarios(doc.scenario, steps, doc)
    elif doc.meta.name is None:
        yield from _item_name(name, (), "the file's name gives the scenario's: ")
    if doc.expect:
        yield from starmap(Problem, check_expectations(doc.expect, ("expect",)))


_REMEDIES: dict[type[msgspec.Struct], str] = {
    FileDoc: 'write [[step]] with run = "..."',
    ServiceDoc: 'write image = "name:tag", or build = "./folder"',
    CaptureDoc: "write regex = '...' or json = \"/pointer\"",
}


def _exactly_one(doc: msgspec.Struct, path: KeyPath) -> Iterator[Problem]:
    names = EXACTLY_ONE[type(doc)]
    given = [name for name in names if getattr(doc, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        hint = "" if given else _REMEDIES.get(type(doc), "")
        yield Problem(path, f"exactly one of {listed(names)} must be given, found {found}", hint)


def _item_name(name: str, path: KeyPath, lead: str = "the name ") -> Iterator[Problem]:
    """Yield what is wrong with a name that is to be selected on the command line."""
    problem = item_name_problem(name)
    if problem:
        yield Problem(path, f"{lead}{problem}")


def _meta(doc: MetaDoc) -> Iterator[Problem]:
    if doc.name is not None:
        yield from _item_name(doc.name, ("meta", "name"))
    yield from _duration(doc.timeout, ("meta", "timeout"), zero=False)
    yield from _tags(doc.tags, ("meta", "tags"))


def _tags(tags: list[str], path: KeyPath) -> Iterator[Problem]:
    for index, tag in enumerate(tags):
        if has_control(tag) or not tag.strip():
            yield Problem((*path, index), "a tag must not be empty or hold control characters")


def _duration(value: Any, path: KeyPath, *, zero: bool = True) -> Iterator[Problem]:
    if value is None:
        return
    try:
        seconds = parse_duration_s(value)
    except ValueError as error:
        yield Problem(path, str(error))
        return
    if not zero and seconds == 0:
        yield Problem(path, "must be longer than 0")


def _limits(doc: LimitsDoc, path: KeyPath) -> Iterator[Problem]:
    if doc.memory is None:
        return
    try:
        too_small = parse_size_bytes(doc.memory) < _MIN_MEMORY_BYTES
    except ValueError as error:
        yield Problem((*path, "memory"), str(error))
        return
    if too_small:
        yield Problem((*path, "memory"), f"{doc.memory} is less than a container can have: at least 6m")


def _regex(pattern: str, path: KeyPath, deferred: frozenset[str] = frozenset()) -> Iterator[Problem]:
    if names_deferred(pattern, deferred):
        return
    problem = problem_of(pattern)
    if problem:
        yield Problem(path, f"not a regular expression: {problem}")


def _texts(doc: msgspec.Struct, keys: Iterable[str], path: KeyPath) -> Iterator[Problem]:
    """Yield a mistake for each text below *keys* with a NUL character, which no program can be given."""
    for at, text in leaves({key: getattr(doc, key) for key in keys}, path):
        if isinstance(text, str) and "\0" in text:
            yield Problem(at, "a NUL character cannot be passed to a program")


def _service(doc: ServiceDoc, path: KeyPath, source: Callable[..., str]) -> Iterator[Problem]:
    yield from _exactly_one(doc, path)
    yield from _texts(doc, ("image", "command", "env", "workdir", "user", "scratch"), path)
    if doc.image is not None and _may_be_id(doc.image):
        message = f"{doc.image} may be the id of any image of this host, or the start of one"
        yield Problem((*path, "image"), message, f'write its name with a tag, such as "{_tagged(doc.image)}"')
    yield from _build(doc, path, source)
    targets = set(doc.scratch)
    for index, volume in enumerate(doc.volumes):
        below = (*path, "volumes", index)
        try:
            source(volume.source, read_only=volume.read_only)
        except NotWritableError as error:
            yield Problem((*below, "read_only"), str(error))
        except ValueError as error:
            yield Problem((*below, "source"), str(error))
        target = volume.target.rstrip("/")
        if not target or "\0" in target:
            yield Problem((*below, "target"), "expected a path below / in the container")
        elif (own := _engines_own(target)) is not None:
            message = f"{volume.target} is in the way of {own}, which the engine mounts"
            yield Problem((*below, "target"), message, "mount it elsewhere, such as below /mnt")
        elif target in targets:
            yield Problem((*below, "target"), f"{volume.target} is there twice")
        targets.add(target)
    yield from _unique(doc.ports, (*path, "ports"))
    if doc.ports and doc.network == "none":
        yield Problem((*path, "ports"), 'cannot be published with network = "none"')
    if doc.limits:
        yield from _limits(doc.limits, (*path, "limits"))
    yield from check_ready(doc.ready, (*path, "ready"))
    if doc.is_job and doc.may_end is not None:
        yield Problem((*path, "may_end"), "it is a job: `exit` in its `ready` says with which codes it ends")


def _may_be_id(image: str) -> bool:
    return _IMAGE_ID.fullmatch(image) is not None


def _tagged(image: str) -> str:
    return "name:tag" if ":" in image or len(image) > _LONGEST_NAME else f"{image}:latest"


def _engines_own(target: str) -> str | None:
    """Return what the engine mounts itself at, above or below a path in the container, None if nothing."""
    real = posixpath.normpath(f"/{target.lstrip('/')}")
    for own in _ENGINES_OWN:
        if real == own or own.startswith(f"{real.rstrip('/')}/") or real.startswith(f"{own}/"):
            return own
    return None


def _unique(values: list[Any], path: KeyPath) -> Iterator[Problem]:
    seen: set[Any] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield Problem((*path, index), f"{value} is there twice")
        seen.add(value)


def _build(doc: ServiceDoc, path: KeyPath, source: Callable[[str], str]) -> Iterator[Problem]:
    build = doc.build_table
    if build is None:
        return
    try:
        real = source(build.context)
    except ValueError as error:
        yield Problem(
            (*path, "build") if isinstance(doc.build, str) else (*path, "build", "context"), str(error)
        )
        return
    if build.dockerfile is None:
        return
    try:
        found = source(f"{real}/{build.dockerfile}")
    except ValueError as error:
        yield Problem((*path, "build", "dockerfile"), str(error))
        return
    if not found.startswith(f"{real}/"):
        yield Problem((*path, "build", "dockerfile"), "must lie below the context")


def check_ready(doc: ReadyDoc | list[ReadyDoc] | None, path: KeyPath) -> Iterator[Problem]:
    """Yield the mistakes of what a service is waited for."""
    conditions = several(doc)
    job = any(each.exit is not None for each in conditions)
    for index, each in enumerate(conditions):
        at = (*path, index) if isinstance(doc, list) else path
        yield from _ready(each, at)
        if job and each.exit is None and each.log is None and each.span is None:
            yield Problem(at, "a job has ended by then: beside `exit` only `log` and `span` can hold")
    if sum(each.exit is not None for each in conditions) > 1:
        yield Problem(path, "`exit` is there twice: give all codes in one list")


def _ready(doc: ReadyDoc, path: KeyPath) -> Iterator[Problem]:
    yield from _exactly_one(doc, path)
    yield from _texts(doc, ("command",), path)
    yield from _duration(doc.timeout, (*path, "timeout"), zero=False)
    yield from _duration(doc.interval, (*path, "interval"), zero=False)
    if doc.log is not None:
        yield from _regex(doc.log, (*path, "log"))
    if doc.healthcheck is False:
        yield Problem((*path, "healthcheck"), "only true has a meaning here")
    elif isinstance(doc.healthcheck, HealthCheckDoc):
        yield from _healthcheck(doc.healthcheck, (*path, "healthcheck"))
    for key, kinds in _GOES_WITH.items():
        if getattr(doc, key) not in (None, {}) and all(getattr(doc, kind) is None for kind in kinds):
            yield Problem((*path, key), f"goes with {listed([f'`{kind}`' for kind in kinds])} only")
    for key in ("http", "https"):
        yield from _http_target(getattr(doc, key), (*path, key))
    for name, value in doc.headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            yield Problem((*path, "headers", name), "is no header that can be sent: one line of Latin text")


def _http_target(target: str | None, path: KeyPath) -> Iterator[Problem]:
    if target is None:
        return
    if not re.fullmatch("[!-~]*", target):
        yield Problem(path, "only ASCII without blanks is sent: write other characters as %20 and the like")
    port = target[1:].partition("/")[0] if target.startswith(":") else "80"
    if not 1 <= int(port) <= _MAX_PORT:
        yield Problem(path, f"there is no port {port}: from 1 to {_MAX_PORT}")


def _healthcheck(doc: HealthCheckDoc, path: KeyPath) -> Iterator[Problem]:
    yield from _texts(doc, ("command",), path)
    yield from _duration(doc.interval, (*path, "interval"), zero=False)
    yield from _duration(doc.timeout, (*path, "timeout"), zero=False)
    yield from _duration(doc.start_period, (*path, "start_period"))


def _depends_on(name: str, services: Mapping[str, ServiceDoc], circle: tuple[str, ...]) -> Iterator[Problem]:
    path = ("service", name, "depends_on")
    needed = services[name].depends_on
    yield from _unique(needed, path)
    for index, other in enumerate(needed):
        if other not in services:
            yield Problem((*path, index), *_unknown_service(other, services))
        elif circle and circle[0] == other:
            way = [name, *circle]
            if len(way) > _CIRCLE_SHOWN:
                way[_CIRCLE_SHOWN // 2 : 1 - _CIRCLE_SHOWN // 2] = ["..."]
            yield Problem((*path, index), f"services depend on one another: {' -> '.join(way)}")


def _circles(services: Mapping[str, ServiceDoc]) -> dict[str, tuple[str, ...]]:
    """Return for each service in a circle the rest of it, which ends with the service itself.

    A service that is in several is told with one of them. What depends on a circle is in none.
    """
    found: dict[str, tuple[str, ...]] = {}
    left = dict.fromkeys(services)
    while len(found) < MAX_MISTAKES:
        _strip(left, services)
        if not left:
            break
        # Each one that is left depends on another one that is left, so following them leads into a circle.
        way = [next(iter(left))]
        at = {way[0]: 0}
        while (after := next(each for each in services[way[-1]].depends_on if each in left)) not in at:
            at[after] = len(way)
            way.append(after)
        circle = way[at[after] :]
        for index, name in enumerate(circle):
            found[name] = (*circle[index + 1 :], *circle[: index + 1])
            del left[name]
    return found


def _strip(left: dict[str, None], services: Mapping[str, ServiceDoc]) -> None:
    """Remove from *left* what depends on nothing in it, until only circles are left, and what needs them."""
    users: dict[str, list[str]] = {name: [] for name in left}
    needs = dict.fromkeys(left, 0)
    for name in left:
        for other in services[name].depends_on:
            if other in left:
                users[other].append(name)
                needs[name] += 1
    free = [name for name, count in needs.items() if not count]
    for name in free:
        del left[name]
        for user in users[name]:
            needs[user] -= 1
            if not needs[user]:
                free.append(user)


def _unknown_service(name: str, services: Mapping[str, ServiceDoc]) -> tuple[str, str]:
    known = some(services) or "none is defined"
    return f'there is no service "{name}"; known: {known}', suggestion(name, list(services))


@dataclass
class _Steps:
    """Checks lists of steps.

    :param services: of the file.
    :param deferred: names that steps capture.
    """

    services: Mapping[str, ServiceDoc]
    deferred: frozenset[str]

    def check(self, steps: Iterable[StepDoc], path: KeyPath) -> Iterator[Problem]:
        """Yield the mistakes of *steps*."""
        captured: set[str] = set()
        for index, step in enumerate(steps):
            yield from self._step(step, (*path, index))
            for name in step.capture:
                if name in captured:
                    yield Problem((*path, index, "capture", name), f'"{name}" is captured by an earlier step')
                captured.add(name)

    def _step(self, doc: StepDoc, path: KeyPath) -> Iterator[Problem]:
        if doc.name is not None and (not doc.name.strip() or has_control(doc.name)):
            yield Problem((*path, "name"), "the name must not be empty or hold control characters")
        if doc.service is not None and doc.service not in self.services:
            yield Problem((*path, "service"), *_unknown_service(doc.service, self.services))
        yield from self._in_a_job(doc, path)
        yield from _texts(doc, ("run", "env", "workdir", "user"), path)
        yield from _duration(doc.timeout, (*path, "timeout"), zero=False)
        if doc.retry:
            yield from _duration(doc.retry.delay, (*path, "retry", "delay"))
        if doc.expect:
            if isinstance(doc.expect.exit, ExitDoc):
                yield from _exactly_one(doc.expect.exit, (*path, "expect", "exit"))
            for stream in ("stdout", "stderr"):
                yield from self._text(getattr(doc.expect, stream), (*path, "expect", stream))
        for name, capture in doc.capture.items():
            yield from self._capture(capture, (*path, "capture", name))

    def _in_a_job(self, doc: StepDoc, path: KeyPath) -> Iterator[Problem]:
        """Yield a mistake if a step names a job: its container has ended by then."""
        only = next(iter(self.services)) if len(self.services) == 1 else None
        name = doc.service or only
        service = self.services.get(name or "")
        if service and service.is_job:
            yield Problem(
                (*path, "service") if doc.service else path,
                f'"{name}" is a job (ready = {{ exit = ... }}), which has ended by then: name another one',
            )

    def _text(self, doc: TextDoc | None, path: KeyPath) -> Iterator[Problem]:
        if doc is None:
            return
        given = {name: getattr(doc, name) for name in doc.__struct_fields__}
        if all(value is None or value is msgspec.UNSET for value in given.values()):
            yield Problem(path, f"this checks nothing; set at least one of {', '.join(given)}")
        for key in ("contains", "not_contains", "regex", "not_regex"):
            for below, text in _several(given[key], (*path, key)):
                if not text:
                    yield Problem(below, "is empty, so it says nothing")
                elif key.endswith("regex"):
                    yield from _regex(text, below, self.deferred)

    def _capture(self, doc: CaptureDoc, path: KeyPath) -> Iterator[Problem]:
        yield from _exactly_one(doc, path)
        if path[-1] in {"vars", "matrix", "env"}:
            yield Problem(path, "a captured value cannot be called vars, matrix or env")
        if doc.regex is not None:
            yield from _regex(doc.regex, (*path, "regex"))


def _several(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Yield each text of a text or a list of texts."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        yield from (((*path, index), each) for index, each in enumerate(value))


def _scenarios(scenarios: list[ScenarioDoc], steps: _Steps, doc: FileDoc) -> Iterator[Problem]:
    names: set[str] = set()
    for index, each in enumerate(scenarios):
        path: KeyPath = ("scenario", index)
        yield from _item_name(each.name, (*path, "name"))
        if each.name in names:
            yield Problem((*path, "name"), f'another scenario of this file is called "{each.name}"')
        names.add(each.name)
        yield from _duration(each.timeout, (*path, "timeout"), zero=False)
        yield from _tags(each.tags, (*path, "tags"))
        yield from steps.check(each.step, (*path, "step"))
        if each.expect:
            below = (*path, "expect")
            yield from starmap(Problem, check_expectations(each.expect, below))
            for table in ("graph", "counts", "order", "status", "hermeticity"):
                if doc.expect and getattr(each.expect, table) and getattr(doc.expect, table):
                    yield Problem((*below, table), f"the file's own [expect.{table}] holds for each scenario")
