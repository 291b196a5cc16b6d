"""Patterns that others wrote: they match as Python's own do, and end in time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_clnrm.util import confined, patterns
from pytest_clnrm.util.patterns import (
    PatternTimeoutError,
    is_tame,
    matches_glob,
    matching,
    problem_of,
    replaced,
    search,
    within,
)

TOO_LONG = {
    "a repetition within a repetition": (r"(a+)+$", "a" * 40 + "b"),
    "alternatives that are equal": (r"(a|a)*$", "a" * 40 + "b"),
    "alternatives without a repetition": ("(?:a|a)" * 40 + "b", "a" * 41),
    "a repetition at each place": (r"\s+x", " " * 3_000_000),
    "three repetitions": (r"a*a*a*b", "a" * 20_000),
    "a group that is named again": (r"(a*)(a*)(a*)\1\2\3b", "a" * 1500),
    "within a look ahead": (r"(?=(a+)+$)", "a" * 40 + "b"),
    "with a flag": (r"(?i)(a+)+$", "A" * 40 + "b"),
    "much memory": (r"(?:(?:a|b)|c)*d", "a" * 40_000_000),
}


@contextmanager
def little_time() -> Iterator[None]:
    """Let a search end soon: for those that would never end. Any other has its usual time, however busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "LIMIT_S", 0.3)
        patch.setattr(patterns, "COMPILE_S", 0.3)
        yield


@pytest.mark.parametrize(("pattern", "text"), TOO_LONG.values(), ids=TOO_LONG)
def test_what_takes_too_long_ends(pattern: str, text: str) -> None:
    """It ends at its limit, with an error that names the pattern, the text's length and the remedy."""
    with little_time(), pytest.raises(PatternTimeoutError) as raised:
        search(pattern, text)
    assert f"the regular expression {pattern[:200]!r}"[:150] in str(raised.value)
    assert f"on a text of {len(text)} characters; write it so that it can match in one way" in str(
        raised.value
    )
    assert search("b|c", "abc" * 1000)


@pytest.mark.parametrize(
    "pattern", ["(?i)" + "[\u0100-\U0010ffff]" * 1000, "a|" * 2_000_000], ids=["ranges", "alternatives"]
)
def test_what_takes_too_long_to_be_read_is_no_pattern(pattern: str) -> None:
    """Reading a pattern has a limit too."""
    with little_time():
        problem = problem_of(pattern)
    assert problem == "it takes longer than 0.3 s, or too much memory, to be read; write a shorter one"


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("a+", ""),
        ("(?i)a", ""),
        ("x" * 2000, ""),
        ("(", "missing ), unterminated subpattern at position 0"),
        ("(?i)(", "missing ), unterminated subpattern at position 4"),
        ("a{99999999999}", "the repetition number is too large"),
        ("(" * 5000 + ")" * 5000, "it is nested too deeply"),
    ],
    ids=range(7),
)
def test_a_problem_is_told(pattern: str, problem: str) -> None:
    """It is what Python says of the pattern."""
    assert problem_of(pattern) == problem


CASES = [
    (r"b", "abc", 0),
    (r"(b)(c)", "abc", 0),
    (r"(x)?c", "abc", 0),
    (r"^b", "abc", 1),
    (r"(?<=a)b\Z", "ab", 1),
    (r"(?s)a.b", "a\nb" * 200, 0),
    (r"(\ud800)", "\ud800" * 300, 0),
    (r"x", "abc" * 100, 0),
    (r"(?:a|b)+(c)", "abc" * 100, 2),
]


@pytest.mark.parametrize("tame", [True, False], ids=["here", "elsewhere"])
@pytest.mark.parametrize(("pattern", "text", "start"), CASES, ids=range(len(CASES)))
def test_a_match_is_that_of_python(
    pattern: str, text: str, start: int, *, tame: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process and in another one, with start and first group."""
    monkeypatch.setattr(patterns, "is_tame", lambda *_: tame)
    expected, found = re.compile(pattern).search(text, start), search(pattern, text, start=start)
    assert (expected is None) == (found is None)
    if expected and found:
        first = expected.group(1) if expected.re.groups else None
        assert found == (expected.start(), expected.group(), expected.re.groups, first)


def test_a_value_that_breaks_a_pattern_is_an_error() -> None:
    """The error is Python's."""
    with pytest.raises(re.error, match="missing"):
        search("(", "a" * 1000)


def test_only_what_ends_soon_is_matched_here() -> None:
    """A short text, and nothing of which there may be two to the power of something."""
    assert is_tame(r"^ready: .*\d$", "ready")
    for pattern, text in TOO_LONG.values():
        assert not is_tame(pattern, text)
    assert not is_tame("a", "a" * 300)


def test_many_short_texts_are_not_matched_here() -> None:
    """Each of them ends soon, and all of them together do not."""
    with little_time(), pytest.raises(PatternTimeoutError, match="took longer than"):
        matching(".*.*x", ["a" * 250] * 10_000)


@settings(max_examples=200, deadline=None)
@given(glob=st.text("ab*?[]!-", max_size=8), name=st.text("ab-]", max_size=8))
def test_a_glob_is_that_of_python(glob: str, name: str) -> None:
    """As in fnmatch."""
    assert matches_glob(name, glob) == fnmatchcase(name, glob)


def test_a_long_glob_ends() -> None:
    """A name of a million characters, as a program may send it, does not make it hang."""
    with little_time(), pytest.raises(PatternTimeoutError):
        matches_glob("a" * 1_000_000, "*" + "a?" * 500 + "b")
    assert matches_glob("a" * 1_000_000 + "b", "*b")


def test_the_time_of_all_searches_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the time of the step is over, a little is left for all of its searches together."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(patterns, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(patterns, "LEAST_S", 30.0)
    with within(clock.now - 5):
        assert search("a|b", "b" * 300)
        clock.now += 29.75
        with pytest.raises(PatternTimeoutError, match=r"took longer than 0\.25 s"):
            search(*TOO_LONG["a repetition within a repetition"])
        clock.now += 0.25
        with pytest.raises(PatternTimeoutError, match="had no time left"):
            search("a|b", "b" * 300)
        for tame in (
            lambda: search("a", "a"),
            lambda: matching("a", ["a"]),
            lambda: matches_glob("a", "a"),
        ):
            with pytest.raises(PatternTimeoutError, match="had no time left"):
                tame()
    assert search("a|b", "b" * 300)


def test_processes_are_used_again_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One serves one search after the other; it is gone at the end."""
    made: list[str] = []

    class Counted(confined.Confined):
        def __init__(self, function: str, *, memory_bytes: int, imports: Sequence[str] = ()) -> None:
            made.append(function)
            super().__init__(function, memory_bytes=memory_bytes, imports=imports)

    patterns.close()
    monkeypatch.setattr(confined, "Confined", Counted)
    for _ in range(3):
        assert search("a|b", "b" * 300)
    assert len(made) == 1
    patterns.close()
    assert patterns._pool()._idle == []


def test_replacing_is_confined_too() -> None:
    """Each match gives way to the text as it is; a pattern that would never end is given up."""
    assert replaced(r"(\d+)", r"\1", "a1 b22") == r"a\1 b\1"
    with pytest.raises(re.error):
        replaced("(", "", "a")
    with little_time(), pytest.raises(PatternTimeoutError):
        replaced(r"(a+)+$", "", "a" * 40 + "b")
