"""What is kept of a service's first start."""

from __future__ import annotations

import pytest

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.runner.prepared import _check_faster


def test_only_what_is_faster_is_kept() -> None:
    """By a tenth at least: two equal starts differ by chance."""
    _check_faster(2.0, 1.7)
    with pytest.raises(ContainerError, match=r"was not faster \(1\.90 s, not 2\.00 s\)"):
        _check_faster(2.0, 1.9)
