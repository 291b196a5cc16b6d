"""What types cannot say of ``[[check]]``: which keys go together, and services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.units import parse_size_bytes
from pytest_clnrm.scenario.format.check_document import (
    BYTES,
    BytesDoc,
    CheckDoc,
    CountDoc,
    address_of,
)
from pytest_clnrm.scenario.format.comparisons import COMPARISONS
from pytest_clnrm.scenario.format.json_rules import check_amount
from pytest_clnrm.scenario.format.parts import several
from pytest_clnrm.scenario.format.problems import Problem, regex, texts, unknown_service
from pytest_clnrm.scenario.format.service_document import ServiceDoc
from pytest_clnrm.scenario.format.service_rules import check_reference
from pytest_clnrm.scenario.format.text_document import TextDoc
from pytest_clnrm.scenario.format.text_rules import check_text
from pytest_clnrm.toml.checking import listed, some, suggestion

_OF_ALL = ("name", "timeout", "retry", "until")
"""Keys of each check that is made as a step of its own."""


def check_check(
    doc: CheckDoc, path: KeyPath, services: Mapping[str, ServiceDoc], deferred: frozenset[str]
) -> Iterator[Problem]:
    """Yield the mistakes of a check.

    :param services: of the file.
    :param deferred: names that steps capture.
    """
    kind = doc.about
    if not kind:
        yield Problem(path, f"exactly one of {listed(tuple(doc.KINDS))} must be given, found none", _REMEDY)
        return
    yield from _keys(doc, path)
    yield from texts(doc, ("file", "image", "process", "user", "package"), path)
    if doc.service is not None and doc.service not in services:
        yield Problem((*path, "service"), *unknown_service(doc.service, services))
    yield from check_text(doc.content, (*path, "content"), deferred)
    yield from _bytes(doc, (*path, "size"))
    if doc.user == "" and kind != "image":
        yield Problem((*path, "user"), "is empty, so it names nobody")
    if kind == "log":
        yield from _log(doc, path, services, deferred)
    elif kind == "image":
        yield from _image(doc, path, services, deferred)
    elif kind == "package":
        yield from _package(doc, path, deferred)
    else:
        rules = {"file": _file, "port": _port, "process": _process, "user": _user, "group": _group}
        yield from rules[kind](doc, path)


def _keys(doc: CheckDoc, path: KeyPath) -> Iterator[Problem]:
    """Yield a mistake for each key that does not go with what is checked."""
    kind = doc.about
    pairs = zip(doc.__struct_fields__, doc.__struct_encode_fields__, strict=True)
    given = [key for field, key in pairs if _is_given(doc, field)]
    allowed = doc.KINDS[kind]
    for key in given:
        if key in doc.KINDS and key not in {kind, *allowed}:
            yield Problem(
                path, f"exactly one of {listed(tuple(doc.KINDS))} must be given, found {kind} and {key}"
            )
        elif key not in {kind, *allowed, *_OF_ALL}:
            yield Problem((*path, key), f"a check of {kind} has no such key; it has: {', '.join(allowed)}")


_REMEDY = 'write file = "/path"'
_MAX_PORT = 65535
_NONE = "this checks nothing: it names none"


def _is_given(doc: CheckDoc, key: str) -> bool:
    return getattr(doc, key) is not None


def _nothing_else(doc: CheckDoc, path: KeyPath) -> Iterator[Problem]:
    """Yield a mistake for each key of what may not be there."""
    for key in doc.KINDS[doc.about]:
        if doc.exists is False and key not in {"service", "exists"} and _is_given(doc, key):
            yield Problem((*path, key), "what must not exist (exists = false) cannot be anything")


def _image(
    doc: CheckDoc, path: KeyPath, services: Mapping[str, ServiceDoc], deferred: frozenset[str]
) -> Iterator[Problem]:
    if doc.image is not None and doc.image not in services:
        yield from check_reference(doc.image, (*path, "image"))
    allowed = doc.KINDS["image"]
    if not any(_is_given(doc, key) for key in allowed):
        yield Problem(path, f"this checks nothing; set at least one of {', '.join(allowed)}")
    for key in ("no_setuid", "no_secrets"):
        if getattr(doc, key) is False:
            yield Problem((*path, key), "checks nothing where it is false: write true, or leave it out")
    for key in ("env", "labels"):
        table = getattr(doc, key)
        if table == {}:
            yield Problem((*path, key), _NONE)
        for name, value in (table or {}).items():
            if isinstance(value, TextDoc):
                yield from check_text(value, (*path, key, name), deferred)
    for key in ("exposed", "not_exposed", "volumes", "not_volumes"):
        if getattr(doc, key) == []:
            yield Problem((*path, key), _NONE)
    yield from check_amount(doc.layers, (*path, "layers"))


def _port(doc: CheckDoc, path: KeyPath) -> Iterator[Problem]:
    number, _, protocol = str(doc.port).partition("/")
    if not 1 <= int(number) <= _MAX_PORT or protocol == "sctp":
        yield Problem((*path, "port"), f'"{doc.port}" is no port of TCP or UDP: write 8080, or "53/udp"')
    if doc.listening is False:
        for key in ("address", "process"):
            if _is_given(doc, key):
                yield Problem((*path, key), "what nothing listens on (listening = false) cannot have one")
    try:
        address_of(doc.address or "")
    except ValueError:
        wanted = 'write one such as "127.0.0.1", or "any" for 0.0.0.0 and ::'
        yield Problem((*path, "address"), f'"{doc.address}" is no address: {wanted}')


def _user(doc: CheckDoc, path: KeyPath) -> Iterator[Problem]:
    yield from _nothing_else(doc, path)
    if doc.groups == []:
        yield Problem((*path, "groups"), _NONE)


def _group(doc: CheckDoc, path: KeyPath) -> Iterator[Problem]:
    yield from _nothing_else(doc, path)
    if isinstance(doc.group, int):
        yield Problem((*path, "group"), "a group is named here, gid is its number")


def _package(doc: CheckDoc, path: KeyPath, deferred: frozenset[str]) -> Iterator[Problem]:
    if doc.installed is False and doc.version is not None:
        yield Problem(
            (*path, "version"), "what must not be installed (installed = false) cannot have a version"
        )
    if isinstance(doc.version, TextDoc):
        yield from check_text(doc.version, (*path, "version"), deferred)
    elif doc.version == "":
        yield Problem((*path, "version"), "is empty, so it is no version")


def _process(doc: CheckDoc, path: KeyPath) -> Iterator[Problem]:
    if doc.running is False:
        for key in ("count", "user"):
            if _is_given(doc, key):
                yield Problem((*path, key), "what must not run (running = false) cannot be anything")
    if isinstance(doc.count, list):
        yield Problem((*path, "count"), "a number of processes is one number, or one table of bounds")
    else:
        if isinstance(doc.count, CountDoc) and doc.count.regex is not None:
            yield Problem((*path, "count", "regex"), "only lines of a log match one")
        yield from check_amount(doc.count, (*path, "count"))
        if not _allows_one(doc.count):
            if doc.running:
                yield Problem((*path, "count"), "what must run (running = true) cannot be counted 0")
            elif doc.user is not None:
                yield Problem((*path, "user"), "this is never judged, as `count` allows no process")


def _allows_one(count: int | CountDoc | None) -> bool:
    """Tell whether a number of processes may be another one than 0."""
    if isinstance(count, CountDoc):
        return count.eq != 0 and count.lte != 0 and count.lt not in {0, 1}
    return count != 0


def check_since(name: str | None, path: KeyPath, steps: Sequence[str]) -> Iterator[Problem]:
    """Yield a mistake unless one step is called so.

    :param steps: names of those that have begun by then.
    """
    if name is None:
        return
    if name not in steps:
        known = some(steps) or "none"
        yield Problem(path, f'no step before it is called "{name}"; known: {known}', suggestion(name, steps))
    elif (number := steps.count(name)) > 1:
        message = f'it says not which: {number} steps before it are called "{name}"'
        yield Problem(path, message, "give each of them a name of its own")


def _log(
    doc: CheckDoc, path: KeyPath, services: Mapping[str, ServiceDoc], deferred: frozenset[str]
) -> Iterator[Problem]:
    if doc.log is not None and doc.log not in services:
        yield Problem((*path, "log"), *unknown_service(doc.log, services))
    if doc.content is None and doc.count is None and doc.order is None:
        yield Problem(path, "this checks nothing; set at least one of content, count, order")
    lists = isinstance(doc.count, list)
    for index, each in enumerate(several(doc.count)):
        at = (*path, "count", index) if lists else (*path, "count")
        if not isinstance(each, CountDoc) or each.regex is None:
            yield Problem(at, 'of a log lines are counted: write { regex = "...", eq = 1 }')
            continue
        if each.given():
            yield from check_amount(each, at)
        else:
            yield Problem(
                at, f"this counts lines, but says not how many: set at least one of {listed(COMPARISONS)}"
            )
        yield from regex(each.regex, (*at, "regex"), deferred)
    if doc.order is not None and len(doc.order) < 2:  # noqa: PLR2004 one has no order
        yield Problem((*path, "order"), "an order is of two patterns at least; one stands in content.regex")
    for index, pattern in enumerate(doc.order or ()):
        yield from regex(pattern, (*path, "order", index), deferred)


def _file(doc: CheckDoc, path: KeyPath) -> Iterator[Problem]:
    yield from _nothing_else(doc, path)
    if doc.target is not None and doc.kind not in {None, "symlink"}:
        yield Problem((*path, "target"), f'only a symbolic link has a target, and kind is "{doc.kind}"')
    for key in ("size", "sha256", "content"):
        if _is_given(doc, key) and doc.kind not in {None, "file", "symlink"}:
            yield Problem((*path, key), f'only a regular file has it, and kind is "{doc.kind}"')


def _bytes(doc: CheckDoc, path: KeyPath) -> Iterator[Problem]:
    """Yield what is wrong with a number of bytes, or its bounds."""
    size = doc.size
    if isinstance(size, BytesDoc):
        bounds = {key: value for key in size.__struct_fields__ if (value := getattr(size, key)) is not None}
        if not bounds:
            yield Problem(
                path, f"this checks nothing; set at least one of {', '.join(size.__struct_fields__)}"
            )
        if bounds == {"gte": 0}:
            yield Problem(path, "every number is so: this checks nothing")
        for key, value in bounds.items():
            yield from _size((*path, key), value)
    elif size is not None:
        yield from _size(path, size)


def _size(path: KeyPath, value: int | str) -> Iterator[Problem]:
    if isinstance(value, str):
        try:
            parse_size_bytes(value)
        except ValueError:
            yield Problem(path, f'"{value}" is no size of a file: write {BYTES}')
