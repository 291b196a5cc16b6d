"""What other plugins and JUnit's file are told of an item, as pytest's own properties of tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

TAG, PRIORITY, WORKER = "clnrm_tag", "clnrm_priority", "clnrm_worker"
WAIT, ARTIFACT = "clnrm_slot_wait_s", "clnrm_artifact"
_OURS = frozenset({TAG, PRIORITY, WORKER, WAIT, ARTIFACT})


def set_properties(
    item: pytest.Item,
    *,
    tags: Iterable[str],
    priority: str,
    worker: str,
    slot_wait_s: float,
    artifacts: Iterable[str] = (),
) -> None:
    """Set the properties of *item*, in place of those of an earlier run of it; those of others stay.

    A property holds one value, so there is one for each tag and each artifact.

    :param slot_wait_s: seconds that its reservation was waited for.
    :param artifacts: paths of files.
    """
    item.user_properties[:] = [
        *(each for each in item.user_properties if each[0] not in _OURS),
        *((TAG, tag) for tag in tags),
        (PRIORITY, priority),
        (WORKER, worker),
        (WAIT, round(slot_wait_s, 3)),
        *((ARTIFACT, path) for path in artifacts),
    ]
