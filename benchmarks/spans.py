"""What spans cost: a suite of scenarios with and without them, in pairs of runs.

Alone: ``python benchmarks/spans.py [--scenarios 200] [--pairs 5] [--engine fake|auto] [--workers 0]``. The
fake engine has folders for containers: nearly all of its time is ours, so its ratio is far above that of any
real suite, and the milliseconds a scenario are what to look at. ``auto`` takes the engine that answers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from rich.console import Console

from measuring.engine import IMAGE, Place, find_engine
from measuring.figures import Row, at_most, median_of, ratio_of
from measuring.pytest_runs import run_pytest
from measuring.rounds import in_turns
from measuring.table import print_row

__all__ = ["measure"]

TITLE = "cost of spans"
SCENARIO = f"""
[service.box]
image = "{IMAGE}"
[[step]]
name = "one"
run = "echo one"
[[step]]
name = "two"
run = "echo two"
expect = {{ stdout = {{ contains = "two" }} }}
"""


def measure(place: Place | None, *, quick: bool) -> Row:
    """Return the row, measured on a real engine, on the fake one without."""
    if quick:
        return compare(place, scenarios=4, pairs=1, workers=0)
    return compare(place, scenarios=200, pairs=5, workers=4 if place else 0)


def compare(place: Place | None, *, scenarios: int, pairs: int, workers: int) -> Row:
    """Return the row.

    :param place: None for the fake engine.
    :param workers: 0 to run without xdist.
    """
    arguments = ["-n", str(workers)] if workers else ["-p", "no:xdist"]
    if place is None:
        arguments += ["-p", "clnrm_testing.fake_engine"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        for number in range(scenarios):
            (folder / f"s{number}.clnrm.toml").write_text(SCENARIO, encoding="utf-8")
        environ = {"XDG_RUNTIME_DIR": name, **({"DOCKER_HOST": place.url} if place else {})}
        contenders = {
            spans: partial(run_pytest, folder, [*arguments, "--clnrm-spans", spans], environ)
            for spans in ("on", "off")
        }
        contenders["on"]()
        runs = in_turns(contenders, pairs)
    walls = {spans: [run.wall_s for run in each] for spans, each in runs.items()}
    added_ms = [(on - off) / scenarios * 1000 for on, off in zip(walls["on"], walls["off"], strict=True)]
    return Row(
        key="h",
        title=TITLE,
        sizes=f"{pairs} pairs of {scenarios} scenarios, {place.words if place else 'the fake engine'}",
        figures=(
            ratio_of("with spans : without", walls, "on", "off", at_most(1.03) if place else None),
            median_of("added to a scenario", added_ms, "ms"),
        ),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenarios", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--engine", choices=["fake", "auto"], default="fake")
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    place = find_engine() if options.engine == "auto" else None
    if options.engine == "auto" and place is None:
        sys.exit(1)
    row = compare(place, scenarios=options.scenarios, pairs=options.pairs, workers=options.workers)
    print_row(Console(), row)


if __name__ == "__main__":
    main()
