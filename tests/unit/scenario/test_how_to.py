"""What the docs show of scenario files loads; the tutorial and docs/how-to say how each of theirs is made."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import tomli
from clnrm_testing.how_to import FOLDER, PAGES, blocks, files

from pytest_clnrm.cli.main import main
from pytest_clnrm.scenario.loading import load
from pytest_clnrm.scenario.options import LoadOptions

NAMES = [page.stem for page in PAGES if page.name != "README.md"]
PAGE = {page.stem: page for page in PAGES}
# tests/release runs the first two, and plugin tests have each of these options.
ELSEWHERE = {
    "pip install pytest-clnrm",
    "clnrm doctor",
    "pytest -n 8 --clnrm-memory 512 --clnrm-report clnrm-report --junitxml junit.xml",
    "pytest -n auto --clnrm-report clnrm-report --junitxml junit.xml",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a rootdir."""
    return tmp_path.resolve()


def write(name: str, folder: Path) -> list[Path]:
    """Write the files of a page, and return its scenario files."""
    loaded = {block.loads: block.text for block in blocks(PAGE[name]) if block.loads}
    for file, text in {**files(PAGE[name]), **loaded}.items():
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
    """It is a file of the page's project, which tests/engine/test_how_to.py runs, or is loaded, or a run."""
    for block in blocks(PAGE[name]):
        if block.language == "sh" and not block.file:
            assert set(block.text.splitlines()) <= ELSEWHERE
            continue
        assert (
            block.file or block.loads or re.match(r"pytest( -\S+)* \S+\.(clnrm\.toml|py)$", block.command)
        ), block


@pytest.mark.parametrize("name", NAMES)
def test_what_commands_make(
    name: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is what the page shows."""
    write(name, project)
    monkeypatch.chdir(project)
    for block in blocks(PAGE[name]):
        if block.mark.startswith("made by: "):
            program, *arguments = shlex.split(block.command)
            assert program == "clnrm"
            assert main(arguments) == 0
            assert capsys.readouterr().out == block.text


DOCS = FOLDER.parent
OF_A_SCENARIO = re.compile(r"\[\[?(meta|vars|matrix|service|setup|step|cleanup|scenario|check|expect)\b")
SHOWN = [
    pytest.param(block.text, id=f"{page.stem}-{number}")
    for page in (DOCS.parent / "README.md", *sorted(set(DOCS.rglob("*.md")) - set(PAGES)))
    for number, block in enumerate(blocks(page))
    if block.language == "toml" and OF_A_SCENARIO.match(re.sub(r"^#.*\n", "", block.text, flags=re.MULTILINE))
]


@pytest.mark.parametrize("text", SHOWN)
def test_what_other_pages_show(text: str, project: Path) -> None:
    """It loads as it stands, with a step where it shows none."""
    (project / "schema.sql").touch()
    file = project / "a.clnrm.toml"
    known = tomli.loads(text)
    file.write_text(text if {"step", "scenario"} & known.keys() else f'{text}\n[[step]]\nrun = "true"\n')
    assert load(str(file), LoadOptions(rootdir=str(project)))


def test_the_list_of_pages_is_complete() -> None:
    """In README.md of the folder, and in what makes the site; tox -e docs finds links that lead nowhere."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", text))
    assert listed == {page.name for page in FOLDER.glob("*.md")} - {"README.md"}
    site = tomli.loads((DOCS.parent / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    shown = [page for group in site for pages in group.values() for page in pages]
    assert sorted(shown) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
