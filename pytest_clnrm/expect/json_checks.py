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
    Doubt,
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
from pytest_clnrm.model.json_checks import KINDS, JsonChecks, JsonOperator, JsonPathExpect
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
    """Judges values by checks, and adds what is wrong to *found*.

    ``ne``, ``not_contains`` and ``none`` hold of what differs in any case, and not of what could not be
    compared.
    """

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

    def _add(self, what: _Value, tell: Callable[[], str], doubt: Doubt | None = None) -> None:
        self._found.add(what.path, tell, doubt)

    def _add_doubt(self, doubt: Doubt) -> None:
        """Add that it cannot be told whether a value is what it must not be."""
        self._found.add(doubt.path, lambda: f"could not be compared: {doubt.why()}", doubt)

    def _plain(self, op: JsonOperator, expected: Any, what: _Value) -> None:
        """Judge by a test that looks at the value alone."""
        holds, words = _PLAIN[op]
        if op in _BOUNDS and isinstance(expected, str):
            try:
                expected = number_in(expected)
            except ValueError:
                why = partial(_no_number, expected)
                self._add(what, lambda: f"cannot be compared with {why()}", Doubt(what.path, why))
                return
        if not holds(what.value, expected):
            tell = partial(_expected, words(expected), op, what.value)
            self._add(what, tell, _other_kind(op, what))

    def _exists(self, _wanted: bool, _what: _Value, _own: JsonChecks) -> None:  # noqa: FBT001
        """Add nothing: what is judged is there."""

    def _compared(
        self, expected: Any, what: _Value, tolerance: float = 0.0, *, exact: bool = True
    ) -> Differences:
        found = Differences(0, self._work)
        found.compare(expected, what.value, what.path, exact=exact, tolerance=tolerance)
        return found

    def _array(self, op: JsonOperator, what: _Value) -> bool:
        """Tell whether a value is an array; that it is none is a difference."""
        doubt = _other_kind(op, what)
        if doubt is not None:
            self._add(what, lambda: f"expected an array, got {called(what.value)}", doubt)
        return doubt is None

    def _eq(self, expected: Any, what: _Value, own: JsonChecks) -> None:
        if what.elements and isinstance(expected, list) and len(expected) == len(what.value):
            for one, other in zip(expected, what.each(), strict=True):
                self._found.compare(one, other.value, other.path, exact=True, tolerance=own.tolerance)
        else:
            self._found.compare(expected, what.value, what.path, exact=True, tolerance=own.tolerance)

    def _matches(self, expected: Any, what: _Value, own: JsonChecks) -> None:
        self._found.compare(expected, what.value, what.path, tolerance=own.tolerance)

    def _ne(self, expected: Any, what: _Value, _own: JsonChecks) -> None:
        found = self._compared(expected, what)
        if not found.count:
            self._add(what, lambda: f"expected anything but {json_text(expected)}, got just this")
        elif found.doubt:
            self._add_doubt(found.doubt)

    def _one_of(self, choices: list[Any], what: _Value, own: JsonChecks) -> None:
        fits, doubt = _some_fit(self._compared(each, what, own.tolerance) for each in choices)
        if not fits:
            given = json_text(choices)
            self._add(what, lambda: f"expected one of {given}, got {json_text(what.value)}", doubt)

    def _contains(self, part: Any, what: _Value, _own: JsonChecks) -> None:
        has, doubt = self._has("contains", part, what)
        if not has:
            self._add(what, lambda: f"expected {json_text(part)} in it, got {called(what.value)}", doubt)

    def _not_contains(self, part: Any, what: _Value, _own: JsonChecks) -> None:
        has, doubt = self._has("not_contains", part, what)
        if not isinstance(what.value, (str, list)):
            self._add(what, lambda: f"expected a string or an array, got {called(what.value)}", doubt)
        elif has:
            self._add(what, lambda: f"expected no {json_text(part)} in it, got {called(what.value)}")
        elif doubt:
            self._add_doubt(doubt)

    def _has(self, op: JsonOperator, part: Any, what: _Value) -> tuple[bool, Doubt | None]:
        """Tell whether a value has a part, and if not, why it may have it."""
        if isinstance(what.value, list):
            return _some_fit(self._compared(part, each) for each in what.each())
        if isinstance(what.value, str) and not isinstance(part, str):
            return False, Doubt(what.path, partial(_no_text, part))
        doubt = _other_kind(op, what)
        return doubt is None and part in what.value, doubt

    def _unordered(self, expected: list[Any], what: _Value, own: JsonChecks) -> None:
        if not self._array("unordered", what):
            return
        elements = list(what.each())
        doubts: dict[tuple[int, int], Doubt] = {}

        def fits(one: int, other: int) -> bool:
            found = self._compared(expected[one], elements[other], own.tolerance, exact=False)
            if found.doubt:
                doubts[one, other] = found.doubt
            return not found.count

        def may_fit(one: int, other: int) -> bool:
            return fits(one, other) or (one, other) in doubts

        wanted, others = _unpaired(len(expected), len(elements), fits)
        # If all may be paired, it is what could not be compared that keeps them apart.
        apart = bool(doubts) and any(_unpaired(len(expected), len(elements), may_fit))
        doubt = None if apart else next(iter(doubts.values()), None)
        if len(wanted) == len(others) == 1 and (doubt is None or (wanted[0], others[0]) in doubts):
            # What is left on both sides is most likely the same element with another content.
            got = elements[others[0]]
            self._found.compare(expected[wanted[0]], got.value, got.path, tolerance=own.tolerance)
            return
        for index in wanted:
            self._add(what, partial(_missing_element, expected[index]), doubt)
        for index in others:
            self._found.add(elements[index].path, partial(unexpected, elements[index].value), doubt)

    def _includes(self, shape: Any, what: _Value, own: JsonChecks) -> None:
        def judge(found: Differences, element: _Value) -> None:
            found.compare(shape, element.value, element.path, tolerance=own.tolerance)

        self._some("includes", what, f"matches {json_text(shape)}", judge)

    def _any(self, checks: JsonChecks, what: _Value, _own: JsonChecks) -> None:
        def judge(found: Differences, element: _Value) -> None:
            _Judge(found, self._work).judge(checks, element)

        self._some("any", what, "is as expected", judge)

    def _some(
        self, op: JsonOperator, what: _Value, words: str, judge: Callable[[Differences, _Value], None]
    ) -> None:
        """Add a difference if there is no element in which *judge* finds none, with the nearest one."""
        if not self._array(op, what):
            return
        nearest: Differences | None = None
        doubt: Doubt | None = None
        for element in what.each():
            found = Differences(1, self._work)
            judge(found, element)
            if not found.count:
                return
            doubt = doubt or found.doubt
            if nearest is None or found.count < nearest.count:
                nearest = found
        if nearest is None:
            self._add(what, lambda: f"expected an element that {words}, got an empty array")
            return
        told = "; ".join(nearest.told())
        number = len(what.value)
        self._add(what, lambda: f"expected an element that {words}; of {number} the nearest is {told}", doubt)

    def _each(self, checks: JsonChecks, what: _Value, own: JsonChecks) -> None:
        if not self._array("each", what):
            return
        # What was judged of no element is no proof, unless the file says that there may be none.
        if not what.value and not any(test.op == "length" for test in own.tests):
            allow = "length = { gte = 0 } beside each allows it"
            doubt = Doubt(what.path, lambda: _NO_ELEMENT)
            self._add(what, lambda: f"expected elements, got an empty array ({allow})", doubt)
        for element in what.each():
            self.judge(checks, element)

    def _none(self, checks: JsonChecks, what: _Value, _own: JsonChecks) -> None:
        if not self._array("none", what):
            return
        for element in what.each():
            found = Differences(0, self._work)
            _Judge(found, self._work).judge(checks, element)
            if not found.count:
                self._found.add(element.path, partial(_not_allowed, element.value))
            elif found.doubt:
                self._add_doubt(found.doubt)

    def _unique(self, _wanted: bool, what: _Value, _own: JsonChecks) -> None:  # noqa: FBT001
        if not self._array("unique", what):
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


