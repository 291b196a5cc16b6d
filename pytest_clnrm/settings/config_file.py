"""``.clnrm/config.toml``: the executor's settings under the names that the Rust tool gave them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_clnrm.errors import Mistake
from pytest_clnrm.model.units import MAX_DURATION_S
from pytest_clnrm.settings import values
from pytest_clnrm.settings.settings import CONFIG_SETTINGS

if TYPE_CHECKING:
    from pytest_clnrm.settings.declare import Setting
    from pytest_clnrm.toml.positions import Places

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


LISTS: Mapping[Any, tuple[str, str]] = {
    values.group_limit: ("limits", "database=2"),
    values.capability_name: ("capabilities", "NET_ADMIN"),
    values.path: ("folders", "out"),
}
"""What reads an element -> what a list of them is called, and one of them."""


def _milliseconds(value: object) -> float:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_DURATION_S * 1000:
        return value / 1000
    raise ValueError(f"{value!r} is not a time: a whole number of milliseconds, from 1 to a year of them")


def _reader(key: str, setting: Setting) -> Callable[[object], Any]:
    """Return what reads the value of *key*: TOML has numbers and switches, and the keys name their units."""
    if key.endswith("_ms"):
        return _milliseconds
    parse = values.switch if isinstance(setting.default_value, bool) else setting.parse

    def read(value: object) -> Any:
        if setting.kind == "args":
            if not isinstance(value, list):
                what, example = LISTS[setting.parse]
                raise ValueError(f'{value!r} is not a list of {what}: ["{example}"]')
            return tuple(map(parse, value))
        if isinstance(value, str) and not isinstance(parse, values.Choice):
            raise ValueError(f"{value!r} is a text: write it without quotes")  # noqa: TRY004
        return parse(value)

    return read


CONFIG_KEYS: dict[Key, tuple[str, Callable[[object], Any]]] = {
    ("executor", *key.split(".")): (setting.field, _reader(key, setting))
    # What stands directly below `executor` first: this is the order in messages.
    for key, setting in sorted(
        ((key, each) for each in CONFIG_SETTINGS for key in each.config), key=lambda each: "." in each[0]
    )
}
"""Key path -> (field of Settings, what reads its value)."""

_PRIORITIES: Key = ("executor", "priorities")
"""The table whose keys are tags and folders, not ours."""

_TABLES = {_PRIORITIES} | {key[:depth] for key in CONFIG_KEYS for depth in range(1, len(key))}


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

    from pytest_clnrm.toml.positions import Places, source_line

    try:
        data = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        source = source_line(text, error.lineno)
        mistake = Mistake(line=error.lineno, column=error.colno, path="", message=error.msg, source=source)
        return ConfigFile(mistakes=(mistake,))
    return _Reading(text, Places(text, data), shown).read(data)


def _whole(message: str) -> Mistake:
    return Mistake(line=0, column=0, path="", message=message)


class _Reading:
    """One file on its way from parsed TOML to settings; all its mistakes are gathered."""

    def __init__(self, text: str, places: Places, shown: str) -> None:
        self._text = text
        self._shown = shown
        self._places = places
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
        line = self._places.find(key).line
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
        from pytest_clnrm.toml.positions import show_path, source_line

        place = self._places.find(key)
        source = source_line(self._text, place.line)
        self._mistakes.append(Mistake(*place, path=show_path(key), message=message, source=source, hint=hint))
