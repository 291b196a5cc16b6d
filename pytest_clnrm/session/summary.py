"""What is told at the end of a run, of all its parts: at most eight lines, the most important ones.

Whoever has something to tell gives a function to :func:`tell_at_end`. What is behind a line is shown below it
with ``-v``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from typing import TYPE_CHECKING

from pytest_clnrm.util.terminal_text import shown

if TYPE_CHECKING:
    import pytest

MAX_LINES = 8
_NAMED = 3
_PLUGIN = "clnrm-summary"


class Weight(IntEnum):
    """From which verbosity on a note is told; of too many notes the lowest weights are told."""

    WRONG = -9
    """Something is wrong or left behind: always told."""
    FACT = -1
    """With ``-q`` too, not with ``-qq``, with which pytest itself sums nothing up."""
    HINT = 0
    """What could be better."""
    DETAIL = 1
    """With ``-v``."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line of the summary.

    :param text: without "clnrm: ".
    :param details: lines below it, with ``-v``.
    :param colour: "red" where the run has not done what it should, "yellow" for what wants a look.
    """

    text: str
    weight: Weight = Weight.FACT
    details: Sequence[str] = ()
    colour: str = ""


Teller = Callable[[], Iterable[Note]]


def wrong(text: str, *details: str, colour: str = "yellow") -> Note:
    """Return a note of what is wrong or left behind."""
    return Note(text, Weight.WRONG, details, colour)


def some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are: ``a, b, c and 4 more``."""
    more = len(names) - _NAMED
    return f"{', '.join(names[:_NAMED])}{f' and {more} more' if more > 0 else ''}"


def tell_at_end(config: pytest.Config, teller: Teller) -> None:
    """Let *teller* say what it has to say when the run is over."""
    summary = config.pluginmanager.getplugin(_PLUGIN)
    if summary is None:
        summary = Summary()
        config.pluginmanager.register(summary, _PLUGIN)
    summary.tellers.append(teller)


def chosen(notes: Iterable[Note], verbosity: int) -> list[Note]:
    """Return the notes that are told: what is wrong comes first, facts such as where the report is come last.

    The last one says how many are left out: hints first, then facts.
    """
    told = sorted((each for each in notes if each.weight <= verbosity), key=_place)
    if verbosity > 0 or len(told) <= MAX_LINES:
        return told
    spared = sorted(told, key=lambda each: each.weight)[MAX_LINES - 1 :]
    kept = [each for each in told if not any(each is other for other in spared)]
    return [*kept, Note(f"{len(spared)} more lines with -v")]


def _place(note: Note) -> int:
    return (note.weight != Weight.WRONG) + (note.weight == Weight.FACT)


class Summary:
    """Prints the notes of all parts, below pytest's failures and above its own summary."""

    def __init__(self) -> None:
        self.tellers: list[Teller] = []

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print them."""
        option = terminalreporter.config.option
        if option.no_summary:
            return
        for note in chosen(chain.from_iterable(each() for each in self.tellers), option.verbose):
            markup = {note.colour: True} if note.colour else {}
            terminalreporter.line(shown(f"clnrm: {note.text}"), **markup)
            for detail in note.details if option.verbose > 0 else ():
                # The only one of several is told whole already.
                if detail not in note.text:
                    terminalreporter.line(shown(f"    {detail}"))
