"""What the relay and this process say to each other: frames, each of one connection.

A frame is its connection's number (4 bytes), its kind (1), a zero, the size of what follows (2), and that;
numbers have their low byte first. ``engine/tool/clnrm.c`` is the other side.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

VERSION = 1
PIECE = 16384
"""Bytes of data in a frame, at most."""
WINDOW = 32768
"""Bytes of one connection that are on the way in one direction, at most."""

_HEAD = struct.Struct("<IBxH")
_NUMBER = struct.Struct("<I")


class Kind(IntEnum):
    """What a frame says."""

    HELLO = 0  # from the relay, once: the version
    OPEN = 1  # to the relay: connect to an address and port
    OPENED = 2
    FAILED = 3  # the errno
    ACCEPTED = 4  # from the relay: somebody has connected to it, from an address and port
    DATA = 5
    END = 6  # no more data this way
    RESET = 7  # the connection is given up, both ways
    CREDIT = 8  # so many bytes of data were taken on


class Frame(NamedTuple):
    """One frame."""

    connection: int
    kind: int
    payload: bytes = b""

    def packed(self) -> bytes:
        """Return it as it is sent."""
        return _HEAD.pack(self.connection, self.kind, len(self.payload)) + self.payload

    @property
    def number(self) -> int:
        """Return what a frame of a number says."""
        return int(_NUMBER.unpack(self.payload)[0])


def number(connection: int, kind: Kind, value: int) -> Frame:
    """Return a frame that says a number."""
    return Frame(connection, kind, _NUMBER.pack(value))


def opening(connection: int, address: str, port: int) -> Frame:
    """Return the frame that asks for a connection to an IPv4 address.

    :raises OSError: if it is no such address.
    """
    return Frame(connection, Kind.OPEN, socket.inet_pton(socket.AF_INET, address) + struct.pack(">H", port))


class Frames:
    """Takes a stream of frames in any pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that *data* completes.

        :raises ValueError: if what comes is no frame.
        """
        data, at = self._rest + data, 0
        while len(data) - at >= _HEAD.size:
            connection, kind, size = _HEAD.unpack_from(data, at)
            if kind not in _KINDS or size > PIECE:
                raise ValueError("what it sends is no frame")
            if len(data) - at < _HEAD.size + size:
                break
            at += _HEAD.size
            yield Frame(connection, kind, data[at : at + size])
            at += size
        self._rest = data[at:]


_KINDS = frozenset(Kind)
