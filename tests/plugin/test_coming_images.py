"""Images of later scenarios are pulled while earlier ones run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from clnrm_testing.project import Project

WAITS = """
[[step]]
name = "waits until the last image has been asked for"
run = "until grep -q '\\"image\\": \\"dd:1\\"' {log}; do sleep 0.02; done"
timeout = "60s"
"""


def scenario(image: str, steps: str = '[[step]]\nrun = "true"\n') -> str:
    """Return a file whose container is of *image*."""
    return f'[service.box]\nimage = "{image}"\n{steps}'


def images(project: Project) -> list[str]:
    """Return the images that were asked for."""
    return [event["image"] for event in project.events("image")]


def test_in_the_order_of_the_queue(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there, or skipped, is not asked for; what cannot be pulled fails who needs it, alone."""
    monkeypatch.setenv("FAKE_IMAGES", "bb:latest,other:1")
    waits = WAITS.format(log=project.pytester.path / "engine.jsonl")
    project.write("a.clnrm.toml", scenario("aa", waits))
    project.write("b.clnrm.toml", scenario("bb"))
    project.write("c.clnrm.toml", scenario("missing:1"))
    project.write("d.clnrm.toml", scenario("dd:1"))
    project.write("e.clnrm.toml", '[meta]\nskip = "not now"\n' + scenario("skipped:1"))
    result = project.run()
    result.assert_outcomes(passed=3, errors=1, skipped=1)
    result.stdout.fnmatch_lines(["ERROR c.clnrm.toml* 'missing:1' does not exist*"])
    assert images(project) == ["aa", "missing:1", "dd:1", "bb", "missing:1", "dd:1"]
    assert len(project.events("images listed")) == 1


def test_one_process_of_a_run_pulls(make_project: Callable[[str], Project]) -> None:
    """The others find what it has pulled."""
    project = make_project("n2")
    waits = WAITS.format(log=project.pytester.path / "engine.jsonl")
    for name in ("aa", "bb"):
        project.write(f"{name}.clnrm.toml", scenario(name, waits))
    project.write("d.clnrm.toml", scenario("dd:1"))
    project.run().assert_outcomes(passed=3)
    assert len(project.events("images listed")) == 1


@pytest.mark.parametrize(("pull", "others"), [("never", ["bb"]), ("missing", ["aa"])])
def test_nothing_is_asked_for_in_vain(project: Project, pull: str, others: list[str]) -> None:
    """Not where pulling is forbidden, nor where the first scenario's images are all that there are."""
    for name in ("aa", *others):
        project.write(f"{name}1.clnrm.toml", scenario("aa"))
        project.write(f"{name}2.clnrm.toml", scenario(name))
    project.run("--clnrm-pull", pull).assert_outcomes(passed=2 + 2 * (pull == "never"))
    assert project.events("images listed") == []
    assert set(images(project)) == {"aa", *others}


def test_at_the_end_of_the_run_a_pull_is_broken_off(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody needs any more is not waited for."""
    monkeypatch.setenv("FAKE_PULL_UNTIL", str(project.pytester.path / "never"))
    waits = WAITS.replace("dd:1", "pulled:1").format(log=project.pytester.path / "engine.jsonl")
    project.write("a.clnrm.toml", scenario("aa", waits + '[[step]]\nrun = "false"\n'))
    project.write("d.clnrm.toml", scenario("pulled:1"))
    project.run("-x").assert_outcomes(failed=1)
    assert images(project) == ["aa", "pulled:1"]
