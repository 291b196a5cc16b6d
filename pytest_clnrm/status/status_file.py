"""What one process of a run is at, and the small file in which it says so to others.

A status file holds one line: the CRC of its JSON, a blank, the JSON. It is written in place by one ``pwrite``
at each change, which costs some 15 microseconds; a reader that meets a half-written line sees that by the CRC
and looks again. Times are seconds of the monotonic clock, which all processes of one machine share.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

Phase = Literal["idle", "slot", "image", "service", "step", "test", "spans", "cleanup"]

_FORMAT = 1
_SUFFIX = ".status"
_LOOKS = 3
_JSON = json.JSONEncoder(separators=(",", ":"))

Status = TypeVar("Status", "WorkerStatus", "QueueStatus")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """What a worker is at.

    :param worker: "gw0" and so on, "master" without xdist.
    :param item: node id of the item that it runs, "" if it runs none.
    :param item_since_s: when the item began here, its wait for a slot included.
    :param phase: "slot", "image", "service" and "spans" are waits; "test" is a Python test.
    :param detail: name of the step; else what is waited for, in words.
    :param since_s: when the phase began.
    :param containers: how many it has running.
    :param memory_bytes: the sum of their limits.
    :param ended: how many items have ended here.
    """

    worker: str
    pid: int
    item: str = ""
    item_since_s: float = 0.0
    phase: Phase = "idle"
    detail: str = ""
    since_s: float = 0.0
    containers: int = 0
    memory_bytes: int = 0
    ended: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """What waits to be started in a run.

    :param waiting: label of a priority -> how many items have not been started; highest priority first.
    :param head: node id of the item that waits for its slot before all others, "" if none does.
    :param head_since_s: since when.
    """

    pid: int
    waiting: dict[str, int] = field(default_factory=dict)
    head: str = ""
    head_since_s: float = 0.0


class StatusFile:
    """The file in which one process says what it is at.

    What cannot be written is left out: no run fails because nobody can watch it.

    :param folder: of the run; exists.
    :param name: of the process: "gw0", "queue".
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}{_SUFFIX}"
        self._fd: int | None = None
        with suppress(OSError):
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def write(self, status: Mapping[str, Any]) -> None:
        """Replace what stands in the file.

        :param status: the fields of a status.
        """
        if self._fd is None:
            return
        try:
            os.pwrite(self._fd, _encode(status), 0)
        except OSError:
            self.close()

    def close(self) -> None:
        """Remove the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


def read_statuses(folder: Path, kind: type[Status]) -> tuple[Status, ...]:
    """Return all statuses of *kind* in a run's folder, by name; those that cannot be read are left out."""
    found = []
    for path in sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: (len(path.name), path.name)):
        status = _read(path, kind)
        if status is not None:
            found.append(status)
    return tuple(found)


def _encode(status: Mapping[str, Any]) -> bytes:
    raw = _JSON.encode({"format": _FORMAT, **status}).encode()
    return b"%08x %s\n" % (zlib.crc32(raw), raw)


def _read(path: Path, kind: type[Status]) -> Status | None:
    for _ in range(_LOOKS):
        raw = _whole(path)
        if raw is not None:
            return _decode(json.loads(raw), kind)
    return None


def _whole(path: Path) -> bytes | None:
    """Return the JSON that stands there, None if it is not whole at this moment."""
    try:
        crc, _, raw = path.read_bytes().partition(b"\n")[0].partition(b" ")
        return raw if int(crc, 16) == zlib.crc32(raw) else None
    except (OSError, ValueError):
        return None


def _decode(data: Any, kind: type[Status]) -> Status | None:
    if data.pop("format", None) != _FORMAT or data.keys() != kind.__dataclass_fields__.keys():
        return None
    return kind(**data)
