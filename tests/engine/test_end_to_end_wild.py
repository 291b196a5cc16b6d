"""Scenario files in foreign dialects, run on a real engine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

WILD = Path(__file__).parents[1] / "data" / "wild"


@pytest.mark.parametrize("mode", [("-p", "no:xdist"), ("-n", "2")], ids=" ".join)
def test_wild_files_have_the_outcomes_that_they_should(project: EndToEnd, mode: tuple[str, ...]) -> None:
    """What such files ask for is done; claims about spans that nobody sent fail; wrong files are refused."""
    project.folder.mkdir()
    for path in WILD.glob("*.toml"):
        shutil.copy(path, project.folder / path.name)
    run = project.run("-o", "clnrm_files=*.toml", "--continue-on-collection-errors", mode=mode)
    assert run.outcomes() == {
        "runs": "passed",
        "words": "passed",
        "several": "passed",
        "fails": "failed",
        "steps": "failed",
        "expectations": "failed",
        "otel": "failed",
    }, run.text
    assert run.failures("fails") == ["exit code 0, expected any but not 0"]
    assert [each["outcome"] for each in run.steps("fails").values()] == ["passed", "failed", "passed"]
    assert run.steps("runs")["retried"]["attempts"] == 3
    (box,) = run.scenarios["runs"]["containers"]
    assert (box["memory_bytes"], box["cpus"]) == (64 << 20, 0.5)
    # Its folder of work is not in the image.
    assert run.failures("steps") == [
        "step 'argv' could not be started: no such folder in the container: /work"
    ]
    for name in ("expectations", "otel"):
        assert any("no span" in message for message in run.failures(name))
    # Its volumes are not there.
    assert f"ERROR {project.token}/services.toml" in run.text
    assert "INTERNALERROR" not in run.text
    assert project.leftovers(run) == []
