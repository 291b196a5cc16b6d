"""Judging values of a JSON document: what a path selects must be.

Each difference is told with the path of the value that differs, the first few and then how many more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pytest_clnrm.expect.conditions import bounds_hold, bounds_text
from pytest_clnrm.expect.json_match import (
    Differences,
    TooMuchWorkError,
    Work,
    called,
    json_text,
    kind_of,
    member_path,
    names_of,
    number_in,
    unexpected,
)
from pytest_clnrm.expect.texts import quote
from pytest_clnrm.model.captured import captured_text
from pytest_clnrm.model.json_checks import JsonChecks, JsonPathExpect
from pytest_clnrm.util.jsonpaths import Location, Selected, select
from pytest_clnrm.util.patterns import PatternTimeoutError, search

_COUNTABLE = (str, list, dict)


@dataclass(frozen=True, slots=True)
class _Value:
    """A value and where it stands.

    :param elements: the paths of its elements, if these have been selected one by one.
    """

    value: Any
    path: str
    elements: tuple[str, ...] | None = None

    def each(self) -> Iterator[_Value]:
        """Yield the elements of an array."""
        for index, value in enumerate(self.value):
            yield _Value(value, self.elements[index] if self.elements else member_path(self.path, index))


def path_differences(
    expects: Iterable[JsonPathExpect], text: str, document: Any
) -> Iterator[tuple[JsonPathExpect, list[str]]]:
    """Yield each expectation that does not hold, with the first differences, each ``path: what``.

    :param text: of which *document* is the value.
    """
    expects = tuple(expects)
    found = select(text, [each.path for each in expects]) if expects else []
    work = Work()
    for expect, selected in zip(expects, found, strict=True):
        differences = _differences(expect, selected, document, work)
        if differences:
            yield expect, differences


def _differences(expect: JsonPathExpect, selected: Selected, document: Any, work: Work) -> list[str]:
    if selected.problem:
        return [f"{expect.path}: {selected.problem}"]
    unwanted = any(test.op == "exists" and not test.value for test in expect.checks.tests)
    if not selected.locations:
        return [] if unwanted else [_nothing(expect.path, selected.reached, document)]
    found = Differences(work=work)
    values = [(_at(document, each), _path(each)) for each in selected.locations]
    if unwanted:
        for value, path in values:
            found.add(path, partial(unexpected, value))
    elif selected.is_singular:
        _judge(expect.checks, _Value(*values[0]), found, work)
    else:
        array, paths = zip(*values, strict=True)
        _judge(expect.checks, _Value(list(array), expect.path, paths), found, work)
    return found.told()


def _nothing(path: str, reached: Location, document: Any) -> str:
    """Say that a path selects nothing, and how far it leads."""
    value = _at(document, reached)
    if isinstance(value, dict):
        there = f"is an object with the keys: {names_of(value)}"
    elif isinstance(value, list):
        there = f"is an array of {len(value)} elements"
    else:
        there = f"is {called(value)}"
    return f"{path}: selects nothing; {_path(reached)} {there}"


def _at(document: Any, location: Location) -> Any:
    for key in location:
        document = document[key]
    return document


def _path(location: Location) -> str:
    path = "$"
    for key in location:
        path = member_path(path, key)
    return path


def _judge(checks: JsonChecks, what: _Value, found: Differences, work: Work) -> None:
    """Add what is wrong with a value."""
    try:
        _Judge(found, work).judge(checks, what)
    except (TooMuchWorkError, PatternTimeoutError) as error:
        why = str(error)
    except RecursionError:
        why = "it is nested too deeply to be compared"
    except re.error as error:
        # Patterns were checked when their file was read; a captured value can still break one.
        why = f"{quote(error.pattern)} is no regular expression: {error}"
    else:
        return
    # Whatever the rest might say, what could not be judged does not hold.
    found.give_up(what.path, why)


class _Judge:
    """Judges values by checks, and adds what is wrong to *found*."""

    def __init__(self, found: Differences, work: Work) -> None:
        self._found = found
        self._work = work

    def judge(self, checks: JsonChecks, what: _Value) -> None:
        """Add what is wrong with one value."""
        self._work.spend()
        for test in checks.tests:
            if test.op in _PLAIN:
                self._plain(test.op, test.value, what)
            else:
                getattr(self, f"_{test.op}")(test.value, what, checks)

    def _add(self, what: _Value, tell: Callable[[], str]) -> None:
        self._found.add(what.path, tell)

    def _plain(self, op: str, expected: Any, what: _Value) -> None:
        """Judge by a test that looks at the value alone."""
        holds, words = _PLAIN[op]
        if op in _BOUNDS and isinstance(expected, str):
            try:
                expected = number_in(expected)
            except ValueError:
                self._add(what, lambda: f"cannot be compared with {json_text(expected)}, which is no number")
                return
        if not holds(what.value, expected):
            self._add(what, lambda: f"expected {words(expected)}, got {_got(op, what.value)}")

    def _exists(self, _wanted: bool, _what: _Value, _own: JsonChecks) -> None:  # noqa: FBT001
        """Add nothing: what is judged is there."""

    def _fits(self, expected: Any, value: Any, tolerance: float, *, exact: bool) -> bool:
        found = Differences(0, self._work)
        found.compare(expected, value, "", exact=exact, tolerance=tolerance)
        return not found.count

    def _array(self, what: _Value) -> bool:
        """Tell whether a value is an array; that it is none is a difference."""
        if isinstance(what.value, list):
            return True
        self._add(what, lambda: f"expected an array, got {called(what.value)}")
        return False

    def _eq(self, expected: Any, what: _Value, own: JsonChecks) -> None:
        if what.elements and isinstance(expected, list) and len(expected) == len(what.value):
            for one, other in zip(expected, what.each(), strict=True):
                self._found.compare(one, other.value, other.path, exact=True, tolerance=own.tolerance)
        else:
            self._found.compare(expected, what.value, what.path, exact=True, tolerance=own.tolerance)

    def _matches(self, expected: Any, what: _Value, own: JsonChecks) -> None:
        self._found.compare(expected, what.value, what.path, tolerance=own.tolerance)

    def _ne(self, expected: Any, what: _Value, _own: JsonChecks) -> None:
        if self._fits(expected, what.value, 0, exact=True):
            self._add(what, lambda: f"expected anything but {json_text(expected)}, got just this")

    def _one_of(self, choices: list[Any], what: _Value, own: JsonChecks) -> None:
        if not any(self._fits(each, what.value, own.tolerance, exact=True) for each in choices):
            self._add(what, lambda: f"expected one of {json_text(choices)}, got {json_text(what.value)}")

    def _contains(self, part: Any, what: _Value, _own: JsonChecks) -> None:
        if not self._has(part, what.value):
            self._add(what, lambda: f"expected {json_text(part)} in it, got {called(what.value)}")

    def _not_contains(self, part: Any, what: _Value, _own: JsonChecks) -> None:
        if not isinstance(what.value, (str, list)):
            self._add(what, lambda: f"expected a string or an array, got {called(what.value)}")
        elif self._has(part, what.value):
            self._add(what, lambda: f"expected no {json_text(part)} in it, got {called(what.value)}")

    def _has(self, part: Any, value: Any) -> bool:
        if isinstance(value, list):
            return any(self._fits(part, each, 0, exact=True) for each in value)
        return isinstance(value, str) and isinstance(part, str) and part in value

    def _unordered(self, expected: list[Any], what: _Value, own: JsonChecks) -> None:
        if not self._array(what):
            return
        elements = list(what.each())
        wanted, others = _unpaired(
            len(expected),
            len(elements),
            lambda one, other: self._fits(expected[one], elements[other].value, own.tolerance, exact=False),
        )
        if len(wanted) == len(others) == 1:
            # What is left on both sides is most likely the same element with another content.
            got = elements[others[0]]
            self._found.compare(expected[wanted[0]], got.value, got.path, tolerance=own.tolerance)
            return
        for index in wanted:
            self._add(what, partial(_missing_element, expected[index]))
        for index in others:
            self._found.add(elements[index].path, partial(unexpected, elements[index].value))

    def _includes(self, shape: Any, what: _Value, own: JsonChecks) -> None:
        def judge(found: Differences, element: _Value) -> None:
            found.compare(shape, element.value, element.path, tolerance=own.tolerance)

        self._some(what, f"matches {json_text(shape)}", judge)

    def _any(self, checks: JsonChecks, what: _Value, _own: JsonChecks) -> None:
        def judge(found: Differences, element: _Value) -> None:
            _Judge(found, self._work).judge(checks, element)

        self._some(what, "is as expected", judge)

    def _some(self, what: _Value, words: str, judge: Callable[[Differences, _Value], None]) -> None:
        """Add a difference if there is no element in which *judge* finds none, with the nearest one."""
        if not self._array(what):
            return
        nearest: Differences | None = None
        for element in what.each():
            found = Differences(1, self._work)
            judge(found, element)
            if not found.count:
                return
            if nearest is None or found.count < nearest.count:
                nearest = found
        if nearest is None:
            self._add(what, lambda: f"expected an element that {words}, got an empty array")
            return
        told = "; ".join(nearest.told())
        number = len(what.value)
        self._add(what, lambda: f"expected an element that {words}; of {number} the nearest is {told}")

    def _each(self, checks: JsonChecks, what: _Value, own: JsonChecks) -> None:
        if not self._array(what):
            return
        # What was judged of no element is no proof, unless the file says that there may be none.
        if not what.value and not any(test.op == "length" for test in own.tests):
            allow = "length = { gte = 0 } beside each allows it"
            self._add(what, lambda: f"expected elements, got an empty array ({allow})")
        for element in what.each():
            self.judge(checks, element)

    def _none(self, checks: JsonChecks, what: _Value, _own: JsonChecks) -> None:
        if not self._array(what):
            return
        for element in what.each():
            found = Differences(0, self._work)
            _Judge(found, self._work).judge(checks, element)
            if not found.count:
                self._found.add(element.path, partial(_not_allowed, element.value))

    def _unique(self, _wanted: bool, what: _Value, _own: JsonChecks) -> None:  # noqa: FBT001
        if not self._array(what):
            return
        first: dict[Any, str] = {}
        for element in what.each():
            before = first.setdefault(self._key(element.value), element.path)
            if before != element.path:
                self._found.add(element.path, partial(_repeated, element.value, before))

    def _key(self, value: Any) -> Any:
        """Return something that can be looked up, and is equal for the same JSON values alone."""
        self._work.spend()
        if isinstance(value, dict):
            return "object", frozenset((name, self._key(each)) for name, each in value.items())
        return kind_of(value), tuple(map(self._key, value)) if isinstance(value, list) else value


def _missing_element(expected: Any) -> str:
    return f"expected an element {json_text(expected)}, got none"


def _not_allowed(got: Any) -> str:
    return f"expected no such element, got {json_text(got)}"


def _repeated(got: Any, before: str) -> str:
    return f"expected each element once, got {json_text(got)} as at {before}"


def _unpaired(wanted: int, others: int, fits: Callable[[int, int], bool]) -> tuple[list[int], list[int]]:
    """Return which of *wanted* and of *others* stay alone when as many as possible are paired.

    By augmenting paths (Kuhn's algorithm), without recursion.
    """
    fitting = [[other for other in range(others) if fits(one, other)] for one in range(wanted)]
    partner: dict[int, int] = {}
    taken: dict[int, int] = {}
    alone = []
    for one in range(wanted):
        came_from: dict[int, int] = {}
        free = None
        queue = [one]
        for current in queue:
            new = [other for other in fitting[current] if other not in came_from]
            came_from.update(dict.fromkeys(new, current))
            free = next((other for other in new if other not in taken), None)
            if free is not None:
                break
            queue += [taken[other] for other in new]
        if free is None:
            alone.append(one)
        # Back along the way each gives up its partner for the one that was found for it.
        while free is not None:
            current = came_from[free]
            taken[free], partner[current], free = current, free, partner.get(current)
    return alone, [other for other in range(others) if other not in taken]


_Test = Callable[[Any, Any], bool]


def _is_type(value: Any, types: tuple[str, ...]) -> bool:
    # As in JSON Schema 1.0 is an integer: JSON has one kind of number.
    integer = kind_of(value) == "number" and (isinstance(value, int) or value.is_integer())
    return kind_of(value) in types or (integer and "integer" in types)


def _number(compare: Callable[[Any, Any], bool]) -> _Test:
    return lambda value, bound: kind_of(value) == "number" and compare(value, bound)


def _string(holds: Callable[[str, str], bool]) -> _Test:
    return lambda value, part: isinstance(value, str) and holds(value, part)


def _words(words: str, show: Callable[[Any], str] = json_text) -> Callable[[Any], str]:
    return lambda expected: f"{words}{show(expected)}"


_BOUNDS = ("lt", "lte", "gt", "gte")
_PLAIN: Mapping[str, tuple[_Test, Callable[[Any], str]]] = {
    "type": (_is_type, _words("", " or ".join)),
    "lt": (_number(lambda value, bound: value < bound), _words("< ")),
    "lte": (_number(lambda value, bound: value <= bound), _words("<= ")),
    "gt": (_number(lambda value, bound: value > bound), _words("> ")),
    "gte": (_number(lambda value, bound: value >= bound), _words(">= ")),
    "as_text": (lambda value, text: captured_text(value) == text, _words("the text ")),
    "regex": (_string(lambda text, part: search(part, text) is not None), _words("a match of ", quote)),
    "starts_with": (_string(str.startswith), _words("a string that starts with ")),
    "ends_with": (_string(str.endswith), _words("a string that ends with ")),
    "length": (
        lambda value, bounds: isinstance(value, _COUNTABLE) and bounds_hold(bounds, len(value)),
        _words("a length of ", bounds_text),
    ),
}


def _got(op: str, value: Any) -> str:
    """Return what there is instead, with its kind where that is what is wrong."""
    if op == "length" and isinstance(value, _COUNTABLE):
        return f"{len(value)}: {json_text(value)}"
    right_kind = {"lt": "number", "lte": "number", "gt": "number", "gte": "number"}.get(op, "string")
    return json_text(value) if kind_of(value) == right_kind and op != "type" else called(value)
