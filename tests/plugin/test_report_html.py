"""report.html at the end of a run: written where asked for, and told where it is or why it is not."""

from __future__ import annotations

from clnrm_testing.project import Project

SCENARIO = """
[meta]
name = "greet <b>all</b>"
[service.a]
image = "busybox"
[[step]]
name = "say it"
run = "echo hello"
"""


def test_it_lies_beside_the_others(each_mode: Project) -> None:
    """Every way of running leaves report.html with the scenario, escaped, and names it last."""
    each_mode.write("a.clnrm.toml", SCENARIO)
    result = each_mode.run("--clnrm-report", "out")
    out = each_mode.pytester.path / "out"
    result.stdout.fnmatch_lines([f"clnrm: report written to {out / 'report.html'}"])
    text = (out / "report.html").read_text(encoding="utf-8")
    assert "greet \\u003cb\\u003eall\\u003c/b\\u003e" in text
    assert "<b>all</b>" not in text
    assert "clnrm.step" in text, "the spans are in it"
    assert not list(out.glob(".*"))


def test_a_report_that_cannot_be_written_is_said(project: Project) -> None:
    """The run's outcome stays, report.json is there, and the terminal says what is missing."""
    project.write("a.clnrm.toml", SCENARIO)
    (project.pytester.path / "out" / "report.html").mkdir(parents=True)
    result = project.run("--clnrm-report", "out")
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["clnrm: report written to *report.json", "clnrm: *report.html cannot be written: Is a directory"]
    )
