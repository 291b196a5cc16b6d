"""``marks`` and ``flaky`` of a scenario file: the marks of pytest that it may set, and their arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from msgspec import Meta

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.selection import OF_PLUGINS, KnownMarks, Mark
from pytest_clnrm.model.units import parse_duration_s
from pytest_clnrm.scenario.format.parts import Argv, Duration, Table, Text
from pytest_clnrm.scenario.format.problems import Problem, duration
from pytest_clnrm.scenario.names import has_control
from pytest_clnrm.toml.checking import find_mistakes, nearest

_INSTEAD = {
    "skip": 'write skip = "why"',
    "skipif": 'write skip_if = { env = "CI" }',
    "xfail": 'write xfail = "why"',
    "parametrize": "write [[parametrize]] or a [matrix]",
    "clnrm_priority": 'write priority = "high"',
    "clnrm_limits": "write [limits]",
}

Reruns = Annotated[int, Meta(ge=1, le=100)]
Place = Literal[
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "last", "second_to_last",
    "third_to_last", "fourth_to_last", "fifth_to_last", "sixth_to_last", "seventh_to_last", "eighth_to_last",
]  # fmt: skip
Marks = list[Text | dict[Text, Any]]


class FlakyMarkDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What pytest-rerunfailures is told."""

    reruns: Reruns
    reruns_delay: Duration | None = None


class OrderMarkDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What pytest-order is told."""

    index: int | None = None
    before: Text | Argv | None = None
    after: Text | Argv | None = None


class MarkDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of the marks of plugins."""

    flaky: Reruns | FlakyMarkDoc | None = None
    order: int | Place | OrderMarkDoc | None = None
    timeout: Duration | None = None


def check_marks(marks: Marks, path: KeyPath, known: KnownMarks) -> Iterator[Problem]:
    """Yield the mistakes of a list of marks."""
    seen: set[str] = set()
    for index, given in enumerate(marks):
        below = (*path, index)
        if given == {}:
            yield Problem(below, "is empty: a mark and its argument are needed", "such as { timeout = 30 }")
        for name in [given] if isinstance(given, str) else given:
            at = below if isinstance(given, str) else (*below, name)
            yield from _problem(name, at, known, with_arguments=isinstance(given, dict))
            if isinstance(given, dict) and name in known.plugins:
                yield from _arguments(name, given[name], at)
            if name in seen:
                yield Problem(at, f'the mark "{name}" is there twice')
            seen.add(name)


def _problem(name: str, path: KeyPath, known: KnownMarks, *, with_arguments: bool) -> Iterator[Problem]:
    if name in known.plugins:
        if not with_arguments:
            yield Problem(path, f'the mark "{name}" takes an argument', f"such as {{ {name} = 1 }}")
    elif name in known.project:
        return
    elif name in OF_PLUGINS:
        yield from missing_plugin(name, path)
    elif name in known.taken:
        allowed = ", ".join(OF_PLUGINS)
        told = f'"{name}" is a mark of pytest or a plugin; of those a file may set: {allowed}'
        yield Problem(path, told, _INSTEAD.get(name, ""))
    elif (
        has_control(name)
        or any(char in name for char in ":(")
        or name.startswith("_")
        or name != name.strip()
    ):
        yield Problem(path, f'"{name}" cannot be the name of a mark')
    elif with_arguments:
        near = nearest(name, [*OF_PLUGINS, *known.project])
        hint = f'did you mean "{near}"?' if near else "a mark without arguments is a text"
        told = f"nobody knows a mark {name!r} with arguments: register it in the ini option markers"
        yield Problem(path, told, hint)


def missing_plugin(name: str, path: KeyPath) -> Iterator[Problem]:
    """Yield that the plugin of a mark is not there, without which it would do nothing."""
    plugin = OF_PLUGINS[name]
    yield Problem(path, f"it takes {plugin}, which this run does not have", f"pip install {plugin}")


def _arguments(name: str, value: Any, path: KeyPath) -> Iterator[Problem]:
    findings = find_mistakes({name: value}, MarkDoc)
    for each in findings:
        yield Problem((*path, *each.path[1:]), each.message, each.hint)
    if findings:
        return
    if name == "timeout":
        yield from duration(value, path, zero=False)
    elif isinstance(value, dict):
        yield from duration(value.get("reruns_delay"), (*path, "reruns_delay"))
        if not value:
            yield Problem(path, "is empty: index, before or after is needed")


def marks_of(marks: Marks) -> Iterator[Mark]:
    """Yield the marks of a list in which no mistake was found."""
    for given in marks:
        if isinstance(given, str):
            yield Mark(name=given)
        else:
            yield from (_mark(name, value) for name, value in given.items())


def _mark(name: str, value: Any) -> Mark:
    """Return a mark: the keywords of a table, the arguments of a list, or one argument."""
    if name == "timeout" and isinstance(value, str):
        value = parse_duration_s(value)
    if isinstance(value, dict):
        delay = value.get("reruns_delay") if name == "flaky" else None
        times = {} if delay is None else {"reruns_delay": parse_duration_s(delay)}
        return Mark(name=name, kwargs={**value, **times})
    if name == "flaky":
        return Mark(name=name, kwargs={"reruns": value})
    return Mark(name=name, args=tuple(value) if isinstance(value, list) else (value,))
