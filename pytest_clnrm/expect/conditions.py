"""Conditions on values: whether they hold, and what is said of one that does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_clnrm.expect.json_match import Differences, NotJsonError, json_differences, parse_json
from pytest_clnrm.expect.texts import quote
from pytest_clnrm.model.expectations import Condition, Origin
from pytest_clnrm.util.patterns import matches_glob, search

_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "boolean"),
    ((int, float), "number"),
    (str, "text"),
    (bytes, "bytes"),
    ((list, tuple), "list"),
    (Mapping, "map"),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One expectation that does not hold.

    :param message: one line.
    :param origin: whose spans it was about.
    :param details: more lines.
    """

    message: str
    origin: Origin
    details: tuple[str, ...] = ()


def number_of_spans(count: int) -> str:
    """Return ``no span``, ``1 span``, ``2 spans``."""
    return {0: "no span", 1: "1 span"}.get(count, f"{count} spans")


def matches_any(name: str, globs: Iterable[str]) -> bool:
    """Tell whether *name* matches one of *globs*; case matters."""
    return any(matches_glob(name, glob) for glob in globs)


def holds(condition: Condition, value: Any) -> bool:
    """Tell whether *condition* holds for *value*, which is there.

    Types must agree: ``1`` is not ``"1"`` and ``True`` is no number; an integer may equal a float.
    """
    return _TESTS[condition.op](value, condition.value)


def _same(value: Any, expected: Any) -> bool:
    """Tell whether two values are the same, in kind too."""
    if _type(value) == _type(expected) == "list":
        return len(value) == len(expected) and all(map(_same, value, expected))
    return _type(value) == _type(expected) and bool(value == expected)


def _is_another(value: Any, other: Any) -> bool:
    """Tell whether two values differ, and not only in how they are written: ``500`` and ``"500"``."""
    if isinstance(value, str) != isinstance(other, str):
        text, rest = (value, other) if isinstance(value, str) else (other, value)
        try:
            return _is_another(parse_json(text), rest)
        except NotJsonError:
            return True
    if _type(value) == _type(other) == "list" and len(value) == len(other):
        return any(map(_is_another, value, other))
    return not _same(value, other)


def fails_by_type(condition: Condition, value: Any) -> bool:
    """Tell whether *condition* does not hold for *value*, and only as that is of another type."""
    op, asked = condition.op, condition.value
    if op in ("regex", "json"):
        return not isinstance(value, str) or (op == "json" and _json_fails_by_type(value, asked))
    if op == "contains" and _type(value) == "list":
        return bool(value) and all(_differs_in_type(each, asked) for each in value)
    if op == "contains":
        return not (isinstance(value, str) and isinstance(asked, str))
    if op == "one_of":
        return all(_differs_in_type(value, each) for each in asked)
    if op == "ne":
        return not _same(value, asked) and not _is_another(value, asked)
    return op != "exists" and _differs_in_type(value, asked)


def _differs_in_type(value: Any, other: Any) -> bool:
    """Tell whether two values differ in their types, or those of their elements, and in nothing else."""
    if _type(value) == _type(other) == "list":
        if len(value) != len(other):
            return False
        unequal = [pair for pair in zip(value, other, strict=True) if not _same(*pair)]
        return bool(unequal) and all(_differs_in_type(*pair) for pair in unequal)
    return _type(value) != _type(other)


def _json_fails_by_type(text: str, expected: Any) -> bool:
    """Tell whether *text*, read as JSON, differs from what is expected only in how values are written."""
    differences = Differences(0)
    try:
        differences.compare(expected, parse_json(text), "$")
    except NotJsonError:
        return False
    return differences.doubt is not None


def types_text(values: Iterable[Any]) -> str:
    """Return of which types *values* are, of lists with those of their elements: ``list of text``."""
    return " or ".join(sorted({_type_text(value) for value in values}))


def _type_text(value: Any) -> str:
    name = _type(value)
    return f"list of {types_text(value)}" if name == "list" and value else name


def _type(value: Any) -> str:
    """Return what users call the type of *value*."""
    return next((name for kind, name in _TYPES if isinstance(value, kind)), "nothing")


