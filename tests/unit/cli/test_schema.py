"""``clnrm schema``: the schema on stdout, in the project, in the package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clnrm_testing.schema import SCHEMA_FILE

from pytest_clnrm.cli.main import main

SHIPPED = SCHEMA_FILE.read_text(encoding="utf-8")


def test_it_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """As it is shipped, and where."""
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == SHIPPED
    assert main(["schema", "--path"]) == 0
    assert Path(capsys.readouterr().out.strip()).read_text(encoding="utf-8") == SHIPPED


def test_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the project's usual place, and again over an older one."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / ".clnrm" / "scenario.schema.json"
    assert main(["schema", "--write"]) == 0
    assert capsys.readouterr().out == "wrote .clnrm/scenario.schema.json\n"
    assert place.read_text(encoding="utf-8") == SHIPPED
    place.write_text(json.dumps({"title": json.loads(SHIPPED)["title"], "old": True}), encoding="utf-8")
    assert main(["schema", "--write"]) == 0
    assert place.read_text(encoding="utf-8") == SHIPPED


def test_it_is_written_to_the_rootdir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where pytest and .clnrm/config.toml are, from wherever in the project; not where a folder is named."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "tests" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "tests")
    assert main(["schema", "--write"]) == 0
    assert capsys.readouterr().out == "wrote ../.clnrm/scenario.schema.json\n"
    assert (tmp_path / ".clnrm" / "scenario.schema.json").read_text(encoding="utf-8") == SHIPPED
    assert main(["new", "deep/a.clnrm.toml"]) == 0
    first, *_ = Path("deep/a.clnrm.toml").read_text(encoding="utf-8").splitlines()
    assert first == "#:schema ../../.clnrm/scenario.schema.json"
    assert not (tmp_path / "tests" / ".clnrm").exists()
    assert main(["schema", "--write", "deep"]) == 2
    assert "deep is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "{}", "no JSON", '{"title": "another"}'])
def test_another_file_is_not_overwritten(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --force."""
    place = tmp_path / "x.json"
    place.write_text(text, encoding="utf-8")
    assert main(["schema", "--write", str(place)]) == 1
    assert capsys.readouterr().err == f"clnrm: {place} is there already: --force overwrites it\n"
    assert place.read_text(encoding="utf-8") == text
    assert main(["schema", "--write", str(place), "--force"]) == 0
    assert place.read_text(encoding="utf-8") == SHIPPED


def test_a_place_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "x.json"
    assert main(["schema", "--write", str(place)]) == 1
    assert capsys.readouterr().err == f"clnrm: {place}: Not a directory\n"
