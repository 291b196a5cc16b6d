"""What types cannot say of ``[[check]]``: which keys go together, and services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.units import parse_size_bytes
from pytest_clnrm.scenario.format.check_document import BYTES, OPERATORS, BytesDoc, CheckDoc
from pytest_clnrm.scenario.format.parts import several
from pytest_clnrm.scenario.format.problems import Problem, regex, unknown_service
from pytest_clnrm.scenario.format.service_document import ServiceDoc
from pytest_clnrm.scenario.format.text_rules import check_text
from pytest_clnrm.toml.checking import listed, some, suggestion

_OF_ALL = ("name", "timeout", "retry")
"""Keys of each check that is made as a step of its own."""


def check_check(
    doc: CheckDoc, path: KeyPath, services: Mapping[str, ServiceDoc], deferred: frozenset[str]
) -> Iterator[Problem]:
    """Yield the mistakes of a check.

    :param services: of the file.
    :param deferred: names that steps capture.
    """
    pairs = zip(doc.__struct_fields__, doc.__struct_encode_fields__, strict=True)
    given = [key for field, key in pairs if _is_given(doc, field)]
    kind = doc.about
    if not kind:
        yield Problem(path, f"exactly one of {listed(tuple(doc.KINDS))} must be given, found none", _REMEDY)
        return
    allowed = doc.KINDS[kind]
    for key in given:
        if key in doc.KINDS and key not in {kind, *allowed}:
            yield Problem(
                path, f"exactly one of {listed(tuple(doc.KINDS))} must be given, found {kind} and {key}"
            )
        elif key not in {kind, *allowed, *_OF_ALL}:
            yield Problem((*path, key), f"a check of {kind} has no such key; it has: {', '.join(allowed)}")
    if doc.service is not None and doc.service not in services:
        yield Problem((*path, "service"), *unknown_service(doc.service, services))
    yield from check_text(doc.content, (*path, "content"), deferred)
    if kind == "log":
        yield from _log(doc, path, services, deferred)
    else:
        yield from _file(doc, path)


_REMEDY = 'write file = "/path"'


def _is_given(doc: CheckDoc, key: str) -> bool:
    return getattr(doc, key) is not None


def check_since(name: str | None, path: KeyPath, steps: Sequence[str]) -> Iterator[Problem]:
    """Yield a mistake if there is no such step.

    :param steps: names of those that have begun by then.
    """
    if name is not None and name not in steps:
        known = some(steps) or "none"
        yield Problem(path, f'no step before it is called "{name}"; known: {known}', suggestion(name, steps))


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
        if all(getattr(each, op) is None for op in OPERATORS):
            yield Problem(
                at, f"this counts lines, but says not how many: set at least one of {listed(OPERATORS)}"
            )
        yield from regex(each.regex, (*at, "regex"), deferred)
    if doc.order is not None and len(doc.order) < 2:  # noqa: PLR2004 one has no order
        yield Problem((*path, "order"), "an order is of two patterns at least; one stands in content.regex")
    for index, pattern in enumerate(doc.order or ()):
        yield from regex(pattern, (*path, "order", index), deferred)


def _file(doc: CheckDoc, path: KeyPath) -> Iterator[Problem]:
    if doc.exists is False:
        others = [
            key for key in doc.KINDS["file"] if key not in {"service", "exists"} and _is_given(doc, key)
        ]
        for key in others:
            yield Problem((*path, key), "what must not exist (exists = false) cannot be anything")
    if doc.target is not None and doc.kind not in {None, "symlink"}:
        yield Problem((*path, "target"), f'only a symbolic link has a target, and kind is "{doc.kind}"')
    for key in ("size", "sha256", "content"):
        if _is_given(doc, key) and doc.kind not in {None, "file", "symlink"}:
            yield Problem((*path, key), f'only a regular file has it, and kind is "{doc.kind}"')
    yield from _bytes(doc, (*path, "size"))


def _bytes(doc: CheckDoc, path: KeyPath) -> Iterator[Problem]:
    """Yield what is wrong with a number of bytes, or its bounds."""
    size = doc.size
    if isinstance(size, BytesDoc):
        bounds = {key: value for key in size.__struct_fields__ if (value := getattr(size, key)) is not None}
        if not bounds:
            yield Problem(
                path, f"this checks nothing; set at least one of {', '.join(size.__struct_fields__)}"
            )
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
