"""How a setting is declared: once, in :mod:`pytest_clnrm.settings.settings`.

Command line, ini file, ``.clnrm/config.toml``, ``pytest --help`` and the tables of docs/configuration.md are
all made from the declaration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import pytest

from pytest_clnrm.settings import values

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")

_FORMS = {
    "SIZE": "; SIZE: 512 means MB, 512m and 1g work too",
    "TIME": "; TIME: 90 means seconds, 90s and 1.5m work too",
}
"""What stands behind an option -> how it is written, for the help text."""


class Setting:
    """One setting; :func:`setting` says what its parts are.

    It is an attribute of the class of settings, and its default is that of their instances.

    :param name: ``memory`` for ``--clnrm-memory SIZE``, "" for what only ``.clnrm/config.toml`` sets.
    :param ini: the ini key; the option's value stands under the same name in ``config.option``.
    :param option: the command line option, None if there is none.
    :param field: the name of the attribute.
    """

    field = ""

    def __init__(
        self,
        usage: str,
        meaning: str,
        parse: Callable[[object], object],
        *,
        default_value: object,
        unset: str,
        scenario: bool,
        docs: str,
        config: tuple[str, ...],
    ) -> None:
        word, _, self._stands_behind = usage.partition(" ")
        self.option = word if word.startswith("--") else None
        self.name = word.lstrip("-").replace("-", "_").removeprefix("clnrm_")
        self.ini = f"clnrm_{self.name}"
        self.meaning = meaning
        self.parse = parse
        self.default_value = default_value
        self.unset = unset
        self.scenario = scenario
        self.docs = docs
        self.config = config

    def __set_name__(self, owner: type, name: str) -> None:
        """Remember where it stands."""
        self.field = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Return the default, for an instance that holds nothing else."""
        return self if instance is None else self.default_value

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
    def flag(self) -> bool:
        """Tell whether nothing stands behind its option."""
        return self.option is not None and self.kind == "bool"

    @property
    def metavar(self) -> str:
        """Return what stands behind the option."""
        names = self.parse.names if isinstance(self.parse, values.Choice) else ()
        return "|".join(names) or self._stands_behind

    @property
    def default(self) -> str:
        """Return the default as users would write it, or what happens without the setting."""
        default = self.default_value
        if default in (None, ()):
            return self.unset
        if isinstance(default, bool):
            words = ("off", "on") if self.parse is values.on_off else ("false", "true")
            return words[default]
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
    """Declare a setting, as an attribute of the class of settings.

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
    made = Setting(
        usage,
        meaning,
        parse,
        default_value=default,
        unset=unset,
        scenario=scenario,
        docs=docs,
        config=tuple(config.split()),
    )
    # To a type checker the attribute is what instances have.
    return cast("_T", made)


def add_options(parser: pytest.Parser, settings: Sequence[Setting]) -> None:
    """Declare every option and ini key.

    No default is given to pytest: a default on the command line would hide what the ini file says.
    """
    group = parser.getgroup("clnrm", "clnrm (scenario files in containers)")
    for setting in settings:
        default = setting.default
        about = f"{setting.help} (default: {default})"
        if setting.option:
            group.addoption(
                setting.option,
                dest=setting.ini,
                default=None,
                **_action(setting),
                # argparse formats help texts with the % operator.
                help=about.replace("%", "%%"),
            )
            about = f"As {setting.option} (default: {default})"
        parser.addini(setting.ini, about, type=setting.kind, default=None)


def _action(setting: Setting) -> dict[str, Any]:
    if setting.flag:
        return {"action": "store_true"}
    return {"action": "append" if setting.kind == "args" else "store", "metavar": setting.metavar}


def is_given(config: pytest.Config, setting: Setting) -> bool:
    """Tell whether the command line or the ini file sets it, be it to nonsense."""
    if setting.option and config.getoption(setting.ini) is not None:
        return True
    try:
        return config.getini(setting.ini) is not None
    except (TypeError, ValueError, pytest.UsageError):
        return True
