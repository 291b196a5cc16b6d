"""A terminal's screen, as far as pytest and the live view use one, and programs that run on a terminal."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


class Screen:
    """Rows of text with a cursor; a full line wraps when the next character comes, as xterm's does."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._lines = [[" "] * columns for _ in range(rows)]
        self._row = self._column = 0
        self.scrolled: list[str] = []

    def feed(self, text: str) -> None:
        """Take what a program writes."""
        at = 0
        while at < len(text):
            sequence = _SEQUENCE.match(text, at)
            if sequence:
                self._control(sequence[1], sequence[2] or "")
                at = sequence.end()
                continue
            assert text[at] != "\x1b", f"unknown sequence: {text[at : at + 10]!r}"
            self._put(text[at])
            at += 1

    def _put(self, character: str) -> None:
        if character == "\n":
            self._down()
        elif character == "\r":
            self._column = 0
        elif character != "\x07":
            if self._column == self.columns:
                self._column = 0
                self._down()
            self._lines[self._row][self._column] = character
            self._column += 1

    def _down(self) -> None:
        if self._row < self.rows - 1:
            self._row += 1
        else:
            self.scrolled.append("".join(self._lines.pop(0)).rstrip())
            self._lines.append([" "] * self.columns)

    def _control(self, given: str, kind: str) -> None:
        number = int(given) if given.isdecimal() else 1
        self._column = min(self._column, self.columns - 1) if kind in {"A", "C", "J"} else self._column
        if kind == "A":
            self._row = max(0, self._row - number)
        elif kind == "C":
            self._column = min(self.columns - 1, self._column + number)
        elif kind == "J":
            self._lines[self._row][self._column :] = [" "] * (self.columns - self._column)
            for row in range(self._row + 1, self.rows):
                self._lines[row] = [" "] * self.columns
        else:
            assert kind in {"", "m"}, f"unknown sequence {kind!r}"

    @property
    def lines(self) -> list[str]:
        """Return what is shown, without the blank lines at the end."""
        shown = ["".join(line).rstrip() for line in self._lines]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    @property
    def everything(self) -> str:
        """Return all lines, those that have scrolled away too."""
        return "\n".join([*self.scrolled, *self.lines])


class OnTerminal:
    """A program that runs on a terminal of its own.

    :param limit_s: how long a wait for something on its screen may take.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        columns: int = 100,
        rows: int = 30,
        limit_s: float = 120.0,
    ) -> None:
        self.screen = Screen(columns, rows)
        self._limit_s = limit_s
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        # By default a terminal that gets Ctrl-C drops output that is on its way: now and then that would be
        # what the program draws when it gets the signal.
        modes = termios.tcgetattr(theirs)
        modes[3] |= termios.NOFLSH
        termios.tcsetattr(theirs, termios.TCSANOW, modes)
        environ = {
            name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "CI"}
        }
        self.process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**environ, "TERM": "xterm", **env},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def wait_for(self, seen: Callable[[Screen], bool]) -> None:
        """Read until *seen* is content with the screen."""
        deadline_s = time.monotonic() + self._limit_s
        while not seen(self.screen):
            assert time.monotonic() < deadline_s, f"not seen:\n{self.screen.everything}"
            assert self._read(deadline_s), f"ended before:\n{self.screen.everything}"

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.write(self._ours, b"\x03")
        os.kill(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Read until its end, and return its exit code."""
        while self._read(time.monotonic() + self._limit_s):
            pass
        return self.process.wait(self._limit_s)

    def close(self) -> None:
        """End it, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)

    def _read(self, deadline_s: float) -> bool:
        readable, _, _ = select.select([self._ours], [], [], max(0, deadline_s - time.monotonic()))
        if not readable:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:
            return False
        self.screen.feed(self._decoder.decode(data))
        return bool(data)
