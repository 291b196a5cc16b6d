"""The output of pods: a cluster keeps both streams as one, in their order."""

from __future__ import annotations

import queue
import re
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pytest_clnrm.engine.kubernetes.pods import MAIN
from pytest_clnrm.errors import EngineUnavailableError, LostContainerError

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import StreamName
    from pytest_clnrm.engine.kubernetes.rest import Rest, Stream

MAX_BYTES = 16 << 20
# A node that has lost a pod's output says so in place of it, and the cluster calls that an answer too.
_LOST = re.compile(
    rb'(failed to try resolving symlinks in path|failed to open log file) "/var/log/pods/'
    rb"|unable to retrieve container logs for \w+://"
)


class FollowedLog:
    """Implements :class:`pytest_clnrm.engine.api.LogStream`; all of it is told as stdout.

    Its :meth:`receive` raises LostContainerError if the node has lost the output, and
    EngineUnavailableError if the connection breaks.
    """

    def __init__(self, stream: Stream, pod: str) -> None:
        self._stream = stream
        self._pod = pod
        self._is_first = True
        self._pieces: queue.SimpleQueue[bytes | EngineUnavailableError] = queue.SimpleQueue()
        self._ended = False
        threading.Thread(target=self._read, name="clnrm-log", daemon=True).start()

    def receive(self, deadline_s: float) -> list[tuple[StreamName, bytes]] | None:
        """Return what has arrived, at least something; [] at the end, None if *deadline_s* passed before."""
        if self._ended:
            return []
        try:
            piece = self._pieces.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except queue.Empty:
            return None
        if isinstance(piece, EngineUnavailableError):
            self._pieces.put(piece)
            raise piece
        if self._is_first:
            self._is_first = False
            _check_is_output(piece, self._pod)
        self._ended = not piece
        return [("stdout", piece)] if piece else []

    def close(self) -> None:
        """Follow it no longer."""
        self._stream.close()

    def _read(self) -> None:
        try:
            for piece in self._stream.pieces():
                self._pieces.put(piece)
            self._pieces.put(b"")
        except EngineUnavailableError as error:
            self._pieces.put(error)


class PastLog:
    """The same of a container that is no more."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def receive(self, deadline_s: float) -> list[tuple[StreamName, bytes]]:  # noqa: ARG002 (at once)
        """Return it once, then nothing."""
        content, self._content = self._content, b""
        return [("stdout", content)] if content else []

    def close(self) -> None:
        """Do nothing."""


def follow_log(rest: Rest, pod: str, *, until_now: bool, since_s: float | None) -> FollowedLog:
    """Return the output of a pod from its start on, as it comes."""
    query = {"container": MAIN, "follow": "false" if until_now else "true"}
    if since_s is not None:
        moment = datetime.fromtimestamp(since_s, tz=timezone.utc)
        query["sinceTime"] = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return FollowedLog(rest.stream("follow the pod's output", rest.path("pods", pod, "log"), query), pod)


def read_log(rest: Rest, pod: str, *, tail_bytes: int) -> bytes:
    """Return the end of a pod's output.

    :raises LostContainerError: if its node has lost it.
    """
    query = {"container": MAIN, "tailLines": str(tail_bytes), "limitBytes": str(MAX_BYTES)}
    found = rest.read("read the pod's output", "GET", rest.path("pods", pod, "log"), query=query)
    _check_is_output(found, pod)
    return found[-tail_bytes:]


def _check_is_output(begin: bytes, pod: str) -> None:
    if _LOST.match(begin):
        said = " ".join(begin.decode("utf-8", "replace").split())
        raise LostContainerError(f"the node has lost the output of the pod {pod}: {said}")
