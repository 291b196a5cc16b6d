"""Steps that run an image once: what they become, and their mistakes."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.model.limits import Limits
from pytest_clnrm.model.policy import Policy
from pytest_clnrm.model.scenario import service_of
from pytest_clnrm.model.service import Ready
from pytest_clnrm.model.step import ImageRun
from pytest_clnrm.scenario.templates.binding import bind_step

GIT = '[[step]]\nimage = "alpine/git:2"\n'
WEB = '[service.web]\nimage = "x"\n'
TWO = f'{WEB}[service.db]\nimage = "x"\n'


def test_what_it_becomes(project: Any) -> None:
    """All keys; the limits are those of the file, and no service is needed."""
    scenario = project.one(f"""
        [limits]
        memory = 64
        {GIT}
        run = ["clone", "{{{{ host }}}}"]
        entrypoint = ["git", "-v"]
        env = {{ A = 1 }}
        workdir = "/w"
        user = "me"
        expect = {{ exit = 3, stdout = {{ contains = "x" }} }}
        capture = {{ id = {{ regex = "x", from = "stderr" }} }}
        [[step]]
        image = "b/{{{{ vars.tool }}}}@sha256:{"0" * 64}"
        [vars]
        tool = "tool"
    """)
    first, second = scenario.image_runs
    assert first == ImageRun(
        image="alpine/git:2",
        run=("clone", "host.clnrm.internal"),
        entrypoint=("git", "-v"),
        env={"A": "1"},
        workdir="/w",
        user="me",
        limits=Limits(memory_bytes=64 << 20),
        at=("step", 0),
    )
    assert [service_of(each).name for each in scenario.image_runs] == ["git", "tool"]
    assert service_of(first).ready == (Ready(exit=(0,)),)
    assert (second.run, second.entrypoint) == (None, None)
    assert scenario.services == ()
    assert [each.service for each in scenario.steps] == ["", ""]
    assert scenario.steps[0].env == {"A": "1"}


def test_captured_values_are_filled_in(project: Any) -> None:
    """Arguments and variables may name them."""
    step = project.one(
        f'{WEB}[[step]]\nrun = "x"\ncapture = {{ id = {{ regex = "x" }} }}\n'
        f'{GIT}run = ["show", "{{{{ id }}}}"]\nenv = {{ A = "{{{{ id }}}}" }}\n'
    ).steps[1]
    action = bind_step(step, {"id": "abc"}, frozenset({"id"})).action
    assert isinstance(action, ImageRun)
    assert (action.run, action.env) == (("show", "abc"), {"A": "abc"})


def test_checks_of_it_look_at_the_usual_service(project: Any) -> None:
    """The container is gone by then."""
    (step,) = project.one(f'{WEB}{GIT}check = [{{ file = "/x" }}]\n').steps
    assert [each.service for each in step.checks] == ["web"]


def test_it_counts_as_one_more_container(project: Any, head: Any) -> None:
    """They run one after the other: as one, however many there are."""
    text = WEB + '[[step]]\nrun = "x"\n' + GIT * 2
    assert len(project.one(text, policy=Policy(containers=2)).image_runs) == 2
    (found,) = head(project.refuse(text, policy=Policy(containers=1)))
    assert "2 containers" in found


CASES = {
    "text": (
        f"{GIT}run = 'clone \"x\"'\n",
        (
            "FILE:3:1: step[0].run: with `image` it is the list of arguments of the entry point, which need "
            'not be a shell (write run = ["--version"], or entrypoint = ["sh", "-c"] and run = ["clone '
            '\\"x\\""])'
        ),
    ),
    "nothing to run": (
        f"{GIT}entrypoint = []\n",
        "FILE:3:1: step[0].entrypoint: without an entry point there is nothing to run: give `run`",
    ),
    "an id": (
        '[[step]]\nimage = "abcdef"\n',
        (
            "FILE:2:1: step[0].image: abcdef may be the id of any image of this host, or the start of one "
            '(write its name with a tag, such as "abcdef:latest")'
        ),
    ),
    "in a service": (
        f'{WEB}{GIT}service = "web"\n',
        "FILE:5:1: step[0].service: `service` goes with run, wait or use only, and this step has `image`",
    ),
    "stdin": (
        f'{GIT}stdin = "x"\n',
        "FILE:3:1: step[0].stdin: `stdin` goes with run only, and this step has `image`",
    ),
    "entry point of a service": (
        f'{WEB}[[step]]\nrun = "x"\nentrypoint = ["x"]\n',
        "FILE:5:1: step[0].entrypoint: `entrypoint` goes with image only, and this step has `run`",
    ),
    "a request too": (
        f'{WEB}{GIT}http = "GET http://web/"\n',
        "FILE:3:1: step[0]: exactly one of run, image, http",
    ),
    "an image that is captured": (
        '[[step]]\nrun = "x"\ncapture = { id = { regex = "x" } }\n[[step]]\nimage = "{{ id }}"\n',
        'FILE:5:1: step[1].image: names "id" where captured values are not known',
    ),
    "a check of which of them": (
        f'{TWO}{GIT}check = [{{ file = "/x" }}]\n',
        'FILE:7:10: step[0].check[0]: the key "service" is missing: there are several, web, db',
    ),
    "a header": (
        f'{GIT}capture = {{ a = {{ header = "X" }} }}\n',
        (
            "FILE:3:19: step[0].capture.a.header: `header` goes with http only, and this step has `image` "
            "(with `image` go from)"
        ),
    ),
    "NUL": (
        f'{GIT}run = ["a\\u0000b"]\n',
        "FILE:3:8: step[0].run[0]: a NUL character cannot be passed to a program",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_mistakes(project: Any, head: Any, case: str) -> None:
    """Each is told with its place and what to write."""
    text, told = CASES[case]
    (found,) = head(project.refuse(text))
    assert found.startswith(told)
