"""report.json: what the whole run gave, as one versioned document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_clnrm.util.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

REPORT_FORMAT = "clnrm-report/1"


def report_document(
    session: Mapping[str, Any],
    results: Iterable[Mapping[str, Any]],
    tests: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the document of report.json.

    :param session: id, started (RFC 3339 UTC), duration_s, exit_status, workers, engine, max_containers,
        memory_budget_bytes, counts (as pytest counts, of each outcome).
    :param results: the data of each :class:`pytest_clnrm.model.result.Result`, in the order of their ends.
    :param tests: rows of Python tests: those with containers have all that a scenario has, others part of it.
    """
    return {
        "format": REPORT_FORMAT,
        "session": dict(session),
        "scenarios": _rows(results),
        "tests": _rows(tests),
    }


def _rows(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in result.items() if key != "format"} for result in results]


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write *document* to *path*, each row on a line: a reader sees the old file or the whole new one.

    It is written row by row: as one text that of a large run takes ten times what its results take. With an
    indent each value would be encoded in Python.

    :raises OSError: if it cannot be written.
    """
    encode = json.JSONEncoder(ensure_ascii=False).encode
    with replacing(path) as file:
        before = "{\n"
        for key, value in document.items():
            file.write(f"{before}{encode(key)}: ".encode())
            before = ",\n"
            if not isinstance(value, list):
                file.write(encode(value).encode())
                continue
            file.write(b"[")
            for at, row in enumerate(value):
                file.write(f"{',' if at else ''}\n{encode(row)}".encode())
            file.write(b"\n]" if value else b"]")
        file.write(b"\n}\n")
