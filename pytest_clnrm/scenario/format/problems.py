"""Mistakes of a scenario file that types cannot say, and rules that several of its tables have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.units import parse_duration_s
from pytest_clnrm.scenario.format.parts import Table
from pytest_clnrm.scenario.format.service_document import ServiceDoc
from pytest_clnrm.scenario.templates.render import names_deferred
from pytest_clnrm.toml.checking import listed, some, suggestion
from pytest_clnrm.toml.positions import leaves
from pytest_clnrm.util.patterns import problem_of

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class Problem(NamedTuple):
    """A mistake at a key path of the canonical form."""

    path: KeyPath
    message: str
    hint: str = ""


def exactly_one(doc: Table, path: KeyPath, *, but: str = "") -> Iterator[Problem]:
    """Yield a mistake unless exactly one of the keys of which a table takes one is given.

    :param but: one that goes with another one here.
    """
    given = [name for name in doc.ONE_OF if getattr(doc, name) is not None and name != but]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        hint = "" if given else doc.REMEDY
        yield Problem(path, f"exactly one of {listed(doc.ONE_OF)} must be given, found {found}", hint)


def duration(value: Any, path: KeyPath, *, zero: bool = True) -> Iterator[Problem]:
    """Yield what is wrong with a time."""
    if value is None:
        return
    try:
        seconds = parse_duration_s(value)
    except ValueError as error:
        yield Problem(path, str(error))
        return
    if not zero and seconds == 0:
        yield Problem(path, "must be longer than 0")


def regex(pattern: str, path: KeyPath, deferred: frozenset[str] = frozenset()) -> Iterator[Problem]:
    """Yield what is wrong with a regular expression, but for one that names a captured value."""
    if names_deferred(pattern, deferred):
        return
    problem = problem_of(pattern)
    if problem:
        yield Problem(path, f"not a regular expression: {problem}")


def texts(doc: msgspec.Struct, keys: Iterable[str], path: KeyPath) -> Iterator[Problem]:
    """Yield a mistake for each text below *keys* with a NUL character, which no program can be given."""
    for at, text in leaves({key: getattr(doc, key) for key in keys}, path):
        if isinstance(text, str) and "\0" in text:
            yield Problem(at, "a NUL character cannot be passed to a program")


def header(name: str, value: str, path: KeyPath) -> Iterator[Problem]:
    """Yield a mistake unless a header can be sent."""
    if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
        yield Problem(path, "is no header that can be sent: one line of Latin text")


def unique(values: list[Any], path: KeyPath) -> Iterator[Problem]:
    """Yield a mistake for each value that is there before."""
    seen: set[Any] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield Problem((*path, index), f"{value} is there twice")
        seen.add(value)


def unknown_service(name: str, services: Mapping[str, ServiceDoc]) -> tuple[str, str]:
    """Return what to say of a service that is not there, and a hint."""
    known = some(services) or "none is defined"
    return f'there is no service "{name}"; known: {known}', suggestion(name, list(services))


def each_text(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Yield each text of a text or a list of texts."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        yield from (((*path, index), each) for index, each in enumerate(value))
