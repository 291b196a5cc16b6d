"""A container's output: its end, and all of it as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_clnrm.engine.exec.streams import Chunks, Connection, Demultiplexer, streaming
from pytest_clnrm.engine.plain_errors import plain_errors
from pytest_clnrm.errors import ContainerError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import StreamName


class FollowedLog:
    """Implements :class:`pytest_clnrm.engine.api.LogStream`.

    The client library's own stream asks the socket twice for each line: half a minute for a megabyte of
    short ones.

    :param chunked: the engine sends in chunks, as HTTP/1.1 has them.
    """

    def __init__(self, connection: Connection, *, chunked: bool) -> None:
        self._connection = connection
        self._chunks = Chunks() if chunked else None
        self._frames = Demultiplexer()

    def receive(self, deadline_s: float) -> list[tuple[StreamName, bytes]] | None:
        """Return what has arrived, at least something; [] at the end, None if *deadline_s* passed before."""
        # After its last chunk the engine keeps the connection open for the next request.
        while self._chunks is None or not self._chunks.ended:
            data = self._connection.receive(deadline_s)
            if data is None:
                return None
            pieces = list(self._frames.feed(data if self._chunks is None else self._chunks.feed(data)))
            if pieces or not data:
                return pieces
        return []

    def close(self) -> None:
        """Follow it no longer."""
        self._connection.close()


def read_logs(client: APIClient, container: str, *, tail_bytes: int) -> str:
    """Return the end of its output, stdout and stderr as they came, decoded, at most *tail_bytes*.

    :raises ContainerError: if it is gone.
    """
    kept = bytearray()
    with (
        plain_errors("read the container's output", ContainerError),
        # The last n bytes are never more than the last n lines.
        streaming(client.logs(container, stream=True, follow=False, tail=tail_bytes)) as stream,
    ):
        for piece in stream:
            kept += piece
            if len(kept) > 2 * tail_bytes:
                del kept[:-tail_bytes]
    return bytes(kept[-tail_bytes:]).decode("utf-8", "replace")


def has_printed(client: APIClient, container: str) -> bool:
    """Tell whether there is any output of it.

    :raises ContainerError: if it is gone.
    """
    # docker-py's own call asks for the container first, to know how the output is framed.
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/logs"
    with plain_errors("read a container's output", ContainerError):
        answer = client.get(url, params={"stdout": 1, "stderr": 1, "tail": 1}, timeout=client.timeout)
        answer.raise_for_status()
        return bool(answer.content)


def follow_log(
    client: APIClient, container: str, *, until_now: bool = False, since_s: float | None = None
) -> FollowedLog:
    """Return its output from its start on, as it comes.

    :param until_now: what it has printed so far, and then the end.
    :param since_s: a moment of the engine's clock; without what was printed before.
    :raises ContainerError: if it is gone.
    """
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/logs"
    parameters: dict[str, int | str] = {"stdout": 1, "stderr": 1, "follow": int(not until_now)}
    if since_s is not None:
        parameters["since"] = f"{since_s:.9f}"
    with plain_errors("follow the container's output", ContainerError):
        answer = client.get(url, params=parameters, stream=True, timeout=client.timeout)
        # Its types leave both out; the first raises what other calls of it raise.
        client._raise_for_status(answer)  # type: ignore[attr-defined]  # noqa: SLF001
        stream = client._get_raw_response_socket(answer)  # type: ignore[attr-defined]  # noqa: SLF001
        chunked = answer.headers.get("Transfer-Encoding", "").lower() == "chunked"
        return FollowedLog(Connection(stream), chunked=chunked)
