"""Names of services that something else answers for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from clnrm_testing.defences import Defence
from pytest_clnrm.runtime.network import Network, Networks

_original_lend = Networks.lend


def _one_for_all(networks: Networks, idle: Collection[str] = ()) -> Network | None:
    """Lend the first network that there is, whatever else is on it."""
    there = list(networks._on)
    return there[0] if there else _original_lend(networks, idle)


def _without(_: Any) -> Any:
    return _one_for_all


def _nobody_leaves(_: Any) -> Any:
    return lambda *_, **__: None


_OF_SHARED = Defence(
    name="a shared service leaves a network before somebody gets it who does not use it",
    target="pytest_clnrm.runtime.network:Networks.expel",
    without=_nobody_leaves,
    attack="test_names.py::test_a_shared_service_is_on_its_users_networks_alone",
    shows="ANOTHER ANSWERED",
)
_OF_NAMES = tuple(
    Defence(
        name=name,
        target="pytest_clnrm.runtime.network:Networks.lend",
        without=_without,
        attack=f"test_names.py::{attack}",
        shows="ANOTHER ANSWERED",
    )
    for name, attack in {
        "a scenario's network holds no idle or fixture's container": "test_a_container_that_is_kept",
        "a scenario's network holds no container that is being removed": "test_a_container_that_is_removed",
    }.items()
)
DEFENCES = (_OF_SHARED, *_OF_NAMES)
