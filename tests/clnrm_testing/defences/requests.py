"""Requests of steps that lead to others than the services of their scenario."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from clnrm_testing.defences import Defence


def _anywhere(original: Callable[..., socket.socket]) -> Callable[..., socket.socket]:
    """Return what asks any address beside the services."""

    def reach(setting: Any, host: str, port: int, *, timeout_s: float) -> socket.socket:
        if host.replace(".", "").isdigit():
            return socket.create_connection((host, port), timeout=timeout_s)
        return original(setting, host, port, timeout_s=timeout_s)

    return reach


DEFENCES = (
    Defence(
        name="a request goes to a service of its scenario and to no other host",
        target="pytest_clnrm.runner.actions.http:reach",
        without=_anywhere,
        attack="test_requests.py::test_a_service_that_leads_elsewhere",
        shows="THE HOST WAS ASKED",
    ),
)
