"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["good", "warning", "broken", "not tried"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found.

    :param text: what was seen, one line.
    :param remedy: what to do, "" if nothing has to be done.
    """

    state: State
    text: str
    remedy: str = ""

    def describe(self) -> str:
        """Return text and remedy on one line."""
        return f"{self.text}: {self.remedy}" if self.remedy else self.text


def good(text: str) -> Finding:
    """Return that all is well."""
    return Finding("good", text)


def warning(text: str, remedy: str) -> Finding:
    """Return that runs go, but not as one may believe."""
    return Finding("warning", text, remedy)


def broken(text: str, remedy: str) -> Finding:
    """Return that runs cannot go."""
    return Finding("broken", text, remedy)


def not_tried(why: str) -> Finding:
    """Return that it cannot be told."""
    return Finding("not tried", why)


def megabytes(size: float) -> str:
    """Return a size as the findings show it."""
    return f"{size / 1024**2:.0f} MB"
