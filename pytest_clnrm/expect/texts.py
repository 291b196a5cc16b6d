"""Texts: what is printed in a failure, bounded and printable, and what a step has printed.

Regular expressions have the syntax of Python's :mod:`re`. They are searched anywhere in the output: ``.``
stops at newlines, ``^`` and ``$`` stand for the start and the end of the whole output; ``(?s)`` and ``(?m)``
change that.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from pytest_clnrm.model.result import tail
from pytest_clnrm.util.patterns import Found, PatternTimeoutError, search

QUOTE_LIMIT = 120
EXCERPT_LIMIT = 2000
DIFF_LINES = 60
DIFF_WINDOW = 200
LINE_LIMIT = 300
# A second search for the sake of a hint must stay cheap, however long the output is.
HINT_LIMIT = 65536


def quote(value: object) -> str:
    """Return *value* as Python would write it, on one line, at most about ``QUOTE_LIMIT`` characters."""
    # A repr of a huge text is made only to be cut, so cut before it.
    if isinstance(value, (str, bytes)):
        text = repr(value[: QUOTE_LIMIT + 1])
        return text if len(value) <= QUOTE_LIMIT else f"{text[:QUOTE_LIMIT]}...{text[-1]}"
    text = repr(value)
    return text if len(text) <= QUOTE_LIMIT else f"{text[:QUOTE_LIMIT]}..."


def indent(text: str) -> str:
    """Return *text* with each line set in by four blanks."""
    return "\n".join(f"    {line}" for line in text.split("\n"))


def visible(line: str) -> str:
    """Return *line*, bounded, with characters that cannot be seen as escapes, a last blank among them."""
    if len(line) > LINE_LIMIT:
        line = f"{line[:LINE_LIMIT]} [... {len(line) - LINE_LIMIT} characters left out ...]"
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
    return f"{shown[:-1]}\\x20" if shown.endswith(" ") else shown


def bounded_lines(lines: list[str], limit: int, unit: str = "lines") -> list[str]:
    """Return at most *limit* of *lines*, then a note of how many more there are."""
    return [*lines[:limit], *how_many_more(len(lines), limit, unit)]


def how_many_more(count: int, limit: int, unit: str) -> list[str]:
    """Return a note of how many more there are than the *limit* that is shown; nothing if all are."""
    return [f"... {count - limit} more {unit}"] if count > limit else []


def text_difference(expected: str, got: str) -> str:
    """Return a unified difference of two texts that are not equal, from their first difference on."""
    if expected.rstrip("\n") == got.rstrip("\n"):
        return f"they differ in the newlines at the end: expected {_newlines(expected)}, got {_newlines(got)}"
    if not expected.endswith("\n"):
        # A final newline that is not expected is ignored, so it must not show up as a difference.
        got = got.removesuffix("\n")
    wanted_lines, got_lines = expected.split("\n"), got.split("\n")
    pairs = zip(wanted_lines, got_lines, strict=False)
    shorter = min(len(wanted_lines), len(got_lines))
    same = next((index for index, (one, other) in enumerate(pairs) if one != other), shorter)
    # difflib takes quadratic time, so it sees a window that starts shortly before the first difference.
    window = slice(max(0, same - 3), max(0, same - 3) + DIFF_WINDOW)
    lines = list(
        difflib.unified_diff(
            [visible(line) for line in wanted_lines[window]],
            [visible(line) for line in got_lines[window]],
            "expected",
            "got",
            lineterm="",
        )
    )
    heading = f"first difference in line {same + 1}:"
    # The header's line numbers count from the window's start, which says nothing to a reader.
    body = [each for each in lines if not each.startswith("@@")]
    return "\n".join([heading, *bounded_lines(body, DIFF_LINES)])


def _newlines(text: str) -> str:
    count = len(text) - len(text.rstrip("\n"))
    return {0: "none", 1: "one"}.get(count, str(count))


def duration_text(seconds: float) -> str:
    """Return a duration as users write it: ``1.5 s``, ``12.3 ms``."""
    return f"{seconds:.4g} s" if abs(seconds) >= 1 else f"{seconds * 1000:.4g} ms"


@dataclass(frozen=True, slots=True)
class Output:
    """One stream of a step.

    :param name: "stdout" or "stderr".
    :param text: what was kept of it, decoded: its end.
    :param omitted_bytes: how many came before and were not kept.
    :param lacks: why something else may have come before, in words; "" if nothing has.
    """

    name: str
    text: str
    omitted_bytes: int
    lacks: str = ""

    @property
    def is_cut(self) -> bool:
        """Tell whether it may not begin with *text*."""
        return bool(self.omitted_bytes or self.lacks)

    def search(self, pattern: str) -> Found | None:
        """Return the first match of a regular expression.

        :raises re.error: if *pattern* is none, which a captured value within it may cause.
        :raises PatternTimeoutError: if it takes too long.
        """
        # Searching from position 1 keeps `^` from matching at the cut as if the output began there.
        return search(pattern, self.text, start=1 if self.is_cut else 0)

    @property
    def unproven(self) -> str:
        """Return a note that the output was truncated, for the end of a message; "" if it was not."""
        if not self.is_cut:
            return ""
        why = f"its first {self.omitted_bytes} bytes were left out" if self.omitted_bytes else self.lacks
        return f" (cannot be judged: {why})"

    @property
    def got(self) -> str:
        """Return what it is, for the end of a message that says what it is not."""
        return self.unproven or f", got {quote(self.text)}"

    def excerpt(self) -> str:
        """Return its end under a heading that names it, for a failure's details."""
        omitted = self.omitted_bytes
        heading = f"{self.name} without its first {omitted} bytes" if omitted else self.name
        if not self.text:
            return f"{heading} is empty"
        return f"{heading}:\n{indent(tail(self.text.removesuffix(chr(10)), EXCERPT_LIMIT))}"


def case_hint(part: str, text: str) -> str:
    """Say that *part* is there in another case, "" if it is not."""
    near, other = text[:HINT_LIMIT].lower(), part.lower()
    found = near.find(other)
    # Lower-casing may change a text's length, and then positions in it do not fit the original.
    same = len(near) == len(text[:HINT_LIMIT])
    return f"hint: it is there in another case, {line_of(text, found)}" if found >= 0 and same else ""


def regex_hint(pattern: str, text: str) -> str:
    """Say which flag would make *pattern* match, "" if none does."""
    flags = (
        (re.DOTALL, "`.` does not match a newline; use (?s)"),
        (re.MULTILINE, "`^` and `$` mean the whole output, not each line; use (?m)"),
        (
            re.DOTALL | re.MULTILINE,
            "`.` does not match a newline, `^` and `$` mean the whole output; use (?ms)",
        ),
        (re.IGNORECASE, "it matches in another case; use (?i)"),
    )
    near = text[-HINT_LIMIT:]
    try:
        return next((f"hint: {hint}" for flag, hint in flags if search(pattern, near, flags=flag)), "")
    except PatternTimeoutError:
        return ""


def line_of(text: str, position: int) -> str:
    """Return the line number and line of *text* at *position*."""
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text[start:] if end < 0 else text[start:end]
    return f"line {text.count(chr(10), 0, position) + 1}: {quote(line)}"
