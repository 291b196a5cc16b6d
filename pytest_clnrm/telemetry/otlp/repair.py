"""Bodies with texts that are no text: what is wrong within them is replaced, and the rest is kept.

Programs cut texts in the middle of a character, and print bytes as if they were text. One such value must not
take its whole batch with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_clnrm.telemetry.otlp.parts import FIXED32, FIXED64, LENGTH, VARINT, MalformedError, read_varint

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
    :raises MalformedError: if it has another fault than its texts, or is too large.
    """
    if len(body) > MAX_BYTES:
        raise MalformedError("it is too large to be mended")
    try:
        return _message(body, message, _MAX_DEPTH)
    except IndexError:
        raise MalformedError("it is cut short") from None


def _message(body: bytes, message: Descriptor, depth: int) -> tuple[bytes, int]:
    if depth == 0:
        raise MalformedError("it is nested too deeply")
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
        out += varint(key) + varint(len(mended)) + mended
    return bytes(out), replaced


def _fields(body: bytes) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Yield key, what stands before the value, and value of each field; None where it has no length."""
    at = 0
    while at < len(body):
        begin = at
        key, at = read_varint(body, at)
        kind = key & 7
        if kind == LENGTH:
            length, at = read_varint(body, at)
            end = at + length
        elif kind == VARINT:
            _, end = read_varint(body, at)
        elif kind in {FIXED64, FIXED32}:
            end = at + (8 if kind == FIXED64 else 4)
        else:
            raise MalformedError("it has groups, which OTLP has not")
        if end > len(body):
            raise MalformedError("a length is beyond the end of its message")
        yield (key, body[begin:at], body[at:end]) if kind == LENGTH else (key, body[begin:end], None)
        at = end


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it: seven bits a byte, the lowest first."""
    out = bytearray()
    while number >= 0x80:  # noqa: PLR2004 # the last one has no eighth bit
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
