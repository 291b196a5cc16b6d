"""The output of a container of a Python test, line by line as it comes."""

from __future__ import annotations

import time
from codecs import getincrementaldecoder
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.util.output import BoundedOutput

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import Engine, StreamName
    from pytest_clnrm.engine.log_stream import LogStream

MAX_LINE_CHARS = 1 << 20
"""A longer line comes in pieces."""
QUIET_S = 0.2


def engine_moment_s(engine: Engine, moment: datetime | float) -> float:
    """Return a moment of this host by the engine's clock, in seconds since 1970.

    :param moment: as ``time.time()`` tells it, or a datetime; one without a zone is local time.
    """
    moment_s = moment.timestamp() if isinstance(moment, datetime) else float(moment)
    # Where the engine is on another machine, its clock may be wrong.
    apart_s = engine.clock_s() - time.time() if engine.facts.elsewhere or engine.facts.remote else 0.0
    return moment_s + apart_s


def logs_since(engine: Engine, container: str, since_s: float, *, deadline_s: float, kept_bytes: int) -> str:
    """Return the end of what a container has printed since a moment of the engine's clock."""
    kept = BoundedOutput(kept_bytes=kept_bytes)
    with closing(engine.follow_log(container, until_now=True, since_s=since_s)) as stream:
        while pieces := stream.receive(deadline_s):
            for _, piece in pieces:
                kept.feed(piece)
    return kept.text()


class _Lines:
    """Takes output apart into lines."""

    def __init__(self) -> None:
        self._decoders = {each: getincrementaldecoder("utf-8")("replace") for each in ("stdout", "stderr")}
        self._begun = dict.fromkeys(self._decoders, "")
        self._fed_bytes = dict.fromkeys(self._decoders, 0)

    def feed(self, source: StreamName, piece: bytes) -> Iterator[str]:
        """Yield the lines that *piece* ends."""
        self._fed_bytes[source] += len(piece)
        *lines, rest = (self._begun[source] + self._decoders[source].decode(piece)).split("\n")
        while len(rest) > MAX_LINE_CHARS:
            lines.append(rest[:MAX_LINE_CHARS])
            rest = rest[MAX_LINE_CHARS:]
        self._begun[source] = rest
        yield from (line.removesuffix("\r") for line in lines)

    def feed_missed(self, pieces: Iterable[tuple[StreamName, bytes]]) -> Iterator[str]:
        """Yield what was not fed of an output that is read once more from its beginning."""
        seen = dict.fromkeys(self._fed_bytes, 0)
        known = dict(self._fed_bytes)
        for source, piece in pieces:
            new = piece[max(0, known[source] - seen[source]) :]
            seen[source] += len(piece)
            if new:
                yield from self.feed(source, new)

    def rest(self) -> Iterator[str]:
        """Yield what no line end has ended."""
        yield from (each for each in self._begun.values() if each)


def follow(
    engine: Engine, container: str, name: str, *, since_s: float | None, timeout_s: float
) -> Generator[str | None]:
    """Yield each line of a container's output, without its end, until the container has ended.

    Where nothing comes for a moment it yields None, so that whoever reads can stop. An engine may close the
    stream before it has sent the last of it, so that is read once more.

    :raises ContainerError: if it still runs after that time.
    """
    deadline_s = time.monotonic() + timeout_s
    lines = _Lines()
    with closing(engine.follow_log(container, since_s=since_s)) as stream:
        while True:
            now_s = time.monotonic()
            pieces = stream.receive(min(deadline_s, now_s + QUIET_S))
            if pieces is None and now_s + QUIET_S < deadline_s:
                yield None
                continue
            if not pieces:
                break
            for source, piece in pieces:
                yield from lines.feed(source, piece)
    if pieces is None:
        raise ContainerError(f"container {name} still runs after {timeout_s:g} s, and may print more")
    with closing(engine.follow_log(container, until_now=True, since_s=since_s)) as whole:
        yield from lines.feed_missed(_pieces_of(whole, deadline_s))
    yield from lines.rest()


def _pieces_of(stream: LogStream, deadline_s: float) -> Iterator[tuple[StreamName, bytes]]:
    while pieces := stream.receive(deadline_s):
        yield from pieces
