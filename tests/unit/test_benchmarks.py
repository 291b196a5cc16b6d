"""The benchmarks' arithmetic and tables are right."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import suite
from measuring.figures import Figure, Row, Target, at_least, at_most, median_of, ratio_of
from measuring.rounds import in_turns
from measuring.table import print_row, to_data

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"


@pytest.fixture
def row() -> Row:
    """Return a row with a figure that keeps to its target and one that does not."""
    return Row(
        key="x",
        title="speed [of light]",
        sizes="3 rounds",
        figures=(median_of("up", [1.0, 9.0, 2.0], "ms", at_most(2)), median_of("off", [3], "x", at_least(4))),
        notes=("a note",),
    )


def test_a_median_keeps_its_samples() -> None:
    """The value is the median, whatever the order of the rounds, which is kept."""
    figure = median_of("a step", [5.0, 1.0, 2.0], "ms")
    assert (figure.value, figure.samples, figure.verdict) == (2.0, (5.0, 1.0, 2.0), "")


def test_a_ratio_is_taken_round_by_round() -> None:
    """A round in which everything was slow does not move the ratio, as the ratio of the medians would."""
    rounds = {"ours": [10.0, 1.0, 30.0], "theirs": [5.0, 1.0, 10.0]}
    figure = ratio_of("ours : theirs", rounds, "ours", "theirs")
    assert (figure.value, figure.samples, figure.unit) == (2.0, (2.0, 1.0, 3.0), "x")


def test_a_ratio_needs_rounds_of_both() -> None:
    """Rounds that are missing are no ratio."""
    with pytest.raises(ValueError, match="shorter"):
        ratio_of("", {"one": [1.0, 2.0], "other": [1.0]}, "one", "other")


@pytest.mark.parametrize(
    ("target", "value", "verdict"),
    [
        (at_least(2), 2.0, "ok"),
        (at_least(2), 1.99, "missed"),
        (at_most(2), 2.0, "ok"),
        (at_most(2), 2.01, "missed"),
    ],
)
def test_a_target_is_a_bound(target: Target, value: float, verdict: str) -> None:
    """The bound itself is met."""
    assert median_of("", [value], "s", target).verdict == verdict


def test_what_containers_cost_is_what_a_run_takes_above_that_without() -> None:
    """The time of the same tests on services that run already is taken off, round by round."""
    walls = {"floor": [3, 4], "peer": [13, 24], "cold": [5, 14], "second": [4, 9], "warm": [4, 6]}
    samples = {name: [{"wall": wall, "cpu": 1.0} for wall in each] for name, each in walls.items()}
    told = {figure.what: list(figure.samples) for figure in suite.figures(samples)}
    assert told["ours, cold: what containers cost"] == [2, 10]
    assert told["testcontainers-python : ours, cold: what containers cost"] == [5, 2]
    assert "on services that run already: what containers cost" not in told


def test_no_ratio_is_told_of_what_containers_cost_where_a_run_without_took_longer() -> None:
    """It would be a number below zero, which says only that the machine was busy."""
    walls = {"floor": [3], "peer": [13], "cold": [2], "second": [4], "warm": [4]}
    samples = {name: [{"wall": wall, "cpu": 1.0} for wall in each] for name, each in walls.items()}
    told = {figure.what for figure in suite.figures(samples)}
    assert "testcontainers-python : ours, cold: what containers cost" not in told
    assert "testcontainers-python : ours, second run: what containers cost" in told


def test_contenders_take_turns() -> None:
    """Every second round goes backwards, and each contender's results stay in the order of the rounds."""
    order: list[str] = []

    def called(name: str) -> int:
        order.append(name)
        return len(order)

    results = in_turns({name: lambda name=name: called(name) for name in "abc"}, 3)  # type: ignore[misc]
    assert "".join(order) == "abccbaabc"
    assert results == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}


def test_the_table_shows_figures_targets_and_notes(row: Row) -> None:
    """Each figure stands on a line with its range, its target and the verdict."""
    shown = io.StringIO()
    print_row(Console(width=120, file=shown), row)
    lines = [" ".join(line.replace("│", " ").split()) for line in shown.getvalue().splitlines()]
    assert "(x) speed [of light]: 3 rounds" in lines
    assert "up 2 ms 1 ms .. 9 ms (3) at most 2 ms ok" in lines
    assert "off 3.00 x at least 4.00 x missed" in lines
    assert "a note" in lines


def test_json_holds_everything(row: Row) -> None:
    """Programs get the samples, the target and the verdict, beside the machine's facts."""
    data = json.loads(json.dumps(to_data([row], {"cores": "2"})))
    assert data["machine"] == {"cores": "2"}
    assert [each["row"] for each in data["rows"]] == ["x"]
    assert data["rows"][0]["figures"][0] == {
        "what": "up",
        "value": 2.0,
        "unit": "ms",
        "samples": [1.0, 9.0, 2.0],
        "target": {"bound": "at most", "value": 2},
        "verdict": "ok",
    }


def test_small_sizes_are_held_to_nothing(row: Row) -> None:
    """Without targets there is no verdict; the figures stay."""
    figures: tuple[Figure, ...] = row.without_targets().figures
    assert [(each.value, each.verdict) for each in figures] == [(2.0, ""), (3, "")]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks."""
    return subprocess.run(
        [sys.executable, str(RUN), *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def test_unknown_rows_are_refused() -> None:
    """The message says which rows there are."""
    done = run("--rows", "a,z")
    assert done.returncode == 2
    assert "'a,z': rows are a, b, c, d, e, f, g, h, i, j" in done.stderr
