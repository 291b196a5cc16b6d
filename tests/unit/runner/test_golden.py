"""Files that texts are compared with: found beside the scenario file, and through no link."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_clnrm.expect.golden import GoldenFileError, read_golden, reading_by
from pytest_clnrm.runner.golden import MAX_BYTES, golden_reader


def test_files_are_read(tmp_path: Path) -> None:
    """A path begins at the scenario file, and may lead up to rootdir, by whatever link that is named."""
    (tmp_path / "real" / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "up.txt").write_text("ä")
    (tmp_path / "real" / "a" / "x.txt").write_text("x")
    root = tmp_path / "link"
    with reading_by(golden_reader(str(root), str(root / "a" / "s.clnrm.toml"))):
        assert (read_golden("x.txt"), read_golden("../up.txt")) == ("x", "ä")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("none", "there is none: write what is expected into it"),
        ("link", "it is a link, or lies behind one: name the file itself"),
        ("folder/x", "it is a link, or lies behind one: name the file itself"),
        ("../out", "it lies outside of rootdir: move it below"),
        ("bytes", "it is no UTF-8: invalid start byte at byte 1"),
        ("long", f"is longer than {MAX_BYTES} bytes"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, path: str, why: str) -> None:
    """The reason and the remedy are told, and nothing of what lies elsewhere."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "x").write_text("secret")
    (tmp_path / "out").write_text("secret")
    (root / "link").symlink_to(tmp_path / "x")
    (root / "folder").symlink_to(tmp_path)
    (root / "bytes").write_bytes(b"a\xff")
    (root / "long").write_bytes(b"a" * (MAX_BYTES + 1))
    with (
        reading_by(golden_reader(str(root), str(root / "s.clnrm.toml"))),
        pytest.raises(GoldenFileError) as raised,
    ):
        read_golden(path)
    assert str(raised.value) == f"cannot be compared with the file {path!r}: {why}"


def test_nobody_reads_by_default() -> None:
    """Without a reader a comparison fails."""
    with pytest.raises(GoldenFileError, match="the file 'x' cannot be read here"):
        read_golden("x")
