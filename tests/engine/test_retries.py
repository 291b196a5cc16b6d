"""Scenarios that are tried again, on a real engine."""

from __future__ import annotations

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

FLAKY = """
[service.memory]
image = "memory"
scope = "run"
command = ["sleep", "600"]

[service.app]
image = "app"

[[scenario]]
name = "flaky"
[[scenario.step]]
service = "app"
run = "test ! -e /own && touch /own"
[[scenario.step]]
name = "second time"
service = "memory"
run = "test -e /seen || { touch /seen; exit 1; }"

[[scenario]]
name = "never"
[[scenario.step]]
service = "app"
run = "exit 2"
"""

PYTHON = """
SEEN = []

def test_flaky(clnrm):
    with clnrm.container("busybox", name="own") as box:
        assert box.run("test ! -e /own && touch /own").exit_code == 0
        SEEN.append(box.id)
        assert len(set(SEEN)) == 2
"""


def test_each_attempt_has_containers_of_its_own(project: EndToEnd) -> None:
    """What fails once and then passes is flaky; what an attempt leaves in its containers is gone."""
    project.write("a.clnrm.toml", FLAKY)
    project.write("test_it.py", PYTHON)
    run = project.run("--clnrm-retries", "1")
    assert run.outcomes() == {"flaky": "passed", "never": "failed"}, run.text
    flaky, never = run.scenarios["flaky"], run.scenarios["never"]
    assert (flaky["is_flaky"], never["is_flaky"]) == (True, False)
    assert [each["failures"][0]["step"] for each in flaky["earlier"]] == ["second time"]
    assert len(never["earlier"]) == 1
    own = [
        each["id"]
        for attempt in (flaky, *flaky["earlier"], never, *never["earlier"])
        for each in attempt["containers"]
        if not each["shared"]
    ]
    assert len(own) == len(set(own)) == 4
    (test,) = run.document["tests"]
    assert (test["outcome"], test["attempts"], test["is_flaky"]) == ("passed", 2, True)
    assert len({each["containers"][0]["id"] for each in (test, *test["earlier"])}) == 2
    assert project.leftovers(run) == []


def test_a_repetition_that_fails_is_the_last(project: EndToEnd) -> None:
    """Those of the same scenario that have not begun are skipped, and the summary says which one failed."""
    project.write("a.clnrm.toml", FLAKY)
    run = project.run("--clnrm-repeat", "3", "-k", "flaky")
    assert "1 failed, 2 skipped" in run.text
    assert project.leftovers(run) == []
