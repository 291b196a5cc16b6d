"""report.html at the end of a run: written where asked for, and told where it is or why it is not."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from typing import Any

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
        ["clnrm: *report.html cannot be written: Is a directory", "clnrm: report written to *report.json"]
    )


PLAIN = """
import pytest

class TestCart:
    def test_total(self):
        print("prices")
        assert 1 + 1 == 3

@pytest.mark.skip(reason="no licence")
def test_skipped(): ...

@pytest.mark.xfail
def test_known(): assert 0

@pytest.mark.xfail
def test_fixed(): ...

@pytest.fixture
def leaking():
    yield
    raise RuntimeError("left open")

def test_leaks(leaking): ...
"""


def test_rows_tell_what_a_reader_asks(each_mode: Project) -> None:
    """Counts are pytest's; a failure has its lines, command and output, and what earlier runs have shown."""
    each_mode.write("a.clnrm.toml", SCENARIO.replace('"echo hello"', '"exit 1"'))
    each_mode.write("test_plain.py", PLAIN)
    result = each_mode.run("--clnrm-report", "out", "--clnrm-memory", "64", "--clnrm-history", "h.json")
    result.assert_outcomes(failed=2, passed=1, skipped=1, xfailed=1, xpassed=1, errors=1)

    def rows() -> dict[str, Any]:
        document = json.loads((each_mode.pytester.path / "out" / "report.json").read_text("utf-8"))
        return {row["nodeid"]: row for row in (*document["scenarios"], *document["tests"])}

    found = rows()
    assert Counter(each for row in found.values() for each in row["counted"]) == {
        "failed": 2, "passed": 1, "skipped": 1, "xfailed": 1, "xpassed": 1, "error": 1,
    }  # fmt: skip
    scenario = found["a.clnrm.toml::greet <b>all</b>"]
    (source,) = scenario["sources"].values()
    assert 'run = "exit 1"' in source["lines"]
    assert shlex.split(scenario["reproduce"]) == [
        "pytest", "--clnrm-memory=64", "a.clnrm.toml::greet <b>all</b>",
    ]  # fmt: skip
    total = found["test_plain.py::TestCart::test_total"]
    where = total["failures"][0]["where"]
    at = int(where.rpartition(":")[2]) - total["sources"][where]["first"]
    assert total["sources"][where]["lines"][at] == "        assert 1 + 1 == 3"
    assert "assert (1 + 1) == 3" in total["failures"][0]["details"]
    assert {"name": "Captured stdout call", "text": "prices\n"} in total["output"]
    assert total["reproduce"].endswith(" test_plain.py::TestCart::test_total")
    assert "reproduce" not in found["test_plain.py::test_known"]
    assert "history" not in total
    each_mode.run("--clnrm-report", "out", "--clnrm-history", "h.json")
    before = rows()["test_plain.py::TestCart::test_total"]["history"]
    assert (before["outcomes"], len(before["durations_s"])) == ("f", 1)
