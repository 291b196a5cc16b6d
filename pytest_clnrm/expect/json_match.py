"""JSON in outputs: parsing with a place for what is wrong, partial matching, and pointers (RFC 6901)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from pytest_clnrm.expect.texts import QUOTE_LIMIT, quote
from pytest_clnrm.model.captured import captured_text

SHOWN = 5
"""How many differences are told."""
MAX_STEPS = 1_000_000
_CHARACTERS_A_STEP = 100
"""So many characters of a text are parsed in about the time in which two values are compared."""
_WRITTEN = {
    kind: re.compile(rf"\s{{0,9}}{written}")
    for kind, written in {
        "object": r"\{",
        "array": r"\[",
        "number": r"[-0-9][0-9.eE+-]{0,400}\s{0,9}\Z",
        "boolean": r"(true|false)\s{0,9}\Z",
        "null": r"null\s{0,9}\Z",
    }.items()
}
"""What a text that is a value of each kind must match; there is none for strings."""
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class NotJsonError(ValueError):
    """A text is no JSON; its message says why and where."""


def parse_json(text: str) -> Any:
    """Return the value that *text* holds; white space around it is allowed, NaN and Infinity are not.

    :raises NotJsonError: if it is no JSON.
    """
    if not text.strip():
        raise NotJsonError("it is empty")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        near = quote(text[error.pos : error.pos + 30])
        at_end = not text[error.pos :].strip()
        place = f"line {error.lineno} column {error.colno}"
        raise NotJsonError(f"{error.msg} at {place}, {'at the end' if at_end else f'near {near}'}") from None
    except RecursionError:
        raise NotJsonError("it is nested too deeply") from None
    except ValueError as error:
        raise NotJsonError(str(error)) from None


def _refuse_constant(name: str) -> Any:
    """Refuse what Python's parser takes beyond the standard."""
    raise NotJsonError(f"{name} is no JSON value")


class TooMuchWorkError(Exception):
    """Comparing was given up."""

    def __init__(self) -> None:
        super().__init__(f"comparing takes more than {MAX_STEPS} steps; check a smaller part of the document")


