"""How many parts a body has, counted before they are made.

Two bytes of a body are an empty span, which takes hundreds of bytes once it is an object. So a body is looked
over first, as bytes; one with more parts than any exporter sends is refused.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

MAX_MESSAGES = 300_000
"""Spans, events, links, attributes and values of one body."""
MAX_FIELDS = 1_500_000
"""All that is named or listed in one body."""
SMALL_BYTES = 1 << 16
"""What is smaller is not counted: it cannot become much."""
_TOKENS = re.compile(rb'[{\[]+|,+|"[^"]*(?:"|\Z)')
_QUOTE = ord('"')
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_MORE = 0x80


class TooManyPartsError(Exception):
    """A body has too many parts; the message tells how many it may have."""

    def __init__(self) -> None:
        super().__init__(
            f"the body has more than {MAX_MESSAGES} spans, events, links, attributes and values, or "
            f"{MAX_FIELDS} fields; export smaller batches"
        )


class MalformedError(Exception):
    """A body is no protobuf message."""


def count_json(body: bytes) -> None:
    """Look over a JSON body.

    :raises TooManyPartsError: if it has too many objects, lists or members.
    """
    opened = body.count(b"{") + body.count(b"[")
    if opened <= MAX_MESSAGES and opened + body.count(b",") <= MAX_FIELDS:
        return
    # Texts may hold as many of these as they like: so once more, without them.
    opened = others = 0
    for token in _TOKENS.finditer(body.replace(b"\\\\", b"").replace(b'\\"', b"")):
        found = token[0]
        if found[0] in b"{[":
            opened += len(found)
        else:
            others += 1 if found[0] == _QUOTE else len(found)
        if opened > MAX_MESSAGES or opened + others > MAX_FIELDS:
            raise TooManyPartsError


def count_protobuf(body: bytes, message: Descriptor) -> None:
    """Look over a protobuf body.

    :param message: what it is.
    :raises TooManyPartsError: if it has too many messages or fields.
    :raises MalformedError: if it is none.
    """
    if len(body) <= SMALL_BYTES:
        return
    try:
        _count(body, _below(message))
    except IndexError:
        raise MalformedError("it is cut short") from None


@functools.cache
def _below(message: Descriptor) -> tuple[Descriptor, dict[int, Descriptor]]:
    """Return a type of message, and the types of the messages that its fields hold."""
    return message, {each.number: each.message_type for each in message.fields if each.message_type}


def _count(  # noqa: C901, PLR0912 a loop that calls nothing, for its speed
    body: bytes, root: tuple[Descriptor, dict[int, Descriptor]]
) -> None:
    """Walk all messages of a body."""
    fields = messages = 0
    waiting = [(0, len(body), root[1])]
    while waiting:
        at, end, kinds = waiting.pop()
        while at < end:
            fields += 1
            if fields > MAX_FIELDS:
                raise TooManyPartsError
            key = body[at]
            at += 1
            if key >= _MORE:
                key, at = read_varint(body, at - 1)
            wire = key & 7
            if wire == LENGTH:
                size = body[at]
                at += 1
                if size >= _MORE:
                    size, at = read_varint(body, at - 1)
                below = kinds.get(key >> 3)
                if below is not None:
                    messages += 1
                    if messages > MAX_MESSAGES:
                        raise TooManyPartsError
                    waiting.append((at, at + size, _below(below)[1]))
                at += size
            elif wire == VARINT:
                while body[at] >= _MORE:
                    at += 1
                at += 1
            elif wire in {FIXED64, FIXED32}:
                at += 8 if wire == FIXED64 else 4
            else:
                raise MalformedError("it has groups, which OTLP has not")
        if at > end:
            raise MalformedError("a length is beyond the end of its message")


def read_varint(body: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and the position behind it."""
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value, at
        shift += 7
        if shift > 63:  # noqa: PLR2004 a varint has 64 bits
            raise MalformedError("a number has more than 64 bits")
