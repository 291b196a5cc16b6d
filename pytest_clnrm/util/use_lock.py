"""A file that says whether somebody uses something: many may at once, and who wants it alone finds out."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def in_use(file: Path) -> Iterator[None]:
    """Use it; who has it alone at the moment is waited for. It is no longer used when the process ends.

    :raises OSError: if the file cannot be opened.
    """
    with _locked(file, fcntl.LOCK_SH):
        yield


@contextmanager
def if_unused(file: Path) -> Iterator[bool]:
    """Yield whether nobody uses it; as long as the block runs nobody begins to.

    :raises OSError: if the file cannot be opened.
    """
    try:
        with _locked(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
            yield True
    except BlockingIOError:
        yield False


@contextmanager
def _locked(file: Path, how: int) -> Iterator[None]:
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how)
        try:
            yield
        finally:
            # Closing is not enough: a child that is forked in this moment has it, too.
            fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)
