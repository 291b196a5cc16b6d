"""Where keys and values stand in a TOML text: tomli tells no positions.

:func:`scan` reads text that tomli has accepted, so it need not judge it. Its paths are compared with those of
tomli's result where they are used (:class:`Places`): a place that may be wrong is not shown.
"""

from __future__ import annotations

import bisect
import functools
import json
import operator
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pytest_clnrm.model.key_path import KeyPath

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*(?:([A-Za-z0-9_-]+)|("(?:[^"\\]|\\.)*")|'([^']*)')[ \t]*(\.)?""")
_STRINGS = (
    re.compile(r'"""(?:[^"\\]|\\[\s\S]|"(?!""))*"{3,5}'),
    re.compile(r"'''(?:[^']|'(?!''))*'{3,5}"),
    re.compile(r'"(?:[^"\\]|\\.)*"'),
    re.compile(r"'[^']*'"),
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


class Place(NamedTuple):
    """A place in a text.

    :param line: 1-based; 0 if it is not known.
    :param column: 1-based, in characters; 0 if it is not known.
    """

    line: int
    column: int


def show_path(path: KeyPath) -> str:
    """Return ``service.db.ports[0]``; keys that TOML wants in quotes stand in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            text += f".{key}" if text else key
    return text


def source_line(text: str, line: int) -> str:
    """Return the line with that 1-based number, "" if there is none."""
    lines = text.split("\n")
    return lines[line - 1] if 0 < line <= len(lines) else ""


def place_of(text: str, offset: int) -> Place:
    """Return line and column of a character of *text*."""
    return Place(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


class Places:
    """The places of a text, which is read once, when the first of them is asked for.

    :param document: what tomli made of *text*.
    """

    def __init__(self, text: str, document: Mapping[str, Any]) -> None:
        self._text = text
        self._document = document

    @functools.cached_property
    def _offsets(self) -> dict[KeyPath, int]:
        """Return what :func:`scan` finds, nothing where it disagrees with tomli."""
        try:
            known = scan(self._text)
        except (ValueError, IndexError):
            return {}
        return known if known.keys() == set(_paths(self._document, ())) else {}

    @functools.cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self._text))]

    def find(self, path: KeyPath) -> Place:
        """Return the place of *path*; where it has none, that of its nearest parent."""
        if not self._offsets and self._document:
            return Place(0, 0)
        while path and path not in self._offsets:
            path = path[:-1]
        offset = self._offsets[path] if path else _SPACE.match(self._text).end()  # type: ignore[union-attr]
        line = bisect.bisect_right(self._starts, offset)
        return Place(line, offset - self._starts[line - 1] + 1)

    def extent(self, path: KeyPath) -> tuple[int, int]:
        """Return the first and the last line of what stands at *path*, (0, 0) if they are not known."""
        if path not in self._offsets:
            return 0, 0
        within = max(offset for each, offset in self._offsets.items() if each[: len(path)] == path)
        behind = min((offset for offset in self._offsets.values() if offset > within), default=None)
        lines = self._text[:behind].split("\n")
        first, last = self.find(path).line, len(lines) if behind is None else len(lines) - 1
        # Blank lines and comments at the end belong to what follows.
        while last > first and (not lines[last - 1].strip() or lines[last - 1].lstrip().startswith("#")):
            last -= 1
        return first, max(first, last)


def value_at(document: Any, path: KeyPath) -> Any:
    """Return what stands at *path*, None if nothing does."""
    try:
        return functools.reduce(operator.getitem, path, document)
    except (LookupError, TypeError):
        return None


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield each scalar in *value*, at any depth, with its path."""
    if isinstance(value, (dict, list)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, (*path, key))
    else:
        yield path, value


def _paths(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """Yield the path of everything in *value* but itself."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, each in items:
        yield (*path, key)
        yield from _paths(each, (*path, key))


def scan(text: str) -> dict[KeyPath, int]:
    """Return the offset of each key, each table (its header) and each element of an array of *text*.

    :param text: valid TOML with LF at the ends of lines.
    :raises ValueError: if it is not; or IndexError.
    """
    scanner = _Scanner(text)
    scanner.run()
    return scanner.found


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.found: dict[KeyPath, int] = {}
        self._counts: dict[KeyPath, int] = {}

    def run(self) -> None:
        """Read the whole text."""
        table: KeyPath = ()
        self._skip()
        while self._at < len(self._text):
            if self._text.startswith("[[", self._at):
                table = self._header(2)
            elif self._text.startswith("[", self._at):
                table = self._header(1)
            else:
                self._pair(table)
            self._skip()

    def _skip(self) -> None:
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]

    def _key(self) -> list[tuple[str, int]]:
        """Read a dotted key: its parts, each with its offset."""
        parts = []
        more = True
        while more:
            match = _KEY.match(self._text, self._at)
            if match is None:
                raise ValueError(f"no key at {self._at}")
            bare, basic, literal, dot = match.groups()
            name = bare or (_unquoted(basic) if basic else literal)
            offset = match.end() - len(match[0].lstrip(" \t"))
            parts.append((name, offset))
            self._at = match.end()
            more = bool(dot)
        return parts

    def _header(self, brackets: int) -> KeyPath:
        start = self._at
        self._at += brackets
        path: KeyPath = ()
        parts = self._key()
        for index, (name, _) in enumerate(parts):
            path = (*path, name)
            self.found.setdefault(path, start)
            last = index == len(parts) - 1
            if last and brackets == 2:  # noqa: PLR2004 an array of tables
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
                self.found.setdefault(path, start)
        self._skip()
        self._at += brackets
        return path

    def _pair(self, table: KeyPath) -> None:
        path = table
        for name, offset in self._key():
            path = (*path, name)
            self.found.setdefault(path, offset)
        self._at += 1  # the equals sign
        self._skip()
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        first = self._text[self._at]
        if first == "[":
            self._members(path, "]")
        elif first == "{":
            self._members(path, "}")
        else:
            for pattern in (*(_STRINGS if first in "\"'" else ()), _SCALAR):
                match = pattern.match(self._text, self._at)
                if match:
                    self._at = match.end()
                    return
            raise ValueError(f"no value at {self._at}")

    def _members(self, path: KeyPath, end: str) -> None:
        """Read what stands in an array or an inline table."""
        self._at += 1
        index = 0
        self._skip()
        while self._text[self._at] != end:
            if end == "]":
                member = (*path, index)
                self.found[member] = self._at
                self._value(member)
                index += 1
            else:
                self._pair(path)
            self._skip()
            if self._text[self._at] == ",":
                self._at += 1
                self._skip()
        self._at += 1


def _unquoted(quoted: str) -> str:
    """Return what a basic string in quotes means."""
    import tomli

    value: str = tomli.loads(f"key = {quoted}")["key"]
    return value
