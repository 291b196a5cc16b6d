"""Counting the lines that match."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from pytest_clnrm.util import patterns
from pytest_clnrm.util.line_count import LineCount
from pytest_clnrm.util.patterns import PatternTimeoutError, within


def test_a_line_is_found_however_it_arrives() -> None:
    """In pieces, with Windows' line ends; not across lines, nor in parts of two streams."""
    count = LineCount(r"^ready (\d+)$")
    count.feed([("stdout", b"not ready 1\nrea")])
    count.feed([("stderr", b"dy 5\n")])
    count.feed([("stdout", b"dy \n")])
    assert (count.matching, count.lines) == (0, 3)
    count.feed([("stdout", b"ready 80\r\nready 8")])
    assert (count.matching, count.lines) == (1, 4)
    count.feed([("stdout", b"1\n")])
    assert (count.matching, count.lines) == (2, 5)


def test_an_unfinished_line_counts_once() -> None:
    """It is looked at once nothing more arrives, and not counted again when it ends."""
    count = LineCount("^login: ")
    count.feed([("stdout", b"login: ")])
    assert count.matching == 0
    count.pause()
    count.pause()
    assert count.matching == 1
    count.feed([("stdout", b"me\nlogin: you")])
    count.pause()
    assert count.matching == 2


def test_a_long_line_costs_no_memory_and_counts_once() -> None:
    """It is searched in parts that overlap, and characters may be cut anywhere."""
    count = LineCount("ürgend")
    for _ in range(20):
        count.feed([("stdout", b"x" * 10_007)])
    count.feed([("stdout", "ü".encode()[:1])])
    count.feed([("stdout", "ü".encode()[1:] + b"rgend" + b"x" * 200_000)])
    assert (count.matching, count.lines) == (1, 0)
    count.feed([("stdout", "ürgend\nürgend\n".encode())])
    assert (count.matching, count.lines) == (2, 2)


@pytest.mark.parametrize("seed", range(20))
def test_the_pieces_do_not_matter(seed: int) -> None:
    """Whatever pieces an output arrives in, the same lines match."""
    choice = random.Random(seed)  # noqa: S311
    lines = [choice.choice(["up", "upper", "", "down", "  up  "]) for _ in range(200)]
    text = "\n".join(lines).encode() + b"\n"
    count = LineCount("up")
    while text:
        size = choice.randint(1, 12)
        count.feed([("stdout", text[:size])])
        text = text[size:]
        if choice.random() < 0.3:
            count.pause()
    assert (count.matching, count.lines) == (sum("up" in line for line in lines), 200)


@pytest.mark.parametrize("piece", [7, 1000, 65536])
@pytest.mark.parametrize("line", [6, 50_000, 10**7])
def test_each_byte_is_searched_once(monkeypatch: pytest.MonkeyPatch, piece: int, line: int) -> None:
    """Also of lines that arrive in many pieces, and of one without an end, but for what its parts share."""
    searched: list[int] = []

    def matching(_pattern: str, texts: list[str]) -> list[bool]:
        searched.extend(map(len, texts))
        return [False] * len(texts)

    monkeypatch.setattr("pytest_clnrm.util.line_count.matching", matching)
    count = LineCount("never")
    data = (b"x" * (line - 1) + b"\n") * (400_000 // line) or b"x" * 400_000
    for at in range(0, len(data), piece):
        count.feed([("stdout", data[at : at + piece])])
    assert len(data) * 0.8 <= sum(searched) <= len(data) * 1.02


def test_a_pattern_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the time that there is for it; that is counted by a clock that stands."""
    monkeypatch.setattr(patterns, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    monkeypatch.setattr(patterns, "LEAST_S", 0.25)
    count = LineCount("(a+)+$")
    with within(0), pytest.raises(PatternTimeoutError, match=r"'\(a\+\)\+\$' took longer than 0\.25 s"):
        count.feed([("stdout", b"a" * 40 + b"!\n")])


def test_lines_are_searched_together() -> None:
    """Those that arrive together, in one other process, where the pattern might take long."""
    count = LineCount("(ab|c)+d")
    count.feed([("stdout", b"abcd\n" * 50_000 + b"abc\n" * 50_000)])
    assert (count.matching, count.lines) == (50_000, 100_000)
