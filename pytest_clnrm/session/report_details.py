"""What a report tells beside results: lines of the project, commands, what earlier runs have shown."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pytest_clnrm.settings.options import options_to_repeat
from pytest_clnrm.util.beneath import open_beneath

if TYPE_CHECKING:
    import pytest

LINES_AROUND = 5
MAX_LINE_CHARS = 300
MAX_FILE_BYTES = 1 << 20
FAILED = ("failed", "error", "crashed")


class Sources:
    """Lines of the project's files at the places that failures name.

    Only files below *rootdir* are read, through no link: what a failure names may come from a program.

    :param started_in: the folder that pytest was started in, to which places may be relative.
    """

    def __init__(self, rootdir: str, started_in: str) -> None:
        self._root = os.path.realpath(rootdir)
        self._folders = (self._root, os.path.realpath(started_in))
        self._files: dict[str, list[str]] = {}

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


def add_sources(rows: Iterable[dict[str, Any]], sources: Sources) -> None:
    """Give each row under ``sources`` the lines at the places of its failures, by ``file:line``."""
    for row in rows:
        found = {where: sources.around(where) for where in dict.fromkeys(_places(row))}
        known = {where: lines for where, lines in found.items() if lines is not None}
        if known:
            row["sources"] = known


def _places(row: Mapping[str, Any]) -> Iterator[str]:
    if row["outcome"] not in {"skipped", "passed", "xpassed"}:
        yield from (each["where"] for each in row["failures"])
    for earlier in row.get("earlier", ()):
        yield from (each["where"] for each in earlier["failures"])


def add_commands(rows: Iterable[dict[str, Any]], config: pytest.Config) -> None:
    """Give each row that failed under ``reproduce`` the command that runs it alone, for a shell."""
    words = ["pytest", *options_to_repeat(config)]
    root = os.path.relpath(config.rootpath, config.invocation_params.dir)
    for row in rows:
        if row["outcome"] in FAILED or row.get("is_flaky"):
            file, mark, rest = row["nodeid"].partition("::")
            row["reproduce"] = shlex.join([*words, f"{PurePath(root, file)}{mark}{rest}"])


def add_history(rows: Iterable[dict[str, Any]], shown: Mapping[str, tuple[str, list[float | None]]]) -> None:
    """Give each row under ``history`` what earlier runs have shown of it, the oldest first.

    :param shown: node id -> a letter of each outcome ("p" passed, "f" failed, "s" skipped), and seconds.
    """
    for row in rows:
        if row["nodeid"] in shown:
            outcomes, durations_s = shown[row["nodeid"]]
            row["history"] = {"outcomes": outcomes, "durations_s": durations_s}
