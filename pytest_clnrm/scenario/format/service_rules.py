"""What types cannot say of the services of a scenario file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from pytest_clnrm.errors import MAX_MISTAKES
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.units import parse_size_bytes
from pytest_clnrm.scenario.env_files import read_env
from pytest_clnrm.scenario.format.artifact_rules import check_artifacts
from pytest_clnrm.scenario.format.container_rules import check_container
from pytest_clnrm.scenario.format.limits_document import LimitsDoc
from pytest_clnrm.scenario.format.parts import port_of, several
from pytest_clnrm.scenario.format.prepare_rules import check_prepare
from pytest_clnrm.scenario.format.problems import (
    Problem,
    duration,
    exactly_one,
    header,
    regex,
    texts,
    unique,
    unknown_service,
)
from pytest_clnrm.scenario.format.ready_document import HealthCheckDoc, ReadyDoc
from pytest_clnrm.scenario.format.service_document import ServiceDoc
from pytest_clnrm.scenario.format.urls import NAMED, PLACE
from pytest_clnrm.toml.checking import listed, nearest, some

_GOES_WITH = {
    "times": ("log",),
    "status": ("http", "https"),
    "headers": ("http", "https"),
    "verify": ("https",),
}
_MAX_PORT = 65535
_CIRCLE_SHOWN = 12
_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-fA-F]{3,64}|sha256:.*")
_LONGEST_NAME = 11  # hexadecimal names that are longer were ids
_MIN_MEMORY_BYTES = 6 * 1024**2  # what engines accept at least


def check_limits(doc: LimitsDoc, path: KeyPath) -> Iterator[Problem]:
    """Yield the mistakes of limits."""
    if doc.memory is None:
        return
    try:
        too_small = parse_size_bytes(doc.memory) < _MIN_MEMORY_BYTES
    except ValueError as error:
        yield Problem((*path, "memory"), str(error))
        return
    if too_small:
        yield Problem((*path, "memory"), f"{doc.memory} is less than a container can have: at least 6m")


def check_service(doc: ServiceDoc, path: KeyPath, source: Callable[..., str]) -> Iterator[Problem]:
    """Yield the mistakes of a service but those of `depends_on`."""
    yield from exactly_one(doc, path)
    yield from texts(
        doc, ("image", "entrypoint", "command", "env", "workdir", "user", "scratch", "prepare"), path
    )
    if doc.image is not None:
        yield from check_reference(doc.image, (*path, "image"))
    yield from _build(doc, path, source)
    yield from check_container(doc, path, source)
    yield from check_artifacts(doc, path)
    yield from _ports(doc, (*path, "ports"))
    if doc.ports and doc.network == "none":
        yield Problem((*path, "ports"), 'cannot be published with network = "none"')
    if doc.limits:
        yield from check_limits(doc.limits, (*path, "limits"))
    yield from check_ready(doc.ready, (*path, "ready"))
    yield from _url(doc, (*path, "url"), source)
    yield from check_prepare(doc, path)
    if doc.is_job and doc.entrypoint == [] and doc.command is None:
        yield Problem((*path, "entrypoint"), "leaves nothing that could end: a job needs a `command` then")
    if doc.is_job and doc.may_end is not None:
        yield Problem((*path, "may_end"), "it is a job: `exit` in its `ready` says with which codes it ends")


def check_reference(image: str, path: KeyPath) -> Iterator[Problem]:
    """Yield a mistake if the name of an image could reach one that has none."""
    if _IMAGE_ID.fullmatch(image) is not None:
        message = f"{image} may be the id of any image of this host, or the start of one"
        yield Problem(path, message, f'write its name with a tag, such as "{_tagged(image)}"')


def _tagged(image: str) -> str:
    return "name:tag" if ":" in image or len(image) > _LONGEST_NAME else f"{image}:latest"


def _ports(doc: ServiceDoc, path: KeyPath) -> Iterator[Problem]:
    ports = [port_of(each) for each in doc.ports]
    for index, (number, _) in enumerate(ports):
        if number > _MAX_PORT:
            yield Problem((*path, index), f"there is no port {number}: from 1 to {_MAX_PORT}")
    yield from unique(["/".join(map(str, each)).removesuffix("/tcp") for each in ports], path)


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


def _url(doc: ServiceDoc, path: KeyPath, source: Callable[..., str]) -> Iterator[Problem]:
    if doc.url is None:
        return
    if re.search("[{}]", NAMED.sub("", doc.url)):
        yield Problem(path, "a brace stands alone: {NAME} is a variable of `env`")
    names = set(NAMED.findall(doc.url))
    if "port" in names and not any(port_of(each)[1] == "tcp" for each in doc.ports):
        yield Problem(path, "{port} is the first of `ports`, and there is none of TCP")
    variables = {*doc.env}
    # Where one of them cannot be read, that is told already.
    with suppress(ValueError):
        for each in several(doc.env_file):
            variables |= {*read_env(source(each, read_only=True, text=True))}
    known = [*PLACE, *sorted(variables)]
    for name in sorted(names.difference(known)):
        near = nearest(name, known)
        yield Problem(
            path,
            f'there is no variable "{name}"; known: {some(known)}',
            f'did you mean "{near}"?' if near else "",
        )


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
    yield from exactly_one(doc, path)
    yield from texts(doc, ("command", "file"), path)
    yield from duration(doc.timeout, (*path, "timeout"), zero=False)
    yield from duration(doc.interval, (*path, "interval"), zero=False)
    if doc.log is not None:
        yield from regex(doc.log, (*path, "log"))
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
        yield from header(name, value, (*path, "headers", name))


def _http_target(target: str | None, path: KeyPath) -> Iterator[Problem]:
    if target is None:
        return
    if not re.fullmatch("[!-~]*", target):
        yield Problem(path, "only ASCII without blanks is sent: write other characters as %20 and the like")
    port = target[1:].partition("/")[0] if target.startswith(":") else "80"
    if not 1 <= int(port) <= _MAX_PORT:
        yield Problem(path, f"there is no port {port}: from 1 to {_MAX_PORT}")


def _healthcheck(doc: HealthCheckDoc, path: KeyPath) -> Iterator[Problem]:
    yield from texts(doc, ("command",), path)
    yield from duration(doc.interval, (*path, "interval"), zero=False)
    yield from duration(doc.timeout, (*path, "timeout"), zero=False)
    yield from duration(doc.start_period, (*path, "start_period"))


def check_depends_on(
    name: str, services: Mapping[str, ServiceDoc], circle: tuple[str, ...]
) -> Iterator[Problem]:
    """Yield the mistakes of what a service depends on.

    :param circle: in which it is, see :func:`circles_of`.
    """
    path = ("service", name, "depends_on")
    needed = services[name].depends_on
    yield from unique(needed, path)
    for index, other in enumerate(needed):
        if other not in services:
            yield Problem((*path, index), *unknown_service(other, services))
        elif circle and circle[0] == other:
            way = [name, *circle]
            if len(way) > _CIRCLE_SHOWN:
                way[_CIRCLE_SHOWN // 2 : 1 - _CIRCLE_SHOWN // 2] = ["..."]
            yield Problem((*path, index), f"services depend on one another: {' -> '.join(way)}")


def circles_of(services: Mapping[str, ServiceDoc]) -> dict[str, tuple[str, ...]]:
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
