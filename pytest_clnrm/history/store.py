"""Histories in files: JSON of a version, an item a line.

``{"format": 2, "runs": [names], "items": {node id: [runs, outcomes, seconds, {service: bytes}], ...},
"needy": {node id: run}}``. A run is its place in "runs", which are sorted. Of an item the first three are
columns, a value for each of its runs: places, letters ("p" passed, "f" failed, "s" skipped) in one text,
seconds or null. So are the bytes of each service; the last part is left out where nothing was measured.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from pytest_clnrm.history.records import Columns, History, merged
from pytest_clnrm.util.files import write_whole

_FORMAT = 2


class HistoryError(Exception):
    """A history cannot be read or written; the message says where and why."""


class _Document(msgspec.Struct):
    format: Literal[2]
    runs: list[str]
    items: dict[str, Columns]
    needy: dict[str, Annotated[int, msgspec.Meta(ge=0)]] = {}


def read_history(path: Path) -> History:
    """Return the history in a file, an empty one if there is no such file, or it is empty itself.

    :raises HistoryError: if it cannot be read, or holds something else.
    """
    try:
        if not path.exists():
            return History()
        if not path.is_file():
            raise HistoryError(f"{path} is no file that could hold a history")
        data = path.read_bytes()
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {error.strerror or error}") from error
    if not data:
        return History()
    try:
        return _history_of(msgspec.json.decode(data, type=_Document))
    except (msgspec.DecodeError, ValueError) as error:
        raise HistoryError(f"{_place(path, data)}: no history of pytest-clnrm: {error}") from error


def _history_of(document: _Document) -> History:
    """Return the history of a document.

    :raises ValueError: if it does not fit together.
    """
    runs = tuple(document.runs)
    if list(runs) != sorted(set(runs)):
        raise ValueError("its runs must be sorted, and each there once")
    last = len(runs) - 1
    for nodeid, columns in document.items.items():
        if columns.runs[-1] > last:
            raise ValueError(f"{nodeid!r} names run {columns.runs[-1]}, the last one is {last}")
    for nodeid, run in document.needy.items():
        if run > last:
            raise ValueError(f"{nodeid!r} names run {run}, the last one is {last}")
    return merged(History(runs, document.items, {each: runs[at] for each, at in document.needy.items()}))


def _place(path: Path, data: bytes) -> str:
    """Return a file with line and column of what is no JSON in it."""
    try:
        json.loads(data)
    except json.JSONDecodeError as error:
        return f"{path}:{error.lineno}:{error.colno}"
    except ValueError:
        pass
    return str(path)


def bytes_of(history: History) -> bytes:
    """Return a history as its file holds it."""
    encode = msgspec.json.Encoder().encode
    places = {run: at for at, run in enumerate(history.runs)}
    needy = {nodeid: places[run] for nodeid, run in sorted(history.needy.items())}
    lines = [b"%b: %b" % (encode(nodeid), encode(each)) for nodeid, each in sorted(history.items.items())]
    return b'{"format": %d, "runs": %b,\n"needy": %b,\n"items": {\n%b\n}}\n' % (
        _FORMAT,
        encode(history.runs),
        encode(needy),
        b",\n".join(lines),
    )


def add_to(path: Path, history: History) -> None:
    """Merge *history* into the file at *path*: of runs that end at the same time none is lost.

    A file that is no history stays as it is.

    :raises HistoryError: if it cannot be read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent):
            write_whole(path, bytes_of(merged(read_history(path), history)))
    except OSError as error:
        raise HistoryError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder: a file beside the history would be left there."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
