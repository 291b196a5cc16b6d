"""Files that texts are compared with: who judges asks for their content, and somebody else reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Read = Callable[[str], str]
"""Path as the scenario file has it -> content; raises :exc:`GoldenFileError`."""


class GoldenFileError(Exception):
    """A file cannot be compared with; the message says which one, why, and what to do."""


def _unread(path: str) -> str:
    raise GoldenFileError(f"the file {path!r} cannot be read here")


_read: ContextVar[Read] = ContextVar("clnrm_golden_files", default=_unread)


@contextmanager
def reading_by(read: Read) -> Iterator[None]:
    """Let *read* read the files of all that this thread judges."""
    token = _read.set(read)
    try:
        yield
    finally:
        _read.reset(token)


def read_golden(path: str) -> str:
    """Return the content of a file.

    :raises GoldenFileError: if it cannot be read.
    """
    return _read.get()(path)
