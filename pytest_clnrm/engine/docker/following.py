"""Asking the engine for an answer that goes on: lines and events, as they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_clnrm.engine.exec.streams import Chunks, Connection
from pytest_clnrm.engine.plain_errors import plain_errors
from pytest_clnrm.errors import ContainerError

if TYPE_CHECKING:
    from docker import APIClient


class Followed:
    """The bytes of an answer as they come, read from one thread.

    The client library's own stream asks the socket twice for each line: half a minute for a megabyte of
    short ones.

    :param chunked: the engine sends in chunks, as HTTP/1.1 has them.
    """

    def __init__(self, connection: Connection, *, chunked: bool) -> None:
        self._connection = connection
        self._chunks = Chunks() if chunked else None

    @property
    def is_whole(self) -> bool:
        """Tell of what has ended whether the engine has ended it, and not the connection."""
        return not self._connection.is_broken if self._chunks is None else self._chunks.ended

    def receive(self, deadline_s: float) -> bytes | None:
        """Return what has arrived, at least something; b"" at the end, None if *deadline_s* passed before."""
        # After its last chunk the engine keeps the connection open for the next request.
        while self._chunks is None or not self._chunks.ended:
            data = self._connection.receive(deadline_s)
            if not data or self._chunks is None:
                return data
            if told := self._chunks.feed(data):
                return told
        return b""

    def close(self) -> None:
        """Follow it no longer."""
        self._connection.close()


def follow(
    client: APIClient,
    path: str,
    parameters: Mapping[str, int | str],
    doing: str,
    timeout_s: float | None = None,
) -> Followed:
    """Ask for *path*, such as ``/events``.

    :param doing: what that is for, in words.
    :param timeout_s: till the answer begins; None for as long as the client waits.
    :raises ContainerError: with the engine's reason.
    """
    url = f"{client.base_url}/v{client.api_version}{path}"
    with plain_errors(doing, ContainerError):
        answer = client.get(url, params=dict(parameters), stream=True, timeout=timeout_s or client.timeout)
        # Its types leave both out; the first raises what other calls of it raise.
        client._raise_for_status(answer)  # type: ignore[attr-defined]  # noqa: SLF001
        stream = client._get_raw_response_socket(answer)  # type: ignore[attr-defined]  # noqa: SLF001
        chunked = answer.headers.get("Transfer-Encoding", "").lower() == "chunked"
        return Followed(Connection(stream), chunked=chunked)
