"""The plugins of the extra "neighbours" beside ours: each test is to each of them what it is alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from clnrm_testing.neighbours.__main__ import ENVIRONMENTS
from clnrm_testing.neighbours.declared import NONE, PINNED, Neighbour
from clnrm_testing.neighbours.run import environment_of, problems, run_beside


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("neighbour", [NONE, *PINNED], ids=lambda each: each.name)
def test_beside_a_neighbour(neighbour: Neighbour, workers: int, tmp_path: Path) -> None:
    """Outcomes, items, hooks' arguments, and what is written are right: ``problems`` tells what is not."""
    python = environment_of(neighbour, ENVIRONMENTS) if neighbour.package else sys.executable
    run = run_beside(neighbour, python, tmp_path / "suite", workers=workers)
    assert list(problems(neighbour, run)) == [], run.output
