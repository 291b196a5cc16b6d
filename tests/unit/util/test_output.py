"""Output is bounded in memory, and says what is missing."""

from __future__ import annotations

import pytest

from pytest_clnrm.util.output import BoundedOutput


@pytest.mark.parametrize("piece", [1, 3, 7, 100])
def test_short_output_is_kept_whole(piece: int) -> None:
    """What fits is kept whole, however it arrives."""
    output = BoundedOutput(kept_bytes=100)
    data = bytes(range(100))
    for at in range(0, 100, piece):
        output.feed(data[at : at + piece])
    assert output.omitted_bytes == 0
    assert output.text() == data.decode("utf-8", "replace")


@pytest.mark.parametrize("piece", [1, 9, 64, 1000])
def test_long_output_keeps_its_end(piece: int) -> None:
    """Of what does not fit the end is kept, and the rest is counted."""
    output = BoundedOutput(kept_bytes=10)
    data = b"".join(b"%03d " % number for number in range(250))
    for at in range(0, len(data), piece):
        output.feed(data[at : at + piece])
    assert output.text() == data[-10:].decode()
    assert output.omitted_bytes == len(data) - 10


def test_bytes_that_are_no_text_are_replaced() -> None:
    """Binary output does not break anything."""
    output = BoundedOutput()
    output.feed(b"a\xff\x00b")
    assert output.text() == "a\ufffd\x00b"
