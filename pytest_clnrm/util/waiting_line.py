"""A line in which processes of one user stand, known by a folder: who is first has the turn.

Each one that waits has a file there, whose name sorts by rank, and holds a lock on it, which the kernel frees
however its process ends.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path


class WaitingLine:
    """A place in a line, once it was joined; used under a lock by the threads of a process.

    :param folder: of the line, made when somebody joins.
    :param rank: smaller ones come first, in the order of their texts; of equals whoever it may be.
    """

    def __init__(self, folder: Path, rank: str) -> None:
        self._folder = folder
        self._rank = rank
        self._name = ""
        self._handle = -1

    @property
    def is_joined(self) -> bool:
        """Tell whether it has a place."""
        return bool(self._name)

    def join(self) -> None:
        """Take a place; nothing happens if it has one.

        :raises OSError: if the folder cannot be used.
        """
        if self._name:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{self._rank}-{secrets.token_hex(4)}"
        new = self._folder / f".{name}"
        self._handle = os.open(new, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        # Seen only once it is locked: whoever finds it unlocked takes its process for dead.
        new.rename(self._folder / name)
        self._name = name

    def is_first(self) -> bool:
        """Tell whether nobody who lives is before it; before it has joined, whether nobody is there."""
        for name in sorted(self._names()):
            if name == self._name:
                return True
            if self._is_held(self._folder / name):
                return False
        return True

    def leave(self) -> None:
        """Give up the place; nothing happens if it has none."""
        name, self._name = self._name, ""
        if name:
            with suppress(OSError):
                (self._folder / name).unlink()
            os.close(self._handle)

    def _names(self) -> list[str]:
        try:
            return [file.name for file in self._folder.iterdir() if not file.name.startswith(".")]
        except FileNotFoundError:
            return []

    def _is_held(self, file: Path) -> bool:
        try:
            handle = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            # Its process has died.
            file.unlink(missing_ok=True)
            return False
        finally:
            os.close(handle)
