"""Writing a file that a command has made."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def write_new(path: Path, text: str, *, force: bool) -> None:
    """Write *text* to the file at *path*, whose folder is made if it is not there.

    :param force: even if there is such a file.
    :raises ClnrmError: if there is, or it cannot be written.
    """
    from pytest_clnrm.errors import ClnrmError

    try:
        # Where a file stands in the way, opening ours says what is wrong.
        with suppress(FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ClnrmError(f"{path} is there already: --force overwrites it") from None
    except OSError as error:
        raise ClnrmError(f"{path}: {error.strerror}") from None
