"""Bodies with texts that are no text: what is wrong within them is replaced, and the rest is kept.

Programs cut texts in the middle of a character, and print bytes as if they were text. One such value must not
take its whole batch with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_BYTES = 4 << 20
"""A larger protobuf body is not looked at field by field, which takes Python a microsecond each."""
_MAX_DEPTH = 100
# An escaped backslash, a whole pair of surrogates, and last, what is neither: half a pair.
_ESCAPES = re.compile(
    rb"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


class UnrepairableError(Exception):
    """A body has another fault than its texts."""


def repair_json(body: bytes) -> tuple[bytes, int]:
    """Return *body* with U+FFFD for what is no UTF-8 or half a pair of surrogates, and how many it had."""
    text = body.decode("utf-8", "replace")
    replaced = text.count(REPLACEMENT) - body.count(REPLACEMENT.encode())
    halves = 0

    def mend(found: re.Match[bytes]) -> bytes:
        nonlocal halves
        if found[1]:
            return found[0]
        halves += 1
        return b"\\ufffd"

    return _ESCAPES.sub(mend, text.encode()), replaced + halves


def repair_protobuf(body: bytes, message: Descriptor) -> tuple[bytes, int]:
    """Return *body* with U+FFFD for what is no UTF-8 in its texts, and how many texts that were.

    :param message: what *body* is.
    :raises UnrepairableError: if it is no such message, or too large.
    """
    if len(body) > MAX_BYTES:
        raise UnrepairableError
    return _message(body, message, _MAX_DEPTH)


def _message(body: bytes, message: Descriptor, depth: int) -> tuple[bytes, int]:
    if depth == 0:
        raise UnrepairableError
    out, replaced = bytearray(), 0
    for key, start, value in _fields(body):
        field = message.fields_by_number.get(key >> 3) if value is not None else None
        if value is None or field is None or field.type not in {field.TYPE_STRING, field.TYPE_MESSAGE}:
            out += start
            out += value or b""
            continue
        if field.message_type is not None:
            mended, count = _message(value, field.message_type, depth - 1)
        else:
            mended = value.decode("utf-8", "replace").encode()
            count = int(mended != value)
        replaced += count
        out += _varint(key) + _varint(len(mended)) + mended
    return bytes(out), replaced


def _fields(body: bytes) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Yield key, what stands before the value, and value of each field; None where it has no length."""
    at = 0
    while at < len(body):
        begin = at
        key, at = _read_varint(body, at)
        kind = key & 7
        if kind == _LENGTH:
            length, at = _read_varint(body, at)
            end = at + length
        elif kind == _VARINT:
            _, end = _read_varint(body, at)
        elif kind in {_FIXED64, _FIXED32}:
            end = at + (8 if kind == _FIXED64 else 4)
        else:
            raise UnrepairableError
        if end > len(body):
            raise UnrepairableError
        yield (key, body[begin:at], body[at:end]) if kind == _LENGTH else (key, body[begin:end], None)
        at = end


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and where it ends."""
    number = 0
    for count, byte in enumerate(body[at : at + _MAX_VARINT_BYTES]):
        number |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:  # noqa: PLR2004 # the last one has no eighth bit
            return number, at + count + 1
    raise UnrepairableError


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:  # noqa: PLR2004 # see _read_varint
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
