"""How a process of a run ends."""

from __future__ import annotations

import pytest
from clnrm_testing.project import Project

AT_EXIT = """
import atexit
import gc
import os
from pathlib import Path

# Called after those that are registered later.
atexit.register(lambda: Path(f"frozen-{os.getpid()}").write_text(str(gc.get_freeze_count())))
"""


@pytest.mark.parametrize(("fixture", "frozen"), [("clnrm_factory", True), ("tmp_path", False)])
def test_a_process_that_ends_does_not_look_for_garbage(
    project: Project, fixture: str, *, frozen: bool
) -> None:
    """What has imported our parts leaves all objects as they are; any other process is left alone."""
    project.write("conftest.py", AT_EXIT)
    project.write("test_it.py", f"def test_it({fixture}):\n    pass\n")
    arguments = ("-p", "clnrm_testing.fake_engine", "-p", "no:randomly", *project.mode)
    project.pytester.runpytest_subprocess(*arguments).assert_outcomes(passed=1)
    counts = [int(path.read_text()) for path in project.pytester.path.glob("frozen-*")]
    assert [count > 0 for count in counts] == [frozen]
