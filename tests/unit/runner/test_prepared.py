"""What is kept of a service's first start."""

from __future__ import annotations

import pytest

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.runner.prepared import _check_faster, is_close


def test_only_what_is_faster_is_kept() -> None:
    """By a tenth at least: two equal starts differ by chance."""
    _check_faster(2.0, 1.7)
    with pytest.raises(ContainerError, match=r"was not faster \(1\.90 s, not 2\.00 s\)"):
        _check_faster(2.0, 1.9)


@pytest.mark.parametrize(
    ("prepared_s", "close"), [(0.5, False), (1.3, False), (1.5, True), (1.9, True), (2.5, True), (3.0, False)]
)
def test_when_one_start_each_says_too_little(prepared_s: float, *, close: bool) -> None:
    """Around the nine tenths that decide, more starts are measured."""
    assert is_close(2.0, prepared_s) is close
