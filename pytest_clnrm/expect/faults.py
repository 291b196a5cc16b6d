"""What an expectation found wrong, before it has a place and a tree."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_clnrm.model.expectations import Origin


@dataclass(frozen=True, slots=True)
class Fault:
    """One expectation that does not hold.

    :param message: one line.
    :param origin: whose spans it was about.
    :param details: more lines.
    """

    message: str
    origin: Origin
    details: tuple[str, ...] = ()


def number_of_spans(count: int) -> str:
    """Return ``no span``, ``1 span``, ``2 spans``."""
    return {0: "no span", 1: "1 span"}.get(count, f"{count} spans")
