"""What a service's keys make of its container, on a real engine: many of them in each run."""

from __future__ import annotations

import pytest
from clnrm_testing.end_to_end import EndToEnd

pytestmark = pytest.mark.engine

# As a distroless image: one program, no shell. What it does is its first argument.
SHELLLESS = 'ADD busybox /busybox\nENTRYPOINT ["/busybox"]\n'
WITH_SHELL = "ADD busybox /bin/sh\nADD busybox /bin/busybox\nENV PATH=/bin\n"


def test_steps_run_in_images_with_entry_points_and_without_shells(project: EndToEnd) -> None:
    """A tool's entry point gives way to steps, `entrypoint` wins, and nothing of the image is needed."""
    project.write_build("bare", SHELLLESS)
    project.write_build("tool", f'{WITH_SHELL}ENTRYPOINT ["/bin/busybox", "cat"]\nCMD ["--help"]\n')
    project.write(
        "bare.clnrm.toml",
        """
        [service.box]
        build = "bare"
        [[step]]
        name = "processes"
        run = ["/busybox", "ps", "-o", "args"]
        expect.stdout.contains = "/.clnrm/clnrm pause"
        [[step]]
        name = "shell"
        run = "true"
        """,
    )
    project.write(
        "tool.clnrm.toml",
        """
        [service.box]
        build = "tool"
        [[step]]
        name = "shell"
        run = "echo from the shell | busybox cat"
        expect.stdout.equals = "from the shell"
        """,
    )
    project.write(
        "given.clnrm.toml",
        """
        [service.own]
        build = "tool"
        entrypoint = ["sh", "-c", "echo given $0 $1; busybox sleep 1000"]
        command = ["one", "two"]
        ready = { log = "^given one two$" }
        [service.cleared]
        build = "tool"
        entrypoint = []
        ready = { command = "true" }
        [[step]]
        service = "own"
        run = "true"
        [[step]]
        service = "cleared"
        run = "busybox ps -o args"
        expect.stdout.not_contains = "busybox cat"
        """,
    )
    run = project.run()
    assert run.outcomes() == {"bare": "failed", "tool": "passed", "given": "passed"}, run.text
    why = "the image has no shell (sh); give `run` as a list of a program and its arguments"
    assert run.failures("bare") == [f"step 'shell' could not be started: {why}"]
    assert (
        "service 'box' waited for steps instead of running its image's entry point; to run that, write "
        'entrypoint = ["/busybox"]'
    ) in run.scenarios["bare"]["notes"]
    assert not project.leftovers(run)
