"""Tools of the dialects: reading a wild table key by key, and remembering where each value came from."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.toml.positions import show_path

MISSING: Any = object()
"""Stands for a key that is not there."""

_ODD = "this form is not known, so it would not be checked: docs/scenario-format.md has those of [expect]"

_POSIX_CLASSES = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "ascii": r"\x00-\x7f", "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f", "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~",
    "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": r"\w",
    "xdigit": "0-9A-Fa-f",
}  # fmt: skip


@dataclass
class Notes:
    """What is learned while a file is normalised.

    :ivar origins: canonical path -> path in the file, and whether what lies below is spelled alike.
    :ivar wild: False if keys that are not understood stay in place, for validation to refuse, and a claim
        that is not checked is a mistake.
    :ivar heeded: paths in the file of the ``from`` of a table that holds for what was read into others.
    """

    wild: bool
    origins: dict[KeyPath, tuple[KeyPath, bool]] = field(default_factory=dict)
    unchecked: list[KeyPath] = field(default_factory=list)
    mistakes: list[tuple[KeyPath, str]] = field(default_factory=list)
    heeded: set[KeyPath] = field(default_factory=set)

    def came(self, to: KeyPath, source: KeyPath, *, alike: bool = False) -> None:
        """Remember that the canonical path *to* was made from *source*."""
        self.origins.setdefault(to, (source, alike))

    def is_told(self, source: KeyPath, to: KeyPath) -> bool:
        """Tell whether anything at *source* was read into another table than *to*, or is named as a fault."""
        moved = [at for path, (at, _) in self.origins.items() if path[: len(to)] != to]
        named = [*self.unchecked, *(path for path, _ in self.mistakes)]
        return any(at[: len(source)] == source for at in moved + named)

    def origin(self, path: KeyPath) -> KeyPath:
        """Return where the canonical *path* is in the file, by its longest prefix that is known."""
        for size in range(len(path), -1, -1):
            found = self.origins.get(path[:size])
            if found:
                return found[0] + path[size:] if found[1] else found[0]
        return path


class Reader:
    """Reads one wild table into one canonical table.

    :param raw: the table in the file.
    :param at: its path in the file.
    :param out: the canonical table, filled in place.
    :param to: its canonical path.
    """

    def __init__(
        self, notes: Notes, raw: dict[str, Any], at: KeyPath, out: dict[str, Any], to: KeyPath
    ) -> None:
        self.notes = notes
        self.at = at
        self.out = out
        self.to = to
        self._left = dict(raw)
        notes.came(to, at, alike=True)

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str) -> Any:
        """Return the value of *key*, which counts as read; MISSING if there is none."""
        return self._left.pop(key, MISSING)

    def take_if(self, kind: type | tuple[type, ...], key: str, *, to: str = "") -> Any:
        """Return the value of *key* if it is of *kind*; None if it is another one, or there is none.

        Another one goes on to *to* as it is, for validation to refuse; without *to* it is given up.
        """
        value = self.take(key)
        if isinstance(value, kind):
            return value
        if value is not MISSING and to:
            self.put((to,), value, (key,), alike=True)
        elif value is not MISSING:
            self.give_up(key)
        return None

    def take_flag(self, key: str) -> bool | None:
        """Return the boolean at *key*, None if there is none; anything else there is given up."""
        value: bool | None = self.take_if(bool, key)
        return value

    def give_up(self, *source: str | int, why: str = _ODD, key: str = "") -> None:
        """Note that the claim at *source*, by default this table, is not checked.

        :param why: said where that is a mistake.
        :param key: of the table at *source*, where that is said.
        """
        path = (*self.at, *source)
        if self.notes.wild:
            self.notes.unchecked.append(path)
        else:
            self.notes.mistakes.append(((*path, key) if key else path, why))

    def put(self, to: KeyPath, value: Any, source: KeyPath, *, alike: bool = False) -> None:
        """Set *value* at *to* below the canonical table.

        What stands there already is kept, and what is at *source* given up unless it says the same.

        :param source: where it came from, below the table in the file.
        """
        if not self.put_default(to, value, source, alike=alike):
            there = self._standing(to)
            if there is not MISSING and there != value:
                self._give_up_double(to, source)

    def add(self, to: KeyPath, tests: dict[str, Any], source: KeyPath) -> None:
        """Set *tests*, by their operators, at *to*, beside those that stand there or a plain value.

        One that stands there otherwise is kept, and what is at *source* given up.
        """
        if self.put_default(to, dict(tests), source):
            return
        there = self._standing(to)
        is_table = isinstance(there, dict)
        if tests == {"exists": True} and not (is_table and there.get("exists") is False):
            return  # as any other test says too
        both = dict(there) if is_table else {"eq": there}
        if any(both.setdefault(op, value) != value for op, value in tests.items()):
            self._give_up_double(to, source)
        elif there is not MISSING:
            self._standing(to[:-1])[to[-1]] = both
            for op in tests:
                self.notes.came((*self.to, *to, op), (*self.at, *source))

    def _give_up_double(self, to: KeyPath, source: KeyPath) -> None:
        there = show_path((*self.to, *to))
        self.give_up(*source, why=f"{there} is set already, so this would not be checked: write one of them")

    def _standing(self, to: KeyPath) -> Any:
        """Return what stands at *to* below the canonical table; MISSING if one above it is none."""
        found: Any = self.out
        for key in to:
            found = found.get(key, MISSING) if isinstance(found, dict) else MISSING
        return found

    def put_default(self, to: KeyPath, value: Any, source: KeyPath, *, alike: bool = False) -> bool:
        """Set *value* at *to* below the canonical table if the place is free, and tell whether it was.

        :param source: where it came from, below the table in the file.
        """
        table = self.out
        for depth, key in enumerate(to[:-1], start=1):
            table = table.setdefault(str(key), {})
            if not isinstance(table, dict):
                return False
            self.notes.came((*self.to, *to[:depth]), (*self.at, *source))
        if to[-1] in table:
            return False
        table[str(to[-1])] = value
        self.notes.came((*self.to, *to), (*self.at, *source), alike=alike)
        return True

    def move(self, key: str, *to: str, by: Callable[[Any], Any] | None = None) -> None:
        """Move the value of *key*, changed *by* a function, to *to* (default: the same key).

        What stands at *to* already is kept, and *key* given up.
        """
        value = self.take(key)
        if value is MISSING:
            return
        new = value if by is None else by(value)
        self.put(to or (key,), new, (key,), alike=new is value)

    def append(self, to: str | tuple[str, ...], item: Any, source: KeyPath, *, alike: bool = False) -> int:
        """Append *item* to the canonical list *to* and return its index.

        -1 if something else stands there, which validation refuses.
        """
        path = (to,) if isinstance(to, str) else to
        table: Any = self.out
        for depth, key in enumerate(path, start=1):
            if not isinstance(table, dict):
                return -1
            table = table.setdefault(key, [] if depth == len(path) else {})
            self.notes.came((*self.to, *path[:depth]), (*self.at, *source[:1]))
        if not isinstance(table, list):
            return -1
        table.append(item)
        self.notes.came((*self.to, *path, len(table) - 1), (*self.at, *source), alike=alike)
        return len(table) - 1

    def appended(self, to: str, raw: dict[str, Any], source: KeyPath) -> Reader:
        """Append an empty table to the canonical list *to*; return the reader that fills it from *raw*."""
        made: dict[str, Any] = {}
        index = self.append(to, made, source)
        return Reader(self.notes, raw, (*self.at, *source), made, (*self.to, to, index))

    def append_others(self, key: str, value: Any) -> None:
        """Take over the elements of the array at *key* that are no tables, for validation to refuse."""
        for index, each in enumerate(value if isinstance(value, list) else ()):
            if not isinstance(each, dict):
                self.append(key, each, (key, index), alike=True)

    def child(self, key: str, raw: dict[str, Any], *to: str) -> Reader:
        """Return a reader of the table *raw* at *key* into the canonical table *to* (default: *key*).

        Where something else stands, which validation refuses, it is read into nothing.
        """
        out, path = self.out, to or (key,)
        for name in path:
            below = out.setdefault(name, {})
            out = below if isinstance(below, dict) else {}
        return Reader(self.notes, raw, (*self.at, key), out, (*self.to, *path))

    def part(self, raw: dict[str, Any], *source: str | int) -> Reader:
        """Return a reader of the table *raw* at *source* into this same canonical table."""
        return Reader(self.notes, raw, (*self.at, *source), self.out, self.to)

    def skip(self, *keys: str) -> None:
        """Read over *keys*: they inform, and claim nothing."""
        for key in keys:
            self.take(key)

    def finish(self, *canonical: str) -> None:
        """Take over the *canonical* keys as they are; of the rest, note that they are not checked."""
        for key in list(self._left):
            if key in canonical or not self.notes.wild:
                self.move(key)
            else:
                del self._left[key]
                self.give_up(key)


def tables(value: Any, keys: Iterable[str] = ()) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Yield the tables that *value* holds, each with the path to it.

    *value* is an array of tables, a single table, or, if it has none of *keys*, a table of labelled tables.
    Anything else in it is passed over.
    """
    if isinstance(value, list):
        yield from (((index,), each) for index, each in enumerate(value) if isinstance(each, dict))
    elif isinstance(value, dict):
        if value and not set(keys) & set(value) and all(isinstance(each, dict) for each in value.values()):
            yield from (((label,), each) for label, each in value.items())
        else:
            yield (), value


