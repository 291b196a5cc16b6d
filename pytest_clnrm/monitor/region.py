"""Lines at the bottom of a terminal, below whatever else is written there.

Everybody else's output goes through :class:`Region`: it takes the lines away, writes, and puts them back, all
in one write. The lines stand below the line that is being written, so a row of dots may grow above them. Only
relative movements are used: they hold when the terminal scrolls.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_78=>])")
_REDRAW_S = 0.02


class Region:
    """A text file to be written to in place of the terminal's.

    :param file: the terminal's.
    :param size: returns columns and rows of the terminal.
    :param width_of: returns how many columns a text takes.
    :param now: the clock.
    """

    def __init__(
        self,
        file: TextIO,
        *,
        size: Callable[[], tuple[int, int]],
        width_of: Callable[[str], int],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._size = size
        self._width_of = width_of
        self._now = now
        # Reentrant: a signal's handler may write while its thread does.
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._partial = ""
        self._lines: list[str] = []
        self._drawn: list[int] = []
        self._drawn_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        """Write what others have to say above the lines."""
        if os.getpid() != self._pid:
            return self._file.write(text)
        with self._lock:
            before = self._partial, self._drawn
            erased = self._erasure()
            self._partial = _last_line(self._partial + text)
            # Many small writes one after another redraw only now and then; the next tick does the rest.
            due = self._lines and self._now() - self._drawn_s >= _REDRAW_S
            try:
                self._file.write(erased + text + (self._drawing() if due else ""))
            except UnicodeEncodeError:
                # Nothing was written; the writer tries again with other characters.
                self._partial, self._drawn = before
                raise
            if erased or due:
                self._file.flush()
        return len(text)

    def show(self, lines: Sequence[str]) -> None:
        """Put *lines* in place of those that stand there; none takes them away.

        :param lines: each at most one column narrower than the terminal; colours are put back at its end.
        """
        with self._lock:
            if list(lines) == self._lines and (self._drawn or not lines):
                return
            erased = self._erasure()
            self._lines = list(lines)
            self._file.write(erased + (self._drawing() if self._lines else ""))
            self._file.flush()

    def say(self, line: str) -> None:
        """Write a line of its own, whatever stands on the line that is being written."""
        with self._lock:
            self.write(f"\n{line}\n" if self._partial else f"{line}\n")
            self._file.flush()

    def _erasure(self) -> str:
        """Return what takes the lines away and puts the cursor where others were writing."""
        if not self._drawn:
            return ""
        columns = max(1, self._size()[0])
        # A terminal that became narrower has wrapped them.
        rows = sum(max(1, -(-width // columns)) for width in self._drawn)
        self._drawn = []
        back = f"\r\x1b[{rows}A"
        column = self._column(columns)
        if column < columns:
            return back + (f"\x1b[{column}C" if column else "") + "\x1b[J"
        # The cursor stood behind the last column, where only writing gets it.
        last = _ESCAPES.sub("", self._partial)[-1:]
        ahead = columns - self._width_of(last)
        return back + (f"\x1b[{ahead}C" if ahead else "") + "\x1b[J" + last

    def _drawing(self) -> str:
        """Return what draws the lines below the one that is being written."""
        self._drawn = [self._width_of(_ESCAPES.sub("", line)) for line in self._lines]
        self._drawn_s = self._now()
        # The cursor waits at the line's beginning: a terminal's echo of Ctrl-C does not wrap there.
        return "".join(f"\n\r{line}" for line in self._lines) + "\r"

    def _column(self, columns: int) -> int:
        """Return behind how many columns the cursor stands on its row."""
        width = self._width_of(_ESCAPES.sub("", self._partial))
        return (width - 1) % columns + 1 if width else 0


def _last_line(text: str) -> str:
    """Return what of *text* stands on the last line.

    What was written before a carriage return still shows where it is longer, but the cursor is not there.
    """
    return text.rpartition("\n")[2].rpartition("\r")[2]
