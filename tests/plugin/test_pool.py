"""Containers that serve several scenarios, in whole runs with an engine whose containers are folders."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from clnrm_testing.project import Project

from pytest_clnrm.engine.exec.waiting import KEEP_TOOL
from pytest_clnrm.scheduling import joining
from pytest_clnrm.util.processors import IdleTime

SERVICE = '[service.box]\nimage = "{image}"\n{more}\n'
STEP = '[[scenario]]\nname = "{name}"\n[[scenario.step]]\nname = "it"\nservice = "box"\nrun = "{run}"\n'


def write(project: Project, file: str, *runs: str, image: str = "box", more: str = "") -> None:
    """Write a file of scenarios of one specification, one that does each of *runs*."""
    steps = (STEP.format(name=f"{file}{number}", run=run) for number, run in enumerate(runs))
    project.write(f"{file}.clnrm.toml", SERVICE.format(image=image, more=more) + "".join(steps))


def containers(project: Project) -> dict[str, dict[str, object]]:
    """Return what the report tells of each scenario's container."""
    return {each["name"]: each["containers"][0] for each in project.report()["scenarios"]}


def test_one_container_serves_all(each_mode: Project) -> None:
    """Scenarios that leave nothing share a container, which is gone in the end."""
    write(each_mode, "a", *["true"] * 6)
    each_mode.run("--clnrm-report", "out").assert_outcomes(passed=6)
    created = [event["container"] for event in each_mode.events("create")]
    assert len(created) == 1
    assert sorted(event["container"] for event in each_mode.events("remove")) == sorted(created)
    told = containers(each_mode).values()
    assert sum(not each["reused"] for each in told) == len(created)
    assert {each["reuse"] for each in told} == {""}
    assert {each["peak_memory_bytes"] for each in told if each["reused"]} == {None}


def test_what_is_left_is_told(each_mode: Project) -> None:
    """A container that has changed serves nobody else, and the report says what was left."""
    write(each_mode, "a", "touch left", "test ! -e left")
    each_mode.run("--clnrm-report", "out").assert_outcomes(passed=2)
    told = containers(each_mode)
    assert told["a0"]["reuse"] == "left behind: file left"
    assert told["a1"]["reused"] is False
    assert len(each_mode.events("create")) == len(each_mode.events("remove")) == 2


def test_a_failure_is_removed_at_once(project: Project) -> None:
    """What a failed scenario did is not looked at."""
    write(project, "a", "false", "true")
    project.run("--clnrm-report", "out").assert_outcomes(passed=1, failed=1)
    kinds = [event["event"] for event in project.events("create", "remove")]
    assert kinds == ["create", "remove", "create", "remove"]
    assert containers(project)["a1"]["reused"] is False


@pytest.mark.parametrize(
    ("args", "more", "reason"),
    [
        (("--clnrm-pool", "off"), "", "pool off"),
        ((), "fresh = true", "fresh = true"),
        ((), 'command = ["serve"]', "it runs a service, whose memory cannot be looked at"),
    ],
)
def test_what_is_never_used_again(project: Project, args: tuple[str, ...], more: str, reason: str) -> None:
    """By option, by file, and because it cannot be proven."""
    write(project, "a", "true", "true", more=more)
    project.run("--clnrm-report", "out", *args).assert_outcomes(passed=2)
    told = containers(project)
    assert [(each["reused"], each["reuse"]) for each in told.values()] == [(False, reason)] * 2
    assert [event["event"] for event in project.events("observe")] == []


def test_what_cannot_be_looked_at(project: Project) -> None:
    """The scenario passes, and the report says why its container was not kept."""
    write(project, "a", "true", "true", image="opaque")
    project.run("--clnrm-report", "out").assert_outcomes(passed=2)
    assert {each["reuse"] for each in containers(project).values()} == {"its message queues cannot be seen"}


HINT = (
    "clnrm: no container was used again: it cannot be looked at from outside: its processes are not on this"
)


def test_where_the_engine_is_elsewhere(each_mode: Project) -> None:
    """Nothing is used again, and the end of the run says why, once, and what would change it."""
    write(each_mode, "a", "true", "true", image="elsewhere")
    result = each_mode.run("--clnrm-report", "out")
    result.assert_outcomes(passed=2)
    told = containers(each_mode).values()
    assert [each["reused"] for each in told] == [False, False]
    assert {each["reuse"] for each in told} == {
        "it cannot be looked at from outside: its processes are not on this host"
    }
    lines = [line for line in result.outlines if line.startswith("clnrm: no container was used again")]
    assert len(lines) == 1
    assert lines[0].startswith(HINT)
    assert "--clnrm-pool inside" in lines[0]


