"""What other plugins and JUnit's file are told of an item, as pytest's own properties of tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    result: Result | None = None,
) -> None:
    """Set the properties of *item*, in place of those of an earlier run of it; those of others stay.

    A property holds one value, so there is one for each tag and each artifact.

    :param slot_wait_s: seconds that its reservation was waited for.
    :param artifacts: paths of files.
    :param result: tells what pytest does not: flaky, infrastructure, earlier attempts.
    """
    item.user_properties[:] = [
        *(each for each in item.user_properties if each[0] not in _OURS),
        *((TAG, tag) for tag in tags),
        (PRIORITY, priority),
        (WORKER, worker),
        (WAIT, round(slot_wait_s, 3)),
        *((ARTIFACT, path) for path in artifacts),
        *_of_result(result),
    ]


def _of_result(result: Result | None) -> Iterator[tuple[str, str]]:
    if result is None:
        return
    if result.is_flaky:
        yield OUTCOME, "flaky"
    elif result.is_infrastructure:
        yield OUTCOME, "infrastructure"
    for line in attempt_lines(result.earlier):
        yield ATTEMPT, shown(line)
