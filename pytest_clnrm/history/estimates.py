"""What is to be expected of an item, by its history: docs/design/order.md says why so."""

from __future__ import annotations

from pytest_clnrm.history.records import FAILED, SKIPPED, History

DURATION_WEIGHT = 0.3
"""How much the newest duration counts; all before it count for the rest, likewise."""

FAILURE_WEIGHT = 0.5
"""The same for failures: with a half, what failed last comes before all that passed last."""

NEVER_RUN = 0.5
"""How likely an item fails that never ran: less than one that failed last, more than all others."""


def durations_s(history: History) -> dict[str, float]:
    """Return how long each item will take, seconds; those are left out that never ended."""
    found: dict[str, float] = {}
    for nodeid, columns in history.items.items():
        estimate: float | None = None
        for took_s in columns.took_s:
            if took_s is not None:
                estimate = took_s if estimate is None else estimate + DURATION_WEIGHT * (took_s - estimate)
        if estimate is not None:
            found[nodeid] = estimate
    return found


def failure_likelihoods(history: History) -> dict[str, float]:
    """Return how likely each item fails, more than 0 and less than 1; a skipped run tells nothing."""
    found: dict[str, float] = {}
    for nodeid, columns in history.items.items():
        likelihood = NEVER_RUN
        for outcome in columns.outcomes:
            if outcome != SKIPPED:
                likelihood += FAILURE_WEIGHT * ((outcome == FAILED) - likelihood)
        found[nodeid] = likelihood
    return found
