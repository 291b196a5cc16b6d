"""What a test report carries from the process that runs an item to the one that gathers results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def report_data(
    *,
    result: dict[str, Any],
    engine: str = "",
    refused: tuple[str, tuple[str, ...]] | None = None,
    kept: tuple[str, ...] = (),
    lease: str = "",
    sources: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what a test report carries as ``report.clnrm``, in builtins, which xdist can send.

    :param result: the data of a :class:`Result`.
    :param engine: the engine in words, "" if it was not asked.
    :param refused: summary and details if no engine could be used.
    :param kept: names of containers that were kept.
    :param lease: id of the item's reservation.
    :param sources: lines at the places of its failures, as :class:`pytest_clnrm.util.source_lines.Sources`
        returns them, without its secrets.
    """
    return {
        "result": result,
        "engine": engine,
        "refused": None if refused is None else [refused[0], list(refused[1])],
        "kept": list(kept),
        "lease": lease,
        "sources": dict(sources or {}),
    }
