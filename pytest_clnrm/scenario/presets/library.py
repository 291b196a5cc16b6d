"""What a preset's name stands for: the keys of a service.

A user's own stand in ``.clnrm/presets.toml``. One that names a ``preset`` itself is that with its own
keys over it, and so is one that is called as one of ours.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_clnrm.errors import ScenarioFileError
from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.presets.users import PRESETS_FILE, UsersPresets
from pytest_clnrm.scenario.reading import excess, huge_numbers, parse
from pytest_clnrm.toml.checking import some, suggestion
from pytest_clnrm.toml.positions import Places, leaves, show_path

PRESET = "preset"
_OURS = Path(__file__).with_name("presets.toml")
_INSTEAD = {"image": "build", "build": "image"}
_JOINED = ("env", "extra_hosts", "labels", "limits", "ulimits")
"""Tables that are put over one another key by key."""
_NOWHERE: KeyPath = ()


class PresetError(ValueError):
    """A preset cannot be used.

    :ivar hint: what was meant, "" if nothing is near.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Preset:
    """What a name stands for.

    :param keys: of a service; never changed.
    :param places: path of a key that the user's file gives -> its path there.
    """

    keys: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[KeyPath, KeyPath] = field(default_factory=dict)


def names(users: UsersPresets) -> list[str]:
    """Return the names that there are.

    :raises PresetError: if the user's file is wrong.
    """
    return sorted({*_ours(), *_values(users)})


def preset(name: str, users: UsersPresets) -> Preset:
    """Return what *name* stands for.

    :raises PresetError: if there is none of that name, or the user's file is wrong.
    """
    made = Preset()
    for each, at in reversed(_chain(name, users)):
        made = over(_values(users)[each], made, at) if at else Preset(_ours()[each])
    return made


def over(own: Mapping[str, Any], below: Preset, at: KeyPath = _NOWHERE) -> Preset:
    """Return a table of keys over a preset: its own keys win, variables and limits one by one.

    :param at: where the table is in the user's file; () if it is not there.
    """
    keys, places = dict(below.keys), dict(below.places)

    def put(path: KeyPath) -> None:
        for old in [each for each in places if each[: len(path)] == path]:
            del places[old]
        if at:
            places[path] = (*at, *path)

    for key, value in own.items():
        if key in _JOINED and isinstance(value, dict) and isinstance(keys.get(key), dict):
            keys[key] = {**keys[key], **value}
            for each in value:
                put((key, each))
            continue
        if key in _INSTEAD and keys.pop(_INSTEAD[key], None) is not None and _INSTEAD[key] not in own:
            places.pop((_INSTEAD[key],), None)
        keys[key] = value
        put((key,))
    return Preset(keys, places)


def _chain(name: str, users: UsersPresets) -> list[tuple[str, KeyPath]]:
    """Return the names that a name is made of, from its own to the last below it, each with its place.

    The place is that in the user's file, () for one of ours.
    """
    ours, own = _ours(), _values(users)
    chain: list[tuple[str, KeyPath]] = []
    at: KeyPath = _NOWHERE
    while True:
        if name in own and (name, (name,)) not in chain:
            chain.append((name, (name,)))
            below = own[name].get(PRESET, name)
            if not isinstance(below, str):
                raise _wrong(users, (name, PRESET), "expected text")
            if below == name and name not in ours:
                if PRESET in own[name]:
                    raise _wrong(users, (name, PRESET), f'there is no preset "{name}" below this one')
                return chain
            name, at = below, (name, PRESET)
        elif name in ours and (name not in own or chain[-1][0] == name):
            return [*chain, (name, _NOWHERE)]
        elif name in own:
            ways = " -> ".join([*(each for each, _ in chain), name])
            raise _wrong(users, at, f"a preset cannot stand on itself: {ways}")
        else:
            known = names(users)
            message, hint = f'there is no preset "{name}"; known: {some(known)}', suggestion(name, known)
            raise _wrong(users, at, message, hint) if at else PresetError(message, hint)


@functools.cache
def _ours() -> dict[str, dict[str, Any]]:
    return parse(_OURS.read_text("utf-8"), str(_OURS))


@functools.lru_cache(maxsize=8)
def _values(users: UsersPresets) -> dict[str, dict[str, Any]]:
    """Return the tables of the user's file."""
    if users.problem:
        raise PresetError(f"{PRESETS_FILE}: {users.problem}")
    try:
        values = parse(users.text, users.path)
    except ScenarioFileError as error:
        first = error.mistakes[0]
        raise PresetError(f"{PRESETS_FILE}:{first.line}:{first.column}: {first.message}") from None
    for at, message in excess(values) or huge_numbers(users.text, values):
        raise _wrong(users, at, message, values=values)
    for name, table in values.items():
        if not isinstance(table, dict):
            message = f'expected a table: [{name}] with the keys of a service, such as image = "name:tag"'
            raise _wrong(users, (name,), message, values=values)
    for at, text in leaves(values):
        if isinstance(text, str) and ("{{" in text or "{%" in text):
            raise _wrong(users, at, "templates are not rendered in presets", values=values)
    return {name: _from_rootdir(table, posixpath.dirname(users.path)) for name, table in values.items()}


def _wrong(
    users: UsersPresets, at: KeyPath, message: str, hint: str = "", *, values: dict[str, Any] | None = None
) -> PresetError:
    """Return the error that something in the user's file is wrong, with its place."""
    place = Places(users.text, parse(users.text, users.path) if values is None else values).find(at)
    return PresetError(f"{PRESETS_FILE}:{place.line}:{place.column}: {show_path(at)}: {message}", hint)


def _from_rootdir(table: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return a user's preset with its paths absolute: they are relative to the folder of their file."""

    def path(value: Any) -> Any:
        return (
            posixpath.normpath(posixpath.join(folder, value)) if isinstance(value, str) and value else value
        )

    def below(value: Any, key: str) -> Any:
        return {**value, key: path(value[key])} if isinstance(value, dict) and key in value else value

    made = dict(table)
    for key in ("volumes", "files"):
        if isinstance(made.get(key), list):
            made[key] = [below(each, "source") for each in made[key]]
    if isinstance(made.get("build"), str):
        made["build"] = path(made["build"])
    elif "build" in made:
        made["build"] = below(made["build"], "context")
    if "env_file" in made:
        given = made["env_file"]
        made["env_file"] = list(map(path, given)) if isinstance(given, list) else path(given)
    return made
