"""Where artifacts lie once the run is over: below its report, or else in pytest's cache."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from pytest_clnrm.settings.settings import Settings

_CACHED = "clnrm"


def base_of(config: pytest.Config, settings: Settings) -> Path | None:
    """Return the folder that they are below; None without a report if pytest's cache is switched off."""
    if settings.report_dir is not None:
        return settings.report_dir
    cache = getattr(config, "cache", None)
    return None if cache is None else Path(cache.mkdir(_CACHED))


def shown_base(config: pytest.Config, settings: Settings) -> str:
    """Return that folder as it is shown: relative to the folder pytest was started in."""
    base = base_of(config, settings)
    return "" if base is None else os.path.relpath(base, config.invocation_params.dir)
