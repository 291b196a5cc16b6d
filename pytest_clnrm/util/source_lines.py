"""Lines of a project's files at the places that failures name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from pytest_clnrm.util.beneath import open_beneath

LINES_AROUND = 5
MAX_LINE_CHARS = 300
MAX_FILE_BYTES = 1 << 20


class Sources:
    """Lines of the project's files at the places that failures name.

    Only files below *rootdir* are read, through no link: what a failure names may come from a program.

    :param started_in: the folder that pytest was started in, to which places may be relative.
    """

    def __init__(self, rootdir: str, started_in: str) -> None:
        self._root = os.path.realpath(rootdir)
        self._folders = (self._root, os.path.realpath(started_in))
        self._files: dict[str, list[str]] = {}

    def at(self, places: Iterable[str]) -> dict[str, Any]:
        """Return of each place ``file:line`` that is known what :meth:`around` returns."""
        found = {where: self.around(where) for where in dict.fromkeys(places)}
        return {where: lines for where, lines in found.items() if lines is not None}

    def around(self, where: str) -> dict[str, Any] | None:
        """Return the lines around ``file:line`` and the 1-based number of the first; None if not known."""
        file, _, number = where.rpartition(":")
        if not (file and number.isdecimal()):
            return None
        line = int(number)
        for folder in self._folders:
            lines = self._lines(os.path.normpath(os.path.join(folder, file)))  # noqa: PTH118 (".." of a text)
            if 1 <= line <= len(lines):
                first = max(1, line - LINES_AROUND)
                shown = lines[first - 1 : line + LINES_AROUND]
                return {"first": first, "lines": [_cut(each) for each in shown]}
        return None

    def _lines(self, path: str) -> list[str]:
        if path not in self._files:
            self._files[path] = []
            with suppress(OSError, ValueError), open_beneath(self._root, path) as opened:
                self._files[path] = opened.read(MAX_FILE_BYTES).decode().split("\n")
        return self._files[path]


def _cut(line: str) -> str:
    line = line.rstrip("\r")
    return line if len(line) <= MAX_LINE_CHARS else f"{line[:MAX_LINE_CHARS]}..."
