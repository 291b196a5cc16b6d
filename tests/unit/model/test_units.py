"""Sizes and times as users write them."""

from __future__ import annotations

import re

import pytest

from pytest_clnrm.model.units import DURATION_PATTERN, SIZE_PATTERN, parse_duration_s, parse_size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (90, 90.0),
        (0, 0.0),
        (0.5, 0.5),
        ("90", 90.0),
        ("90s", 90.0),
        ("1.5m", 90.0),
        ("500ms", 0.5),
        ("1h", 3600.0),
        (" 2s ", 2.0),
    ],
)
def test_times_are_read(text: object, seconds: float) -> None:
    """Every way to write a time gives its seconds."""
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "1 s",
        "-1s",
        "1d",
        "1m30s",
        "1.s",
        ".5s",
        "1e3",
        "٣s",
        "1s\n",
        -1,
        True,
        None,
        [],
        float("nan"),
    ],
)
def test_what_is_no_time_is_refused(text: object) -> None:
    """The message names the value and what is allowed."""
    with pytest.raises(ValueError, match="is not a time: a number of seconds such as 90, or text such as"):
        parse_duration_s(text)


@pytest.mark.parametrize("text", ["9000h", 10**400, float("inf"), "9" * 400])
def test_a_time_beyond_every_clock_is_refused(text: object) -> None:
    """No value overflows a timer later."""
    with pytest.raises(ValueError, match="is longer than a year"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (512, 512 * 1024**2),
        ("512", 512 * 1024**2),
        ("512m", 512 * 1024**2),
        ("512MB", 512 * 1024**2),
        ("512MiB", 512 * 1024**2),
        ("1g", 1024**3),
        ("1.5G", 3 * 1024**3 // 2),
        ("64k", 64 * 1024),
        ("100b", 100),
    ],
)
def test_sizes_are_read(text: object, size: int) -> None:
    """Every way to write a size gives its bytes; a bare number is MB."""
    assert parse_size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "m", "0", 0, -5, "1t", "1 g", "0x10", "1e3", True, 1.5, None, {}])
def test_what_is_no_size_is_refused(text: object) -> None:
    """The message names the value and what is allowed."""
    with pytest.raises(ValueError, match="is not a size: a whole number of MB such as 512, or text such as"):
        parse_size_bytes(text)


@pytest.mark.parametrize("text", [10**30, "9" * 30 + "g", "9" * 400])
def test_a_size_beyond_all_memory_is_refused(text: object) -> None:
    """No value overflows the engine's 64 bits."""
    with pytest.raises(ValueError, match="is larger than any memory"):
        parse_size_bytes(text)


@pytest.mark.parametrize("text", [1_000_000_000, "1000000000", 2**24 + 1])
def test_bytes_without_a_unit_are_refused(text: object) -> None:
    """Whoever means bytes is told that a bare number is MB, and how bytes are written."""
    unit = 'is larger than any memory: a number without a unit is MB; write "1000000b" for bytes'
    with pytest.raises(ValueError, match=f"^{re.escape(repr(text))} {unit}"):
        parse_size_bytes(text)
    assert parse_size_bytes(2**24) == 2**44
    assert parse_size_bytes("1000000000b") == 1_000_000_000


@pytest.mark.parametrize("text", ["90", "90s", "1.5m", "500ms", "1h", "1d", "s", "1m30s", ".5s"])
def test_the_pattern_of_times_agrees_with_the_parser(text: str) -> None:
    """What the schema's pattern accepts is what the parser accepts."""
    try:
        parse_duration_s(text)
        read = True
    except ValueError:
        read = False
    assert bool(re.search(DURATION_PATTERN, text)) == read


@pytest.mark.parametrize("text", ["512", "512m", "512MB", "1.5GiB", "64k", "100b", "100bb", "1t", "m", "1 g"])
def test_the_pattern_of_sizes_agrees_with_the_parser(text: str) -> None:
    """What the schema's pattern accepts is what the parser accepts."""
    try:
        parse_size_bytes(text)
        read = True
    except ValueError:
        read = False
    assert bool(re.search(SIZE_PATTERN, text)) == read
