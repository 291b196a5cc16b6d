"""One stream of a step as it was kept: searching it without being misled by what is missing.

Regular expressions have the syntax of Python's :mod:`re`. They are searched anywhere in the output: ``.``
stops at newlines, ``^`` and ``$`` stand for the start and the end of the whole output; ``(?s)`` and ``(?m)``
change that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_clnrm.expect.texts import excerpt, quote
from pytest_clnrm.util.patterns import Found, PatternTimeoutError, search

# A second search for the sake of a hint must stay cheap, however long the output is.
HINT_LIMIT = 65536


@dataclass(frozen=True, slots=True)
class Output:
    """One stream of a step.

    :param name: "stdout" or "stderr".
    :param text: what was kept of it, decoded: its end.
    :param omitted_bytes: how many came before and were not kept.
    """

    name: str
    text: str
    omitted_bytes: int

    def search(self, pattern: str) -> Found | None:
        """Return the first match of a regular expression.

        :raises re.error: if *pattern* is none, which a captured value within it may cause.
        :raises PatternTimeoutError: if it takes too long.
        """
        # From position 1 on, `^` cannot take the place of the cut for the start of the output.
        return search(pattern, self.text, start=1 if self.omitted_bytes else 0)

    @property
    def unproven(self) -> str:
        """Say that not the whole was seen, as the end of a message; "" if it was."""
        if not self.omitted_bytes:
            return ""
        return f" (cannot be judged: its first {self.omitted_bytes} bytes were left out)"

    def excerpt(self) -> str:
        """Return its end, for a failure's details."""
        return excerpt(self.name, self.text, self.omitted_bytes)


def case_hint(part: str, text: str) -> str:
    """Say that *part* is there in another case, "" if it is not."""
    near, other = text[:HINT_LIMIT].lower(), part.lower()
    found = near.find(other)
    # A text in lower case may be longer, and then the position in it is another.
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
