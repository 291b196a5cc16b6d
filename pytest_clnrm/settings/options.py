"""The command line options and ini keys of all settings, and how pytest is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_clnrm.settings.settings import SETTINGS

if TYPE_CHECKING:
    import pytest

    from pytest_clnrm.settings.declare import Setting


def add_options(parser: pytest.Parser) -> None:
    """Declare every option and ini key of :data:`SETTINGS`.

    No default is given to pytest: a default on the command line would hide what the ini file says.
    """
    group = parser.getgroup("clnrm", "clnrm (scenario files in containers)")
    for setting in SETTINGS:
        about = f"{setting.help} (default: {setting.default})"
        if setting.option:
            group.addoption(
                setting.option,
                dest=setting.ini,
                default=None,
                **_action(setting),
                # argparse formats help texts with the % operator.
                help=about.replace("%", "%%"),
            )
            about = f"As {setting.option} (default: {setting.default})"
        parser.addini(setting.ini, about, type=setting.kind, default=None)


def options_to_repeat(config: pytest.Config) -> list[str]:
    """Return what the command line has to say again for a scenario to run as it did."""
    given = config.option
    words = [f"--{name}={value}" for name, value in (("rootdir", given.rootdir),) if value]
    words += [f"--config-file={value}" for value in (given.inifilename,) if value]
    # pytest keeps switches such as --strict-markers there too.
    words += [f"-o{value}" for value in given.override_ini or () if value.startswith("clnrm_")]
    for setting in SETTINGS:
        value = getattr(given, setting.ini, None) if setting.scenario else None
        if value is not None:
            words += [f"{setting.option}={each}" for each in (value if isinstance(value, list) else [value])]
    return words


def _action(setting: Setting) -> dict[str, Any]:
    if setting.flag:
        return {"action": "store_true"}
    return {"action": "append" if setting.kind == "args" else "store", "metavar": setting.metavar}
