"""Reading the settings: command line, then ini, then ``.clnrm/config.toml``, then the default."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_clnrm.settings import values
from pytest_clnrm.settings.declare import Setting
from pytest_clnrm.settings.settings import CONFIG_FILE, SETTINGS, Settings, megabytes


def load_settings(config: pytest.Config) -> Settings:
    """Return the settings of this run.

    :raises pytest.UsageError: once, with every wrong value: where it stands and what is allowed.
    """
    reading = _Reading()
    if (config.rootpath / CONFIG_FILE).exists():
        from pytest_clnrm.settings.config_file import read_config_file

        file = read_config_file(config.rootpath / CONFIG_FILE, CONFIG_FILE)
        reading.found = {name: _absolute(value, config.rootpath) for name, value in file.settings.items()}
        reading.origins = dict(file.origins)
        reading.mistakes = [mistake.render(CONFIG_FILE) for mistake in file.mistakes]
    with warnings.catch_warnings():
        # pytest warns of a native value for a key that it holds to be text; our own reading judges it.
        warnings.simplefilter("ignore")
        for setting in SETTINGS:
            reading.read(setting, [*_command_line(config, setting), *_ini(config, setting)])
    if reading.mistakes:
        raise _refusal(reading.mistakes)
    settings = _capped(Settings(**reading.found, origins=reading.origins))
    _check_retries(settings)
    return settings


_CAPPED = {
    "memory_bytes": "max_memory_bytes",
    "cpus": "max_cpus",
    "pids": "max_pids",
    "timeout_s": "max_timeout_s",
}
"""What files get that ask for nothing -> what they may ask for."""


def _check_retries(settings: Settings) -> None:
    """Check that nobody asks to hunt a flaky scenario, and to try it again, at the same time.

    :raises pytest.UsageError: if the same command line does; retries of a file rest meanwhile.
    """
    asked = settings.origin("repeat"), settings.origin("retries")
    if settings.repeat > 1 and settings.retries and all(each.startswith("--") for each in asked):
        raise _refusal(
            [f"{asked[0]}: not with {asked[1]}: it looks for the first failure, which is not tried again"]
        )


def _capped(settings: Settings) -> Settings:
    """Lower defaults to the caps on what files may ask for.

    :raises pytest.UsageError: if what was set is more than its cap.
    """
    mistakes, lowered = [], {}
    for name, cap in _CAPPED.items():
        value, most = getattr(settings, name), getattr(settings, cap)
        if most is not None and value > most:
            lowered[name] = most
            if name in settings.origins:
                shown = [megabytes(each) if name == "memory_bytes" else f"{each:g}" for each in (value, most)]
                mistakes.append(
                    f"{settings.origin(name)}: {shown[0]} is more than its cap: at most {shown[1]} "
                    f"({settings.origin(cap)})"
                )
    if mistakes:
        raise _refusal(mistakes)
    return Settings(**vars(settings) | lowered)


def _refusal(mistakes: Sequence[str]) -> pytest.UsageError:
    from pytest_clnrm.util.terminal_text import shown

    return pytest.UsageError(shown("\n".join(mistakes)))


class _Given(NamedTuple):
    """A value as it was given.

    :param origin: what users would recognise it by.
    :param base: the folder to which a relative path in it is relative.
    """

    value: object
    origin: str
    base: Path


class _Reading:
    """Settings on their way from what was given; all mistakes are gathered."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.mistakes: list[str] = []

    def read(self, setting: Setting, given: list[_Given]) -> None:
        """Take the first of *given*; of a list, the members of all."""
        if not given:
            return
        self.origins[setting.field] = given[0].origin
        if setting.kind == "args":
            members = [_Given(item, each.origin, each.base) for each in given for item in self._items(each)]
            self.found[setting.field] = tuple(m for each in members for m in self._parsed(setting, each))
        elif not (setting.optional and given[0].value == ""):
            self.found.update((setting.field, value) for value in self._parsed(setting, given[0]))

    def _items(self, given: _Given) -> list[object]:
        try:
            return values.items(given.value)
        except ValueError as error:
            self.mistakes.append(f"{given.origin}: {error}")
            return []

    def _parsed(self, setting: Setting, given: _Given) -> list[Any]:
        """Return a list of the value that is meant, an empty one after a mistake."""
        try:
            value = setting.parse(given.value)
        except ValueError as error:
            self.mistakes.append(f"{given.origin}: {error}")
            return []
        return [_absolute(value, given.base)]


