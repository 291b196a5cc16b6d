"""The user's own presets, as they were read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_clnrm.scenario.reading import text_of

PRESETS_FILE = ".clnrm/presets.toml"


@dataclass(frozen=True, slots=True)
class UsersPresets:
    """The user's file, as it was read.

    :param path: absolute, "" if there is none.
    :param problem: why it could not be read, "" if it could.
    """

    path: str = ""
    text: str = ""
    problem: str = ""


NO_PRESETS = UsersPresets()


def read_users(rootdir: str) -> UsersPresets:
    """Return the user's file, which need not be there; what is wrong with it is told where it is used."""
    path = Path(rootdir) / PRESETS_FILE
    if not path.exists():
        return NO_PRESETS
    try:
        return UsersPresets(str(path), text_of(str(path.resolve())).replace("\r\n", "\n"))
    except ValueError as error:
        return UsersPresets(str(path), problem=str(error))
