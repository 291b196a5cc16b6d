"""A line in which processes stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pytest_clnrm.util.waiting_line import WaitingLine

STAND = """
import sys, time
from pathlib import Path
from pytest_clnrm.util.waiting_line import WaitingLine
place = WaitingLine(Path(sys.argv[1]), "0")
place.join()
print("joined", flush=True)
time.sleep(1000)
"""


def test_who_is_first(tmp_path: Path) -> None:
    """The smallest rank, whoever came first; who leaves makes room for the next one."""
    folder = tmp_path / "line"
    late, early = WaitingLine(folder, "1-3"), WaitingLine(folder, "0-7")
    assert late.is_first()
    late.join()
    late.join()
    assert late.is_first()
    assert not early.is_first()
    early.join()
    assert early.is_first()
    assert not late.is_first()
    early.leave()
    early.leave()
    assert late.is_first()
    late.leave()
    assert list(folder.iterdir()) == []


def test_a_process_that_is_killed_stands_there_no_more(tmp_path: Path) -> None:
    """Its lock is the kernel's."""
    mine = WaitingLine(tmp_path, "1")
    mine.join()
    with subprocess.Popen([sys.executable, "-c", STAND, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert not mine.is_first()
        other.kill()
    assert mine.is_first()
    mine.leave()
    assert list(tmp_path.iterdir()) == []
