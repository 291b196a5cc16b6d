"""The summary line's figures."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.report.usage import Usage, usage


def ran(
    nodeid: str, start_s: int, duration_s: float, *, containers: int = 1, wait_s: float = 0.0
) -> dict[str, Any]:
    """Return the data of a result."""
    return {
        "nodeid": nodeid,
        "started": f"2026-01-01T00:00:{start_s:02d}.000000+00:00",
        "duration_s": duration_s,
        "slot_wait_s": wait_s,
        "containers": [{}] * containers,
    }


def test_nothing_ran() -> None:
    """Scenarios that had no container do not count."""
    assert usage([], workers=1, max_containers=1) is None
    assert usage([{**ran("a", 0, 1), "containers": []}], workers=1, max_containers=1) is None
    assert usage([{**ran("a", 0, 1), "started": ""}], workers=1, max_containers=1) is None


def test_figures() -> None:
    """Two workers, a cap of two: what was used, who waited, and what would have been possible."""
    results = [ran("a", 0, 4), ran("b", 0, 2), ran("c", 3, 2, wait_s=1.5), ran("d", 5, 5)]
    found = usage(results, workers=2, max_containers=2)
    assert found == Usage(
        scenarios=4, busy=13 / 20, longest_wait_s=1.5, waited="c", makespan_s=10.0, ideal_s=9.0
    )
    assert found.describe() == (
        "4 scenarios, containers 65% busy, longest wait 1.5 s (c), makespan 10.0 s, ideal 9.0 s"
    )


def test_short_waits_are_not_named() -> None:
    """Reserving takes a moment; that is not called waiting."""
    found = usage([ran("a", 0, 4, wait_s=0.01)], workers=1, max_containers=10)
    assert found is not None
    assert found.describe() == "1 scenario, containers 10% busy, nobody waited, makespan 4.0 s, ideal 4.0 s"


@pytest.mark.parametrize(("max_containers", "ideal_s"), [(4, 3.0), (2, 6.0)])
def test_the_cap_counts_in_the_ideal(max_containers: int, ideal_s: float) -> None:
    """Two scenarios of two containers each run at once only if the cap allows four."""
    results = [ran("a", 0, 3, containers=2), ran("b", 3, 3, containers=2)]
    found = usage(results, workers=2, max_containers=max_containers)
    assert found is not None
    assert found.ideal_s == ideal_s
