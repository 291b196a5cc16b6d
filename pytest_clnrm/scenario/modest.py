"""Which files are read in this process: those that can neither take long nor become much."""

from __future__ import annotations

from pytest_clnrm.scenario.templates.render import is_plain

MODEST_CHARS = 16 * 1024
_MODEST_DEPTH = 40


def is_modest(text: str) -> bool:
    """Tell whether a file's text can neither take long nor become much, so that it may be read here."""
    return (
        len(text) <= MODEST_CHARS
        and "matrix" not in text
        and "parametrize" not in text
        and is_plain(text)
        # Keys of many parts, and deep nesting, take time and memory by the square.
        and all(
            line.count(".") + line.count("[") + line.count("{") <= _MODEST_DEPTH for line in text.split("\n")
        )
    )
