"""Cookies of the services of a scenario: each goes back to the host that set it, and to no other service."""

from __future__ import annotations

from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import Any

_FLAT = ".local"
"""What http.cookiejar appends to names without a dot, as those of services are."""


class ServicePolicy(DefaultCookiePolicy):
    """As browsers have it, which send a cookie of such a name to that very host."""

    def set_ok_domain(self, cookie: Cookie, request: Any) -> bool:
        """Tell whether a host may set a cookie for the domain that it names."""
        if not super().set_ok_domain(cookie, request):
            return False
        domain = cookie.domain.lstrip(".")
        if cookie.domain_specified and "." not in domain:
            if domain == _FLAT.lstrip("."):
                return False  # it would be one for all services
            cookie.domain, cookie.domain_specified, cookie.domain_initial_dot = (
                f"{domain}{_FLAT}",
                False,
                False,
            )
        return True


def service_cookies() -> CookieJar:
    """Return a jar without cookies."""
    return CookieJar(ServicePolicy())
