"""Sockets of a container, from what the kernel counts and lists."""

from __future__ import annotations

import re
from collections.abc import Callable

_TIME_WAIT = "06"
# Of /proc/net/packet: protocol 0, and not running.
_IDLE_PACKET = re.compile(r"^[0-9a-f]{8,16} +\d+ +\d+ +0000 +-?\d+ +0 ", re.MULTILINE)
_SOCKETS = re.compile(r"^(sockets|(?:TCP|UDP|UDPLITE|RAW|FRAG)6?): (.*)$", re.MULTILINE)


def sockets(text: str, tcp: Callable[[], str]) -> dict[str, str]:
    """Return how many sockets of each kind there are, and closed connections that keep a port.

    The engine's own name server has some in each container. Docker 28 has one more for the first two seconds,
    by which it tells others the container's address: it receives nothing, and such ones do not count.
    A closed connection of a client keeps a port that the kernel chose and does not choose again: that keeps
    nobody from anything.

    :param text: of /proc/net/sockstat, sockstat6 and packet.
    :param tcp: returns /proc/net/tcp and tcp6, which take the kernel longer than all the rest, and a
        line with the range of ports that it chooses from.
    """
    seen: dict[str, str] = {}
    closed = 0
    for kind, told in _SOCKETS.findall(text):
        pairs = told.split()
        numbers = dict(zip(pairs[::2], pairs[1::2], strict=True))
        closed += int(numbers.get("tw", 0))
        # The other numbers are of the whole host.
        seen[f"{kind} in use"] = numbers.get("inuse") or _used(numbers.get("used", ""), text)
    return {**seen, **(_closed(tcp()) if closed else {})}


def _used(told: str, text: str) -> str:
    return str(int(told) - len(_IDLE_PACKET.findall(text))) if told else ""


def _closed(text: str) -> dict[str, str]:
    *rows, ports = [line for line in text.split("\n") if line] or ["0 0"]
    low, high = (int(each) for each in ports.split())
    found = (line.split() for line in rows)
    local = (int(fields[1].rpartition(":")[2], 16) for fields in found if fields[3] == _TIME_WAIT)
    return {f"closed connection that keeps port {port}": "" for port in local if not low <= port <= high}
