"""A container's output: its end, and all of it as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_clnrm.engine.docker.following import Followed, follow
from pytest_clnrm.engine.exec.streams import Demultiplexer, streaming
from pytest_clnrm.engine.plain_errors import plain_errors
from pytest_clnrm.errors import ContainerError, EngineUnavailableError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import StreamName


_LOG = "json-file"
_ENTRY_BYTES = 80
"""What the engine adds to each frame, at most: names, stream and time."""
_TWO = b'"\\\n\r'
"""What takes two bytes there, such as ``\\n``; most is written as it is."""
_SIX = bytes(set(range(0x20)) - set(_TWO)) + b"<>&"
"""What takes six, such as ``\\u0000``; a tab takes two from some engines."""
_SIX_OF_THREE = tuple(each.encode() for each in "\u2028\u2029\ufffd")
"""Characters of three bytes that take six; the last is what the engine makes of a byte that is no UTF-8."""


class FollowedLog:
    """Implements :class:`pytest_clnrm.engine.log_stream.LogStream`.

    Its :meth:`receive` raises EngineUnavailableError if the connection breaks, and ContainerError if the
    engine says that it cannot read the output.

    :param output: in the engine's frames.
    :param least_kept_bytes: returns how large the engine's log is at least once a part of it has been
        dropped; None if none ever is, or that is not known.
    """

    def __init__(self, output: Followed, least_kept_bytes: Callable[[], int | None] = lambda: None) -> None:
        self._output = output
        self._least_kept_bytes = least_kept_bytes
        self._frames = Demultiplexer()
        self._most_bytes = 0
        self._end = b""

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
                self._most_bytes += _written_bytes(piece, self._end)
                self._end = (self._end + piece)[-2:]
            if not data and not (self._output.is_whole and self._frames.is_between_frames):
                raise EngineUnavailableError(
                    "the connection to the container engine ended in the middle of the container's output"
                )
            if pieces or not data:
                return pieces

    def may_lack(self) -> str:
        """Return why its beginning may be missing, "" if it is there.

        :raises ContainerError: if the container is gone.
        """
        least_bytes = self._least_kept_bytes()
        # What was told is all that the engine has kept of it, and is taken for as large as it may be there.
        if least_bytes is None or self._most_bytes + self._frames.frames * _ENTRY_BYTES < least_bytes:
            return ""
        return (
            "the engine keeps the end of a log, as much as clnrm_max_log says, and may have dropped the "
            "beginning of this one"
        )

    def close(self) -> None:
        """Follow it no longer."""
        self._output.close()


def _written_bytes(piece: bytes, before: bytes) -> int:
    """Return how large *piece* is at most as the engine writes it.

    :param before: the two bytes that came before it, with which a character may begin.
    """
    two = len(piece) - len(piece.translate(None, _TWO))
    six = len(piece) - len(piece.translate(None, _SIX))
    with_begin = before + piece
    of_three = sum(with_begin.count(each) for each in _SIX_OF_THREE)
    return len(piece) + two + 5 * six + 3 * of_three


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
    output = follow(client, f"/containers/{container}/logs", parameters, "follow the container's output")
    return FollowedLog(output, lambda: _least_kept_bytes(client, container))


def _least_kept_bytes(client: APIClient, container: str) -> int | None:
    """Return how large a container's log is at least once the engine has dropped its oldest file.

    None if it drops none, or if that is not known: Podman empties its one file and does not tell.
    """
    with plain_errors("look at the container", ContainerError):
        config = client.inspect_container(container)["HostConfig"]["LogConfig"]
    options = config.get("Config") or {}
    file_bytes, files = options.get("max-size", ""), options.get("max-file", "1")
    if config["Type"] != _LOG or not file_bytes.isdigit():
        return None
    # All others are full then.
    return int(file_bytes) * (int(files) - 1)
