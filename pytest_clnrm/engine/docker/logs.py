"""A container's output: its end, and all of it as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_clnrm.engine.docker.following import Followed, follow
from pytest_clnrm.engine.exec.streams import Demultiplexer, streaming
from pytest_clnrm.engine.plain_errors import plain_errors
from pytest_clnrm.errors import ContainerError, EngineUnavailableError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import StreamName


class FollowedLog:
    """Implements :class:`pytest_clnrm.engine.api.LogStream`.

    Its :meth:`receive` raises EngineUnavailableError if the connection breaks, and ContainerError if the
    engine says that it cannot read the output.

    :param output: in the engine's frames.
    """

    def __init__(self, output: Followed) -> None:
        self._output = output
        self._frames = Demultiplexer()

    def receive(self, deadline_s: float) -> list[tuple[StreamName, bytes]] | None:
        """Return what has arrived, at least something; [] at the end, None if *deadline_s* passed before."""
        while True:
            data = self._output.receive(deadline_s)
            if data is None:
                return None
            pieces: list[tuple[StreamName, bytes]] = []
            for stream, piece in self._frames.feed(data):
                if self._frames.is_engines_own:
                    said = " ".join(piece.decode("utf-8", "replace").split())
                    raise ContainerError(f"the engine cannot read the container's output: {said}")
                pieces.append((stream, piece))
            if not data and not (self._output.is_whole and self._frames.is_between_frames):
                raise EngineUnavailableError(
                    "the connection to the container engine ended in the middle of the container's output"
                )
            if pieces or not data:
                return pieces

    def close(self) -> None:
        """Follow it no longer."""
        self._output.close()


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
    parameters: dict[str, int | str] = {"stdout": 1, "stderr": 1, "follow": int(not until_now)}
    if since_s is not None:
        parameters["since"] = f"{since_s:.9f}"
    return FollowedLog(
        follow(client, f"/containers/{container}/logs", parameters, "follow the container's output")
    )
