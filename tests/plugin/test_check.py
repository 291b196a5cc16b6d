"""``clnrm check`` says of a file what pytest says."""

from __future__ import annotations

import re

import pytest
from clnrm_testing.project import Project

from pytest_clnrm.cli.main import main
from pytest_clnrm.cli.project import PYTESTS_MARKS

FILES = {
    "syntax.clnrm.toml": '[[step]]\nrun = "true\n',
    "keys.clnrm.toml": '[[step]]\nrun = "true"\nexepct = 1\n[service.db]\nimage = 3\n',
    "marks.clnrm.toml": '[meta]\nmarks = ["skip", "ours", { flaky = 2 }]\n[[step]]\nrun = "true"\n',
    "mount.clnrm.toml": '[service.a]\nimage = "x"\nvolumes = ["/etc:/x"]\n[[step]]\nrun = "true"\n',
    "caps.clnrm.toml": '[limits]\nmemory = "2g"\n[[step]]\nrun = "true"\n',
    "block.clnrm.toml": '[[step]]\nuse = "other.toml#login"\n',
    "template.clnrm.toml": "[[step]]\nrun = \"{{ env('HOME') }}\"\n",
}


def test_the_same_mistakes(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the same places, with the same words: settings, marks, caps and blocks are the project's."""
    project.write("pytest.ini", "[pytest]\nclnrm_max_memory = 1g\nmarkers = ours: of this project\n")
    for name, text in FILES.items():
        project.write(name, text)
    by_pytest = project.run("--collect-only", "-q").stdout.str()
    assert main(["check", str(project.pytester.path)]) == 1
    checked = capsys.readouterr().out
    lines = [line for line in checked.splitlines() if re.match(r"\w+\.clnrm\.toml", line)]
    assert {line.partition(":")[0] for line in lines} == FILES.keys()
    for line in lines:
        assert line in by_pytest


def test_markers_of_pytest(project: Project) -> None:
    """Are those that it registers, and ours."""
    text = project.run("--markers", "-p", "no:xdist").stdout.str()
    assert set(re.findall(r"^@pytest\.mark\.(\w+)", text, re.MULTILINE)) >= PYTESTS_MARKS
    registered = set(re.findall(r"^@pytest\.mark\.(\w+)", text, re.MULTILINE))
    assert registered - PYTESTS_MARKS <= {"timeout", "flaky", "no_cover", "anyio", "xdist_group"}
