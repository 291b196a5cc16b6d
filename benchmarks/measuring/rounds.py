"""Measuring several things side by side: in rounds, in turns, in alternating order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

__all__ = ["in_turns"]

T = TypeVar("T")


def in_turns(contenders: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Return what each contender gave in each round.

    Every second round goes backwards: none of them always follows the same one, or comes first.
    """
    results: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders) if number % 2 == 0 else list(contenders)[::-1]
        for name in order:
            results[name].append(contenders[name]())
    return results
