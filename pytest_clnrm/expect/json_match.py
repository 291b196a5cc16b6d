"""JSON in outputs: parsing with a place for what is wrong, partial matching, and pointers (RFC 6901)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from pytest_clnrm.expect.texts import QUOTE_LIMIT, quote

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


def json_differences(expected: Any, got: Any, limit: int = 5) -> list[str]:
    """Return the first differences, each ``path: what``, then how many more; empty if *got* matches.

    An object matches if each key of the expected one is there and matches; further keys are allowed. An
    array matches if it has as many elements and each matches. ``1`` and ``1.0`` are the same number;
    ``true`` is none.
    """
    found = _Differences(limit)
    found.compare(expected, got, "$")
    return found.texts + ([f"and {found.more} more"] if found.more else [])


class _Differences:
    """The first *limit* differences of two JSON values, and how many more there are."""

    def __init__(self, limit: int) -> None:
        self.texts: list[str] = []
        self.more = 0
        self._limit = limit

    def _add(self, path: str, tell: Callable[[], str]) -> None:
        if len(self.texts) < self._limit:
            self.texts.append(f"{path}: {tell()}")
        else:
            self.more += 1

    def compare(self, expected: Any, got: Any, path: str) -> None:
        """Add the differences below *path*."""
        if isinstance(expected, dict) and isinstance(got, dict):
            for key, value in expected.items():
                below = _member(path, key)
                if key in got:
                    self.compare(value, got[key], below)
                else:
                    self._add(below, partial(_missing, value))
        elif isinstance(expected, list) and isinstance(got, list):
            if len(expected) != len(got):
                self._add(path, lambda: f"expected {len(expected)} elements, got {len(got)}")
                return
            for index, (one, other) in enumerate(zip(expected, got, strict=True)):
                self.compare(one, other, f"{path}[{index}]")
        elif not _same(expected, got):
            self._add(path, lambda: _difference(expected, got))


def _missing(expected: Any) -> str:
    return f"missing, expected {json_text(expected)}"


def _difference(expected: Any, got: Any) -> str:
    """Say how two values differ; where they are of two kinds, with these."""
    if _kind(expected) == _kind(got):
        return f"expected {json_text(expected)}, got {json_text(got)}"
    return f"expected {_called(expected)}, got {_called(got)}"


def _called(value: Any) -> str:
    kind = _kind(value)
    return json_text(value) if kind in {"null", "boolean"} else f"the {kind} {json_text(value)}"


def _kind(value: Any) -> str:
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
    text = json.dumps(cut, ensure_ascii=False, default=str)
    if len(text) <= QUOTE_LIMIT + 2:
        return text
    return f'{text[:QUOTE_LIMIT]}..."' if isinstance(value, str) else f"{text[:QUOTE_LIMIT]}..."


def _same(expected: Any, got: Any) -> bool:
    """Tell whether two values that are not both objects or both lists are the same JSON value."""
    numbers = (int, float)
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, numbers) and isinstance(got, numbers):
        return expected == got
    return type(expected) is type(got) and bool(expected == got)


def _member(path: str, key: str) -> str:
    """Return the path of a member: ``$.name``, or ``$["a key"]``."""
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
                raise LookupError(f"no key {json_text(part)} at {place}; keys: {_names(value)}")
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


def _names(value: dict[str, Any], limit: int = 10) -> str:
    """Return the keys of an object, the first *limit*."""
    names = [json_text(key) for key in list(value)[:limit]]
    return ", ".join(names + ["..."] * (len(value) > limit)) or "none"
