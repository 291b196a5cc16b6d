"""Numbers of things: what they are expected to be, in words."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_clnrm.expect.conditions import holds
from pytest_clnrm.model.expectations import Condition

_WORDS = {
    "eq": "",
    "ne": "another number than ",
    "lt": "less than ",
    "lte": "at most ",
    "gt": "more than ",
    "gte": "at least ",
}


def missed(conditions: Sequence[Condition], number: int) -> str:
    """Return what *number* should be, as far as it is not: ``at least 3``; "" if all holds."""
    wrong = (each for each in conditions if not holds(each, number))
    return " and ".join(f"{_WORDS[each.op]}{each.value}" for each in wrong)
