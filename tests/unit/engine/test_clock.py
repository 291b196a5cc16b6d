"""The engine's clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.engine.docker.clock import clock_s
from pytest_clnrm.errors import ContainerError


def telling(told: str) -> Any:
    """Return a client of an engine that tells this time."""
    return SimpleNamespace(info=lambda: {"SystemTime": told})


def test_the_time_is_the_engines() -> None:
    """With its zone and fractions of a second."""
    assert clock_s(telling("2026-11-29T02:02:03.25+01:00")) == pytest.approx(1795914123.25)


def test_an_engine_that_does_not_tell_the_time() -> None:
    """It is an error: a log would be cut anywhere."""
    with pytest.raises(ContainerError, match="the engine does not tell the time: 'noon'"):
        clock_s(telling("noon"))
