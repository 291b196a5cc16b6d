"""Shared services where the engine cannot have any."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.runner.sharing.start import join


def test_an_engine_whose_containers_are_their_process_own() -> None:
    """It is refused before anything is started, with the engine's reason and what to do."""
    engine = SimpleNamespace(facts=SimpleNamespace(why_not_shared="pods end"))
    runtime: Any = SimpleNamespace(engine=lambda: engine)
    service: Any = SimpleNamespace(name="db")
    nothing: Any = None
    said = "^the service 'db' cannot be shared: pods end; leave its scope out, or run this on another engine$"
    with pytest.raises(ContainerError, match=said):
        join(
            runtime,
            service,
            nothing,
            share=nothing,
            user="u",
            network=None,
            trace=nothing,
            file="a.toml",
            deadline_s=0.0,
        )
