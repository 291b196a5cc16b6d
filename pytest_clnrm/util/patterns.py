"""Regular expressions and globs that others wrote: they end in time, whatever they say.

Python's :mod:`re` may take for ever, and nothing can interrupt it. So a pattern is matched in a process of
its own (:mod:`pytest_clnrm.util.confined`), which is ended when the time is over. Its syntax is that of
:mod:`re`, all of it. Several threads may match at once, each in its own process; these are kept.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import re
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pytest_clnrm.util.confined import ConfinedPool

LIMIT_S = 10.0
"""Greatest time of one search."""
LEAST_S = 1.0
"""Time for all that is matched even where that of the step is over: what is no attack takes much less."""
COMPILE_S = 2.0
MEMORY_BYTES = 1 << 30
_PLAIN_CHARS = 1000
_PLAIN_WORK = 1 << 20
_SHORT_CHARS = 256
_TOGETHER_CHARS = 64 * _SHORT_CHARS
# With a flag for case, sets with ranges take long to compile; without it, time grows with the length.
_FLAGS = re.compile(r"\(\?[a-zA-Z]*i")
_REPEATED_GROUP = re.compile(r"\)[*+?{]")

_until_s: ContextVar[float | None] = ContextVar("clnrm_patterns_until_s", default=None)


class PatternTimeoutError(Exception):
    """A pattern took too long; the message says which one, and what to do.

    :ivar was_tried: False if there was no time for it at all, so that it is not at fault.
    """

    def __init__(self, pattern: str, text_chars: int, allowed_s: float) -> None:
        self.was_tried = allowed_s > 0
        shown = pattern if len(pattern) <= 200 else f"{pattern[:200]}..."  # noqa: PLR2004 enough to find it
        limit = (
            f"took longer than {allowed_s:.3g} s, or too much memory," if allowed_s else "had no time left"
        )
        super().__init__(
            f"the regular expression {shown!r} {limit} on a text of {text_chars} characters; write it so "
            f"that it can match in one way only (no repetition within a repetition, as in (a+)+, and nothing "
            f"like \\s+x), or let the command print less"
        )


class Found(NamedTuple):
    """A match.

    :param start: its position.
    :param text: all of it.
    :param groups: how many groups the pattern has.
    :param first: the first of them, None if it took no part or there is none.
    """

    start: int
    text: str
    groups: int
    first: str | None


@contextlib.contextmanager
def within(deadline_s: float) -> Iterator[None]:
    """Let all that this thread matches end at a ``time.monotonic()`` moment, not before :data:`LEAST_S`."""
    token = _until_s.set(max(deadline_s, time.monotonic() + LEAST_S))
    try:
        yield
    finally:
        _until_s.reset(token)


def search(pattern: str, text: str, *, start: int = 0, flags: int = 0) -> Found | None:
    """Return the first match of *pattern* anywhere in *text*, as :func:`re.search` finds it.

    :param start: position from which on it is searched; ``^`` still is the start of *text*.
    :raises re.error: if *pattern* is none.
    :raises PatternTimeoutError: if it takes too long.
    """
    allowed_s = _allowed_s(pattern, len(text))
    if is_tame(pattern, text):
        return _found(re.compile(pattern, flags), text, start)
    found = _ask((pattern, text, start, flags), len(text), allowed_s)
    return None if found is None else Found(*found)


def matching(pattern: str, texts: Sequence[str]) -> list[bool]:
    """Tell of each text whether *pattern* matches anywhere in it; all of them have the time of one search.

    :raises re.error: if *pattern* is none.
    :raises PatternTimeoutError: if it takes too long.
    """
    chars = sum(map(len, texts))
    allowed_s = _allowed_s(pattern, chars)
    if chars <= _TOGETHER_CHARS and is_tame(pattern, max(texts, key=len, default="")):
        found = re.compile(pattern).search
        return [found(text) is not None for text in texts]
    matched: list[bool] = _ask((pattern, list(texts), 0, 0), chars, allowed_s)
    return matched


def replaced(pattern: str, replacement: str, text: str) -> str:
    """Return *text* with each match of *pattern* replaced.

    :param replacement: taken as it is.
    :raises re.error: if *pattern* is none.
    :raises PatternTimeoutError: if it takes too long.
    """
    made: str = _ask((pattern, (text, replacement), 0, 0), len(text), _allowed_s(pattern, len(text)))
    return made


def _allowed_s(pattern: str, text_chars: int) -> float:
    """Return how long a search may take now.

    What is tame takes little time, but there may be very many such searches.

    :raises PatternTimeoutError: if there is no time left.
    """
    allowed_s = time_left_s(LIMIT_S)
    if allowed_s <= 0:
        raise PatternTimeoutError(pattern, text_chars, 0)
    return allowed_s


def time_left_s(limit_s: float) -> float:
    """Return how long something that others wrote may take now: *limit_s*, or what :func:`within` leaves."""
    until_s = _until_s.get()
    return limit_s if until_s is None else min(limit_s, until_s - time.monotonic())


def is_tame(pattern: str, text: str) -> bool:
    """Tell whether *pattern* cannot take long on *text*, so that it may be matched in this process.

    Without a repeated group, and without alternatives within groups, the time is at most a power of the
    text's length, of one more than there are repetitions.
    """
    return (
        max(len(text), len(pattern)) <= _SHORT_CHARS
        and sum(map(pattern.count, "*+?{")) <= 2  # noqa: PLR2004 some ten million steps then
        and not ("(" in pattern and "|" in pattern)
        and not _REPEATED_GROUP.search(pattern)
    )


def _found(compiled: re.Pattern[str], text: str, start: int) -> Found | None:
    match = compiled.search(text, start)
    if match is None:
        return None
    return Found(match.start(), match.group(), compiled.groups, match.group(1) if compiled.groups else None)


def problem_of(pattern: str) -> str:
    """Return why *pattern* is no regular expression, "" if it is one."""
    try:
        if len(pattern) <= _PLAIN_CHARS and not _FLAGS.search(pattern):
            re.compile(pattern)
        else:
            _ask((pattern, None, 0, 0), 0, COMPILE_S)
    except PatternTimeoutError:
        return f"it takes longer than {COMPILE_S:g} s, or too much memory, to be read; write a shorter one"
    except RecursionError:
        return "it is nested too deeply"
    except (re.error, OverflowError) as error:
        return str(error)
    return ""


def matches_glob(name: str, glob: str) -> bool:
    """Tell whether *glob* matches *name*, as :func:`fnmatch.fnmatchcase` does.

    :raises PatternTimeoutError: if it takes too long.
    """
    if len(name) * len(glob) <= _PLAIN_WORK:
        _allowed_s(glob, len(name))
        return _compiled(glob).match(name) is not None
    return search(rf"\A{fnmatch.translate(glob)}", name) is not None


@functools.lru_cache(maxsize=4096)
def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob))


@functools.cache
def _pool() -> ConfinedPool:
    from pytest_clnrm.util.confined import ConfinedPool

    return ConfinedPool("pytest_clnrm.util.patterns:answer", memory_bytes=MEMORY_BYTES)


def _ask(
    request: tuple[str, str | list[str] | tuple[str, str] | None, int, int], text_chars: int, allowed_s: float
) -> Any:
    """Return what :func:`answer` finds, in a process that is idle or a new one.

    :param text_chars: how much text is searched, for the message.
    :raises re.error: if the pattern is none.
    :raises PatternTimeoutError: if it takes too long.
    """
    import pickle

    from pytest_clnrm.util.confined import ConfinedError

    # A process whose answer nobody waits for is ended at once; its own limit is for when this one ends first.
    try:
        reply = _pool().call(pickle.dumps(request), cpu_s=allowed_s + LEAST_S, wall_s=allowed_s)
    except ConfinedError:
        raise PatternTimeoutError(request[0], text_chars, allowed_s) from None
    found, problem = pickle.loads(reply)  # noqa: S301 (our own words, only the texts in it are another's)
    if problem is not None:
        raise re.error(problem)
    return found


def close() -> None:
    """End the processes that wait for a pattern."""
    _pool().close()


def answer(request: bytes) -> bytes:
    """Return the match that a request asks for, of a list whether each matches; in a process of its own."""
    import pickle

    pattern, text, start, flags = pickle.loads(request)  # noqa: S301 (of the process that started this one)
    try:
        compiled = re.compile(pattern, flags)
        if isinstance(text, tuple):
            searched, replacement = text
            return pickle.dumps((compiled.sub(lambda _: replacement, searched), None))
        if isinstance(text, list):
            return pickle.dumps(([compiled.search(each) is not None for each in text], None))
        found = None if text is None else _found(compiled, text, start)
    except RecursionError:
        return pickle.dumps((None, "it is nested too deeply"))
    except (re.error, OverflowError) as error:
        return pickle.dumps((None, str(error)))
    return pickle.dumps((None if found is None else tuple(found), None))
