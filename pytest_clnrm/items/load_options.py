"""With what scenario files are loaded, and containers of Python tests described."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup import run_folder
from pytest_clnrm.items.tags import known_marks
from pytest_clnrm.ledger.folder import ID_FILE, default_path
from pytest_clnrm.scenario.mounts import VolumeRules
from pytest_clnrm.scenario.options import LoadOptions
from pytest_clnrm.scenario.presets.users import read_users
from pytest_clnrm.settings.policy import policy_of

if TYPE_CHECKING:
    import pytest

    from pytest_clnrm.runtime.runtime import Runtime

_UNIX = "unix://"


def load_options(runtime: Runtime, config: pytest.Config) -> LoadOptions:
    """Return what the settings of this run say."""
    settings = runtime.settings
    return LoadOptions(
        rootdir=str(runtime.rootdir),
        default_image=settings.default_image,
        env_allowed=settings.env_allowed,
        environ=os.environ,
        strict=settings.strict,
        allow_mounts=tuple(str(path) for path in settings.allow_mounts),
        sockets=(settings.engine[len(_UNIX) :],) if settings.engine.startswith(_UNIX) else (),
        secrets=settings.secrets,
        volumes=_volume_rules(runtime),
        policy=policy_of(settings),
        marks=known_marks(config),
        presets=read_users(str(runtime.rootdir)),
    )


def _volume_rules(runtime: Runtime) -> VolumeRules:
    settings = runtime.settings
    ledger = settings.ledger_dir or default_path(os.environ)[0]
    return VolumeRules(
        writable=tuple(str(path) for path in settings.allow_writable),
        private={str(ledger): "the ledger's folder (clnrm_ledger_dir)"},
        temporary=(tempfile.gettempdir(),),
        marks=(run_folder.MARK, ID_FILE),
        loaded=runtime.loaded,
    )
