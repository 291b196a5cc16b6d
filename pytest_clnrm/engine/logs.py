"""A container's output: its end, and waiting for a text in it."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

from pytest_clnrm.engine.problems import plain_errors
from pytest_clnrm.engine.streams import streaming
from pytest_clnrm.errors import ContainerError
from pytest_clnrm.util.patterns import search

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["LineSearch", "has_printed", "read_logs", "wait_for_log"]

# A line that is longer is searched in parts of this size.
_LINE_BYTES = 65536


class LineSearch:
    """Searches a stream of bytes for a regular expression, line by line, a last unfinished line included.

    :param pattern: a regular expression; it is searched anywhere in a line.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._rest = b""

    def feed(self, data: bytes) -> bool:
        """Return True if the pattern is found once *data* is there.

        :raises PatternTimeoutError: if it takes too long.
        """
        text = self._rest + data
        shown = text.decode("utf-8", "replace").replace("\r\n", "\n")
        if search(self._pattern, shown, flags=re.MULTILINE):
            return True
        self._rest = text[text.rfind(b"\n") + 1 :][-_LINE_BYTES:]
        return False


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


def wait_for_log(client: APIClient, container: str, pattern: str, *, deadline_s: float) -> bool:
    """Return True once *pattern* is found in its output; False at the deadline or when it exits.

    :param pattern: a regular expression, searched in each line.
    :param deadline_s: a ``time.monotonic()`` moment.
    :raises ContainerError: if it is gone.
    :raises PatternTimeoutError: if *pattern* takes too long.
    """
    lines = LineSearch(pattern)
    with (
        plain_errors("follow the container's output", ContainerError),
        streaming(client.logs(container, stream=True, follow=True)) as stream,
    ):
        timer = threading.Timer(max(deadline_s - time.monotonic(), 0), stream.close)
        timer.daemon = True
        timer.start()
        try:
            return any(lines.feed(piece) for piece in stream)
        finally:
            timer.cancel()
