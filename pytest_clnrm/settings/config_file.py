"""``.clnrm/config.toml``: the executor's settings under the names that the Rust tool gave them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_clnrm.errors import Mistake
from pytest_clnrm.model.units import MAX_DURATION_S
from pytest_clnrm.settings import values

Key = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """What a config file says.

    :param settings: field of Settings -> value.
    :param origins: field of Settings -> ``file:line: key`` that set it.
    :param mistakes: in the order of their lines.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()


def _native(parse: Callable[[object], Any]) -> Callable[[object], Any]:
    """Refuse text: TOML has numbers and switches of its own, and the keys name their units."""

    def parse_native(value: object) -> Any:
        if isinstance(value, str):
            raise ValueError(f"{value!r} is a text: write it without quotes")  # noqa: TRY004
        return parse(value)

    return parse_native


def _milliseconds(value: object) -> float:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_DURATION_S * 1000:
        return value / 1000
    raise ValueError(f"{value!r} is not a time: a whole number of milliseconds, from 1 to a year of them")


def _folders(value: object) -> tuple[Path, ...]:
    """Return paths as they are written: those that are relative are so to rootdir."""
    if isinstance(value, list):
        return tuple(values.path(each) for each in value)
    raise ValueError(f'{value!r} is not a list of folders: ["out"]')


CONFIG_KEYS: dict[Key, tuple[str, Callable[[object], Any]]] = {
    ("executor", "enabled"): ("enabled", _native(values.switch)),
    ("executor", "worker_count"): ("worker_count", _native(values.count)),
    ("executor", "max_concurrent_containers"): ("max_containers", _native(values.count)),
    ("executor", "collect_spans"): ("collect_spans", _native(values.switch)),
    ("executor", "scenario_timeout_ms"): ("timeout_s", _milliseconds),
    ("executor", "container_memory_limit_mb"): ("memory_bytes", _native(values.container_memory)),
    ("executor", "container_cpu_limit"): ("cpus", _native(values.cpus)),
    ("executor", "allow_writable"): ("allow_writable", _folders),
    ("executor", "limits", "container_memory_mb"): ("memory_bytes", _native(values.container_memory)),
    ("executor", "limits", "container_cpu_limit"): ("cpus", _native(values.cpus)),
    ("executor", "policy", "max_memory_mb"): ("max_memory_bytes", _native(values.container_memory)),
    ("executor", "policy", "max_cpu"): ("max_cpus", _native(values.cpus)),
    ("executor", "policy", "max_pids"): ("max_pids", _native(values.count)),
    ("executor", "policy", "max_gpus"): ("max_gpus", _native(values.count_or_none)),
    ("executor", "policy", "max_timeout_ms"): ("max_timeout_s", _milliseconds),
    ("executor", "policy", "max_scenario_containers"): ("max_scenario_containers", _native(values.count)),
    ("executor", "policy", "max_disk_mb"): ("max_disk_bytes", _native(values.size)),
    ("executor", "policy", "max_log_mb"): ("max_log_bytes", _native(values.size)),
    ("executor", "policy", "max_context_mb"): ("max_context_bytes", _native(values.size)),
    ("executor", "policy", "allow_bridge"): ("allow_bridge", _native(values.switch)),
    ("executor", "policy", "allow_ports"): ("allow_ports", _native(values.switch)),
    ("executor", "policy", "allow_build"): ("allow_build", _native(values.switch)),
    ("executor", "policy", "allow_volumes"): ("allow_volumes", _native(values.switch)),
}
"""Key path -> (field of Settings, what reads its value)."""

_PRIORITIES: Key = ("executor", "priorities")
"""The table whose keys are tags and folders, not ours."""

_TABLES = {_PRIORITIES} | {key[:depth] for key in CONFIG_KEYS for depth in range(1, len(key))}

_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?")
_KEY = re.compile(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"|'[^']*'))*)\s*=")
_KEY_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([\w-]+)")


