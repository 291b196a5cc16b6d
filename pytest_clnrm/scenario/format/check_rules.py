"""What types cannot say of ``[[check]]``: which keys go together, and services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.units import parse_size_bytes
from pytest_clnrm.scenario.format.check_document import BYTES, BytesDoc, CheckDoc
from pytest_clnrm.scenario.format.problems import Problem, unknown_service
from pytest_clnrm.scenario.format.service_document import ServiceDoc
from pytest_clnrm.scenario.format.text_rules import check_text
from pytest_clnrm.toml.checking import listed

_OF_ALL = ("name", "timeout", "retry")
"""Keys of each check that is made as a step of its own."""


def check_check(
    doc: CheckDoc, path: KeyPath, services: Mapping[str, ServiceDoc], deferred: frozenset[str]
) -> Iterator[Problem]:
    """Yield the mistakes of a check.

    :param services: of the file.
    :param deferred: names that steps capture.
    """
    given = [key for key in doc.__struct_fields__ if _is_given(doc, key)]
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
    yield from _file(doc, path, deferred)


_REMEDY = 'write file = "/path"'


def _is_given(doc: CheckDoc, key: str) -> bool:
    return getattr(doc, key) is not None


def _file(doc: CheckDoc, path: KeyPath, deferred: frozenset[str]) -> Iterator[Problem]:
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
    yield from check_text(doc.content, (*path, "content"), deferred)


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
