"""The output of a container that runs once is whole, whatever the engine does while it is followed."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.model.step import Capture, ImageRun, StepExpect
from pytest_clnrm.model.text import TextExpect
from pytest_clnrm.runner.actions import image

Pieces = list[tuple[str, bytes]]


class Log:
    """An output that gives these pieces."""

    def __init__(self, pieces: list[Pieces | None]) -> None:
        self._pieces = pieces

    def receive(self, _: float) -> Pieces | None:
        """Return the next ones."""
        return self._pieces.pop(0)

    def may_lack(self) -> str:
        """Return what an engine says that has dropped its beginning."""
        return "it is full"

    def close(self) -> None:
        """Do nothing."""


def taken(followed: list[Pieces | None], read: list[Pieces | None]) -> tuple[bool, dict[str, bytes]]:
    """Return whether the container has ended in time, and the output, by what each of both readings gives."""
    logs = {False: Log(followed), True: Log(read)}
    engine = SimpleNamespace(follow_log=lambda _, until_now=False: logs[until_now])
    got = {"stdout": b"", "stderr": b""}

    def feed(stream: str, data: bytes) -> None:
        got[stream] += data

    setting: Any = SimpleNamespace(
        around=SimpleNamespace(runtime=SimpleNamespace(engine=lambda: engine)),
        deadline_s=time.monotonic() + 60,
        feed=feed,
    )
    had: dict[Any, int] = {"stdout": 0, "stderr": 0}
    ended = image._follow("id", setting, had)
    assert image._complete("id", setting, had) == "it is full"
    return ended, got


@pytest.mark.parametrize(
    "followed",
    [
        [[]],
        [[("stdout", b"one\n")], []],
        [[("stdout", b"one\ntw"), ("stderr", b"er")], []],
        [[("stdout", b"one\ntwo"), ("stderr", b"error")], []],
    ],
)
def test_what_comes_after_the_end_is_not_lost(followed: list[Pieces | None]) -> None:
    """What the engine has not sent before its stream ended is read afterwards, and nothing twice."""
    read: list[Pieces | None] = [
        [("stdout", b"one\n"), ("stderr", b"err")],
        [("stdout", b"two"), ("stderr", b"or")],
    ]
    assert taken(followed, [*read, []]) == (True, {"stdout": b"one\ntwo", "stderr": b"error"})


@pytest.mark.parametrize(
    ("expect", "captures"),
    [
        (StepExpect(stderr=TextExpect(not_contains=("ERROR",), at=("stderr",))), ()),
        (StepExpect(), (Capture(name="id", regex="(.*)", stream="stderr", at=("stderr",)),)),
    ],
)
def test_stderr_where_both_streams_are_one(expect: StepExpect, captures: tuple[Capture, ...]) -> None:
    """There is none to be looked at, so the step fails, and the image is not run."""
    engine = SimpleNamespace(facts=SimpleNamespace(merges_streams=True))
    step = SimpleNamespace(name="migrate", expect=expect, captures=captures)
    setting: Any = SimpleNamespace(
        around=SimpleNamespace(runtime=SimpleNamespace(engine=lambda: engine)),
        step=step,
        failure=lambda message, kind, *, at: (message, kind, at),
    )
    attempt: Any = image.run_image(ImageRun(image="i"), setting)
    told = (
        "stderr of step 'migrate' cannot be told: this engine keeps stdout and stderr of a container as one "
        "text; look at stdout, which has both"
    )
    assert attempt.failures == ((told, "error", ("stderr",)),)
    assert attempt.is_last


def test_a_container_that_is_late() -> None:
    """What it has printed until then is told."""
    read: list[Pieces | None] = [[("stdout", b"one\ntwo")], []]
    assert taken([[("stdout", b"one")], None], read) == (False, {"stdout": b"one\ntwo", "stderr": b""})
