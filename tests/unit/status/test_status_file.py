"""Status files: what is written is read, whatever state the file is in."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from pytest_clnrm.status.status_file import QueueStatus, StatusFile, WorkerStatus, read_statuses

WORKER = WorkerStatus(worker="gw0", pid=7, item="a.clnrm.toml::é", phase="step", detail="load", ended=3)
QUEUE = QueueStatus(pid=7, waiting={"high": 2, "low": 1}, head="b.clnrm.toml::b", head_since_s=4.5)


def write(folder: Path, name: str, status: WorkerStatus | QueueStatus) -> StatusFile:
    """Write a status file."""
    file = StatusFile(folder, name)
    file.write(asdict(status))
    return file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Workers and queue come back as they were, each by its kind; gw10 stands behind gw2."""
    for name in ("gw10", "gw2"):
        write(tmp_path, name, WORKER)
    write(tmp_path, "queue", QUEUE)
    assert read_statuses(tmp_path, WorkerStatus) == (WORKER, WORKER)
    assert read_statuses(tmp_path, QueueStatus) == (QUEUE,)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["gw10.status", "gw2.status", "queue.status"]


def test_a_shorter_status_replaces_a_longer_one(tmp_path: Path) -> None:
    """What is left of the longer one behind it does not matter."""
    file = write(tmp_path, "gw0", WORKER)
    shorter = WorkerStatus(worker="gw0", pid=7)
    file.write(asdict(shorter))
    assert read_statuses(tmp_path, WorkerStatus) == (shorter,)


def test_a_closed_file_is_gone(tmp_path: Path) -> None:
    """Closing removes it, twice is as good as once, and writing then does nothing."""
    file = write(tmp_path, "gw0", WORKER)
    file.close()
    file.close()
    file.write(asdict(WORKER))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"garbage", b"00000000 {}\n", b"\xff\xfe", b"deadbeef"])
def test_damaged_files_are_left_out(tmp_path: Path, content: bytes) -> None:
    """A file that is not whole is no status, and no error."""
    (tmp_path / "gw0.status").write_bytes(content)
    assert read_statuses(tmp_path, WorkerStatus) == ()


def test_another_format_is_left_out(tmp_path: Path) -> None:
    """A file of another version is no status, and no error."""
    write(tmp_path, "gw0", WORKER)
    file = StatusFile(tmp_path, "gw1")
    file.write({**asdict(WORKER), "format": 2})
    assert len(read_statuses(tmp_path, WorkerStatus)) == 1


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """A run goes on where nobody can watch it."""
    file = write(tmp_path / "missing", "gw0", WORKER)
    file.close()
    assert read_statuses(tmp_path / "missing", WorkerStatus) == ()


def test_a_full_disk_ends_the_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written once is not tried again, and the stale status goes."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    file = write(tmp_path, "gw0", WORKER)
    monkeypatch.setattr("os.pwrite", full)
    file.write(asdict(WORKER))
    assert list(tmp_path.iterdir()) == []


def test_readers_never_see_half_a_status(tmp_path: Path) -> None:
    """While one writes texts of different lengths, each that is read is one that was written."""
    file = StatusFile(tmp_path, "gw0")
    texts = ["a" * 10, "b" * 900, "c" * 3000]
    file.write(asdict(WORKER))
    done = threading.Event()

    def rewrite() -> None:
        while not done.is_set():
            for text in texts:
                file.write({**asdict(WORKER), "detail": text})

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        seen = [status.detail for _ in range(300) for status in read_statuses(tmp_path, WorkerStatus)]
    finally:
        done.set()
        writer.join()
    assert set(seen) <= {*texts, WORKER.detail}