def _some_fit(each: Iterable[Differences]) -> tuple[bool, Doubt | None]:
    """Tell whether there are no differences in one of *each*, and if not, why there may be none."""
    doubt: Doubt | None = None
    for found in each:
        if not found.count:
            return True, None
        doubt = doubt or found.doubt
    return False, doubt


def _other_kind(op: JsonOperator, what: _Value) -> Doubt | None:
    """Return a doubt if an operator says nothing of values of this kind."""
    kinds = KINDS.get(op)
    if kinds is None or kind_of(what.value) in kinds:
        return None
    return Doubt(what.path, partial(_not_of_kind, op, sorted(kinds), what.value))


_NO_ELEMENT = "each says nothing of an empty array; length = { gte = 1 } beside each leaves it out"


def _not_of_kind(op: str, kinds: list[str], got: Any) -> str:
    types = json_text(kinds if len(kinds) > 1 else kinds[0])
    return f"{op} says nothing of {called(got)}; type = {types} beside {op} leaves other kinds out"


def _no_number(bound: str) -> str:
    return f"{json_text(bound)}, which is no number"


def _no_text(part: Any) -> str:
    return (
        f"{called(part)} is no text that a string may hold; write it as text, "
        '"{{ name|string }}" if it was captured by json'
    )


def _expected(words: str, op: str, got: Any) -> str:
    return f"expected {words}, got {_got(op, got)}"


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
