"""Histories in files: JSON of a version, an item a line.

``{"format": 1, "runs": [names], "items": {node id: [[run, outcome, seconds or null, {service: bytes}], ...]},
"needy": {node id: run}}``, where a run is its place in "runs".
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from pytest_clnrm.history.records import History, ItemOutcome, Observed, merged
from pytest_clnrm.util.files import write_whole

_FORMAT = 1
_Run = Annotated[int, msgspec.Meta(ge=0)]


class HistoryError(Exception):
    """A history cannot be read or written; the message says where and why."""


class _Row(msgspec.Struct, array_like=True):
    run: _Run
    outcome: ItemOutcome
    duration_s: Annotated[float, msgspec.Meta(ge=0)] | None = None
    peaks: dict[str, Annotated[int, msgspec.Meta(ge=0)]] = {}


class _Document(msgspec.Struct):
    format: Literal[1]
    runs: list[str]
    items: dict[str, list[_Row]]
    needy: dict[str, _Run] = {}


def read_history(path: Path) -> History:
    """Return the history in a file, an empty one if there is no such file.

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
    try:
        return _history_of(msgspec.json.decode(data, type=_Document))
    except (msgspec.DecodeError, IndexError, UnicodeDecodeError) as error:
        raise HistoryError(f"{_place(path, data)}: no history of pytest-clnrm: {error}") from error


def _history_of(document: _Document) -> History:
    runs = document.runs
    items = {
        nodeid: {runs[row.run]: Observed(row.outcome, row.duration_s, row.peaks) for row in rows}
        for nodeid, rows in document.items.items()
    }
    return merged(History(frozenset(runs), items, {each: runs[at] for each, at in document.needy.items()}))


def _place(path: Path, data: bytes) -> str:
    """Return a file with line and column of what is no JSON in it."""
    try:
        json.loads(data)
    except json.JSONDecodeError as error:
        return f"{path}:{error.lineno}:{error.colno}"
    except ValueError:
        pass
    return str(path)


def text_of(history: History) -> str:
    """Return a history as its file holds it."""
    runs = sorted(history.runs)
    places = {run: at for at, run in enumerate(runs)}

    def row(run: str, observed: Observed) -> list[Any]:
        peaks = [dict(sorted(observed.peaks.items()))] if observed.peaks else []
        took_s = observed.duration_s
        return [places[run], observed.outcome, None if took_s is None else round(took_s, 4), *peaks]

    lines = []
    for nodeid, observed in sorted(history.items.items()):
        rows = [row(run, observed[run]) for run in sorted(observed)]
        lines.append(f"{json.dumps(nodeid)}: {json.dumps(rows)}")
    needy = {nodeid: places[run] for nodeid, run in sorted(history.needy.items())}
    items = ",\n".join(lines)
    return (
        f'{{"format": {_FORMAT}, "runs": {json.dumps(runs)},\n"needy": {json.dumps(needy)},\n'
        f'"items": {{\n{items}\n}}}}\n'
    )


def add_to(path: Path, history: History) -> None:
    """Merge *history* into the file at *path*: of runs that end at the same time none is lost.

    A file that is no history stays as it is.

    :raises HistoryError: if it cannot be read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent):
            write_whole(path, text_of(merged(read_history(path), history)))
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
