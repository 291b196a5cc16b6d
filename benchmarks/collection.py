"""How long the collection of many files with one scenario each takes, and whether it grows linearly."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from measuring.figures import Row, at_most, median_of
from measuring.pytest_runs import Ran, run_pytest
from measuring.rounds import in_turns

__all__ = ["measure"]

TITLE = "collection of files with one scenario each, one process"
SCENARIO = """
[meta]
name = "scenario {number}"
tags = ["smoke"]

[service.box]
image = "busybox:1"

[[step]]
name = "one"
run = "echo one"
expect = {{ stdout = {{ contains = "one" }} }}
"""
TARGET_FILES = 2000
TARGET_S = 3.0
LINEAR = 1.25


def measure(*, quick: bool) -> Row:
    """Return the row: whole runs of ``pytest --collect-only`` over three sizes in turns.

    Linear means that a file of the larger half costs what one of the smaller costs. Both come from processor
    times: what else the machine does moves them far less than it moves differences of wall times.
    """
    sizes, rounds = ((10, 20, 40), 1) if quick else ((500, 1000, 2000), 5)
    with tempfile.TemporaryDirectory() as place:
        contenders: dict[str, Callable[[], Ran]] = {}
        for files in sizes:
            folder = Path(place, str(files))
            write(folder, files)
            contenders[str(files)] = partial(run_pytest, folder, ["--collect-only", "-p", "no:xdist"])
        contenders[str(sizes[0])]()
        runs = in_turns(contenders, rounds)
    small, middle, large = sizes
    wall = {name: [run.wall_s for run in each] for name, each in runs.items()}
    cpu = {name: [run.cpu_s for run in each] for name, each in runs.items()}
    figures = [
        median_of(f"{size} files", wall[str(size)], "s", at_most(TARGET_S) if size == TARGET_FILES else None)
        for size in sizes
    ]
    used = [median_of(f"{size} files, processor time", cpu[str(size)], "s") for size in sizes]
    first, half, whole = (figure.value for figure in used)
    a_file_s = (whole - first) / (large - small)
    growth = (whole - half) / (large - middle) / ((half - first) / (middle - small))
    figures += [
        *used,
        median_of("one file more, processor time", [a_file_s * 1000], "ms"),
        median_of("a file of the larger half : of the smaller", [growth], "x", at_most(LINEAR)),
    ]
    return Row(key="f", title=TITLE, sizes=f"{rounds} rounds", figures=tuple(figures))


def write(folder: Path, files: int) -> None:
    """Write a project of that many files."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    for number in range(files):
        (folder / f"s{number}.clnrm.toml").write_text(SCENARIO.format(number=number), encoding="utf-8")