class Work:
    """How much more may be compared for one text: a document is another's, and may be made to take long."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def spend(self, steps: int = 1) -> None:
        """Count the comparison of one value, or of as many as it takes the time of.

        :raises TooMuchWorkError: if there are too many.
        """
        self._left -= steps
        if self._left < 0:
            raise TooMuchWorkError


def json_differences(expected: Any, got: Any, limit: int = SHOWN) -> list[str]:
    """Return the first differences, each ``path: what``, then how many more; empty if *got* matches.

    An object matches if each key of the expected one is there and matches; further keys are allowed. An
    array matches if it has as many elements and each matches. ``1`` and ``1.0`` are the same number;
    ``true`` is none.
    """
    found = Differences(limit)
    found.compare(expected, got, "$")
    return found.told()


class Doubt(NamedTuple):
    """Values differ only as they could not be compared.

    :param path: of the value that could not.
    :param why: returns the reason, and what to write instead.
    """

    path: str
    why: Callable[[], str]


class Differences:
    """The first *limit* differences of JSON values, and how many there are in all.

    What could not be compared is a difference, too, so that no check passes by it. A check that passes if
    there is one asks for :attr:`doubt`.

    :param work: is spent by all comparisons; None for what has no need of a limit.
    """

    def __init__(self, limit: int = SHOWN, work: Work | None = None) -> None:
        self.texts: list[str] = []
        self.count = 0
        self._limit = limit
        self._work = work
        self._doubts: int = 0
        self._first_doubt: Doubt | None = None

    @property
    def doubt(self) -> Doubt | None:
        """Return what could not be compared; None if nothing differs, or something does in any case."""
        return self._first_doubt if self.count == self._doubts else None

    def told(self) -> list[str]:
        """Return the first differences, then how many more there are."""
        more = self.count - len(self.texts)
        return self.texts + ([f"and {more} more"] if more else [])

    def add(self, path: str, tell: Callable[[], str], doubt: Doubt | None = None) -> None:
        """Add a difference at *path*; what it is, is asked for if it is shown.

        :param doubt: it is one only as something could not be compared.
        """
        if len(self.texts) < self._limit:
            self.texts.append(f"{path}: {tell()}")
        self.count += 1
        if doubt is not None:
            self._doubts += 1
            self._first_doubt = self._first_doubt or doubt

    def give_up(self, path: str, why: str) -> None:
        """Tell at any rate that it could not be judged."""
        self.texts.append(f"{path}: {why}")
        self.count += 1

    def compare(
        self, expected: Any, got: Any, path: str, *, exact: bool = False, tolerance: float = 0.0
    ) -> None:
        """Add the differences below *path*.

        :param exact: objects must have no further keys.
        :param tolerance: by how much numbers may differ.
        """
        if self._work is not None:
            self._work.spend()
        below = partial(self.compare, exact=exact, tolerance=tolerance)
        if isinstance(expected, dict) and isinstance(got, dict):
            for key, value in expected.items():
                if key in got:
                    below(value, got[key], member_path(path, key))
                else:
                    self.add(member_path(path, key), partial(_missing, value))
            for key, value in got.items() if exact else ():
                if key not in expected:
                    self.add(member_path(path, key), partial(unexpected, value))
        elif isinstance(expected, list) and isinstance(got, list):
            if len(expected) != len(got):
                self.add(path, partial(_lengths, expected, got))
                return
            for index, (one, other) in enumerate(zip(expected, got, strict=True)):
                below(one, other, member_path(path, index))
        elif not _same(expected, got, tolerance):
            alike = self._alike(expected, got, exact=exact, tolerance=tolerance)
            doubt = Doubt(path, partial(_only_written, expected, got)) if alike else None
            self.add(path, lambda: _difference(expected, got, tolerance), doubt)

    def _alike(self, expected: Any, got: Any, *, exact: bool, tolerance: float) -> bool:
        """Tell whether one value is a text that is the other one, read as JSON: templates give text."""
        if isinstance(expected, str) == isinstance(got, str):
            return False
        text, other = (expected, got) if isinstance(expected, str) else (got, expected)
        if not _WRITTEN[kind_of(other)].match(text):
            return False
        if self._work is not None:
            self._work.spend(len(text) // _CHARACTERS_A_STEP)
        try:
            value = parse_json(text)
        except NotJsonError:
            return False
        found = Differences(0, self._work)
        one, two = (value, got) if isinstance(expected, str) else (expected, value)
        found.compare(one, two, "", exact=exact, tolerance=tolerance)
        return not found.count


def _missing(expected: Any) -> str:
    return f"missing, expected {json_text(expected)}"


def unexpected(got: Any) -> str:
    """Say that a value should not be there."""
    return f"expected nothing, got {json_text(got)}"


def _lengths(expected: list[Any], got: list[Any]) -> str:
    return (
        f"expected {len(expected)} elements, got {len(got)} "
        "(arrays are compared whole; jsonpath checks parts)"
    )


def _difference(expected: Any, got: Any, tolerance: float) -> str:
    """Say how two values differ; where they are of two kinds, with these."""
    kind = kind_of(expected)
    if kind != kind_of(got):
        # Templates give text, though what they name is a number.
        alike = kind == "string" and captured_text(got) == expected
        hint = "; as_text would compare how it is written" if alike else ""
        if (kind, kind_of(got)) == ("object", "array"):
            hint = "; jsonpath checks single elements of an array"
        return f"expected {called(expected)}, got {called(got)}{hint}"
    within = f" ± {json_text(tolerance)}" if tolerance and kind == "number" else ""
    return f"expected {json_text(expected)}{within}, got {json_text(got)}"


def _only_written(expected: Any, got: Any) -> str:
    return (
        f"{called(expected)} and {called(got)} are only written differently; write the value in its kind, "
        "which it keeps if it is captured by json, or compare how it is written, by as_text"
    )


def called(value: Any) -> str:
    """Return a value with what JSON calls its kind: ``the number 3``, ``null``."""
    kind = kind_of(value)
    return json_text(value) if kind in {"null", "boolean"} else f"the {kind} {json_text(value)}"


def kind_of(value: Any) -> str:
    """Return what JSON calls a value of this kind."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "string"


