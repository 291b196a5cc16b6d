"""Python tests beside scenario files: they share the order of priorities."""

import pytest


@pytest.mark.clnrm_priority("high")
def test_runs_among_the_first() -> None:
    """A test of high priority starts before every normal and low one."""
    assert sum(range(5)) == 10


def test_runs_in_between() -> None:
    """A test without a mark has the priority that --clnrm-priority names, normal by default."""
    assert "clnrm".startswith("cl")


@pytest.mark.clnrm_priority("low")
def test_runs_last() -> None:
    """A test of low priority waits for everything else."""
    assert max(1, 2) == 2
