"""The files of a run's folder of spans, and the one that holds what a receiver accepted.

That one has length-prefixed records, each written at once, so that a kill loses nothing.

A record is two lengths (4 bytes each, big-endian), a header in JSON and a body: a request in OTLP/JSON with
the spans of one batch. The header has ``scenario``, ``received_ns``, ``spans`` (how many) and ``places``:
``[step, traceparent, count]`` for neighbours in the batch that belong to the same step. What a shared service
has sent has ``shared`` besides.
"""

from __future__ import annotations

import json
import os
import secrets
import struct
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

RUNNER_SUFFIX, OPEN_SUFFIX, STORE_SUFFIX = ".runner.jsonl", ".open.jsonl", ".workload.bin"
_LENGTHS = struct.Struct(">II")


def file_stem(worker_id: str) -> str:
    """Return a file name without suffix for this process; a worker may be replaced by one of the same id."""
    return f"{worker_id}-{os.getpid()}-{secrets.token_hex(4)}"


def worker_of(path: Path) -> str:
    """Return the worker whose file *path* is."""
    return path.name.rsplit("-", 2)[0]


class SpanStore:
    """Appends records to one file.

    :raises OSError: if the file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()
        self.problem = ""

    def append(self, header: dict[str, Any], body: bytes) -> None:
        """Write one record; what cannot be written ends no run, see ``problem``."""
        encoded = json.dumps(header).encode()
        record = _LENGTHS.pack(len(encoded), len(body)) + encoded + body
        with self._lock:
            # Nothing that comes behind a torn record could be found.
            if self._descriptor < 0 or self.problem:
                return
            try:
                whole = os.write(self._descriptor, record) == len(record)
                why = "the file system takes no more"
            except OSError as error:
                whole, why = False, error.strerror or str(error)
            if not whole:
                self.problem = f"spans that arrived could not be stored: {why}"

    def close(self) -> None:
        """Close the file; what is appended later is dropped."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)


def read_store(path: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield header and body of each whole record; a torn one ends the file."""
    with path.open("rb") as file:
        yield from read_records(file)


def read_records(file: BinaryIO) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield header and body of each whole record from where *file* is; it is behind that record then."""
    while len(lengths := file.read(_LENGTHS.size)) == _LENGTHS.size:
        header_bytes, body_bytes = _LENGTHS.unpack(lengths)
        header, body = file.read(header_bytes), file.read(body_bytes)
        if len(header) != header_bytes or len(body) != body_bytes:
            return
        yield json.loads(header), body