def pairs(values: Iterable[Any]) -> list[list[str]]:
    """Return each of *values* with the next."""
    return [list(pair) for pair in itertools.pairwise(values)]


def is_number(value: Any) -> bool:
    """Tell whether *value* is a number; a boolean is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def milliseconds(value: Any) -> Any:
    """Return a number of milliseconds as a duration; anything else as it is, for validation to refuse."""
    if is_number(value):
        return f"{value:g}ms" if isinstance(value, float) else f"{value}ms"
    return value


def glob_of_regex(pattern: Any) -> str | None:
    """Return the glob that means the same as the regular expression *pattern*, None if there is none."""
    if not isinstance(pattern, str) or not pattern:
        return None
    glob, rest = "", pattern.removeprefix("^").removesuffix("$")
    while rest:
        token = re.match(r"\.\*|\.\+|\\([^\w\s])|([\w:/ @%,=<>~#&-])|\.", rest)
        if token is None:
            return None
        literal = token[1] or token[2] or ""
        glob += {".*": "*", ".+": "?*", ".": "?"}.get(
            token[0], f"[{literal}]" if literal in "*?[" else literal
        )
        rest = rest[token.end() :]
    return glob


def python_regex(pattern: Any) -> Any:
    r"""Return a regular expression of Rust's syntax in Python's, as far as that is easily done.

    ``(?<name>``, ``\z``, ``\x{...}``, POSIX classes, and flags in the middle, which Python wants around what
    they mean. What is left is for validation to refuse.
    """
    if not isinstance(pattern, str):
        return pattern
    text = re.sub(r"(?<!\\)\(\?<(?=[A-Za-z_])", "(?P<", pattern)
    text = re.sub(r"(?<!\\)((?:\\\\)*)\\z", r"\1\\Z", text)
    text = re.sub(r"(?<!\\)((?:\\\\)*)\\[xu]\{([0-9A-Fa-f]{1,6})\}", _code_point, text)
    text = re.sub(r"\[:(\w+):\]", lambda match: _POSIX_CLASSES.get(match[1], match[0]), text)
    return _flags_around(text)


def _code_point(match: re.Match[str]) -> str:
    number = int(match[2], 16)
    return match[0] if number > 0x10FFFF else match[1] + re.escape(chr(number))  # noqa: PLR2004 Unicode ends


def _flags_around(text: str) -> str:
    """Return *text* with the first flags in its middle, ``a(?i)b``, put around the rest: ``a(?i:b)``."""
    flags = re.search(r"(?<=[^\\])\(\?([imsx]+)\)", text)
    if flags is None:
        return text
    rest, depth = text[flags.end() :], 0
    for index, char in enumerate(rest):
        escaped = index > 0 and rest[index - 1] == "\\"
        depth += 0 if escaped else (char == "(") - (char == ")")
        if depth < 0:
            rest = f"{rest[:index]}){rest[index:]}"
            break
        if depth == 0 and char == "|" and not escaped:
            return text  # an alternative would end inside
    else:
        rest += ")"
    return f"{text[: flags.start()]}(?{flags[1]}:{rest}"
