"""The memory of a worker that has run scenarios, over that of a worker without this plugin."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from measuring.engine import IMAGE, Place
from measuring.figures import Row, at_most, median_of
from measuring.pytest_runs import run_pytest
from measuring.rounds import in_turns

__all__ = ["measure"]

TITLE = "memory of a worker over a bare xdist worker"
WORKERS = 2
# Peak and last resident set of the worker, in the words of proc(5): "VmHWM:    53240 kB".
CONFTEST = """
import os
from pathlib import Path
import pytest

@pytest.hookimpl(trylast=True)
def pytest_sessionfinish():
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker:
        lines = Path("/proc/self/status").read_text().splitlines()
        Path(f"{worker}.memory").write_text(next(line for line in lines if line.startswith("VmHWM:")))
"""
TEST = """
import pytest

@pytest.mark.parametrize("number", range(10))
def test(number):
    pass
"""
SCENARIO = f"""
[service.box]
image = "{IMAGE}"

[[step]]
run = "echo one"
expect = {{ stdout = {{ contains = "one" }} }}
"""


def measure(place: Place | None, *, quick: bool) -> Row:
    """Return the row: medians of the workers' peaks.

    It takes a real engine: the client for it is most of what a worker holds.
    """
    if place is None:
        return Row(key="i", title=TITLE, notes=("no engine answers",))
    rounds, scenarios = (1, 4) if quick else (5, 20)
    with tempfile.TemporaryDirectory() as folder:
        bare, ours = Path(folder, "bare"), Path(folder, "ours")
        for project in (bare, ours):
            project.mkdir()
            (project / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
            (project / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        (bare / "test_plain.py").write_text(TEST, encoding="utf-8")
        for number in range(scenarios):
            (ours / f"s{number}.clnrm.toml").write_text(SCENARIO, encoding="utf-8")
        environ = {"DOCKER_HOST": place.url}
        peaks = in_turns(
            {
                "bare": partial(peak_mb, bare, ["-p", "no:clnrm"], environ),
                "ours": partial(peak_mb, ours, [], environ),
            },
            rounds,
        )
    added = [mine - theirs for mine, theirs in zip(peaks["ours"], peaks["bare"], strict=True)]
    return Row(
        key="i",
        title=TITLE,
        sizes=f"{rounds} rounds, {scenarios} scenarios, -n {WORKERS}",
        figures=(
            median_of("added", added, "MB", at_most(40)),
            median_of("a bare worker", peaks["bare"], "MB"),
            median_of("a worker of scenarios", peaks["ours"], "MB"),
        ),
    )


def peak_mb(folder: Path, arguments: list[str], environ: dict[str, str]) -> float:
    """Run the project and return the peak of its largest worker, in 1,000,000 bytes."""
    run_pytest(folder, ["-n", str(WORKERS), "-p", "no:hypothesispytest", *arguments], environ)
    found = [file.read_text(encoding="utf-8").split() for file in folder.glob("*.memory")]
    assert len(found) == WORKERS, found
    return max(int(kib) * 1024 / 1e6 for _, kib, _ in found)
