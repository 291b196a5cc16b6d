"""What the plugin costs a suite without scenarios: pairs of runs, alone and on workers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from measuring.figures import Figure, Row, Target, at_most, median_of, ratio_of
from measuring.pytest_runs import Ran, run_pytest
from measuring.rounds import in_turns

__all__ = ["measure"]

TITLE = "cost of the plugin on a suite without scenarios"
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(100))
def test(number):
    pass
"""
# Its import is half of a short run's time, and its noise.
WITHOUT_NOISE = ("-p", "no:hypothesispytest")
MORE = 1.03
ALONE_MS = 10.0


def measure(*, quick: bool) -> Row:
    """Return the row: medians of the pairs' differences and ratios."""
    pairs, pairs_of_workers, files, workers = (2, 1, 2, 2) if quick else (60, 20, 10, 4)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        for number in range(files):
            (folder / f"test_{number}.py").write_text(TESTS, encoding="utf-8")
        one_file = folder / "test_0.py"
        alone = _pairs(folder, ["-p", "no:xdist", str(one_file)], pairs)
        on_workers = _pairs(folder, ["-n", str(workers)], pairs_of_workers)
    return Row(
        key="g",
        title=TITLE,
        sizes=f"{pairs} pairs of 100 tests in one process, "
        f"{pairs_of_workers} of {files * 100} under -n {workers}",
        figures=(
            *_added("one process", alone, at_most(ALONE_MS)),
            *_added(f"-n {workers}", on_workers, None),
            _ratio(f"-n {workers}, time: with to without", on_workers, "wall_s"),
            _ratio(f"-n {workers}, processor time: with to without", on_workers, "cpu_s"),
        ),
    )


def _pairs(folder: Path, arguments: Sequence[str], pairs: int) -> dict[str, list[Ran]]:
    contenders = {
        "with": partial(run_pytest, folder, [*WITHOUT_NOISE, *arguments]),
        "without": partial(run_pytest, folder, [*WITHOUT_NOISE, *arguments, "-p", "no:clnrm"]),
    }
    in_turns(contenders, 1)
    return in_turns(contenders, pairs)


def _added(what: str, runs: dict[str, list[Ran]], target: Target | None) -> list[Figure]:
    both = list(zip(runs["with"], runs["without"], strict=True))
    walls_ms = [(one.wall_s - other.wall_s) * 1000 for one, other in both]
    cpus_ms = [(one.cpu_s - other.cpu_s) * 1000 for one, other in both]
    return [
        median_of(f"{what}: added", walls_ms, "ms", target),
        median_of(f"{what}: added processor time", cpus_ms, "ms", target),
        median_of(f"{what}: a run without it", [other.wall_s * 1000 for _, other in both], "ms"),
        median_of(f"{what}: processor time without it", [other.cpu_s * 1000 for _, other in both], "ms"),
    ]


def _ratio(what: str, runs: dict[str, list[Ran]], field: str) -> Figure:
    rounds = {name: [getattr(each, field) for each in ran] for name, ran in runs.items()}
    return ratio_of(what, rounds, "with", "without", at_most(MORE))
