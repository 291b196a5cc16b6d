"""Folders of runs that were killed before anything was written down of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pytest_clnrm.cleanup import run_folder, run_records

MAKES_AND_DIES = """
import os, sys
from pathlib import Path
from pytest_clnrm.cleanup import run_folder

folder = run_folder.make("dead", Path(sys.argv[1]))
(folder / "spans").mkdir()
(folder / "spans" / "a").write_text("x")
os._exit(9)
"""


def test_those_of_dead_runs_go(tmp_path: Path) -> None:
    """Those of living ones, of other versions, and what only looks like one, stay."""
    subprocess.run([sys.executable, "-c", MAKES_AND_DIES, str(tmp_path)], check=False, timeout=60)
    own = run_folder.make("own", tmp_path)
    living = [
        sys.executable,
        "-c",
        f"{MAKES_AND_DIES.rsplit('os._exit', 1)[0]}print('made', flush=True); input()",
    ]
    with subprocess.Popen(
        [*living, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        old = tmp_path / "clnrm-old-a"
        old.mkdir()
        (old / run_folder.MARK).write_text("old")
        (tmp_path / "clnrm-other").mkdir()
        (tmp_path / "clnrm-file-b").write_text("")
        assert len(list(tmp_path.iterdir())) == 6
        run_records.remove_abandoned(tmp_path)
        left = {each.name.split("-")[1] for each in tmp_path.iterdir()}
        assert left == {"own", "dead", "old", "other", "file"}
        assert len(list(tmp_path.iterdir())) == 5
        process.communicate("\n")
    run_records.remove_abandoned(tmp_path)
    assert sorted(each.name.split("-")[1] for each in tmp_path.iterdir()) == ["file", "old", "other", "own"]
    assert run_folder.remove_unused(str(own))


def test_one_whose_workers_live_stays(tmp_path: Path) -> None:
    """They still write to it."""
    subprocess.run([sys.executable, "-c", MAKES_AND_DIES, str(tmp_path)], check=False, timeout=60)
    (folder,) = tmp_path.iterdir()
    run_records.note_process(folder, "gw0")
    run_records.remove_abandoned(tmp_path)
    assert folder.exists()
