"""The output of pods: a cluster keeps both streams as one, in their order."""

from __future__ import annotations

import queue
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pytest_clnrm.engine.kubernetes.pods import MAIN

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import StreamName
    from pytest_clnrm.engine.kubernetes.rest import Rest, Stream

MAX_BYTES = 16 << 20


class FollowedLog:
    """Implements :class:`pytest_clnrm.engine.api.LogStream`; all of it is told as stdout."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
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
        self._ended = not piece
        return [("stdout", piece)] if piece else []

    def close(self) -> None:
        """Follow it no longer."""
        self._stream.close()

    def _read(self) -> None:
        for piece in self._stream.pieces():
            self._pieces.put(piece)
        self._pieces.put(b"")


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
    return FollowedLog(rest.stream("follow the pod's output", rest.path("pods", pod, "log"), query))


def read_log(rest: Rest, pod: str, *, tail_bytes: int) -> bytes:
    """Return the end of a pod's output."""
    query = {"container": MAIN, "tailLines": str(tail_bytes), "limitBytes": str(MAX_BYTES)}
    return rest.read("read the pod's output", "GET", rest.path("pods", pod, "log"), query=query)[-tail_bytes:]
