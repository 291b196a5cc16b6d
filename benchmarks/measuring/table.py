"""Rows as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from measuring.figures import Figure, Row

__all__ = ["print_machine", "print_row", "to_data"]

FORMAT = 1


def print_machine(console: Console, facts: Mapping[str, str]) -> None:
    """Print the machine's facts."""
    for name, value in facts.items():
        console.print(f"{name}: {value}", highlight=False, markup=False)


def print_row(console: Console, row: Row) -> None:
    """Print a row's figures, its sizes and its notes."""
    heading = f"({row.key}) {row.title}"
    console.print(f"\n{heading}: {row.sizes}" if row.sizes else f"\n{heading}", highlight=False, markup=False)
    if row.figures:
        table = Table("figure", "median", "range of the rounds", "target", "")
        for figure in row.figures:
            table.add_row(
                figure.what,
                _shown(figure.value, figure.unit),
                _range(figure),
                _target(figure),
                _verdict(figure),
            )
        console.print(table, highlight=False)
    for note in row.notes:
        console.print(f"  {note}", highlight=False, markup=False)


def to_data(rows: Sequence[Row], facts: Mapping[str, str]) -> dict[str, Any]:
    """Return everything as plain builtins."""
    return {"format": FORMAT, "machine": dict(facts), "rows": [row.to_data() for row in rows]}


def _shown(value: float, unit: str) -> str:
    if unit == "x":
        return f"{value:.2f} x"
    return f"{value:.3g} {unit}" if abs(value) < 100 else f"{value:.0f} {unit}"  # noqa: PLR2004 (three digits)


def _range(figure: Figure) -> str:
    if len(figure.samples) < 2:  # noqa: PLR2004 (one has no range)
        return ""
    low, high = (_shown(each, figure.unit) for each in (min(figure.samples), max(figure.samples)))
    return f"{low} .. {high} ({len(figure.samples)})"


def _target(figure: Figure) -> str:
    return f"{figure.target.bound} {_shown(figure.target.value, figure.unit)}" if figure.target else ""


def _verdict(figure: Figure) -> str:
    return {"ok": "[green]ok[/]", "missed": "[red]missed[/]"}.get(figure.verdict, "")
