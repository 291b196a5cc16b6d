"""The pages of docs/how-to hold files that load, and say how each is made."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from clnrm_testing.how_to import FOLDER, PAGES, blocks, files

from pytest_clnrm.cli.main import main
from pytest_clnrm.scenario.loading import load
from pytest_clnrm.scenario.options import LoadOptions

NAMES = [page.stem for page in PAGES if page.name != "README.md"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a rootdir."""
    return tmp_path.resolve()


def write(name: str, folder: Path) -> list[Path]:
    """Write the files of a page, and return its scenario files."""
    for file, text in files(FOLDER / f"{name}.md").items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return sorted(folder.glob("**/*.clnrm.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_file_loads(name: str, project: Path) -> None:
    """Whole, without a mistake."""
    written = write(name, project)
    assert written
    for path in written:
        assert load(str(path), LoadOptions(rootdir=str(project)))


@pytest.mark.parametrize("name", NAMES)
def test_every_block_is_used(name: str) -> None:
    """It is a file of the page's project, or a run of pytest; tests/engine/test_how_to.py runs them."""
    for block in blocks(FOLDER / f"{name}.md"):
        assert block.file or re.match(r"pytest( -\S+)* \S+\.(clnrm\.toml|py)$", block.command), block


@pytest.mark.parametrize("name", NAMES)
def test_what_commands_make(
    name: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is what the page shows."""
    write(name, project)
    monkeypatch.chdir(project)
    for block in blocks(FOLDER / f"{name}.md"):
        if block.mark.startswith("made by: "):
            program, arguments = block.command.split(" import ")
            assert program == "clnrm"
            assert main(["import", *shlex.split(arguments)]) == 0
            assert capsys.readouterr().out == block.text


def test_the_list_of_pages_is_complete() -> None:
    """In README.md of the folder; links of all pages lead to files."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert {f"{name}.md" for name in NAMES} == set(re.findall(r"\]\(([\w-]+\.md)\)", text))
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+\.md)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert Path(os.path.normpath(FOLDER / link)).is_file(), f"{page.name}: {link}"
