"""Hooks that other plugins and conftest files may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import pytest

    from pytest_clnrm.engine.api import Engine
    from pytest_clnrm.telemetry.merge.collector import SpanCollector

hookspec = pluggy.HookspecMarker("pytest")


@hookspec(firstresult=True)
def pytest_clnrm_engine(config: pytest.Config) -> Engine | None:
    """Return an engine of another kind, or None for the one that ``--clnrm-engine`` names.

    Called once in each process, when its first scenario is about to run.
    """


@hookspec
def pytest_clnrm_spans(config: pytest.Config, collector: SpanCollector) -> None:
    """Get the spans of the whole run: those of pytest-clnrm, and those that programs have exported.

    Called once, on the controller, when the session has finished and the spans of all workers are merged; not
    called if spans are off, or if nothing was recorded. Secrets are masked.
    ``collector.get_scenario_spans("orders")`` returns the spans of the scenario of that name, or of the test
    of that name that uses the fixture ``clnrm``.
    """
