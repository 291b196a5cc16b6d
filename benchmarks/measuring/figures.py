"""What a benchmark says: figures, each a median over rounds, and the targets that they are held to."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = ["Figure", "Row", "Target", "at_least", "at_most", "median_of", "ratio_of"]


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that a figure is held to, in the figure's unit."""

    bound: Literal["at least", "at most"]
    value: float

    def is_met_by(self, value: float) -> bool:
        """Tell whether *value* keeps to the bound."""
        return value >= self.value if self.bound == "at least" else value <= self.value


def at_least(value: float) -> Target:
    """Return a lower bound."""
    return Target("at least", value)


def at_most(value: float) -> Target:
    """Return an upper bound."""
    return Target("at most", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number, and where it comes from.

    :param what: in words.
    :param unit: "x" for a ratio.
    :param samples: what *value* is the median of, in the order of the rounds.
    """

    what: str
    value: float
    unit: str
    samples: tuple[float, ...]
    target: Target | None = None

    @property
    def verdict(self) -> str:
        """Return "ok" or "missed", "" without a target."""
        if self.target is None:
            return ""
        return "ok" if self.target.is_met_by(self.value) else "missed"

    def to_data(self) -> dict[str, Any]:
        """Return it as plain builtins."""
        target = self.target and {"bound": self.target.bound, "value": self.target.value}
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "samples": list(self.samples),
            "target": target,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One benchmark's figures.

    :param key: the letter by which it is chosen.
    :param sizes: how much was measured, in words.
    :param notes: what readers have to know; why there are no figures, if there are none.
    """

    key: str
    title: str
    sizes: str = ""
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()

    def without_targets(self) -> Row:
        """Return it with nothing to be held to: sizes were too small."""
        return replace(self, figures=tuple(replace(figure, target=None) for figure in self.figures))

    def to_data(self) -> dict[str, Any]:
        """Return it as plain builtins."""
        return {
            "row": self.key,
            "title": self.title,
            "sizes": self.sizes,
            "figures": [figure.to_data() for figure in self.figures],
            "notes": list(self.notes),
        }


def median_of(what: str, samples: Sequence[float], unit: str, target: Target | None = None) -> Figure:
    """Return the median of *samples* as a figure.

    :raises statistics.StatisticsError: if there are none.
    """
    return Figure(
        what=what, value=statistics.median(samples), unit=unit, samples=tuple(samples), target=target
    )


def ratio_of(
    what: str, rounds: Mapping[str, Sequence[float]], one: str, other: str, target: Target | None = None
) -> Figure:
    """Return how *one* relates to *other*: the median of the ratios of each round.

    What slows the machine down for a while slows both halves of a round, and leaves its ratio alone.

    :param rounds: name -> one number a round.
    :raises ValueError: if one of them has more rounds.
    """
    pairs = zip(rounds[one], rounds[other], strict=True)
    return median_of(what, [mine / theirs for mine, theirs in pairs], "x", target)
