"""What a run says of services that stay for the next one, where it cannot keep any."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_clnrm.runtime.runtime import in_ci
from pytest_clnrm.session.warm_services import WarmServices


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (
            {"asks_warm": False},
            "--clnrm-warm has no effect where CI is set: each run starts its services anew",
        ),
        ({"engine_is_own": False}, "--clnrm-warm has no effect on an engine that another plugin brings"),
        ({}, "--clnrm-warm has no effect on a cluster: what a run has there ends with it"),
        ({"has_ledger": False}, ""),
        ({"warm_s": 0.0, "asks_warm": False}, ""),
    ],
)
def test_it_says_why_nothing_stays(facts: dict[str, Any], said: str) -> None:
    """It is a note, no error: one configuration serves a CI service, too. Without containers none is due."""
    usual = {"asks_warm": True, "engine_is_own": True, "has_ledger": True, "warm_s": 60.0, **facts}
    cluster = SimpleNamespace(facts=SimpleNamespace(ends_with_run=True))
    runtime = SimpleNamespace(
        settings=SimpleNamespace(warm_s=usual["warm_s"]), keeps_warm=False, engine=lambda: cluster, **usual
    )
    assert "\n".join(WarmServices(cast("Any", runtime)).lines()) == said


@pytest.mark.parametrize(
    ("value", "is_one"), [("true", True), ("1", True), ("woodpecker", True), ("", False), ("False", False)]
)
def test_a_ci_service(value: str, is_one: bool) -> None:  # noqa: FBT001
    """Each says so in its own way; whoever sets it to nothing says that this is none."""
    assert in_ci({"CI": value}) is is_one
    assert not in_ci({})
