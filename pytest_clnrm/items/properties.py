"""What other plugins and JUnit's file are told of an item, as pytest's own properties of tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_clnrm.report.failure_text import attempt_lines
from pytest_clnrm.util.terminal_text import shown

if TYPE_CHECKING:
    import pytest

    from pytest_clnrm.model.result import Result

TAG, PRIORITY, WORKER = "clnrm_tag", "clnrm_priority", "clnrm_worker"
WAIT, ARTIFACT = "clnrm_slot_wait_s", "clnrm_artifact"
OUTCOME, ATTEMPT = "clnrm_outcome", "clnrm_attempt"
_OURS = frozenset({TAG, PRIORITY, WORKER, WAIT, ARTIFACT, OUTCOME, ATTEMPT})


def set_properties(
    item: pytest.Item,
    *,
    tags: Iterable[str],
    priority: str,
    worker: str,
    slot_wait_s: float,
    artifacts: Iterable[str] = (),
    outcome: str = "",
    earlier: Iterable[Result] = (),
) -> None:
    """Set the properties of *item*, in place of those of an earlier run of it; those of others stay.

    A property holds one value, so there is one for each tag and each artifact.

    :param slot_wait_s: seconds that its reservation was waited for.
    :param artifacts: paths of files.
    :param outcome: what pytest does not tell: "flaky" or "infrastructure"; "" if it is one of its own.
    :param earlier: the attempts that failed and were tried again.
    """
    item.user_properties[:] = [
        *(each for each in item.user_properties if each[0] not in _OURS),
        *((TAG, tag) for tag in tags),
        (PRIORITY, priority),
        (WORKER, worker),
        (WAIT, round(slot_wait_s, 3)),
        *((ARTIFACT, path) for path in artifacts),
        *([(OUTCOME, outcome)] if outcome else []),
        *((ATTEMPT, shown(line)) for line in attempt_lines(earlier)),
    ]


def outcome_of(result: Result) -> str:
    """Return what a result was that pytest does not tell: "flaky", "infrastructure", else ""."""
    if result.is_flaky:
        return "flaky"
    return "infrastructure" if result.is_infrastructure else ""
