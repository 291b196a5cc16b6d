"""What some tests need that an environment may lack."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

__all__ = ["needs_xdist", "skip_without_xdist"]

_HAS_XDIST = find_spec("xdist") is not None
_WHY = "pytest-xdist is not installed"

needs_xdist = pytest.mark.skipif(not _HAS_XDIST, reason=_WHY)


def skip_without_xdist() -> None:
    """Skip the test that runs now where there is no xdist."""
    if not _HAS_XDIST:
        pytest.skip(_WHY)