def json_text(value: Any) -> str:
    """Return *value* as JSON on one line, at most about ``QUOTE_LIMIT`` characters."""
    # A huge text is written only to be cut, so cut before it.
    cut = value[: QUOTE_LIMIT + 1] if isinstance(value, str) else value
    try:
        text = json.dumps(cut, ensure_ascii=False, default=str)
    except RecursionError:
        return f"(an {kind_of(value)} that is nested too deeply to be shown)"
    if len(text) <= QUOTE_LIMIT + 2:
        return text
    return f'{text[:QUOTE_LIMIT]}..."' if isinstance(value, str) else f"{text[:QUOTE_LIMIT]}..."


def _same(expected: Any, got: Any, tolerance: float) -> bool:
    """Tell whether two values that are not both objects or both lists are the same JSON value."""
    numbers = (int, float)
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, numbers) and isinstance(got, numbers):
        return expected == got or (tolerance > 0 and _near(expected, got, tolerance))
    return type(expected) is type(got) and bool(expected == got)


def _near(expected: float, got: float, tolerance: float) -> bool:
    try:
        return abs(expected - got) <= tolerance
    except OverflowError:  # an integer that no float can hold
        return False


def member_path(path: str, key: str | int) -> str:
    """Return the path of a member or element: ``$.name``, ``$["a key"]``, ``$[0]``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if _PLAIN_KEY.match(key) else f"{path}[{json.dumps(key, ensure_ascii=False)}]"


def resolve_pointer(value: Any, pointer: str) -> Any:
    """Return what the JSON pointer *pointer* ("" or "/a/0/b~1c") names in *value*.

    :raises LookupError: with the part of the pointer that names nothing, and what there is instead.
    """
    if not pointer:
        return value
    if not pointer.startswith("/"):
        raise LookupError(f"{json_text(pointer)} is no JSON pointer: it must be empty or start with '/'")
    done = ""
    for raw in pointer[1:].split("/"):
        part = raw.replace("~1", "/").replace("~0", "~")
        place = json_text(done) if done else "the top"
        if isinstance(value, dict):
            if part not in value:
                raise LookupError(f"no key {json_text(part)} at {place}; keys: {names_of(value)}")
            value = value[part]
        elif isinstance(value, list):
            if not re.fullmatch(r"0|[1-9][0-9]*", part) or int(part) >= len(value):
                raise LookupError(f"no index {json_text(part)} at {place}: an array of {len(value)} elements")
            value = value[int(part)]
        else:
            raise _no_container(value, part, place)
        done += f"/{raw}"
    return value


def _no_container(value: Any, part: str, place: str) -> LookupError:
    """Return the error of a pointer that goes on below a plain value."""
    return LookupError(f"no {json_text(part)} at {place}: {json_text(value)} is neither object nor array")


def number_in(text: str) -> int | float:
    """Return the number that a text is in JSON's notation.

    :raises ValueError: if it is none.
    """
    try:
        value = parse_json(text)
    except NotJsonError:
        value = None
    if kind_of(value) != "number":
        raise ValueError(text)
    number: int | float = value
    return number


def names_of(value: dict[str, Any], limit: int = 10) -> str:
    """Return the keys of an object, the first *limit*."""
    names = [json_text(key) for key in list(value)[:limit]]
    return ", ".join(names + ["..."] * (len(value) > limit)) or "none"
