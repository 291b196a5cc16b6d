"""The output of pods: a cluster keeps both streams as one, in their order."""

from __future__ import annotations

import queue
import re
import threading
import time
from contextlib import closing
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pytest_clnrm.engine.kubernetes.pods import MAIN
from pytest_clnrm.errors import ContainerError, EngineError, EngineUnavailableError, LostContainerError
from pytest_clnrm.util.output import BoundedOutput

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import StreamName
    from pytest_clnrm.engine.kubernetes.rest import Rest, Stream

MAX_BYTES = 16 << 20
_STAMP = re.compile(rb"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d) ", re.MULTILINE)
"""When a line was printed, in RFC 3339, where that is asked for."""
# A node that has lost a pod's output says so in place of it, and the cluster calls that an answer too.
_LOST = re.compile(
    rb'(failed to try resolving symlinks in path|failed to open log file) "/var/log/pods/'
    rb"|unable to retrieve container logs for \w+://"
)


class FollowedLog:
    """Implements :class:`pytest_clnrm.engine.log_stream.LogStream`; all of it is told as stdout.

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

    def may_lack(self) -> str:
        """Return "": a node tells the newest file of a log, and not whether there were others."""
        return ""

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

    def __init__(self, content: bytes, lacks: str) -> None:
        self._content = content
        self._lacks = lacks

    def receive(self, deadline_s: float) -> list[tuple[StreamName, bytes]]:  # noqa: ARG002 (at once)
        """Return it once, then nothing."""
        content, self._content = self._content, b""
        return [("stdout", content)] if content else []

    def may_lack(self) -> str:
        """Return why its beginning is missing, "" if it is there."""
        return self._lacks

    def close(self) -> None:
        """Do nothing."""


class LastOutput:
    """What a pod has printed that is being stopped: once it is no more nobody tells that."""

    def __init__(self, rest: Rest, pod: str) -> None:
        self._kept = BoundedOutput()
        self._why_not = ""
        self._log: FollowedLog | None = None
        try:
            self._log = follow_log(rest, pod, until_now=False, since_s=None, stamped=True)
        except EngineError as error:
            self._why_not = str(error)

    def take(self, wait_s: float) -> None:
        """Take all of it, to its end, which comes with that of the pod.

        :param wait_s: for each further piece.
        """
        if self._log is None:
            return
        with closing(self._log):
            try:
                while pieces := self._log.receive(time.monotonic() + wait_s):
                    for _, data in pieces:
                        self._kept.feed(data)
            except EngineError as error:
                self._why_not = str(error)
            else:
                if pieces is None:
                    self._why_not = f"{wait_s:g} s after the pod's end its own had not come"

    def since(self, since_s: float | None) -> PastLog:
        """Return what was printed since a moment of the cluster's clock, None for all of it.

        :raises ContainerError: if it was not taken to its end.
        """
        if self._why_not:
            raise ContainerError(f"the output of a pod that was stopped could not be kept: {self._why_not}")
        data = self._kept.data()
        lacks = ""
        if self._kept.omitted_bytes:
            data = data.partition(b"\n")[2]
            lacks = "only the end of what its pod had printed was kept when that was stopped"
        if since_s is not None:
            at = next(
                (each.start() for each in _STAMP.finditer(data) if _moment_s(each) >= since_s), len(data)
            )
            # What came before that moment is there in part, so all that came later is.
            data, lacks = data[at:], "" if at else lacks
        return PastLog(_STAMP.sub(b"", data), lacks)


def _moment_s(stamp: re.Match[bytes]) -> float:
    second, fraction, zone = (each.decode() for each in stamp.groups(b""))
    whole = datetime.fromisoformat(second + zone.replace("Z", "+00:00"))
    return whole.timestamp() + float(fraction or 0)


def follow_log(
    rest: Rest, pod: str, *, until_now: bool, since_s: float | None, stamped: bool = False
) -> FollowedLog:
    """Return the output of a pod from its start on, as it comes.

    :param stamped: each line begins with the moment at which it was printed.
    """
    query = {"container": MAIN, "follow": "false" if until_now else "true"}
    if stamped:
        query["timestamps"] = "true"
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
