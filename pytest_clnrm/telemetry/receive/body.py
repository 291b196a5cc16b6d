"""Reading the body of an HTTP request under limits: lengths, chunks, gzip; and the body of a refusal."""

from __future__ import annotations

import json
import re
import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from pytest_clnrm.telemetry.otlp.repair import varint

if TYPE_CHECKING:
    from email.message import Message

PROTOBUF, JSON = "application/x-protobuf", "application/json"
MAX_BODY_BYTES = 20 << 20
_MAX_GZIP_MEMBERS = 1000
_MAX_TRAILERS = 100
_SLICE_BYTES = 64 * 1024
_DIGITS = re.compile(r"\A[0-9]{1,19}\Z")
_HEX = re.compile(rb"\A[0-9a-fA-F]{1,16}\Z")


class RefusedError(Exception):
    """A request gets another answer than 200.

    :param close: the body was not read to its end, so that nothing can follow on this connection.
    """

    def __init__(self, status: HTTPStatus, message: str, *, close: bool = False) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.close = close

    def __str__(self) -> str:
        """Return ``413, the body is over the limit of 20 MiB``."""
        return f"{self.status:d}, {self.message}"


class Stream(Protocol):
    """What a body is read from."""

    def read(self, size: int, /) -> bytes:
        """Return *size* bytes, fewer at the end."""

    def readline(self, size: int, /) -> bytes:
        """Return a line, cut to *size* bytes."""


def content_length(headers: Message[str, str]) -> int | None:
    """Return the declared length of a body in bytes, None if it comes in chunks.

    :raises RefusedError: if there is no length, it is none, or it is over the limit.
    """
    coding = headers.get("Transfer-Encoding")
    if coding is not None:
        if coding.strip().lower() != "chunked":
            raise RefusedError(HTTPStatus.BAD_REQUEST, "unsupported Transfer-Encoding", close=True)
        return None
    length = headers.get("Content-Length")
    if length is None:
        raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length is required", close=True)
    if not _DIGITS.match(length.strip()):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "bad Content-Length", close=True)
    if int(length) > MAX_BODY_BYTES:
        raise _too_large(close=True)
    return int(length)


def _too_large(*, close: bool) -> RefusedError:
    message = f"the body is over the limit of {MAX_BODY_BYTES >> 20} MiB"
    return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, close=close)


def read_body(length: int | None, stream: Stream) -> bytes:
    """Return the body of *length* bytes, or in chunks.

    :raises RefusedError: if it is cut short, over the limit, or a chunk is malformed.
    """
    if length is None:
        return _read_chunks(stream)
    body = stream.read(length)
    if len(body) != length:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body is shorter than declared", close=True)
    return body


def _read_chunks(stream: Stream) -> bytes:
    body = bytearray()
    while True:
        size = stream.readline(1000).partition(b";")[0].strip()
        if not _HEX.match(size):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "malformed chunk", close=True)
        length = int(size, 16)
        if len(body) + length > MAX_BODY_BYTES:
            raise _too_large(close=True)
        if length == 0:
            break
        body += read_body(length, stream)
        if stream.readline(2) != b"\r\n":
            raise RefusedError(HTTPStatus.BAD_REQUEST, "malformed chunk", close=True)
    for _ in range(_MAX_TRAILERS):
        if not stream.readline(1000).strip():
            return bytes(body)
    raise RefusedError(HTTPStatus.BAD_REQUEST, "too many trailers", close=True)


def gunzip(data: bytes) -> bytes:
    """Return what *data* holds, which may be several gzip members.

    :raises RefusedError: if it is no gzip, cut short, or more than the limit.
    """
    out = bytearray()
    members = 1
    member = zlib.decompressobj(wbits=31)
    try:
        for start in range(0, len(data), _SLICE_BYTES):
            rest = data[start : start + _SLICE_BYTES]
            while rest:
                if member.eof:
                    members += 1
                    if members > _MAX_GZIP_MEMBERS:
                        raise RefusedError(HTTPStatus.BAD_REQUEST, "cannot decode gzip: too many members")
                    member = zlib.decompressobj(wbits=31)
                out += member.decompress(rest, MAX_BODY_BYTES + 1 - len(out))
                if len(out) > MAX_BODY_BYTES:
                    raise _too_large(close=False)
                rest = member.unused_data
    except zlib.error as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"cannot decode gzip: {error}") from None
    if not member.eof:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "cannot decode gzip: it is cut short")
    return bytes(out)


def status_body(message: str, content_type: str) -> bytes:
    """Return a ``google.rpc.Status`` with *message*, which OTLP wants as the body of each refusal."""
    if content_type == JSON:
        return json.dumps({"message": message}).encode()
    text = message.encode("utf-8", "replace")
    # Field 2, length-delimited; google.rpc itself is not among the package's dependencies.
    return b"\x12" + varint(len(text)) + text
