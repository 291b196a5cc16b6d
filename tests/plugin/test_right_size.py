"""Limits lowered to what earlier runs used: what is reserved, what is told, and the way back."""

from __future__ import annotations

import json

from clnrm_testing.project import Project

SCENARIO = """
[service.app]
image = "service-app"
env = { FAKE_NEEDS_MB = "%s" }

[service.known]
image = "service-known"
limits = { memory = "100m" }

[[step]]
name = "work"
service = "app"
run = "true"
"""
ASK = (
    "--clnrm-right-size",
    "--clnrm-memory-budget",
    "2g",
    "--clnrm-max-containers",
    "100",
    "--clnrm-pool",
    "off",
)


def limits(project: Project) -> list[int]:
    """Return the limits of the services' containers that were created since the last time, in MB."""
    created = [event["memory_bytes"] >> 20 for event in project.events("create")]
    (project.pytester.path / "engine.jsonl").unlink()
    return sorted(created)


def test_right_size(each_mode: Project) -> None:
    """From the third run on limits fit where files name none; the summary says what that gains."""
    project = each_mode
    project.write("a.clnrm.toml", SCENARIO % 0)
    hint = (
        "clnrm: service 'app': limit 512 MB, peak 1 MB of 3 runs: "
        "16 MB would let 100 run at once instead of 4"
    )
    for number in (1, 2, 3):
        result = project.run(*ASK)
        result.assert_outcomes(passed=1)
        assert limits(project) == [100, 512]
        assert (hint in result.outlines) == (number == 3)
    project.run(*ASK).assert_outcomes(passed=1)
    assert limits(project) == [16, 100]
    # Without the option limits are as before, and one line says what it would gain.
    result = project.run(*ASK[1:])
    assert limits(project) == [100, 512]
    assert [line for line in result.outlines if "run at once" in line] == [
        hint.replace("3 runs", "5 runs") + " (see --clnrm-right-size)"
    ]
    result = project.run(*ASK[1:], "-q")
    result.stdout.no_fnmatch_line("*run at once*")


def test_out_of_memory_under_a_lowered_limit(each_mode: Project) -> None:
    """It is run again with its whole limits, once, which is told and remembered."""
    project = each_mode
    project.write("a.clnrm.toml", SCENARIO % 0)
    for _ in range(3):
        project.run(*ASK)
    project.write("a.clnrm.toml", SCENARIO % 50)
    limits(project)
    result = project.run(*ASK, "--clnrm-report", "out")
    result.assert_outcomes(passed=1)
    told = "run again with whole limits: it was out of memory under those of --clnrm-right-size"
    assert f"clnrm: a.clnrm.toml::a was {told}" in result.outlines
    assert limits(project) == [16, 100, 100, 512]
    (scenario,) = project.report()["scenarios"]
    assert (scenario["outcome"], scenario["notes"]) == ("passed", [told])
    result = project.run(*ASK)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*run again*")
    assert limits(project) == [100, 512]


def test_out_of_memory_under_whole_limits(project: Project) -> None:
    """What has too little memory in any case fails with the message of its own limit."""
    project.write("a.clnrm.toml", SCENARIO % 0)
    for _ in range(3):
        project.run(*ASK)
    project.write("a.clnrm.toml", SCENARIO % 600)
    limits(project)
    result = project.run(*ASK)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*its limit is 512 MB*"])
    assert limits(project) == [16, 100, 100, 512]


def test_room_for_whole_limits_is_waited_for(make_project: object) -> None:
    """Scenarios that all need more than there is wait for each other: nobody holds what others want."""
    project: Project = make_project("n2")  # type: ignore[operator]
    for name in "abcd":
        project.write(f"{name}.clnrm.toml", SCENARIO % 0)
    for _ in range(3):
        project.run(*ASK)
    for name in "abcd":
        project.write(f"{name}.clnrm.toml", SCENARIO % 50)
    limits(project)
    result = project.run(*ASK, "--clnrm-memory-budget", "700m")
    result.assert_outcomes(passed=4)
    created = limits(project)
    assert created.count(512) == 4
    history = json.loads((project.pytester.path / ".pytest_cache/d/clnrm/history.json").read_text("utf-8"))
    assert len(history["needy"]) == 4
