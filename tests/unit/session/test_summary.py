"""Which lines the end of a run tells, of all that its parts have to say."""

from __future__ import annotations

from argparse import Namespace
from unittest.mock import Mock

import pytest

from pytest_clnrm.session.summary import MAX_LINES, Note, Summary, Weight, chosen, some, wrong

MANY = [Note(f"hint {number}", Weight.HINT) for number in range(4)]
MANY += [Note("the report", Weight.FACT), Note("how long", Weight.DETAIL)]
MANY += [wrong(f"wrong {number}", "more of it") for number in range(5)]


def texts(verbosity: int) -> list[str]:
    """Return what is told."""
    return [each.text for each in chosen(MANY, verbosity)]


def test_at_most_eight_lines() -> None:
    """What is wrong comes first and facts last; hints are left out first, and are counted."""
    wrongs = [f"wrong {number}" for number in range(5)]
    assert texts(0) == [*wrongs, "hint 0", "the report", "3 more lines with -v"]
    assert len(texts(0)) == MAX_LINES


@pytest.mark.parametrize(
    ("verbosity", "told"),
    [(1, len(MANY)), (-1, 6), (-2, 5)],
    ids=["-v tells all", "-q no hints", "-qq what is wrong"],
)
def test_verbosity(verbosity: int, told: int) -> None:
    """More is told with -v, and less with -q."""
    assert len(texts(verbosity)) == told


def test_a_flood_of_what_is_wrong() -> None:
    """It is cut off too, so that pytest's own lines stay in sight."""
    told = chosen([wrong(str(number)) for number in range(100)], 0)
    assert [each.text for each in told] == [*map(str, range(7)), "93 more lines with -v"]


def printed(verbose: int, *, no_summary: bool = False) -> list[tuple[str, dict[str, bool]]]:
    """Return lines and colours of a summary."""
    reporter, summary = Mock(), Summary()
    reporter.config.option = Namespace(no_summary=no_summary, verbose=verbose)
    summary.tellers += [lambda: [Note("a fact")], lambda: [wrong("a \x1b[93m fault", "why", colour="red")]]
    summary.pytest_terminal_summary(reporter)
    return [(call.args[0], call.kwargs) for call in reporter.line.call_args_list]


def test_details_and_colours() -> None:
    """Details stand below their line with -v; nothing in them is obeyed by a terminal."""
    fault = ("clnrm: a \\x1b[93m fault", {"red": True})
    fact: tuple[str, dict[str, bool]] = ("clnrm: a fact", {})
    assert printed(0) == [fault, fact]
    assert printed(1) == [fault, ("    why", {}), fact]
    assert printed(1, no_summary=True) == []


def test_the_only_one_of_several_is_told_once() -> None:
    """A detail that stands in its line already is not told again."""
    reporter, summary = Mock(), Summary()
    reporter.config.option = Namespace(no_summary=False, verbose=1)
    summary.tellers.append(lambda: [wrong("passing again: a", "a", "b")])
    summary.pytest_terminal_summary(reporter)
    assert [call.args[0] for call in reporter.line.call_args_list] == ["clnrm: passing again: a", "    b"]


def test_names_are_counted() -> None:
    """Three are named."""
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some(list("abcde")) == "a, b, c and 2 more"
