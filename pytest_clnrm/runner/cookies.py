"""Cookies of the services of a scenario: each goes back to the host that set it, and to no other service."""

from __future__ import annotations

from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

_FLAT = ".local"
"""What http.cookiejar appends to names without a dot, as those of services are."""


class ServicePolicy(DefaultCookiePolicy):
    """As browsers have it, which send a cookie of such a name to that very host."""

    def set_ok_domain(self, cookie: Cookie, request: Any) -> bool:
        """Tell whether a host may set a cookie for the domain that it names.

        Versions of Python differ in what they do with a domain without a dot, so they are not asked.
        """
        name = cookie.domain.lstrip(".")
        if cookie.domain_specified and "." not in name:
            if name != urlsplit(request.get_full_url()).hostname:
                return False
            cookie.domain = f"{name}{_FLAT}"
            cookie.domain_specified = cookie.domain_initial_dot = False
        return super().set_ok_domain(cookie, request)


def service_cookies() -> CookieJar:
    """Return a jar without cookies."""
    return CookieJar(ServicePolicy())
