"""What is added to a CI service's page of a job."""

from __future__ import annotations

from pathlib import Path

import pytest
from clnrm_testing.project import Project

FAILS = '[[step]]\nrun = "echo t0p-secret; exit 3"\n'
PASSES = '[[step]]\nrun = "true"\n'
PYTHON = "def test_it(): assert '<b>' == 't0p-secret'\n"


def test_a_summary_on_github(each_mode: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is added once to what is there, with Python tests, and without secrets."""
    page = tmp_path / "page.md"
    page.write_text("from before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    monkeypatch.setenv("TOKEN", "t0p-secret")
    each_mode.write("fails.clnrm.toml", FAILS)
    each_mode.write("passes.clnrm.toml", PASSES)
    each_mode.write("test_it.py", PYTHON)
    each_mode.run("-o", "clnrm_secrets=TOKEN").assert_outcomes(passed=1, failed=2)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("from before\n### pytest: 2 failed, 1 passed in ")
    assert text.count("###") == 1
    assert "<code>fails.clnrm.toml::fails</code> step &#x27;step 1&#x27;: exit code" in text
    assert "reproduce with: pytest" in text
    assert "<code>test&#95;it.py::test&#95;it</code>" in text
    assert "t0p-secret" not in text
    each_mode.run("-o", "clnrm_job_summary=off")
    assert page.read_text(encoding="utf-8") == text


def test_where_nobody_shows_it(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On GitLab it stands beside the report; elsewhere, and for a run without containers, there is none."""
    page = tmp_path / "page.md"
    project.write("test_it.py", "def test_it(): pass\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    project.run()
    assert not page.exists()
    project.write("passes.clnrm.toml", PASSES)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    project.run("--clnrm-report", "out")
    assert not (project.pytester.path / "out" / "summary.md").exists()
    monkeypatch.setenv("GITLAB_CI", "true")
    project.run("--clnrm-report", "out")
    text = (project.pytester.path / "out" / "summary.md").read_text(encoding="utf-8")
    assert text.startswith("### pytest: 2 passed in ")
    assert "out/report.html" in text


def test_a_place_that_cannot_be_written(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is told, and the run is what it was."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    project.write("passes.clnrm.toml", PASSES)
    result = project.run()
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"clnrm: {tmp_path} cannot be written: Is a directory"])
