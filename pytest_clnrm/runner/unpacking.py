"""Unpacking the body of an answer, piece by piece; one that is cut off is told apart from a whole one."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial
from http import HTTPStatus

from urllib3.exceptions import DecodeError
from urllib3.response import HTTPResponse

from pytest_clnrm.runner.charsets import codec_of

_PIECE_BYTES = 1 << 16
_MAX_PACKERS = 5
_MIN_BYTES = 2
_MAGIC = b"\x1f\x8b"
_GZIP_BITS = 16 + zlib.MAX_WBITS
_PACK_NOTHING = frozenset({"", "identity", "none", "7bit", "8bit", "binary", "aws-chunked"})
"""What servers name, beside encodings of text, though the body is sent as it is."""
_Pieces = Iterator[bytes]


def unpacked(answer: HTTPResponse) -> _Pieces:
    """Yield the body of *answer* as it comes, unpacked, in pieces of bounded size, some of them empty.

    What cannot be unpacked stays as it is, see :func:`packed_with`.

    :raises DecodeError: if what is packed is broken, or ends before its end.
    """
    packers = [] if packed_with(answer) else _packers(answer)
    if len(packers) > _MAX_PACKERS:
        raise DecodeError(f"it is packed {len(packers)} times, and unpacked at most {_MAX_PACKERS} times")
    # urllib3 unpacks gzip too, but takes it as whole wherever it ends.
    own = all(each in _UNPACKED for each in packers)
    # Not its stream(), which waits for a whole piece: what has come would be lost at the deadline.
    pieces: _Pieces = iter(partial(answer.read1, _PIECE_BYTES, decode_content=not own), b"")
    # They are named in the order in which they were applied.
    for packer in reversed(packers) if own else ():
        pieces = _UNPACKED[packer](pieces)
    return pieces


def packed_with(answer: HTTPResponse) -> str:
    """Return with what a body is packed that cannot be unpacked here, "" if there is no such thing.

    That is what is not known, and anything if only a part of what is packed was sent.
    """
    known = () if answer.status == HTTPStatus.PARTIAL_CONTENT else HTTPResponse.CONTENT_DECODERS
    return next((each for each in _packers(answer) if each not in known), "")


def _packers(answer: HTTPResponse) -> list[str]:
    """Return with what a body is packed; some of what servers name, such as ``utf-8``, packs nothing."""
    named = (each.strip() for each in answer.headers.get("Content-Encoding", "").lower().split(","))
    return [each for each in named if each not in _PACK_NOTHING and not codec_of(each)]


def _gunzipped(pieces: _Pieces) -> _Pieces:
    """Yield what members of gzip hold; what comes behind them and is none is passed over, as gzip does."""
    piece = _begin(pieces)
    if piece:
        piece = yield from _inflated(_GZIP_BITS, piece, pieces)
        while begins := piece if len(piece) >= _MIN_BYTES else piece + _begin(pieces):
            if not _MAGIC.startswith(begins[:_MIN_BYTES]):
                break
            piece = yield from _inflated(_GZIP_BITS, begins, pieces)
    yield from _passed_over(pieces)


def _of_deflate(pieces: _Pieces) -> _Pieces:
    """Yield what a stream holds, in the form of zlib, or without it as some servers send it."""
    piece = _begin(pieces)
    if piece:
        yield from _inflated(zlib.MAX_WBITS if _has_header(piece) else -zlib.MAX_WBITS, piece, pieces)
    yield from _passed_over(pieces)


def _has_header(begin: bytes) -> bool:
    try:
        zlib.decompressobj().decompress(begin[:_MIN_BYTES])
    except zlib.error:
        return False
    return True


def _begin(pieces: _Pieces) -> bytes:
    """Return enough to tell what begins here, less at the end."""
    begun = b""
    for piece in pieces:
        begun += piece
        if len(begun) >= _MIN_BYTES:
            break
    return begun


def _passed_over(pieces: _Pieces) -> _Pieces:
    """Yield nothing of what is left; that it did not all come is noticed, and that it comes for ever."""
    return (b"" for _ in pieces)


def _inflated(window_bits: int, piece: bytes, pieces: _Pieces) -> Generator[bytes, None, bytes]:
    """Yield what one stream holds, which begins with *piece*, and return what came behind it with its end."""
    stream = zlib.decompressobj(window_bits)
    while True:
        try:
            out = stream.decompress(piece, _PIECE_BYTES)
        except zlib.error as error:
            raise DecodeError(error) from None
        yield out
        if stream.eof:
            return stream.unused_data
        piece = stream.unconsumed_tail
        if not piece and len(out) < _PIECE_BYTES:
            more = next(pieces, None)
            if more is None:
                raise DecodeError("it is cut off, the end of what is packed has not come")
            piece = more


_UNPACKED: Mapping[str, Callable[[_Pieces], _Pieces]] = {
    "gzip": _gunzipped,
    "x-gzip": _gunzipped,
    "deflate": _of_deflate,
}
