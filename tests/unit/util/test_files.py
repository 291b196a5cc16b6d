"""A file is replaced as a whole, or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pytest_clnrm.util.files import replacing, write_whole


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """Within the block a reader sees the old text, after it the new one; nothing else is left."""
    path = tmp_path / "report.json"
    write_whole(path, "old ä")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_text(encoding="utf-8") == "old ä"
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]


def test_after_an_error_nothing_has_changed(tmp_path: Path) -> None:
    """The old file stays, and the unfinished one goes."""
    path = tmp_path / "report.json"
    write_whole(path, b"old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("report.json", b"old")]


def test_name_and_permissions_of_the_unfinished_file(tmp_path: Path) -> None:
    """They are as the caller says; what a killed writer left under that name is written over."""
    path, draft = tmp_path / "state.json", tmp_path / "state.new"
    draft.write_bytes(b"left by one that was killed")
    with replacing(path, mode=0o600, draft="state.new") as file:
        file.write(b"{}")
        assert draft.exists()
    assert path.read_bytes() == b"{}"
    write_whole(path, b"x", mode=0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    """It is the error of the system."""
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "missing" / "file", "")
