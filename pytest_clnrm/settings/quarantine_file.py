"""``.clnrm/quarantine.toml``: tests whose failures do not count until a day, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import tomli

from pytest_clnrm.errors import Mistake
from pytest_clnrm.names import QUARANTINE_FILE
from pytest_clnrm.toml.positions import Places, show_path, source_line

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.model.key_path import KeyPath

_TABLE = "quarantine"
_TEXTS = {
    "test": 'a node id or glob, such as "tests/orders.clnrm.toml::paid*"',
    "reason": "why its failures do not count",
    "issue": "where that is worked on",
}
_UNTIL = "a date without quotes, such as until = 2026-12-31"
_KEYS = (*_TEXTS, "until")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Tests whose failures do not count.

    :param test: a node id, what it begins with (a file, folder, class, or test with parameters), or a glob of
        these, in which ``*`` and ``?`` alone are special.
    :param until: the last day of it.
    :param place: ``file:line:column``.
    """

    test: str
    reason: str
    until: date
    issue: str = ""
    place: str = ""

    @property
    def why(self) -> str:
        """Return the reason, with the link."""
        return f"{self.reason} ({self.issue})" if self.issue else self.reason

    @property
    def file(self) -> str:
        """Return the file that it names, which may be a glob."""
        return self.test.partition("::")[0]

    def matches(self, nodeid: str) -> bool:
        """Tell whether it is about a test."""
        glob = self.test.rstrip("/").replace("[", "[[]")
        return any(fnmatchcase(nodeid, f"{glob}{end}") for end in ("", "[[]*", "::*", "/*"))


class QuarantineError(Exception):
    """The file is wrong; its text has each mistake with its place."""


def read_quarantine(file: Path, shown: str = QUARANTINE_FILE) -> tuple[Entry, ...]:
    """Return the entries of *file*.

    :param shown: its name for messages.
    :raises QuarantineError: if there is a mistake in it.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        data = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        source = source_line(text, error.lineno)
        told = Mistake(line=error.lineno, column=error.colno, path="", message=error.msg, source=source)
        raise QuarantineError(told.render(shown)) from None
    except UnicodeDecodeError as error:
        raise QuarantineError(f"{shown}: is not UTF-8 text, which TOML is: {error.reason}") from None
    except OSError as error:
        raise QuarantineError(f"{shown}: cannot be read: {error.strerror}") from None
    places = Places(text, data)
    mistakes = []
    for path, message in _problems(data):
        place = places.find(path)
        source = source_line(text, place.line)
        mistakes.append(Mistake(*place, path=show_path(path), message=message, source=source).render(shown))
    if mistakes:
        raise QuarantineError("\n".join(mistakes))
    found = []
    for index, each in enumerate(data.get(_TABLE, ())):
        place = places.find((_TABLE, index))
        found.append(Entry(**each, place=f"{shown}:{place.line}:{place.column}"))
    return tuple(found)


def _problems(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the path of each mistake, and what is wrong there."""
    for key in data:
        if key != _TABLE:
            yield (key,), f"is not known; this file holds [[{_TABLE}]]"
    entries = data.get(_TABLE, [])
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        yield (_TABLE,), f"is no list of tables: write [[{_TABLE}]], and below it test, reason and until"
        return
    for index, each in enumerate(entries):
        yield from _problems_of(each, (_TABLE, index))


def _problems_of(entry: Mapping[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    for key in entry:
        if key not in _KEYS:
            yield (*path, key), f"is not known; an entry may hold: {', '.join(_KEYS)}"
    for key, what in _TEXTS.items():
        value = entry.get(key)
        if key in entry and (not isinstance(value, str) or not value.strip() or not value.isprintable()):
            yield (*path, key), f"{value!r} is no text in one line: {what}"
        elif key not in entry and key != "issue":
            yield path, f'the key "{key}" is missing: {what}'
    until = entry.get("until")
    if "until" not in entry:
        yield path, f'the key "until" is missing: the last day of the quarantine, {_UNTIL}'
    elif not isinstance(until, date) or isinstance(until, datetime):
        yield (*path, "until"), f"{until!s} is no day: {_UNTIL}"
