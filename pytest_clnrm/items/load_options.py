"""With what scenario files are loaded, and containers of Python tests described."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_clnrm.cleanup import run_folder
from pytest_clnrm.items.tags import known_marks
from pytest_clnrm.ledger.folder import ID_FILE, default_path
from pytest_clnrm.scenario.mounts import LOADED, VolumeRules
from pytest_clnrm.scenario.options import LoadOptions
from pytest_clnrm.scenario.presets.users import read_users
from pytest_clnrm.settings.policy import policy_of

if TYPE_CHECKING:
    import pytest

    from pytest_clnrm.model.selection import KnownMarks
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.settings.settings import Settings

_UNIX = "unix://"


def load_options(runtime: Runtime, config: pytest.Config) -> LoadOptions:
    """Return what the settings of this run say."""
    return options_of(runtime.settings, str(runtime.rootdir), runtime.loaded, known_marks(config))


def options_of(settings: Settings, rootdir: str, loaded: tuple[str, ...], marks: KnownMarks) -> LoadOptions:
    """Return what settings say.

    :param rootdir: absolute.
    :param loaded: as :func:`loaded_names` has them.
    :param marks: those of the run.
    """
    return LoadOptions(
        rootdir=rootdir,
        default_image=settings.default_image,
        env_allowed=settings.env_allowed,
        environ=os.environ,
        strict=settings.strict,
        allow_mounts=tuple(str(path) for path in settings.allow_mounts),
        sockets=(settings.engine[len(_UNIX) :],) if settings.engine.startswith(_UNIX) else (),
        secrets=settings.secrets,
        volumes=_volume_rules(settings, loaded),
        policy=policy_of(settings),
        marks=marks,
        presets=read_users(rootdir),
    )


def loaded_names(config: pytest.Config, settings: Settings) -> tuple[str, ...]:
    """Return globs of the names of files that pytest, and others, load from the project."""
    # With ``-p no:python`` pytest does not know the key.
    with suppress(ValueError):
        return (*LOADED, *config.getini("python_files"), *settings.files)
    return (*LOADED, *settings.files)


def _volume_rules(settings: Settings, loaded: tuple[str, ...]) -> VolumeRules:
    ledger = settings.ledger_dir or default_path(os.environ)[0]
    return VolumeRules(
        writable=tuple(str(path) for path in settings.allow_writable),
        private={str(ledger): "the ledger's folder (clnrm_ledger_dir)"},
        temporary=(tempfile.gettempdir(),),
        marks=(run_folder.MARK, ID_FILE),
        loaded=loaded,
    )
