"""The project that files belong to: what pytest would take from its settings, without a session of pytest.

Of the project's own code nothing is run: no ``conftest.py``, and no other plugin. What another plugin brings
is not known but by its name.
"""

from __future__ import annotations

import os
import re
import shlex
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.items.load_options import loaded_names, options_of
from pytest_clnrm.items.tags import PLUGINS, marker_name
from pytest_clnrm.model.selection import KnownMarks
from pytest_clnrm.names import MARKERS, project_markers_key
from pytest_clnrm.settings.loading import load_settings
from pytest_clnrm.settings.settings import SETTINGS

if TYPE_CHECKING:
    from pytest_clnrm.scenario.options import LoadOptions
    from pytest_clnrm.settings.settings import Settings

PYTESTS_MARKS = MARKERS | {
    "filterwarnings",
    "parametrize",
    "skip",
    "skipif",
    "tryfirst",
    "trylast",
    "usefixtures",
    "xfail",
}
"""Markers that pytest registers itself, or we."""

_WITHOUT_PLUGINS = (
    "--disable-plugin-autoload",
    "--noconftest",
    "-s",
    "--assert=plain",
    "-p",
    "pytest_clnrm.plugin",
)
# Other plugins are not loaded, so that neither they nor their keys can be asked for.
_NOT_ASKED = ("-o", "required_plugins=", "-o", "strict_config=false")
_TAKES_A_WORD = {each.option for each in SETTINGS if each.option and not each.flag}


class Project(NamedTuple):
    """What files of one folder tree are checked with.

    :param left_out: globs of the names of folders in which pytest looks for nothing.
    """

    rootdir: Path
    settings: Settings
    options: LoadOptions
    left_out: tuple[str, ...]

    def is_left_out(self, folder: Path) -> bool:
        """Tell whether pytest does not look for files in a folder below one that was named."""
        is_environment = (folder / "pyvenv.cfg").is_file()
        return is_environment or any(folder.match(glob) for glob in self.left_out)


def project_of(paths: Sequence[Path], extra: Sequence[str] = ()) -> Project:
    """Return the project of *paths*, as ``pytest PATHS`` would find it.

    :param extra: words of pytest's command line.
    :raises ClnrmError: with what is wrong in its settings.
    """
    named = [str(path) for path in paths]
    try:
        config = _config([*extra, *named])
        words = [*_ours(config.getini("addopts")), *_ours(shlex.split(os.environ.get("PYTEST_ADDOPTS", "")))]
        if words:
            config = _config([*words, *extra, *named])
        settings = load_settings(config)
    except (pytest.UsageError, ValueError) as error:
        raise ClnrmError(_plain(str(error))) from None
    return Project(
        config.rootpath,
        settings,
        options_of(settings, str(config.rootpath), loaded_names(config, settings), _marks(config)),
        tuple(config.getini("norecursedirs")),
    )


def rootdir_of(path: Path) -> Path:
    """Return what pytest takes as rootdir for *path*, which need not exist yet.

    :raises ClnrmError: if its ini file is wrong.
    """
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    try:
        return _config([str(there)]).rootpath.resolve()
    except (pytest.UsageError, ValueError) as error:
        raise ClnrmError(_plain(str(error))) from None


def _plain(message: str) -> str:
    """Return what is wrong, without how a command line of pytest looks."""
    found = re.search(r"^\S+: error: (.*)$", message, re.MULTILINE)
    return found[1] if found else message


@contextmanager
def _without_environment() -> Iterator[None]:
    """Hide the variable by which pytest is told to import others' plugins."""
    hidden = os.environ.pop("PYTEST_PLUGINS", None)
    try:
        yield
    finally:
        if hidden is not None:
            os.environ["PYTEST_PLUGINS"] = hidden


def _config(words: Iterable[str]) -> pytest.Config:
    with warnings.catch_warnings(), _without_environment():
        # Keys of plugins that are not loaded are no mistakes.
        warnings.simplefilter("ignore")
        return pytest.Config.fromdictargs({}, [*_WITHOUT_PLUGINS, *_NOT_ASKED, *words])


def _ours(words: Iterable[str]) -> Iterator[str]:
    """Yield those words of a command line that are for us: other plugins' options are unknown here."""
    left = iter(words)
    for word in left:
        if word in _TAKES_A_WORD:
            yield from (word, next(left, ""))
        elif word.startswith("--clnrm-"):
            yield word
        elif word in {"-o", "--override-ini", "-p"}:
            value = next(left, "")
            if value.startswith(("clnrm_", "no:")):
                yield from (word, value)
        elif word.startswith(("-oclnrm_", "--override-ini=clnrm_", "-pno:")):
            yield word


def _marks(config: pytest.Config) -> KnownMarks:
    lines: tuple[str, ...] = config.stash.get(project_markers_key, ())
    project = frozenset(map(marker_name, lines))
    there = {each.name for each in entry_points(group="pytest11")}
    return KnownMarks(
        project=project,
        taken=PYTESTS_MARKS - project,
        plugins=frozenset(
            mark
            for mark, plugin in PLUGINS.items()
            if plugin in there and not config.pluginmanager.is_blocked(plugin)
        ),
    )
