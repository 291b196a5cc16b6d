"""Files that texts are compared with: found beside the scenario file, and through no link."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_clnrm.expect.golden import GoldenFileError, golden_files, using
from pytest_clnrm.runner.golden import MAX_BYTES, GoldenFolder, settle, updated


def test_files_are_read(tmp_path: Path) -> None:
    """A path begins at the scenario file, and may lead up to rootdir, by whatever link that is named."""
    (tmp_path / "real" / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "up.txt").write_text("ä")
    (tmp_path / "real" / "a" / "x.txt").write_text("x")
    root = tmp_path / "link"
    with using(GoldenFolder(rootdir=str(root), scenario_file=str(root / "a" / "s.clnrm.toml"))):
        assert (golden_files().read("x.txt"), golden_files().read("../up.txt")) == ("x", "ä")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("none", "there is none: run with --clnrm-update-golden to write it"),
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
        using(GoldenFolder(rootdir=str(root), scenario_file=str(root / "s.clnrm.toml"))),
        pytest.raises(GoldenFileError) as raised,
    ):
        golden_files().read(path)
    assert str(raised.value) == f"cannot be compared with the file {path!r}: {why}"


def test_nobody_reads_by_default() -> None:
    """Without a reader a comparison fails."""
    with pytest.raises(GoldenFileError, match="the file 'x' cannot be read here"):
        golden_files().read("x")


def test_what_is_updated_stays_below_rootdir(tmp_path: Path) -> None:
    """Missing folders are made; nothing is written through a link or outside, and no secret."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "folder").symlink_to(tmp_path)
    (root / "link").symlink_to(tmp_path / "victim")
    files = GoldenFolder(
        rootdir=str(root),
        scenario_file=str(root / "s.clnrm.toml"),
        claims=tmp_path / "claims",
        without_secrets=lambda text: text.replace("hush", "***"),
    )
    assert files.update("new/deep/x.txt", "x")
    assert not (root / "new").exists()
    assert list(settle(files.drafts, passed=True)) == []
    assert (root / "new" / "deep" / "x.txt").read_text() == "x"
    assert files.update("link", "y")
    assert list(settle(files.drafts, passed=True)) == []
    assert (root / "link").read_text() == "y"
    assert not (tmp_path / "victim").exists()
    for path, why in (("folder/x", "it is a link"), ("../x", "outside of rootdir"), ("s", "holds a secret")):
        with pytest.raises(GoldenFileError, match=why):
            files.update(path, "hush" if path == "s" else "z")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["claims", "root"]
    assert updated(tmp_path / "claims") == ["link", "new/deep/x.txt"]


def test_what_fails_writes_nothing(tmp_path: Path) -> None:
    """Another may want other content then; what both want is written by the one that passes."""

    def files_of(owner: str) -> GoldenFolder:
        place = str(tmp_path / "s.clnrm.toml")
        return GoldenFolder(
            rootdir=str(tmp_path), scenario_file=place, owner=owner, claims=tmp_path / "claims"
        )

    failing, other = files_of("failing"), files_of("other")
    failing.update("x", "bad")
    with pytest.raises(GoldenFileError, match="another content of the file 'x' than failing has"):
        other.update("x", "good")
    assert list(settle(failing.drafts, passed=False)) == []
    other.update("x", "good")
    failing.update("x", "good")
    assert list(settle(failing.drafts, passed=False)) == []
    assert list(settle(other.drafts, passed=True)) == []
    assert ((tmp_path / "x").read_text(), updated(tmp_path / "claims")) == ("good", ["x"])
    other.update("both", "good")
    failing.update("both", "good")
    assert list(settle(failing.drafts, passed=True)) == []
    assert updated(tmp_path / "claims") == ["both", "x"]
    assert list(settle(other.drafts, passed=True)) == []
    other.update("y", "good")
    (tmp_path / "y").mkdir()
    assert list(settle(other.drafts, passed=True)) == [
        "what is compared with a file cannot be written to 'y': Is a directory"
    ]


def test_what_is_loaded_is_not_updated(tmp_path: Path) -> None:
    """No name that pytest, Python or a tool acts by is written, in whatever case."""
    files = GoldenFolder(
        rootdir=str(tmp_path),
        scenario_file=str(tmp_path / ".own" / "s.clnrm.toml"),
        claims=tmp_path / "claims",
        loaded=("conftest.py", "pytest.ini", "*.clnrm.toml", ".clnrm", "tests/test_*"),
    )
    loaded = "may be loaded on this host; choose another name"
    for path, why in {
        "conftest.py": f"conftest.py {loaded}",
        "../PyTest.ini": f"PyTest.ini {loaded}",
        "../.clnrm/config.toml": f".clnrm {loaded}",
        "s.clnrm.toml": f"s.clnrm.toml {loaded}",
        "../tests/test_x": f"test_x {loaded}",
        "../src/module.py": f"module.py {loaded}",
        "../.github/workflows/ci.yml": ".github is hidden; choose another name",
        ".envrc": ".envrc is hidden; choose another name",
    }.items():
        with pytest.raises(GoldenFileError) as raised:
            files.update(path, "x")
        assert str(raised.value) == f"is not written to {path!r}: {why}"
    assert not (tmp_path / ".own").exists()
    assert files.update("golden/module.py.txt", "x")
    assert files.update("../golden/x.txt", "x")
