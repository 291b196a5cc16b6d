"""report.json is written part by part, as one document."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from clnrm_testing.report_data import sample_run

from pytest_clnrm.report.json_report import write_json


@pytest.mark.parametrize("scenarios", [0, 300])
def test_rows_are_lines_of_one_document(tmp_path: Path, scenarios: int) -> None:
    """The file is the whole document, with each scenario and test on a line of its own."""
    document = {**sample_run(scenarios, 2), "said": "größer ▷ \U0001f433"}
    write_json(tmp_path / "report.json", document)
    written = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(written) == document
    assert "größer ▷ \U0001f433" in written
    rows = [line for line in written.splitlines() if line.startswith('{"nodeid"')]
    assert [json.loads(line.removesuffix(","))["nodeid"] for line in rows] == [
        each["nodeid"] for each in document["scenarios"]
    ]


def test_a_large_run_is_written_in_little_memory(tmp_path: Path) -> None:
    """What is held of the text is a part of it, not several copies of the whole."""
    document = sample_run(1000, 2)
    tracemalloc.start()
    write_json(tmp_path / "report.json", document)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (tmp_path / "report.json").stat().st_size / 2


def test_a_report_that_cannot_be_written_whole_leaves_the_old_one(tmp_path: Path) -> None:
    """A value that is no JSON, found halfway, changes nothing."""
    path = tmp_path / "report.json"
    write_json(path, sample_run(1, 1))
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_json(path, {**sample_run(300, 1), "wrong": object()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