def _numbers(compare: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    """Return *compare* for values of any type: false if one is no number."""
    return lambda value, bound: _type(value) == _type(bound) == "number" and compare(value, bound)


def _contains(value: Any, part: Any) -> bool:
    if _type(value) == "list":
        return any(_same(each, part) for each in value)
    return isinstance(value, str) and isinstance(part, str) and part in value


def _json_fault(value: Any, expected: Any) -> str:
    """Return how a text, read as JSON, differs from what is expected; "" if it does not."""
    if not isinstance(value, str):
        return "it is no text"
    try:
        return "; ".join(json_differences(expected, parse_json(value)))
    except NotJsonError as error:
        return f"it is no JSON: {error}"


_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": _same,
    "ne": _is_another,
    "lt": _numbers(lambda value, bound: value < bound),
    "lte": _numbers(lambda value, bound: value <= bound),
    "gt": _numbers(lambda value, bound: value > bound),
    "gte": _numbers(lambda value, bound: value >= bound),
    "regex": lambda value, pattern: isinstance(value, str) and search(pattern, value) is not None,
    "contains": _contains,
    "one_of": lambda value, choices: any(_same(value, each) for each in choices),
    "json": lambda value, expected: not _json_fault(value, expected),
    "exists": lambda _, wanted: bool(wanted),
}
_WORDS = {
    "eq": "",
    "ne": "not ",
    "lt": "< ",
    "lte": "<= ",
    "gt": "> ",
    "gte": ">= ",
    "regex": "a match of ",
    "contains": "something with ",
    "json": "JSON with ",
}


def _text(condition: Condition) -> str:
    if condition.op == "exists":
        return "to be there" if condition.value else "not to be there"
    if condition.op == "one_of":
        return f"one of {', '.join(quote(each) for each in condition.value)}"
    shown = list(condition.value) if isinstance(condition.value, tuple) else condition.value
    return f"{_WORDS[condition.op]}{quote(shown)}"


def attribute_faults(
    tests: Mapping[str, tuple[Condition, ...]],
    attributes: Mapping[str, Any],
    what: str = "attribute",
    *,
    left_out: int = 0,
) -> list[str]:
    """Return what is wrong with *attributes*, one text for each condition that does not hold.

    :param left_out: how many more there were that their program has not sent: any of them may be the one that
        must not be there.
    """
    faults = []
    for key, conditions in tests.items():
        for condition in conditions:
            if key not in attributes:
                if condition.op != "exists" or condition.value:
                    faults.append(f"{what} {key!r} is missing, expected {_text(condition)}")
                elif left_out:
                    faults.append(
                        f"{what} {key!r} may be among the {left_out} that its program left out (SDK limits), "
                        f"expected {_text(condition)}"
                    )
            elif not holds(condition, attributes[key]):
                faults.append(f"{what} {key!r} is {_got(attributes[key], condition)}")
    return faults


def _got(value: Any, condition: Condition) -> str:
    """Return ``value, expected ...``, with the types where they are what differs."""
    if condition.op == "json":
        return f"{quote(value)}, expected {_text(condition)}: {_json_fault(value, condition.value)}"
    got = _type(value)
    wanted = _type(condition.value)
    typed = condition.op in ("eq", "ne", "lt", "lte", "gt", "gte") and got != wanted
    kinds = (f" ({got})", f" ({wanted})") if typed else ("", "")
    return f"{quote(value)}{kinds[0]}, expected {_text(condition)}{kinds[1]}"


def bounds_hold(bounds: tuple[Condition, ...], number: float) -> bool:
    """Tell whether *number* is within *bounds*."""
    return all(holds(bound, number) for bound in bounds)


def bounds_text(bounds: tuple[Condition, ...], show: Callable[[float], str] = str) -> str:
    """Return bounds of a number in words: ``at least 1 and at most 3``."""
    given = {bound.op: bound.value for bound in bounds}
    return " and ".join(f"{word} {show(given[op])}" for op, word in _BOUNDS.items() if op in given)


def missed(bounds: tuple[Condition, ...], number: float, show: Callable[[float], str] = str) -> str:
    """Return what *number* should be, as :func:`bounds_text` says it, "" if it is within *bounds*."""
    return "" if bounds_hold(bounds, number) else bounds_text(bounds, show)


_BOUNDS = {
    "eq": "exactly",
    "ne": "any but",
    "gte": "at least",
    "gt": "more than",
    "lte": "at most",
    "lt": "less than",
}


def number_fault(bounds: tuple[Condition, ...], number: int) -> str:
    """Return ``got 2, expected exactly 3``, "" if *number* is within *bounds*."""
    wanted = missed(bounds, number)
    return f"got {number}, expected {wanted}" if wanted else ""
