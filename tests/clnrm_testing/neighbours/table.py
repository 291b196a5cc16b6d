"""docs/neighbours.md: which neighbours were tried, and what came of the suite beside each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clnrm_testing.neighbours.declared import NEIGHBOURS, NONE, Neighbour

DOCS = Path(__file__).parents[3] / "docs" / "neighbours.md"
WORKERS = (0, 2)
_COLUMNS = ("passed", "failed", "error", "skipped", "xfailed")
_BEGIN, _END = "<!-- made by tox -e neighbours -->\n", "<!-- end of table -->"


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many tests ended how, and how many runs were more than the first one of a test."""

    outcomes: Mapping[str, int]
    again: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[str], attempts: Iterable[int]) -> Counts:
        """Return the counts of tests, of each of which there is the outcome and how often it ran."""
        return cls(outcomes=Counter(outcomes), again=sum(each - 1 for each in attempts))


def declared_counts(neighbour: Neighbour) -> list[Counts]:
    """Return what has to come of it: in one process, and with workers."""
    return [
        Counts.of(neighbour.outcomes(workers=workers).values(), neighbour.attempts.values())
        for workers in WORKERS
    ]


def with_table(text: str, counts: Mapping[str, Sequence[Counts]]) -> str:
    """Return the text of the docs with the table as it should be.

    :param counts: what was seen, by the neighbours' names: in one process, and with workers.
    """
    before, found, behind = text.partition(_BEGIN)
    assert found, f"{DOCS} lacks the line {_BEGIN}"
    cells = ("plugin", "version", "options", *_COLUMNS, "run again", "remarks")
    rows = [_row(cells), _row(["---"] * len(cells))]
    rows += [_row(_cells(each, counts[each.name])) for each in (NONE, *NEIGHBOURS)]
    return "".join((before, found, *rows, _END, behind.partition(_END)[2]))


def declared_document(text: str) -> str:
    """Return the text of the docs with what has to come of each neighbour."""
    return with_table(text, {each.name: declared_counts(each) for each in (NONE, *NEIGHBOURS)})


def _row(cells: Iterable[str]) -> str:
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|\n"


def _cells(neighbour: Neighbour, counts: Sequence[Counts]) -> list[str]:
    options = " ".join((*neighbour.options, *(f"{key}={value}" for key, value in neighbour.environ.items())))
    return [
        neighbour.package or "none",
        neighbour.version,
        f"`{options}`" if options else "",
        *(_both(each.outcomes.get(column, 0) for each in counts) for column in _COLUMNS),
        _both(each.again for each in counts),
        neighbour.note,
    ]


def _both(numbers: Iterable[int]) -> str:
    """Return the number of both ways of running, or one after the other where they differ."""
    return " / ".join(map(str, dict.fromkeys(numbers)))
