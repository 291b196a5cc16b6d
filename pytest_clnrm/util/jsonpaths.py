"""JSONPath (RFC 9535): whether a text is one, and what it selects in a document; both end in time.

Paths with filters and descendants may take for ever, or select more than there is memory for. So all of it is
done in a process of its own (:mod:`pytest_clnrm.util.confined`), which alone imports the library.
"""

from __future__ import annotations

import functools
import itertools
import pickle
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_clnrm.util.patterns import time_left_s

if TYPE_CHECKING:
    from pytest_clnrm.util.confined import ConfinedPool

LIMIT_S = 10.0
"""Greatest time of all paths of one text."""
MEMORY_BYTES = 1 << 30
MAX_PATH_CHARS = 1000
MAX_DEPTH = 100
MAX_SELECTED = 100_000
_GRACE_S = 1.0
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_TOKEN = re.compile(r"\bTOKEN_([A-Z_]+)")

Location = tuple["str | int", ...]
"""The names and indices that lead to a value in a document."""


class JsonPath(NamedTuple):
    """What is known of a path before there is a document.

    :param problem: why it is none, "" if it is one.
    :param is_singular: it can select one value at most: it is made of names and indices alone.
    """

    problem: str
    is_singular: bool


class Selected(NamedTuple):
    """What a path selects in a document.

    :param locations: in the order of the RFC.
    :param reached: where nothing is selected, how far the path leads: the first value that the longest
        beginning of it selects.
    :param problem: why it could not be looked up, "" if it could.
    """

    locations: tuple[Location, ...] = ()
    is_singular: bool = False
    reached: Location = ()
    problem: str = ""


@functools.lru_cache(maxsize=1024)
def read_path(path: str) -> JsonPath:
    """Return what is known of a path."""
    if len(path) > MAX_PATH_CHARS:
        return JsonPath(f"it is longer than {MAX_PATH_CHARS} characters", is_singular=False)
    if _depth(path) > MAX_DEPTH:
        return JsonPath(f"it is nested more than {MAX_DEPTH} levels deep", is_singular=False)
    if not path.startswith("$"):
        return JsonPath("it must begin with $, the whole document", is_singular=False)
    read = _ask((None, (path,)))
    return JsonPath(read, is_singular=False) if isinstance(read, str) else JsonPath(*read[0])


def _depth(path: str) -> int:
    """Return how deeply brackets stand in one another: how deep a parser gets depends on the Python."""
    brackets = re.sub(r"[^][()]", "", _QUOTED.sub("", path))
    depths = itertools.accumulate(1 if each in "[(" else -1 for each in brackets)
    return max(depths, default=0)


def select(text: str, paths: Sequence[str]) -> list[Selected]:
    """Return what each of *paths* selects in the JSON document *text*."""
    found = _ask((text, tuple(paths)))
    return [Selected(problem=found) for _ in paths] if isinstance(found, str) else found


@functools.cache
def _pool() -> ConfinedPool:
    from pytest_clnrm.util.confined import ConfinedPool

    return ConfinedPool(f"{__name__}:answer", memory_bytes=MEMORY_BYTES, imports=("jsonpath",))


def _ask(request: tuple[str | None, tuple[str, ...]]) -> Any:
    """Return what :func:`answer` finds, or why it was given up."""
    from pytest_clnrm.util.confined import ConfinedError

    allowed_s = time_left_s(LIMIT_S)
    if allowed_s <= 0:
        return "there is no time left to look it up"
    try:
        reply = _pool().call(pickle.dumps(request), cpu_s=allowed_s + _GRACE_S, wall_s=allowed_s)
    except ConfinedError:
        return f"looking it up takes longer than {allowed_s:.3g} s, or too much memory; select less"
    return pickle.loads(reply)  # noqa: S301 (our own words, only names in it are another's)


def answer(request: bytes) -> bytes:
    """Return what a request asks for; in a process of its own."""
    text, paths = pickle.loads(request)  # noqa: S301 (of the process that started this one)
    found: Any = [_read(path) for path in paths] if text is None else [_select(text, path) for path in paths]
    return pickle.dumps(found)


@functools.lru_cache(maxsize=1024)
def _compiled(path: str) -> Any:
    from jsonpath import JSONPathEnvironment

    return _environment(JSONPathEnvironment).compile(path)


@functools.cache
def _environment(kind: Any) -> Any:
    return kind(strict=True)


def _read(path: str) -> tuple[str, bool]:
    from jsonpath import JSONPathError

    try:
        return "", bool(_compiled(path).singular_query())
    except RecursionError:
        return "it is nested too deeply", False
    except JSONPathError as error:
        # The library names what it has read by its own constants: 'TOKEN_LBRACKET'.
        return _TOKEN.sub(lambda token: token[1].lower(), str(error.args[0])), False


def _select(text: str, path: str) -> Selected:
    from jsonpath import JSONPathError

    try:
        compiled = _compiled(path)
        locations = tuple(_first(match.parts for match in compiled.finditer(text)))
        reached = () if locations else _reached(compiled, text)
    except (JSONPathError, RecursionError) as error:
        return Selected(problem=f"it cannot be looked up: {error.args[0] if error.args else error}")
    if len(locations) > MAX_SELECTED:
        return Selected(problem=f"it selects more than {MAX_SELECTED} values; select less")
    return Selected(locations, is_singular=bool(compiled.singular_query()), reached=reached)


def _reached(compiled: Any, text: str) -> Location:
    """Return the first value that the longest beginning of a path selects."""
    from jsonpath import JSONPath

    for end in range(len(compiled.segments) - 1, 0, -1):
        start = JSONPath(env=compiled.env, segments=compiled.segments[:end])
        for match in start.finditer(text):
            return tuple(match.parts)
    return ()


def _first(locations: Iterable[Location]) -> Iterable[Location]:
    """Yield at most one more than may be selected."""
    for count, location in enumerate(locations):
        if count > MAX_SELECTED:
            return
        yield location
