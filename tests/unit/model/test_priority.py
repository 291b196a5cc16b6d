"""What a priority is beside its number."""

from __future__ import annotations

import pickle

import pytest

from pytest_clnrm.model.priority import Priority


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_is_pickled_by_its_value(protocol: int) -> None:
    """In each Python: what reads files apart from this process refuses what could call anything."""
    pickled = pickle.dumps(Priority.HIGH, protocol)
    assert pickle.loads(pickled) is Priority.HIGH  # noqa: S301 - of our own making
    assert b"getattr" not in pickled
