"""Where the artifacts of a run stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_clnrm.names import ARTIFACTS_MARK
from pytest_clnrm.session.kept_artifacts import put_artifacts


def ran(tmp_path: Path, name: str) -> Path:
    """Return the folder of a run that has kept a file of that name."""
    (tmp_path / "run" / "artifacts").mkdir(parents=True)
    (tmp_path / "run" / "artifacts" / name).write_text(name)
    return tmp_path / "run"


def test_they_take_the_place_of_an_earlier_runs(tmp_path: Path) -> None:
    """Those of the last run are there, those of the one before are not, and a run without any has none."""
    base = tmp_path / "out"
    for name in ("first", "second"):
        assert put_artifacts(ran(tmp_path, name), base)
        assert {each.name for each in (base / "artifacts").iterdir()} == {ARTIFACTS_MARK, name}
    assert not put_artifacts(tmp_path / "run", base)
    assert not (base / "artifacts").exists()
    assert not put_artifacts(tmp_path / "run", base)


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_not_ours_stays(tmp_path: Path, kind: str) -> None:
    """A folder of that name without our mark, and a link that leads nowhere, are not replaced."""
    other = tmp_path / "out" / "artifacts"
    other.parent.mkdir()
    if kind == "folder":
        other.mkdir()
        (other / "mine").write_text("")
    else:
        other.symlink_to("nowhere")
    with pytest.raises(FileExistsError, match="is there already, and is none of an earlier run") as caught:
        put_artifacts(ran(tmp_path, "x"), tmp_path / "out")
    assert caught.value.filename == str(other)
    assert other.is_symlink() if kind == "link" else (other / "mine").exists()
