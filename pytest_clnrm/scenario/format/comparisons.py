"""Bounds of numbers in a scenario file: ``gte = 1``, ``lt = 10``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_clnrm.model.expectations import Condition, Operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_clnrm.scenario.format.parts import Table

COMPARISONS: tuple[Operator, ...] = ("eq", "ne", "lt", "lte", "gt", "gte")


def bounds_of(doc: Table, number: Callable[[Any], float]) -> tuple[Condition, ...]:
    """Return the bounds that a table sets; it may lack some of :data:`COMPARISONS`.

    :param number: returns the number that a value means.
    """
    pairs = ((op, getattr(doc, op, None)) for op in COMPARISONS)
    return tuple(Condition(op=op, value=number(value)) for op, value in pairs if value is not None)
