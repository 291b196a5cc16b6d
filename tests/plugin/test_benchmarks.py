"""The rows of the benchmarks that need no engine can be measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from clnrm_testing.patience import patient_s

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"


def test_quick_rows_are_measured(tmp_path: Path) -> None:
    """Collection and the cost without scenarios are measured, shown and written."""
    argv = [sys.executable, str(RUN), "--quick", "--rows", "g,f", "--json", str(tmp_path / "out.json")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=patient_s(600))
    assert done.returncode == 0, done.stdout + done.stderr
    data: dict[str, Any] = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [each["row"] for each in data["rows"]] == ["f", "g"]
    figures = {each["what"]: each for row in data["rows"] for each in row["figures"]}
    assert figures["40 files"]["value"] > 0
    assert len(figures["one process: added"]["samples"]) == 2
    assert "40 files" in done.stdout
    assert data["machine"]["cores"] in done.stdout
