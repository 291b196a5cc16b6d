"""Output of a container, taken apart into lines."""

from __future__ import annotations

import pytest

from pytest_clnrm.items import container_logs
from pytest_clnrm.items.container_logs import _Lines


def test_lines_of_two_streams() -> None:
    """Each stream has lines of its own, whatever pieces they come in; characters are put together."""
    lines = _Lines()
    found = [
        *lines.feed("stdout", b"one\ntw"),
        *lines.feed("stderr", b"x\r\n"),
        *lines.feed("stdout", b"o\n\xc3"),
    ]
    assert [*found, *lines.feed("stdout", b"\xa4"), *lines.rest()] == ["one", "x", "two", "\u00e4"]


def test_what_the_engine_did_not_send() -> None:
    """Only that is told of what is read once more, even if the beginning is lost by now."""
    lines = _Lines()
    assert list(lines.feed("stdout", b"one\ntw")) == ["one"]
    assert list(lines.feed_missed([("stdout", b"one\n"), ("stderr", b"e\n"), ("stdout", b"two\nthree")])) == [
        "e",
        "two",
    ]
    assert list(lines.rest()) == ["three"]
    assert list(lines.feed_missed([("stdout", b"three")])) == []


def test_a_long_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes in pieces."""
    monkeypatch.setattr(container_logs, "MAX_LINE_CHARS", 3)
    lines = _Lines()
    assert [*lines.feed("stdout", b"12345678\n9"), *lines.rest()] == ["12345678", "9"]
    assert [*lines.feed("stdout", b"2345"), *lines.rest()] == ["923", "45"]
