"""What the plugin costs a suite without scenarios: pairs of runs, with it and without."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from measuring.figures import Row, at_most, median_of
from measuring.pytest_runs import run_pytest
from measuring.rounds import in_turns

__all__ = ["measure"]

TITLE = "cost of the plugin on a suite without scenarios"
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(10))
def test(number):
    pass
"""
# Its import is half of a short run's time, and its noise.
WITHOUT_NOISE = ("-p", "no:hypothesispytest")


def measure(*, quick: bool) -> Row:
    """Return the row: the median of the pairs' differences."""
    pairs = 2 if quick else 60
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (folder / "test_plain.py").write_text(TESTS, encoding="utf-8")
        contenders = {
            "with": partial(run_pytest, folder, WITHOUT_NOISE),
            "without": partial(run_pytest, folder, [*WITHOUT_NOISE, "-p", "no:clnrm"]),
        }
        in_turns(contenders, 1)
        runs = in_turns(contenders, pairs)
    both = list(zip(runs["with"], runs["without"], strict=True))
    return Row(
        key="g",
        title=TITLE,
        sizes=f"{pairs} pairs of runs",
        figures=(
            median_of(
                "added", [(one.wall_s - other.wall_s) * 1000 for one, other in both], "ms", at_most(15)
            ),
            median_of(
                "added processor time", [(one.cpu_s - other.cpu_s) * 1000 for one, other in both], "ms"
            ),
            median_of("processor time without it", [other.cpu_s * 1000 for _, other in both], "ms"),
            median_of("a run without it", [other.wall_s * 1000 for _, other in both], "ms"),
        ),
    )
