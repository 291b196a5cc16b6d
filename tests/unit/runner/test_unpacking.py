"""Unpacking bodies: each form, in pieces of any size, and each end that is none."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any

import pytest
from urllib3.exceptions import DecodeError
from urllib3.response import HTTPResponse

from pytest_clnrm.runner.unpacking import packed_with, unpacked

TEXT = b"a body" * 30_000


def raw(data: bytes) -> bytes:
    """Return *data* as servers pack it that leave the form of zlib out."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


class OneByOne(io.BytesIO):
    """A body that comes byte by byte."""

    def read1(self, _size: int | None = -1, /) -> bytes:
        """Return the next byte."""
        return self.read(1)


def answer_of(coding: str, data: bytes = b"", body: Any = io.BytesIO, *, status: int = 200) -> HTTPResponse:
    """Return an answer with *data* as its body."""
    headers = {"Content-Encoding": coding}
    return HTTPResponse(body(data), headers=headers, status=status, preload_content=False)


def pieces_of(coding: str, data: bytes, body: Any = io.BytesIO) -> list[bytes]:
    """Return what is unpacked of *data*."""
    return list(unpacked(answer_of(coding, data, body)))


WHOLE: dict[str, tuple[str, bytes, bytes]] = {
    "plain": ("", TEXT, TEXT),
    "identity": ("identity, ", TEXT, TEXT),
    "no packer": ("UTF-8,", TEXT, TEXT),
    "no packer beside one": ("gzip, utf-8", gzip.compress(TEXT), TEXT),
    "not known": ("gzip, compress", TEXT, TEXT),
    "gzip": ("gzip", gzip.compress(TEXT), TEXT),
    "x-gzip": ("X-GZip", gzip.compress(TEXT), TEXT),
    "members": ("gzip", gzip.compress(TEXT) + gzip.compress(b"") + gzip.compress(b"more"), TEXT + b"more"),
    "filled up": ("gzip", gzip.compress(TEXT) + bytes(600), TEXT),
    "followed": ("gzip", gzip.compress(TEXT) + b"\n", TEXT),
    "deflate": ("deflate", zlib.compress(TEXT), TEXT),
    "raw deflate": ("deflate", raw(TEXT), TEXT),
    "raw deflate of nothing": ("deflate", raw(b""), b""),
    "deflate, followed": ("deflate", zlib.compress(TEXT) + b"\n", TEXT),
    "twice": ("deflate, gzip", gzip.compress(zlib.compress(TEXT)), TEXT),
    "nothing of gzip": ("gzip", b"", b""),
    "nothing of deflate": ("deflate", b"", b""),
}


@pytest.mark.parametrize("body", [io.BytesIO, OneByOne])
@pytest.mark.parametrize(("coding", "data", "text"), WHOLE.values(), ids=WHOLE)
def test_a_whole_body(coding: str, data: bytes, text: bytes, body: Any) -> None:
    """However it comes, and in pieces of bounded size."""
    pieces = pieces_of(coding, data, body)
    assert b"".join(pieces) == text
    assert max(map(len, pieces), default=0) <= 1 << 16


CUT: dict[str, tuple[str, bytes]] = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "deflate": ("deflate", zlib.compress(TEXT)),
    "raw deflate": ("deflate", raw(TEXT)),
    "inside": ("deflate, gzip", gzip.compress(zlib.compress(TEXT)[:-1]) + b"?"),
    "outside": ("deflate, gzip", gzip.compress(zlib.compress(TEXT))),
}


@pytest.mark.parametrize("body", [io.BytesIO, OneByOne])
@pytest.mark.parametrize(("coding", "data"), CUT.values(), ids=CUT)
def test_a_body_that_is_cut_off(coding: str, data: bytes, body: Any) -> None:
    """Anywhere but before its first byte."""
    for length in (1, 2, 5, len(data) // 2, len(data) - 9, len(data) - 1):
        with pytest.raises(DecodeError, match=r"^it is cut off, the end of what is packed has not come$"):
            pieces_of(coding, data[:length], body)


def test_a_second_member_that_is_cut_off() -> None:
    """What begins as one is one."""
    for length in (1, 2, 12):
        with pytest.raises(DecodeError, match="cut off"):
            pieces_of("gzip", gzip.compress(TEXT) + gzip.compress(TEXT)[:length])


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_that_is_broken(coding: str) -> None:
    """It is an error even if nothing else is wrong but its sum."""
    data = bytearray(gzip.compress(TEXT) if coding == "gzip" else zlib.compress(TEXT))
    data[-5 if coding == "gzip" else -1] ^= 1
    with pytest.raises(DecodeError, match="incorrect data check"):
        pieces_of(coding, bytes(data))


def test_too_many_codings() -> None:
    """No server needs more than five."""
    with pytest.raises(DecodeError, match="it is packed 6 times, and unpacked at most 5 times"):
        pieces_of(", ".join(["gzip"] * 6), gzip.compress(TEXT))


@pytest.mark.parametrize("coding", ["compress", "snappy", "base64", "aes128gcm", "zip", "a-packer-of-ours"])
def test_packers_that_are_not_known(coding: str) -> None:
    """A body with one of these stays as it is, and is no text, whatever else it names."""
    for named in (coding, f"gzip, {coding.upper()}", f"{coding}, utf-8", ",".join([coding] * 6)):
        assert packed_with(answer_of(named)) == coding
        assert b"".join(pieces_of(named, b"\x1f\x8b")) == b"\x1f\x8b"


@pytest.mark.parametrize(
    "coding",
    ["", "identity", "none", "8bit", "aws-chunked", "utf8", "ISO-8859-1", "windows-1252", "us-ascii"],
)
def test_what_packs_nothing(coding: str) -> None:
    """Such a body is text, and unpacked if it is packed besides."""
    for named, data in ((coding, TEXT), (f"{coding}, gzip", gzip.compress(TEXT))):
        assert packed_with(answer_of(named)) == ""
        assert b"".join(pieces_of(named, data)) == TEXT


def test_a_part_of_a_body() -> None:
    """It is a part of what is packed, which nobody can unpack; of what is not packed it is text."""
    packed = gzip.compress(TEXT)
    for coding, told in (
        ("gzip", "gzip"),
        ("utf-8, deflate", "deflate"),
        ("br", "br"),
        ("utf-8", ""),
        ("", ""),
    ):
        for part in (packed[:20], packed[5:20], packed):
            answer = answer_of(coding, part, status=206)
            assert packed_with(answer) == told
            assert b"".join(unpacked(answer)) == part
