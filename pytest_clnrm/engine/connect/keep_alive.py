"""Connections to the engine's socket that are used again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from docker.transport import UnixHTTPAdapter

if TYPE_CHECKING:
    from docker import APIClient
    from docker.transport.unixconn import UnixHTTPConnectionPool

_POOL_SIZE = 16
"""Kept at most; a process rarely has more threads that talk to the engine at once."""


class _OnePool(UnixHTTPAdapter):
    """docker-py keeps connections by URL, and as nearly each URL holds an id, it hardly uses one again."""

    def get_connection(
        self, url: str | bytes, proxies: Mapping[str, str] | None = None
    ) -> UnixHTTPConnectionPool:
        """Return the one pool, whatever is asked for."""
        del url
        return super().get_connection("http+docker://localhost", proxies)


def keep_connections(client: APIClient, socket: str, timeout_s: float) -> None:
    """Make *client*, which talks to the unix socket *socket*, use its connections again."""
    # Its annotation says int; it is handed to the socket as it is.
    adapter = _OnePool(f"http+unix://{socket}", timeout_s, max_pool_size=_POOL_SIZE)  # type: ignore[arg-type]
    client.mount("http+docker://", adapter)
