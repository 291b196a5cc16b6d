r"""A container whose main process is a shell for its steps: they need no exec at all.

An exec costs a tenth of what a new container does, and so does killing its main process; a shell that is
there anyway takes commands from the container's standard input, and ends when it is told to.

The shell has a parent (:data:`pytest_clnrm.engine.exec.waiting.KEEP_SHELL`), which is the container's first
process: the engine's init, which is mounted and started for each container, is not needed then. It tells that
the shell has ended, and how, and then only keeps the container running: commands then have execs, as in any
other container. On the container's standard output that is::

    \x1c<mark> <exit code>\n
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import docker.errors

from pytest_clnrm.engine.exec.shell_marks import overlap
from pytest_clnrm.engine.exec.streams import Connection, Demultiplexer
from pytest_clnrm.engine.exec.waiting import ENDS_CONTAINER
from pytest_clnrm.errors import EngineUnavailableError

if TYPE_CHECKING:
    from docker import APIClient

    from pytest_clnrm.engine.api import StreamName

LOG_BYTES = 1 << 20
"""What the engine keeps of such a container's output, which is its commands'."""

_END_S = 1.0
_MARK = re.compile(r"(\x1c[0-9a-f]{32} \d+\n)|(\x1d[0-9a-f]{32}\n)|(\x1e[0-9a-f]{32}(?: \d+)*\n)")


def new_end_mark() -> str:
    """Return a mark for a container; it is the last argument of its command."""
    return secrets.token_hex(16)


def attach(client: APIClient, container: str) -> Connection | None:
    """Return the connection to a container's main process, which need not run yet; None if there is none."""
    # docker-py's own call waits for the answer without a limit.
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/attach"
    parameters = {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1}
    headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
    try:
        answer = client.post(url, params=parameters, headers=headers, stream=True, timeout=client.timeout)
        answer.raise_for_status()
        # Its types leave this out.
        stream = client._get_raw_response_socket(answer)  # type: ignore[attr-defined]  # noqa: SLF001
        return Connection(stream)
    except (docker.errors.DockerException, OSError):
        # It has execs, as others have; what is wrong with it they tell.
        return None


def tell_to_end(connection: Connection) -> None:
    """Let a shell end, and its container if it is the main process; wait for that, but not for long."""
    deadline_s = time.monotonic() + _END_S
    connection.send(f"exit {ENDS_CONTAINER}\n".encode())
    # If the engine has gone, those who remove the container say so.
    with suppress(EngineUnavailableError):
        while time.monotonic() < deadline_s and connection.receive(deadline_s):
            pass


def leave(connection: Connection) -> None:
    """Let a shell end, once it reads on; its container stays, whose standard input may stay open too."""
    connection.send(b"exit 0\n")


def ask_for_another(connection: Connection, end_mark: str) -> None:
    """Let the container's first process start another shell; the last one has been killed."""
    connection.send(f"again {end_mark}\n".encode())


class MainStreams(Demultiplexer):
    """The streams of a container's main process, without the mark that tells of the shell's end.

    Its ``exit_code`` is the shell's, None before that.
    """

    def __init__(self, end_mark: str) -> None:
        super().__init__()
        self._end_mark = f"\x1c{end_mark} ".encode()
        self._held = b""
        self.exit_code = None

    def feed(self, data: bytes) -> Iterator[tuple[StreamName, bytes]]:
        """Yield what *data* holds, each piece not empty."""
        for stream, piece in super().feed(data):
            own = self._without_end_mark(piece) if stream == "stdout" else piece
            if own:
                yield stream, own

    def _without_end_mark(self, piece: bytes) -> bytes:
        if self.exit_code is not None:
            # Of processes that were left behind.
            return b""
        text = self._held + piece
        before, found, rest = text.partition(self._end_mark)
        code, ended, _ = rest.partition(b"\n")
        if ended:
            self.exit_code = int(code)
            self._held = b""
        else:
            kept = len(found + rest) or overlap(text, self._end_mark)
            before, self._held = text[: len(text) - kept], text[len(text) - kept :]
        return before


def outside_frames(text: str) -> str:
    """Return what of such a container's output is not its commands' own."""
    parts = _MARK.split(text)
    # The text before each mark, and the mark as one of three kinds.
    steps = [
        (1 if begins else -1 if ends else 0, bool(over))
        for over, begins, ends in zip(parts[1::4], parts[2::4], parts[3::4], strict=True)
    ]
    depth = lowest = 0
    for step, over in steps:
        depth = 0 if over else depth + step
        lowest = min(lowest, depth)
    # What is cut off at the front may have begun there.
    depth, kept = -lowest, []
    for between, (step, over) in zip(parts[::4], [*steps, (0, False)], strict=True):
        if depth <= 0:
            kept.append(between)
        depth = 0 if over else depth + step
    return "".join(kept)