def read_config_file(file: Path, shown: str) -> ConfigFile:
    """Return what *file* says; a file that does not exist says nothing.

    :param shown: the file's name for messages.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ConfigFile()
    except UnicodeDecodeError as error:
        return ConfigFile(mistakes=(_whole(f"is not UTF-8 text, which TOML is: {error.reason}"),))
    except OSError as error:
        return ConfigFile(mistakes=(_whole(f"cannot be read: {error.strerror}"),))

    import tomli  # only for those who have such a file

    lines = text.split("\n")
    try:
        data = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        source = lines[error.lineno - 1] if error.lineno <= len(lines) else ""
        mistake = Mistake(line=error.lineno, column=error.colno, path="", message=error.msg, source=source)
        return ConfigFile(mistakes=(mistake,))
    return _Reading(lines, shown).read(data)


def _whole(message: str) -> Mistake:
    return Mistake(line=0, column=0, path="", message=message)


def _places(lines: list[str]) -> dict[Key, tuple[int, int]]:
    """Return where each key and each table header of a file stands: 1-based line and column."""
    places: dict[Key, tuple[int, int]] = {}
    table: Key = ()
    for number, line in enumerate(lines, start=1):
        header = _HEADER.fullmatch(line)
        found = header or _KEY.match(line)
        if found:
            key = tuple(a or b or c for a, b, c in _KEY_PART.findall(found[1]))
            table, key = (key, key) if header else (table, table + key)
            for depth in range(1, len(key) + 1):
                places.setdefault(key[:depth], (number, found.start(1) + 1))
    return places


class _Reading:
    """One file on its way from parsed TOML to settings; all its mistakes are gathered."""

    def __init__(self, lines: list[str], shown: str) -> None:
        self._lines = lines
        self._shown = shown
        self._places = _places(lines)
        self._settings: dict[str, Any] = {"priorities": {}}
        self._origins: dict[str, str] = {}
        self._mistakes: list[Mistake] = []

    def read(self, data: Mapping[str, Any]) -> ConfigFile:
        self._table((), data)
        return ConfigFile(
            settings=self._settings,
            origins=self._origins,
            mistakes=tuple(sorted(self._mistakes, key=lambda each: (each.line, each.column))),
        )

    def _table(self, table: Key, data: Mapping[str, Any]) -> None:
        for name, value in data.items():
            key = (*table, name)
            if key in _TABLES and not isinstance(value, dict):
                self._mistake(key, f"{value!r} is not a table: [{'.'.join(key)}] with keys below it")
            elif key in _TABLES:
                self._table(key, value)
            elif table == _PRIORITIES or key in CONFIG_KEYS:
                self._value(key, value)
            else:
                self._unknown(table, name)

    def _value(self, key: Key, written: object) -> None:
        parse = CONFIG_KEYS[key][1] if key in CONFIG_KEYS else values.priority
        try:
            value = parse(written)
        except ValueError as error:
            self._mistake(key, str(error))
            return
        if key in CONFIG_KEYS:
            self._set(key, value, written)
        else:
            self._settings["priorities"][key[-1]] = value

    def _set(self, key: Key, value: Any, written: object) -> None:
        name = CONFIG_KEYS[key][0]
        if self._settings.setdefault(name, value) != value:
            other = self._origins[name]
            self._mistake(key, f"{written!r} contradicts {other}; one of the two is enough")
            return
        line, _ = self._place(key)
        place = f"{self._shown}:{line}" if line else self._shown
        self._origins.setdefault(name, f"{place}: {'.'.join(key)}")

    def _unknown(self, table: Key, name: str) -> None:
        known = list(
            dict.fromkeys(
                key[len(table)] for key in (*CONFIG_KEYS, _PRIORITIES) if key[: len(table)] == table
            )
        )
        # The same name in another table is nearer to what is meant than a similar name in this one.
        meant = [".".join(key) for key in CONFIG_KEYS if key[-1] == name]
        meant = meant or difflib.get_close_matches(name, known, n=1)
        where = f"[{'.'.join(table)}]" if table else "this file"
        self._mistake(
            (*table, name),
            f"is not known; {where} may hold: {', '.join(known)}",
            hint=f"did you mean {meant[0]}?" if meant else "",
        )

    def _mistake(self, key: Key, message: str, hint: str = "") -> None:
        line, column = self._place(key)
        source = self._lines[line - 1] if line else ""
        self._mistakes.append(
            Mistake(line=line, column=column, path=".".join(key), message=message, source=source, hint=hint)
        )

    def _place(self, key: Key) -> tuple[int, int]:
        """Return the key's place, or that of the nearest table or key around it."""
        return next(
            (self._places[key[:n]] for n in range(len(key), 0, -1) if key[:n] in self._places), (0, 0)
        )
