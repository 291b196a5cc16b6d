"""Each defence is declared once, and the attack that shows that it is needed exists (see ``conftest.py``)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from clnrm_testing.defences import all_defences
from clnrm_testing.end_to_end import environment_of_a_run

HERE = Path(__file__).parent


def test_each_defence_has_its_attack() -> None:
    """Names are unique, as they select a defence, and each one is switched off in a test."""
    names = [each.name for each in all_defences()]
    assert len(names) == len(set(names))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--collect-only", str(HERE)]
    run = subprocess.run(
        command, env=environment_of_a_run(), cwd=HERE.parents[1], capture_output=True, text=True, check=True
    )
    assert [each for each in names if f"[{each}" not in run.stdout] == []
