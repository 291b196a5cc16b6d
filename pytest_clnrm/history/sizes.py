"""How much memory a container needs, by what it used in earlier runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_clnrm.history.records import History

LEAST_RUNS = 3
"""From how many measured runs on a size is believed."""

_MARGIN = 1.5
_LEAST_BYTES = 16 * 1024**2
_NEAR = 0.9
_MIB = 1024**2


def fitting_bytes(peak_bytes: int) -> int:
    """Return a limit for a peak: half as much again, rounded up to a power of two.

    So few sizes there are, that containers of about the same need stay interchangeable.
    """
    size = _LEAST_BYTES
    while size < peak_bytes * _MARGIN:
        size *= 2
    return size


def peaks(history: History) -> dict[str, dict[str, tuple[int, int]]]:
    """Return node id -> service -> its highest peak in bytes, and of how many runs, if enough."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for nodeid, columns in history.items.items():
        for service, each in columns.peaks.items():
            measured = [peak for peak in each if peak is not None]
            if len(measured) >= LEAST_RUNS:
                found.setdefault(nodeid, {})[service] = (max(measured), len(measured))
    return found


def sizes(history: History) -> dict[str, dict[str, int]]:
    """Return node id -> service -> limit in bytes; without items that had too little under one."""
    return {
        nodeid: {service: fitting_bytes(peak) for service, (peak, _) in of_services.items()}
        for nodeid, of_services in peaks(history).items()
        if nodeid not in history.needy
    }


@dataclass(frozen=True, slots=True)
class _Use:
    """Containers of one service name and one limit: the highest peak, of how many runs."""

    peak: int
    runs: int


def advice(
    history: History,
    limits: Iterable[tuple[str, str, int]],
    *,
    budget_bytes: int,
    max_containers: int,
    near: bool = True,
) -> list[str]:
    """Return in words which limits are far above or near what was used, the largest gain first.

    A limit far above is told only where memory, and not the number of containers, is what holds a run back.

    :param near: those near what was used too.
    :param limits: node id, service and limit in bytes of each container of this run.
    """
    known = peaks(history)
    uses: dict[tuple[str, int], _Use] = {}
    for nodeid, service, limit in limits:
        peak, runs = known.get(nodeid, {}).get(service, (0, 0))
        if runs:
            other = uses.get((service, limit), _Use(0, 0))
            uses[service, limit] = _Use(max(peak, other.peak), max(runs, other.runs))
    above = [line for each in uses.items() if (line := _above(*each, budget_bytes, max_containers))]
    close = [
        f"{_told(service, limit, use)}: near the limit, unless it is cache of files"
        for (service, limit), use in sorted(uses.items())
        if near and use.peak >= limit * _NEAR
    ]
    return [line for _, line in sorted(above, key=lambda each: (-each[0], each[1]))] + close


def _above(
    which: tuple[str, int], use: _Use, budget_bytes: int, max_containers: int
) -> tuple[int, str] | None:
    service, limit = which
    fit = fitting_bytes(use.peak)
    now, then = (min(budget_bytes // each, max_containers) for each in (limit, fit))
    if fit > limit // 2 or then <= now:
        return None
    told = _told(service, limit, use)
    return then - now, f"{told}: {_mb(fit)} would let {then} run at once instead of {now}"


def _told(service: str, limit: int, use: _Use) -> str:
    return f"service {service!r}: limit {_mb(limit)}, peak {_mb(use.peak)} of {use.runs} runs"


def _mb(size: int) -> str:
    return f"{-(-size // _MIB)} MB"
