"""What runs write down about themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_clnrm.cleanup import run_folder, run_records
from pytest_clnrm.cleanup.run_records import RunRecord
from pytest_clnrm.names import FACTS_FILE
from pytest_clnrm.util import processes
from pytest_clnrm.util.processes import Process, this_process

DEAD = Process(1 << 30, "1")


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    """Return a run whose controller is this process."""
    folder = run_folder.make("s", tmp_path)
    return RunRecord(
        session="s",
        controller=this_process(Path("unused")),
        folder=str(folder),
        choice="auto",
        identity="i",
        url="u",
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path, record: RunRecord) -> None:
    """Its file tells all of it, and lists with the others."""
    path = run_records.write(tmp_path / "runs", record)
    assert run_records.read(path) == record
    other = replace(record, session="t")
    run_records.write(tmp_path / "runs", other)
    assert list(run_records.records(tmp_path / "runs")) == [record, other]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1, "session": "s"}'])
def test_what_cannot_be_read_is_no_record(tmp_path: Path, text: str) -> None:
    """A damaged file, and one of another version, is left alone."""
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    assert run_records.read(path) is None
    assert list(run_records.records(tmp_path)) == []
    assert run_records.read(tmp_path / "missing.json") is None


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
        assert [each.pid for each in run_records.workers(record)] == [worker.pid]
        assert run_records.orphans(record) == []
        assert run_records.end_orphans(record, 0)
        assert worker.poll() is None
        dead = replace(record, controller=DEAD)
        assert run_records.end_orphans(dead, 30)
        assert worker.wait() < 0
        assert run_records.workers(dead) == []


def test_a_process_notes_itself(record: RunRecord) -> None:
    """A worker is found under its own name."""
    run_records.note_process(Path(record.folder), "gw7")
    assert run_records.workers(record) == [this_process(Path("unused"))]


def test_forgetting(tmp_path: Path, record: RunRecord) -> None:
    """The record and the run's own folder go; twice is no error."""
    path = run_records.write(tmp_path / "runs", record)
    run_records.forget(tmp_path / "runs", record)
    run_records.forget(tmp_path / "runs", record)
    assert not path.exists()
    assert not Path(record.folder).exists()


def test_a_record_under_another_name_is_none(tmp_path: Path, record: RunRecord) -> None:
    """What a record calls itself is what its file is called, so that no other file goes with it."""
    path = run_records.write(tmp_path, record)
    path.rename(tmp_path / "t.json")
    assert list(run_records.records(tmp_path)) == []
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    (tmp_path / "runs").mkdir()
    forged = json.loads((tmp_path / "t.json").read_text()) | {"session": "../outside"}
    (tmp_path / "runs/x.json").write_text(json.dumps(forged))
    assert list(run_records.records(tmp_path / "runs")) == []


@pytest.mark.parametrize("lack", ["mark", "name", "link", "link above", "other mark", "owner", "linked mark"])
def test_a_folder_that_is_not_the_runs_stays(
    tmp_path: Path, record: RunRecord, lack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record may name any folder: only the run's own is looked into and removed."""
    folder = Path(record.folder)
    (folder / "precious").write_text("x")
    run_records.note_process(folder, "gw0")
    named = folder
    if lack == "mark":
        (folder / run_folder.MARK).unlink()
    elif lack == "other mark":
        (folder / run_folder.MARK).write_text("t")
    elif lack == "linked mark":
        (folder / run_folder.MARK).rename(tmp_path / "mark")
        (folder / run_folder.MARK).symlink_to(tmp_path / "mark")
    elif lack == "name":
        named = folder.rename(tmp_path / "home")
    elif lack == "link":
        folder.rename(tmp_path / "home")
        folder.symlink_to("home")
    elif lack == "link above":
        (tmp_path / "link").symlink_to(tmp_path)
        named = tmp_path / "link" / folder.name
    elif lack == "owner":
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    forged = replace(record, folder=str(named))
    assert run_records.workers(forged) == []
    run_records.forget(tmp_path, forged)
    assert (named / "precious").read_text() == "x"


def test_removing_follows_no_link(tmp_path: Path) -> None:
    """What links in a run's folder lead to stays."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious").write_text("x")
    folder = run_folder.make("abc")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "sub").mkdir()
    (folder / "sub/link").symlink_to(tmp_path / "outside")
    assert run_folder.remove(str(folder), "abc")
    assert not folder.exists()
    assert (tmp_path / "outside/precious").exists()
    assert not run_folder.remove(str(folder), "abc")


@pytest.mark.parametrize("left", [(), (FACTS_FILE,), (FACTS_FILE, "demands")])
def test_an_unused_folder_is_removed(tmp_path: Path, left: tuple[str, ...]) -> None:
    """So is one with what each run leaves, but none with more; and not through a link."""
    folder = run_folder.make("abc", tmp_path)
    for name in left:
        (folder / name).touch()
    (tmp_path / "link").symlink_to(folder)
    assert not run_folder.remove_unused(str(tmp_path / "link"))
    assert {path.name for path in folder.iterdir()} == {run_folder.MARK, *left}
    assert run_folder.remove_unused(str(folder)) is ("demands" not in left)
    assert folder.exists() is ("demands" in left)


def test_a_folder_without_our_mark_is_not_unused(tmp_path: Path) -> None:
    """What lies in it, under whatever name, stays."""
    (tmp_path / FACTS_FILE).touch()
    assert not run_folder.remove_unused(str(tmp_path))
    assert (tmp_path / FACTS_FILE).exists()


def test_where_there_is_no_proc(tmp_path: Path, record: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run lives as long as its lock is held; a lock that lies elsewhere is nobody's."""
    monkeypatch.setattr(processes, "_started", lambda _: "")
    runs = tmp_path / "runs"
    run_records.make_folder(runs)
    lock = run_records.lock_file(runs, "s")
    own = replace(record, controller=this_process(lock))
    path = run_records.write(runs, own)
    run_records.note_process(Path(record.folder), "gw0")
    assert run_records.read(path) == own
    assert not own.is_dead
    assert [each.pid for each in run_records.workers(own)] == [os.getpid()]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    run_records.write(runs, replace(own, controller=Process(1, "", str(elsewhere))))
    assert run_records.read(path) is None
    (Path(record.folder) / "process-gw0.json").write_text(
        json.dumps({"pid": os.getpid(), "started": "", "lock": str(lock)}), "utf-8"
    )
    assert run_records.workers(own) == []
    run_records.forget(runs, own)
    assert replace(own).is_dead
    assert list(runs.iterdir()) == []
