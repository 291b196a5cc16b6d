"""What runs write down about themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_clnrm import processes, runs
from pytest_clnrm.processes import Process, this_process
from pytest_clnrm.runs import RunRecord

DEAD = Process(1 << 30, "1")


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    """Return a run whose controller is this process."""
    folder = tmp_path / "own"
    folder.mkdir()
    return RunRecord(
        session="s", controller=this_process(), folder=str(folder), choice="auto", identity="i", url="u"
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path, record: RunRecord) -> None:
    """Its file tells all of it, and lists with the others."""
    path = runs.write(tmp_path / "runs", record)
    assert runs.read(path) == record
    other = replace(record, session="t")
    runs.write(tmp_path / "runs", other)
    assert list(runs.records(tmp_path / "runs")) == [record, other]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1, "session": "s"}'])
def test_what_cannot_be_read_is_no_record(tmp_path: Path, text: str) -> None:
    """A damaged file, and one of another version, is left alone."""
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    assert runs.read(path) is None
    assert list(runs.records(tmp_path)) == []
    assert runs.read(tmp_path / "missing.json") is None


def test_who_is_dead(record: RunRecord) -> None:
    """A run is dead with its controller; where nothing is known of when that started, it is not judged."""
    assert not record.is_dead
    assert replace(record, controller=DEAD).is_dead
    assert not replace(record, controller=Process(1 << 30, "")).is_dead


def test_orphans_are_ended_and_nobody_else(record: RunRecord) -> None:
    """Workers are ended only when their controller is dead, and only if they are still the same."""
    folder = Path(record.folder)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as worker:
        noted = {"pid": worker.pid, "started": processes._started(worker.pid)}
        (folder / "process-gw0.json").write_text(json.dumps(noted), encoding="utf-8")
        (folder / "process-gw1.json").write_text(json.dumps({"pid": os.getpid(), "started": "1"}), "utf-8")
        (folder / "process-gw2.json").write_text("{", encoding="utf-8")
        assert [each.pid for each in runs.workers(record)] == [worker.pid]
        assert runs.orphans(record) == []
        assert runs.end_orphans(record, 0)
        assert worker.poll() is None
        dead = replace(record, controller=DEAD)
        assert runs.end_orphans(dead, 30)
        assert worker.wait() < 0
        assert runs.workers(dead) == []


def test_a_process_notes_itself(record: RunRecord) -> None:
    """A worker is found under its own name."""
    runs.note_process(Path(record.folder), "gw7")
    assert runs.workers(record) == [this_process()]


def test_forgetting(tmp_path: Path, record: RunRecord) -> None:
    """The record and the run's own folder go; twice is no error."""
    path = runs.write(tmp_path / "runs", record)
    runs.forget(tmp_path / "runs", record)
    runs.forget(tmp_path / "runs", record)
    assert not path.exists()
    assert not Path(record.folder).exists()