def test_scenario_files_that_are_trusted(project: Project) -> None:
    """With ``inside`` the containers themselves are asked there."""
    write(project, "a", "true", "touch left", "true", image="elsewhere")
    result = project.run("--clnrm-report", "out", "--clnrm-pool", "inside")
    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*no container was used again*")
    assert [each["reused"] for each in containers(project).values()] == [False, True, False]


def test_one_scenario_misses_nothing(project: Project) -> None:
    """Where there is nobody who could use it again, nothing is said."""
    write(project, "a", "true", image="elsewhere")
    project.run().stdout.no_fnmatch_line("*no container was used again*")


def test_another_specification_takes_the_room(each_mode: Project) -> None:
    """With room for one container an idle one goes before another is created, on whatever worker."""
    for file in "ab":
        write(each_mode, file, "true", "true", more=f'env = {{ A = "{file}" }}')
    each_mode.run("--clnrm-max-containers", "1").assert_outcomes(passed=4)
    alive = most = 0
    for event in each_mode.events("create", "remove"):
        alive += 1 if event["event"] == "create" else -1
        most = max(most, alive)
    assert (alive, most) == (0, 1)


def test_the_longest_unused_goes(project: Project) -> None:
    """A worker keeps one scenario's containers, and more if it is told to."""
    for file in "abc":
        write(project, file, "true", more=f'env = {{ A = "{file}" }}')
    write(project, "d", "true", more='env = { A = "a" }')
    project.run("--clnrm-report", "out").assert_outcomes(passed=4)
    assert [each["reused"] for each in containers(project).values()] == [False] * 4
    project.run("--clnrm-report", "out", "-o", "clnrm_pool_size=3").assert_outcomes(passed=4)
    assert [each["reused"] for each in containers(project).values()] == [False, False, False, True]


def test_the_proof_is_a_span(project: Project) -> None:
    """Its time is told, and what was left."""
    write(project, "a", "true", "touch left")
    project.run("--clnrm-report", "out")
    document = json.loads((project.pytester.path / "out" / "trace.otlp.json").read_text("utf-8"))
    spans = [
        {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}
        for resource in document["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
        if span["name"] == "clnrm.container.prove"
    ]
    assert [each["clnrm.container.reused"] for each in spans] == [False, True]
    assert [each.get("clnrm.container.unclean") for each in spans] == [None, "left behind: file left"]


def test_an_idle_container_serves_the_worker_that_has_it(make_project: Callable[[str], Project]) -> None:
    """Two specifications on two workers: each stays with the worker that has its container."""
    project = make_project("n2")
    for number in range(4):
        for file in "ab":
            write(project, f"{number}{file}", "sleep 0.2", more=f'env = {{ A = "{file}" }}')
    project.run("--clnrm-report", "out").assert_outcomes(passed=8)
    assert len(project.events("create")) <= 4


def test_images_without_a_shell_are_known_after_the_first_container(project: Project) -> None:
    """Their containers wait otherwise from then on, and serve several scenarios too."""
    write(project, "a", "true", "touch left", "true", image="shellless")
    project.run("--clnrm-report", "out").assert_outcomes(passed=3)
    assert [event["command"][0] for event in project.events("create")] == ["sh", KEEP_TOOL[0], KEEP_TOOL[0]]
    assert [each["reused"] for each in containers(project).values()] == [False, True, False]
    assert len(project.events("remove")) == 3


def test_where_processors_are_busy_no_more_containers_are_begun(
    make_project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more worker than there are processors runs all, in the containers that it has."""
    monkeypatch.setattr(joining, "count_processors", lambda: 1)
    monkeypatch.setattr(joining, "_PATIENCE_S", 600.0)
    monkeypatch.setattr(IdleTime, "since_last", lambda _: 0.0)
    project = make_project("n2")
    write(project, "a", *["true"] * 12)
    project.run("-n", "3", "--clnrm-report", "out").assert_outcomes(passed=12)
    assert len(project.events("create")) == len(project.events("remove")) == 2
    assert {each["reuse"] for each in containers(project).values()} == {""}
