"""What steps that run an image once demand, and what is said where the image cannot be had."""

from __future__ import annotations

from collections.abc import Callable

from clnrm_testing.project import Project

WEB = '[service.web]\nimage = "x"\n[[step]]\nrun = "true"\n'


def test_demand_and_missing_images(make_project: Callable[[str], Project]) -> None:
    """One more container is reserved, and a missing image is an error of setup at the place of the step."""
    project = make_project("no-xdist")
    project.write("two.clnrm.toml", f'{WEB}[[step]]\nimage = "a"\n[[step]]\nimage = "b"\n')
    project.write("missing.clnrm.toml", '[[step]]\nimage = "missing:1"\nrun = ["x"]\n')
    result = project.run("--clnrm-max-containers", "1")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "*2 containers demanded, 1 container allowed (--clnrm-max-containers)*",
            "missing.clnrm.toml:1: *missing:1*",
        ]
    )
    assert project.events("create") == []
