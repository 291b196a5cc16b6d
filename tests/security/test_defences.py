"""Each defence is needed: without it, the attack that it stops goes through, and its test fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clnrm_testing.defences import Defence, all_defences
from clnrm_testing.end_to_end import environment_of_a_run

HERE = Path(__file__).parent


@pytest.mark.parametrize("defence", all_defences(), ids=lambda each: each.name)
def test_attack_goes_through_without(defence: Defence) -> None:
    """With the defence off, the test of its attack fails, and shows that the attack went through."""
    environ = environment_of_a_run()
    path = os.pathsep.join(filter(None, [str(HERE.parent), environ.get("PYTHONPATH", "")]))
    undefended = {
        "CLNRM_WITHOUT_DEFENCE": defence.name,
        "PYTEST_PLUGINS": "clnrm_testing.undefended",
        "PYTHONPATH": path,
    }
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            str(HERE / defence.attack),
        ],
        env={**environ, **undefended},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout + run.stderr
    # What the failing assertion says; its source, which is printed too, holds the same words in any case.
    said = [line for line in run.stdout.splitlines() if line.startswith("E ")]
    assert any(defence.shows in line for line in said), run.stdout


def test_each_attack_has_its_defence() -> None:
    """Names are unique, as they select a defence."""
    names = [each.name for each in all_defences()]
    assert len(names) == len(set(names))
