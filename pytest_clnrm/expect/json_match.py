"""JSON in outputs: parsing with a place for what is wrong, partial matching, and pointers (RFC 6901)."""

from __future__ import annotations

import json
import re
from typing import Any

from pytest_clnrm.expect.texts import quote

__all__ = ["NotJsonError", "json_differences", "parse_json", "resolve_pointer"]

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
    """Return the first differences, each ``path: what``; an empty list if *got* matches.

    An object matches if each key of the expected one is there and matches; further keys are allowed. A
    list matches if it has as many elements and each matches. ``1`` and ``1.0`` are the same number;
    ``true`` is none.
    """
    found: list[str] = []
    _compare(expected, got, "$", found, limit)
    return found


def _compare(expected: Any, got: Any, path: str, found: list[str], limit: int) -> None:
    """Add the differences below *path* to *found*, until there are *limit*."""
    if len(found) >= limit:
        return
    if isinstance(expected, dict) and isinstance(got, dict):
        for key, value in expected.items():
            if key in got:
                _compare(value, got[key], _member(path, key), found, limit)
            elif len(found) < limit:
                found.append(f"{_member(path, key)}: missing, expected {quote(value)}")
    elif isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            found.append(f"{path}: expected {len(expected)} elements, got {len(got)}")
            return
        for index, (one, other) in enumerate(zip(expected, got, strict=True)):
            _compare(one, other, f"{path}[{index}]", found, limit)
    elif not _same(expected, got):
        found.append(f"{path}: expected {quote(expected)}, got {quote(got)}")


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
        raise LookupError(f"{quote(pointer)} is no JSON pointer: it must be empty or start with '/'")
    done = ""
    for raw in pointer[1:].split("/"):
        part = raw.replace("~1", "/").replace("~0", "~")
        place = quote(done) if done else "the top"
        if isinstance(value, dict):
            if part not in value:
                raise LookupError(f"no key {quote(part)} at {place}; keys: {_names(value)}")
            value = value[part]
        elif isinstance(value, list):
            if not re.fullmatch(r"0|[1-9][0-9]*", part) or int(part) >= len(value):
                raise LookupError(f"no index {quote(part)} at {place}: a list of {len(value)} elements")
            value = value[int(part)]
        else:
            raise _no_container(value, part, place)
        done += f"/{raw}"
    return value


def _no_container(value: Any, part: str, place: str) -> LookupError:
    """Return the error of a pointer that goes on below a plain value."""
    return LookupError(f"no {quote(part)} at {place}: {quote(value)} is neither object nor list")


def _names(value: dict[str, Any], limit: int = 10) -> str:
    """Return the keys of an object, the first *limit*."""
    names = [quote(key) for key in list(value)[:limit]]
    return ", ".join(names + ["..."] * (len(value) > limit)) or "none"
