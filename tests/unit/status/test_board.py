"""Boards: what a process is at, noted by the parts that do the work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_clnrm.status.board import Board, QueueBoard
from pytest_clnrm.status.status_file import QueueStatus, WorkerStatus, read_statuses


class Clock:
    """A clock that goes on by a second at each look."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


@pytest.fixture
def board() -> Board:
    """Return a board."""
    return Board("gw0", Clock())


def test_an_item_begins_and_ends(board: Board) -> None:
    """Item, phases and their times are noted; at the end the worker is idle and has ended one more."""
    board.begin("a::b", "test")
    assert (board.status.item, board.status.item_since_s, board.status.phase) == ("a::b", 102.0, "test")
    board.at("step", "load")
    assert (board.status.phase, board.status.detail, board.status.since_s) == ("step", "load", 103.0)
    board.end()
    assert (board.status.item, board.status.phase, board.status.ended) == ("", "idle", 1)


def test_a_phase_goes_on_while_its_detail_changes(board: Board) -> None:
    """A pull's progress does not begin its time again; the next step does."""
    board.at("image", "1 of 3")
    board.at("image", "2 of 3")
    assert (board.status.detail, board.status.since_s) == ("2 of 3", 102.0)
    board.at("step", "one")
    board.at("step", "two")
    assert board.status.since_s == 104.0


def test_what_was_before_comes_back(board: Board) -> None:
    """After a wait the phase before it goes on."""
    board.begin("a::b", "test")
    with board.during("slot", "1 container"):
        assert (board.status.phase, board.status.detail) == ("slot", "1 container")
    assert (board.status.phase, board.status.detail, board.status.since_s) == ("test", "", 102.0)


def test_services_that_start_side_by_side(board: Board) -> None:
    """All that are not ready are named."""
    with board.starting("db"):
        with board.starting("cache"):
            assert (board.status.phase, board.status.detail) == ("service", "db, cache")
        assert board.status.detail == "db"
    assert board.status.phase == "test"


def test_a_late_service_does_not_disturb_the_next_item(board: Board) -> None:
    """A wait that ends after its item has ended changes nothing."""
    with board.starting("db"):
        board.end()
    assert board.status.phase == "idle"


def test_containers_are_counted(board: Board) -> None:
    """They come and go with their memory, and are never fewer than none."""
    board.count(2, 100)
    board.count(-1, -40)
    assert (board.status.containers, board.status.memory_bytes) == (1, 60)
    board.count(-5, -500)
    assert (board.status.containers, board.status.memory_bytes) == (0, 0)


def test_nothing_is_written_until_it_is_opened(board: Board, tmp_path: Path) -> None:
    """Once open, each change is in the file; closed, the file is gone."""
    board.begin("a::b", "test")
    assert list(tmp_path.iterdir()) == []
    board.open(tmp_path)
    board.open(tmp_path)
    assert read_statuses(tmp_path, WorkerStatus) == (board.status,)
    board.at("step", "load")
    assert read_statuses(tmp_path, WorkerStatus) == (board.status,)
    board.close()
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_writes_nothing(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child neither changes nor removes its parent's file."""
    board.open(tmp_path)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    board.at("step", "child's")
    board.close()
    (status,) = read_statuses(tmp_path, WorkerStatus)
    assert status.phase == "idle"


def test_the_queue(tmp_path: Path) -> None:
    """What waits is noted, with the time since when the head does; the same again is not written."""
    queue = QueueBoard(Clock())
    queue.tell({"high": 3}, "a::b")
    queue.open(tmp_path)
    queue.open(tmp_path)
    queue.tell({"high": 2}, "a::b")
    (status,) = read_statuses(tmp_path, QueueStatus)
    assert (status.waiting, status.head, status.head_since_s) == ({"high": 2}, "a::b", 101.0)
    before = (tmp_path / "queue.status").stat().st_mtime_ns
    queue.tell({"high": 2}, "a::b")
    assert (tmp_path / "queue.status").stat().st_mtime_ns == before
    queue.tell({"high": 2})
    (status,) = read_statuses(tmp_path, QueueStatus)
    assert status.head_since_s == 0.0
    queue.close()
    queue.close()
    assert list(tmp_path.iterdir()) == []
