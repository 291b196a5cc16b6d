"""The command line that runs one scenario again as it was run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_clnrm.settings.settings import SETTINGS

if TYPE_CHECKING:
    import pytest


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
