"""Which priority counts for an item."""

from __future__ import annotations

import pytest

from pytest_clnrm.model.priority import Priority
from pytest_clnrm.reservation.priorities import resolve_priority
from pytest_clnrm.settings.settings import Settings

HIGH, NORMAL, LOW = Priority.HIGH, Priority.NORMAL, Priority.LOW


@pytest.mark.parametrize(
    ("own", "tags", "folders", "expected"),
    [
        (LOW, ["critical"], ["slow"], LOW),
        (None, ["smoke", "critical", "other"], ["slow"], HIGH),
        (None, ["smoke"], ["fast"], LOW),
        (None, ["other"], ["unit", "fast", "slow"], HIGH),
        (None, [], ["slow", "fast"], LOW),
        (None, [], [], NORMAL),
        (None, ["other"], ["unit"], NORMAL),
    ],
)
def test_resolve_priority(
    own: Priority | None, tags: list[str], folders: list[str], expected: Priority
) -> None:
    """An item's own, else its highest tag's, else its nearest folder's, else the default."""
    priorities = {"critical": HIGH, "smoke": LOW, "fast": HIGH, "slow": LOW}
    assert resolve_priority(Settings(priorities=priorities), own, tags, folders) is expected


def test_resolve_priority_of_the_command_line() -> None:
    """What nothing gives a priority has that of --clnrm-priority."""
    assert resolve_priority(Settings(priority="high"), None, ["a"], ["b"]) is HIGH
