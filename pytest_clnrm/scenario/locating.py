"""Where in a scenario file something stands that a message is about, once the file was read."""

from __future__ import annotations

import functools
from pathlib import Path

from pytest_clnrm.errors import ScenarioFileError
from pytest_clnrm.model.key_path import KeyPath, file_and_path
from pytest_clnrm.scenario.reading import parse, read
from pytest_clnrm.toml.positions import Place, Places


def locate(path: str, at: KeyPath) -> tuple[int, int]:
    """Return 1-based line and column of a key path in a file.

    What has no place of its own has that of the table around it, and (1, 1) is the whole file. That is also
    the answer for a file that is TOML only when its templates are rendered.

    :param path: absolute, links resolved when it was loaded.
    :param at: as in the model's ``at``: as the file's author wrote it.
    """
    other, at = file_and_path(at)
    path = other or path
    try:
        status = Path(path).stat()
        return _locate(path, at, (status.st_mtime_ns, status.st_size))
    except (OSError, ScenarioFileError):
        return Place(1, 1)


@functools.lru_cache(maxsize=256)
def _locate(path: str, at: KeyPath, version: tuple[int, int]) -> Place:  # noqa: ARG001 a changed file is another
    text = read(path).text
    place = Places(text, parse(text, path)).find(at)
    return place if place.line else Place(1, 1)


def source_of(path: str, at: KeyPath) -> tuple[int, tuple[str, ...]]:
    """Return the 1-based number of the first line of what stands at a key path, and its lines.

    (0, ()) where they are not known, as in a file that is TOML only when its templates are rendered.

    :param path: absolute, links resolved when it was loaded: one that leads elsewhere since is not read.
    :param at: as in the model's ``at``: as the file's author wrote it.
    """
    other, at = file_and_path(at)
    try:
        text = read(other or path).text
        first, last = Places(text, parse(text, path)).extent(at)
    except ScenarioFileError:
        return 0, ()
    return first, tuple(text.split("\n")[first - 1 : last]) if first else ()
