"""What editors say of scenario files by the shipped schema: Tombi, and Taplo (Even Better TOML)."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from clnrm_testing.how_to import FOLDER, PAGES, files
from clnrm_testing.schema import SCHEMA_FILE

from pytest_clnrm.cli.schema import COPY

ROOT = Path(__file__).parents[3]
FOLDERS = ("examples", "tests/data/compose", "tests/data/ports")
# In which order tables stand is a matter of style: ports keep that of the file they were made of.
CONFIG = f"""
[lint.rules]
tables-out-of-order = "off"
[schema]
catalog = {{ paths = [] }}
[[schemas]]
path = "{SCHEMA_FILE}"
include = ["**/*.toml"]
"""
WRONG = '[[step]]\nrun = "true"\nrum = "x"\n'


@pytest.fixture(params=["tombi", "taplo"])
def lint(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Return the command that lints files below an empty folder, with warnings as errors."""
    program = shutil.which(request.param, path=sysconfig.get_path("scripts")) or shutil.which(request.param)
    if program is None:
        pytest.skip(f"{request.param} is not installed: it is in the extra 'editors'")
    if request.param == "taplo":
        return [program, "lint", "--no-auto-config", "--schema", SCHEMA_FILE.as_uri()]
    (tmp_path / "tombi.toml").write_text(CONFIG, encoding="utf-8")
    return [program, "lint", "--offline", "--error-on-warnings"]


def test_they_are_quiet(lint: list[str], tmp_path: Path) -> None:
    """Of every scenario file here in the canonical form, and of those on pages."""
    names = []
    for page in PAGES:
        for name, text in files(page).items():
            if name.endswith(".clnrm.toml"):
                names.append(f"{page.stem}/{name}")
                (tmp_path / page.stem / COPY.parent).mkdir(parents=True, exist_ok=True)
                (tmp_path / names[-1]).write_text(text, encoding="utf-8")
                # As the commands do that write a file with a line #:schema.
                shutil.copy(SCHEMA_FILE, tmp_path / page.stem / COPY)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.toml"):
            names.append(str(path.relative_to(ROOT)))
            copy = tmp_path / names[-1]
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    ended = subprocess.run([*lint, *names], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_page_says_how_they_find_the_schema(lint: list[str], tmp_path: Path) -> None:
    """By the files of docs/editors.md, in a project as ``clnrm schema --write`` leaves it."""
    for name, text in files(FOLDER.parent / "editors.md").items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / COPY.parent).mkdir()
    shutil.copy(SCHEMA_FILE, tmp_path / COPY)
    (tmp_path / "wrong.clnrm.toml").write_text(WRONG, encoding="utf-8")
    taplo = lint[0].endswith("taplo")
    command = [lint[0], "lint", *([] if taplo else ["--offline", "--error-on-warnings"]), "wrong.clnrm.toml"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "rum" in ended.stdout + ended.stderr


def test_they_find_mistakes(lint: list[str], tmp_path: Path) -> None:
    """So they use the schema."""
    (tmp_path / "wrong.clnrm.toml").write_text(WRONG, encoding="utf-8")
    command = [*lint, "wrong.clnrm.toml"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "rum" in ended.stdout + ended.stderr
