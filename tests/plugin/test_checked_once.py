"""Under xdist each scenario file is checked by one worker, and each worker has what that has found."""

from __future__ import annotations

from pathlib import Path

import pytest
from clnrm_testing.project import PYTEST_ADDOPTS
from clnrm_testing.requirements import needs_xdist

pytestmark = needs_xdist

FILES, MATRICES = 70, 3
COUNTS = """
import os
from pytest_clnrm.scenario import loading

load = loading.load

def counted(path, options):
    with open(os.path.join(os.path.dirname(path), "checked"), "a") as file:
        file.write(os.path.basename(path) + "\\n")
    return load(path, options)

loading.load = counted
"""
SCENARIO = """
[matrix]
number = [1, 2]
[service.box]
image = "busybox:1"
[[step]]
run = "echo {{ matrix.number }}"
expect = { stdout = { contains = "{{ matrix.number }}" } }
"""
PLAIN = """
[service.box]
image = "busybox:1"
[[step]]
run = "echo one"
"""


def test_files_are_checked_once_and_run_everywhere(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four workers collect all files, run each scenario as it was checked, and all tell a mistake."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", PYTEST_ADDOPTS)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    pytester.makeini("[pytest]\nclnrm_default_image = busybox:1\n")
    pytester.makeconftest(COUNTS)
    for number in range(FILES):
        text = SCENARIO if number < MATRICES else PLAIN
        (pytester.path / f"s{number}.clnrm.toml").write_text(text, encoding="utf-8")
    arguments = ["-p", "clnrm_testing.fake_engine", "-o", "clnrm_ledger_dir=ledger", "-n", "4"]
    few = [f"s{number}.clnrm.toml" for number in range(MATRICES)]
    done = pytester.runpytest_subprocess(*arguments, *few, timeout=60)
    done.assert_outcomes(passed=2 * MATRICES)
    checked = pytester.path / "checked"
    assert sorted(checked.read_text(encoding="utf-8").split()) == few, "no other file was asked for"
    checked.unlink()
    (pytester.path / "wrong.clnrm.toml").write_text("[service.box]\nimage = 5\n", encoding="utf-8")
    done = pytester.runpytest_subprocess(*arguments, timeout=60)
    done.stdout.fnmatch_lines(["*wrong.clnrm.toml:2:*image*"])
    found = checked.read_text(encoding="utf-8").split()
    assert sorted(set(found)) == sorted(path.name for path in pytester.path.glob("*.toml"))
    twice = {name for name in found if found.count(name) > 1}
    assert twice <= {"wrong.clnrm.toml"}, twice
