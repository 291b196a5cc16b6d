"""How a setting is declared: once, in :mod:`pytest_clnrm.settings.settings`.

Command line, ini file, ``.clnrm/config.toml``, ``pytest --help`` and the tables of docs/configuration.md are
all made from the declaration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

from pytest_clnrm.model.priority import Priority
from pytest_clnrm.settings import values

_T = TypeVar("_T")

_FORMS = {
    "SIZE": "; SIZE: 512 means MB, 512m and 1g work too",
    "TIME": "; TIME: 90 means seconds, 90s and 1.5m work too",
}
"""What stands behind an option -> how it is written, for the help text."""


class Setting(NamedTuple):
    """One setting; :func:`setting` says what its parts are."""

    usage: str
    meaning: str
    parse: Callable[[object], object]
    default_value: object
    unset: str
    scenario: bool
    docs: str
    config: tuple[str, ...]
    field: str = ""

    @property
    def kind(self) -> Literal["string", "bool", "args"]:
        """Return what pytest calls its type."""
        if isinstance(self.default_value, tuple):
            return "args"
        return "bool" if self.parse is values.switch else "string"

    @property
    def optional(self) -> bool:
        """Tell whether an empty value takes the setting back."""
        return self.default_value is None

    @property
    def name(self) -> str:
        """Return ``memory`` for ``--clnrm-memory SIZE``."""
        return self.usage.split(" ")[0].lstrip("-").replace("-", "_").removeprefix("clnrm_")

    @property
    def ini(self) -> str:
        """Return the ini key; the option's value stands under the same name in ``config.option``."""
        return f"clnrm_{self.name}"

    @property
    def option(self) -> str | None:
        """Return the command line option, None if there is none."""
        return self.usage.split(" ")[0] if self.usage.startswith("--") else None

    @property
    def flag(self) -> bool:
        """Tell whether nothing stands behind its option."""
        return self.option is not None and self.kind == "bool"

    @property
    def metavar(self) -> str:
        """Return what stands behind the option."""
        names = self.parse.names if isinstance(self.parse, values.Choice) else ()
        return "|".join(names) or self.usage.partition(" ")[2]

    @property
    def default(self) -> str:
        """Return the default as users would write it, or what happens without the setting."""
        default = self.default_value
        if default in (None, ()):
            return self.unset
        if isinstance(default, bool):
            words = ("off", "on") if self.parse is values.on_off else ("false", "true")
            return words[default]
        if isinstance(default, Priority):
            return default.label
        if isinstance(default, tuple):
            return " ".join(default)
        if self.metavar == "SIZE" and isinstance(default, int):
            shift, unit = (30, "g") if default % 1024**3 == 0 else (20, "m")
            return f"{default >> shift}{unit}"
        return f"{default:g}" if self.metavar == "TIME" else str(default)

    @property
    def help(self) -> str:
        """Return what ``pytest --help`` says of it, but for its default."""
        text = self.meaning.replace("`", "")
        return f"{text[0].upper()}{text[1:]}{_FORMS.get(self.metavar, '')}"


_declared: list[Setting] = []


def setting(
    usage: str,
    meaning: str,
    parse: Callable[[object], object],
    *,
    default: _T,
    unset: str = "none",
    scenario: bool = False,
    docs: str = "",
    config: str = "",
) -> _T:
    """Declare a setting, and return its default.

    :param usage: ``--clnrm-memory SIZE`` for an option with its ini key ``clnrm_memory``,
        ``clnrm_max_disk SIZE`` for an ini key alone, "" for what only ``.clnrm/config.toml`` sets. What a
        :class:`~pytest_clnrm.settings.values.Choice` takes need not be said again.
    :param meaning: what it does, as the docs say it, in small letters.
    :param parse: returns the value, of each member of a list.
    :param default: a tuple makes it a list; None means that an empty value takes the setting back.
    :param unset: what happens without the setting, where the default is None or empty.
    :param scenario: whether it may change what one scenario does.
    :param docs: what the docs say besides, such as a link.
    :param config: its keys below ``executor`` in ``.clnrm/config.toml``, with blanks between them; one that
        ends in ``_ms`` is in milliseconds, one of a size is in MB.
    """
    keys = tuple(config.split())
    _declared.append(Setting(usage, meaning, parse, default, unset, scenario, docs, keys))
    return default


def declared(fields: tuple[str, ...]) -> tuple[Setting, ...]:
    """Return all settings; they are the first of *fields*, in this order."""
    return tuple(each._replace(field=name) for each, name in zip(_declared, fields, strict=False))
