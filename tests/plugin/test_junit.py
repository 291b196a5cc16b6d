"""What pytest's own JUnit file has of scenarios and Python tests with containers; with the fake engine."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from clnrm_testing.project import Project

TAGGED = """
[meta]
name = "tagged"
tags = ["smoke", "a, <b>"]
priority = "high"

[vars]
password = { value = "hunter2", secret = true }

[[step]]
name = "first"
run = "echo one; echo two >&2; exit 3"
expect = { exit = 0, stdout = { contains = "never", lines = 5 }, stderr = { equals = "three" } }

[[step.check]]
file = "/missing"

[[step.check]]
file = "/missing-too"
"""

TESTS = """
import pytest

@pytest.mark.clnrm_limits(containers=1)
@pytest.mark.slow
def test_contained(clnrm, record_property):
    record_property("mine", "kept")

@pytest.fixture(scope="session")
def db(clnrm_factory):
    with clnrm_factory.container("service", name="db") as box:
        yield box

def test_shared(db):
    pass

def test_plain():
    pass
"""

# Another plugin, which sees the same as JUnit's file.
CONFTEST = """
import json
def pytest_runtest_logreport(report):
    if report.when == "teardown" and not hasattr(report, "node"):
        with open("seen.jsonl", "a") as seen:
            seen.write(json.dumps([report.nodeid, report.user_properties]) + "\\n")
"""


def cases(project: Project) -> dict[str, ET.Element]:
    """Return the cases of the file ``junit.xml`` by their names."""
    root = ET.parse(project.pytester.path / "junit.xml").getroot()  # noqa: S314 (ours)
    return {case.get("name", ""): case for case in root.iter("testcase")}


def properties(case: ET.Element) -> list[tuple[str | None, str | None]]:
    """Return name and value of each property of a case."""
    return [(each.get("name"), each.get("value")) for each in case.iterfind("properties/property")]


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_properties(each_mode: Project, family: str) -> None:
    """Tags, priority, worker and wait are properties of a scenario, and of a test with containers."""
    each_mode.write("tagged.clnrm.toml", TAGGED)
    each_mode.write("test_it.py", TESTS)
    each_mode.write("conftest.py", CONFTEST)
    result = each_mode.run("--junitxml=junit.xml", "-o", f"junit_family={family}", "-o", "markers=slow")
    result.assert_outcomes(passed=3, failed=1)
    found = cases(each_mode)
    workers = {"gw0"} if "1" in each_mode.mode else {"master"}
    *told, wait = properties(found["tagged"])
    worker = dict(told)["clnrm_worker"]
    assert worker in workers
    assert told == [
        ("clnrm_tag", "smoke"),
        ("clnrm_tag", "a, <b>"),
        ("clnrm_priority", "high"),
        ("clnrm_worker", worker),
    ]
    assert wait[0] == "clnrm_slot_wait_s"
    assert float(str(wait[1])) >= 0
    contained = properties(found["test_contained"])
    assert {("mine", "kept"), ("clnrm_tag", "slow"), ("clnrm_priority", "normal")} <= set(contained)
    assert len(contained) == len(set(contained))
    assert ("clnrm_priority", "normal") in properties(found["test_shared"])
    assert properties(found["test_plain"]) == []
    if "1" not in each_mode.mode:
        lines = (each_mode.pytester.path / "seen.jsonl").read_text("utf-8").splitlines()
        seen = dict(map(json.loads, lines))
        assert ["clnrm_tag", "smoke"] in seen["tagged.clnrm.toml::tagged"]


def test_properties_of_the_last_run_count(project: Project) -> None:
    """What runs again has each property once, and a tag that is a secret is masked."""
    pytest.importorskip("pytest_rerunfailures")
    project.write("tagged.clnrm.toml", TAGGED.replace('"smoke"', '"of-hunter2"'))
    result = project.run("--junitxml=junit.xml", "--reruns", "1", "-p", "rerunfailures")
    assert result.parseoutcomes() == {"failed": 1, "rerun": 1}
    told = properties(cases(project)["tagged"])
    assert [name for name, _ in told].count("clnrm_priority") == 1
    assert told[0] == ("clnrm_tag", "of-***")


def test_every_failed_check_is_in_the_text(each_mode: Project) -> None:
    """All checks of a step that do not hold are in the text of the failure, not only the first."""
    each_mode.write("tagged.clnrm.toml", TAGGED)
    each_mode.run("--junitxml=junit.xml").assert_outcomes(failed=1)
    failure = cases(each_mode)["tagged"].find("failure")
    assert failure is not None
    assert "exit code 3, expected 0" in failure.get("message", "")
    text = failure.text or ""
    for told in (
        "exit code 3, expected 0",
        "stdout does not contain 'never'",
        "stdout has 1 lines, expected exactly 5",
        "stderr does not equal 'three'",
        "file /missing does not exist",
        "file /missing-too does not exist",
    ):
        assert told in text, told
