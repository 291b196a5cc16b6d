"""Files that texts are compared with: who judges asks for them, and somebody else reads and writes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class GoldenFileError(Exception):
    """A file cannot be compared with; the message says which one, why, and what to do."""


class GoldenFiles(Protocol):
    """Files, by their paths as the scenario file has them."""

    def read(self, path: str) -> str:
        """Return the content of a file.

        :raises GoldenFileError: if it cannot be read.
        """

    def update(self, path: str, content: str) -> bool:
        """Make *content* that of a file; False if the run only compares.

        :raises GoldenFileError: if it cannot be written.
        """


class _NoFiles:
    def read(self, path: str) -> str:
        raise GoldenFileError(f"the file {path!r} cannot be read here")

    def update(self, path: str, content: str) -> bool:  # noqa: ARG002
        return False


_files: ContextVar[GoldenFiles] = ContextVar("clnrm_golden_files", default=_NoFiles())  # noqa: B039


@contextmanager
def using(files: GoldenFiles) -> Iterator[None]:
    """Let all that this thread judges be compared with *files*."""
    token = _files.set(files)
    try:
        yield
    finally:
        _files.reset(token)


def golden_files() -> GoldenFiles:
    """Return the files of what is judged now."""
    return _files.get()
