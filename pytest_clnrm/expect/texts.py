"""Bounded, printable pieces of text for failures: quotations, excerpts, differences."""

from __future__ import annotations

import difflib

from pytest_clnrm.model.result import tail

QUOTE_LIMIT = 120
EXCERPT_LIMIT = 2000
DIFF_LINES = 60
DIFF_WINDOW = 200
LINE_LIMIT = 300


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


def excerpt(name: str, text: str, omitted_bytes: int = 0) -> str:
    """Return the end of the output *text* under a heading that names it.

    :param omitted_bytes: how many bytes before *text* were not kept.
    """
    heading = f"{name} without its first {omitted_bytes} bytes" if omitted_bytes else name
    if not text:
        return f"{heading} is empty"
    return f"{heading}:\n{indent(tail(text.removesuffix(chr(10)), EXCERPT_LIMIT))}"


def visible(line: str) -> str:
    """Return *line*, bounded, with characters that cannot be seen as escapes, a last blank among them."""
    if len(line) > LINE_LIMIT:
        line = f"{line[:LINE_LIMIT]} [... {len(line) - LINE_LIMIT} characters left out ...]"
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
    return f"{shown[:-1]}\\x20" if shown.endswith(" ") else shown


def bounded_lines(lines: list[str], limit: int, unit: str = "lines") -> list[str]:
    """Return at most *limit* of *lines*, then a note of how many more there are."""
    if len(lines) <= limit:
        return lines
    return [*lines[:limit], f"... {len(lines) - limit} more {unit}"]


def text_difference(expected: str, got: str) -> str:
    """Return a unified difference of two texts that are not equal, from their first difference on."""
    if expected.rstrip("\n") == got.rstrip("\n"):
        return f"they differ in the newlines at the end: expected {_newlines(expected)}, got {_newlines(got)}"
    if not expected.endswith("\n"):
        # The newline that ends the last line is not what they differ in.
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
    """Say how many newlines end *text*."""
    count = len(text) - len(text.rstrip("\n"))
    return {0: "none", 1: "one"}.get(count, str(count))
