"""The output of a container of a Python test, line by line as it comes."""

from __future__ import annotations

import time
from codecs import getincrementaldecoder
from collections.abc import Generator
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.util.output import BoundedOutput

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import Engine

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


def follow(
    engine: Engine, container: str, name: str, *, since_s: float | None, timeout_s: float
) -> Generator[str | None]:
    """Yield each line of a container's output, without its end, until the container has ended.

    Where nothing comes for a moment it yields None, so that whoever reads can stop.

    :raises ContainerError: if it still runs after that time.
    """
    deadline_s = time.monotonic() + timeout_s
    decoders = {each: getincrementaldecoder("utf-8")("replace") for each in ("stdout", "stderr")}
    begun = dict.fromkeys(decoders, "")
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
                *lines, rest = (begun[source] + decoders[source].decode(piece)).split("\n")
                while len(rest) > MAX_LINE_CHARS:
                    lines.append(rest[:MAX_LINE_CHARS])
                    rest = rest[MAX_LINE_CHARS:]
                begun[source] = rest
                yield from (line.removesuffix("\r") for line in lines)
    if pieces is None:
        raise ContainerError(f"container {name} still runs after {timeout_s:g} s, and may print more")
    yield from (rest for rest in begun.values() if rest)