def _absolute(value: Any, base: Path) -> Any:
    """Return a setting's value with relative paths in it below *base*, and links resolved."""
    if isinstance(value, tuple):
        return tuple(_absolute(each, base) for each in value)
    return (base / value).resolve() if isinstance(value, Path) else value


def _command_line(config: pytest.Config, setting: Setting) -> list[_Given]:
    """Return what the command line gives, one value of a list at a time."""
    value = config.getoption(setting.ini) if setting.option else None
    if value is None:
        return []
    given = [[each] for each in value] if isinstance(value, list) else [value]
    return [_Given(each, setting.option or "", config.invocation_params.dir) for each in given]


def _ini(config: pytest.Config, setting: Setting) -> list[_Given]:
    """Return what the ini file or ``-o`` gives, as text or as native TOML."""
    try:
        value = config.getini(setting.ini)
    except (TypeError, ValueError, pytest.UsageError):
        value = _raw_ini(config, setting.ini)
    if value is None:
        return []
    base = config.inipath.parent if config.inipath else config.invocation_params.dir
    return [_Given(value, _ini_origin(config, setting.ini), base)]


def _override(config: pytest.Config, ini: str) -> str | None:
    """Return what ``-o`` says for *ini*, the last one if there are several."""
    given = (each.partition("=") for each in config.getoption("override_ini") or ())
    return next((value for name, _, value in reversed(list(given)) if name == ini), None)


def _raw_ini(config: pytest.Config, ini: str) -> object:
    """Return the value as pytest read it, before it judged the type.

    There is no other way to a native ``clnrm_memory = 512`` of ``[tool.pytest]``: before 9.2 pytest knew no
    key that may be a number or text.
    """
    override = _override(config, ini)
    return config.inicfg[ini] if override is None else override


def _ini_origin(config: pytest.Config, ini: str) -> str:
    """Return ``file:line: key``, without the line where it is not found."""
    if _override(config, ini) is not None or config.inipath is None:
        return f"-o {ini}"
    file = config.inipath
    place = str(file.relative_to(config.rootpath)) if file.is_relative_to(config.rootpath) else str(file)
    key = re.compile(rf"\s*[\"']?{re.escape(ini)}[\"']?\s*[=:]")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    number = next((number for number, line in enumerate(lines, start=1) if key.match(line)), None)
    return f"{place}:{number}: {ini}" if number else f"{place}: {ini}"


def check_against_engine(settings: Settings, engine_cpus: int, engine_memory_bytes: int) -> None:
    """Refuse limits of a container that are more than the engine has.

    The default memory limit may exceed a small engine's memory, as nobody asked for it.

    :raises pytest.UsageError: once, for all such limits.
    """
    mistakes = []
    if settings.cpus > engine_cpus:
        mistakes.append(
            f"{settings.origin('cpus')}: {settings.cpus} CPUs for each container, but the engine has "
            f"{engine_cpus}: at most {engine_cpus}"
        )
    if settings.memory_bytes > engine_memory_bytes and "memory_bytes" in settings.origins:
        has = f"{engine_memory_bytes // 1024**2} MB"
        mistakes.append(
            f"{settings.origin('memory_bytes')}: {megabytes(settings.memory_bytes)} for each container, "
            f"but the engine has {has}: at most {has}"
        )
    if mistakes:
        raise _refusal(mistakes)
