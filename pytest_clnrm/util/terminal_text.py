r"""Text that a file or a workload wrote, as it may stand on a terminal and in the log of a CI service.

Control characters could move the cursor, recolour or hide what stands there, bidirectional ones make it read
as something else, and of others nothing is seen, so that two texts look alike: all are shown as Python writes
them, ``\x1b``. Only the two joiners that Persian and emoji need (U+200C, U+200D) stay. CI services take lines
of a log as commands to them; in their logs no such line comes from here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

_INVISIBLE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, embeddings, overrides, isolates
    "\u00ad\u180e\u200b\u2060-\u2065"  # what is not seen: soft hyphen, zero-width spaces
    "\u2028\u2029"  # separators of lines and paragraphs
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # byte order mark, annotations, tags
    "\ud800-\udfff"  # lone surrogates: what was no UTF-8 in the name of a file
)
_CONTROL = re.compile(f"[{_INVISIBLE}]")
_CONTROL_OF_A_LINE = re.compile(f"[\t\n{_INVISIBLE}]")
_LINE_END = re.compile(r"\r+\n")
_SERVICES = ("GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION")
"""Variables that are set where lines of the log are commands: GitHub (Gitea, Forgejo), Azure, TeamCity."""
_COMMAND = re.compile(r"^([^\S\n]*):(?=:)", re.MULTILINE)
"""GitHub's commands; its runner removes the blanks in front before it looks."""
_OLD_COMMAND = re.compile(r"#(?=#(?:\[|vso\[|teamcity\[))", re.IGNORECASE)
"""Commands of Azure, TeamCity, and GitHub's older form: anywhere in a line."""
_MAX_HELD = 1 << 16


def shown(text: str) -> str:
    """Return *text*, of any number of lines, with nothing in it that a terminal or a CI service obeys.

    A line may end with a carriage return and a newline; tabs stay.
    """
    return without_commands(escaped(_LINE_END.sub("\n", str(text))))


def one_line(text: str) -> str:
    """Return *text* on one line: as :func:`shown`, its newlines and tabs escaped too."""
    return without_commands(_CONTROL_OF_A_LINE.sub(_escape, str(text)))


def is_plain(text: str) -> bool:
    """Tell whether *text* is one line without characters that :func:`one_line` escapes."""
    return _CONTROL_OF_A_LINE.search(text) is None


def commands(name: str) -> bool:
    """Tell whether the log of a CI service that holds *name* anywhere in a line may hold a command."""
    return _OLD_COMMAND.search(name) is not None


def escaped(text: str) -> str:
    """Return *text* with control characters but for tabs and newlines as escapes."""
    return _CONTROL.sub(_escape, text)


def without_commands(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return *text* without lines that the CI service which runs us would take for commands."""
    if not any(environ.get(name) for name in _SERVICES):
        return text
    return _OLD_COMMAND.sub(r"\\x23", _COMMAND.sub(r"\1\\x3a", text))


def _escape(match: re.Match[str]) -> str:
    return repr(match[0])[1:-1]


class LiveText:
    """Text that arrives in pieces, and is shown piece by piece.

    In the log of a CI service it is shown by whole lines: only then is it known what begins one.

    :param write: gets what may be shown.
    """

    def __init__(self, write: Callable[[str], None], environ: Mapping[str, str] = os.environ) -> None:
        self._write = write
        self._by_line = any(environ.get(name) for name in _SERVICES)
        self._held: list[str] = []
        self._held_chars = 0

    def feed(self, text: str) -> None:
        """Take the next piece."""
        # What follows a carriage return tells whether it ends a line.
        ends = text.rfind("\n") + 1 if self._by_line else len(text.rstrip("\r"))
        if ends or self._held_chars > _MAX_HELD:
            self._flush(text[:ends], "" if ends else "\n")
            text = text[ends:]
        if text:
            self._held.append(text)
            self._held_chars += len(text)

    def close(self) -> None:
        """Show what was held back: nothing follows any more."""
        if self._held:
            self._flush("", "\n" if self._by_line else "")

    def _flush(self, text: str, end: str) -> None:
        self._write(shown("".join((*self._held, text, end))))
        self._held, self._held_chars = [], 0
