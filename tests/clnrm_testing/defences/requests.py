"""Requests of steps that lead to others than the services of their scenario."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
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
    Defence(
        name="a service sets cookies for itself alone",
        target="pytest_clnrm.runner.cookies:ServicePolicy.set_ok_domain",
        without=lambda _: DefaultCookiePolicy.set_ok_domain,
        attack="test_requests.py::test_a_cookie_for_all_services",
        shows="IT WAS SENT",
    ),
    Defence(
        name="credentials are not taken along to another host",
        target="pytest_clnrm.runner.http_client:_of_another_host",
        without=lambda _: lambda before, after: [],
        attack="test_requests.py::test_a_redirect_that_asks_for_credentials",
        shows="IT WAS SENT",
    ),
)
