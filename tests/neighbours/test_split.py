"""Shards beside pytest-split itself: it divides scenarios as other tests, and not together with ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Return a project of nine tests."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    matrix = '[matrix]\nnumber = [1, 2, 3, 4, 5, 6]\n[[step]]\nname = "work"\nrun = "true"\n'
    (tmp_path / "a.clnrm.toml").write_text(matrix, encoding="utf-8")
    text = "".join(f"def test_{name}(): pass\n" for name in "xyz")
    (tmp_path / "test_a.py").write_text(text, encoding="utf-8")
    return tmp_path


def run(suite: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with both plugins, and the fake engine."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "clnrm", "-p", "pytest-split"),
            *("-p", "clnrm_testing.fake_engine", "-rA", *options),
        ],
        cwd=suite,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "PYTHONPATH": str(TESTS),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "XDG_RUNTIME_DIR": str(suite),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def passed(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the node ids of what has passed."""
    assert done.returncode == 0, done.stdout + done.stderr
    return [line[7:] for line in done.stdout.splitlines() if line.startswith("PASSED ")]


def test_it_divides_scenarios(suite: Path) -> None:
    """Its two groups are all tests, and so are our three shards where it is only installed."""
    everything = sorted(passed(run(suite)))
    assert len(everything) == 9
    groups = [passed(run(suite, "--splits=2", f"--group={number}")) for number in (1, 2)]
    assert sorted(nodeid for each in groups for nodeid in each) == everything
    shards = [passed(run(suite, "--clnrm-shard", f"{number}/3")) for number in (1, 2, 3)]
    assert sorted(nodeid for each in shards for nodeid in each) == everything
    assert [len(each) for each in shards] == [3, 3, 3]


def test_both_together_are_refused(suite: Path) -> None:
    """A part of a part is no shard of the whole."""
    done = run(suite, "--clnrm-shard", "1/3", "--splits=2", "--group=1")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert (
        "ERROR: --clnrm-shard: not with --splits of pytest-split: each of them divides the tests"
        in done.stderr
    )
