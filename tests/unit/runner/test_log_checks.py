"""Where the log of a service is read, and what is said where it cannot be judged."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.check import LogCheck
from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.text import LinesExpect, TextExpect
from pytest_clnrm.runner.checks.logs import check_log

Pieces = list[tuple[str, bytes]]
PRINTED: Pieces = [("stdout", b"ready\n"), ("stderr", b"ERROR: lost\n")]


class Log:
    """An output that gives these pieces at once."""

    def __init__(self, pieces: Pieces, lacks: str) -> None:
        self._pieces = pieces
        self._lacks = lacks

    def receive(self, _: float) -> Pieces:
        """Return them once."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def may_lack(self) -> str:
        """Return what the engine says of its beginning."""
        return self._lacks

    def close(self) -> None:
        """Do nothing."""


def faults(*, merges: bool = False, lacks: str = "", **check: Any) -> list[str]:
    """Return what is wrong with a log of both streams.

    :param merges: the engine keeps them as one.
    :param lacks: why the engine may have lost its beginning.
    """
    pieces = [("stdout", data) for _, data in PRINTED] if merges else PRINTED
    engine = SimpleNamespace(
        facts=SimpleNamespace(merges_streams=merges),
        follow_log=lambda _, *, until_now, since_s: Log(pieces, lacks),
    )
    around = SimpleNamespace(
        runtime=SimpleNamespace(engine=lambda: engine),
        containers={"api": SimpleNamespace(id="c", keeps_alive=False)},
    )
    setting: Any = SimpleNamespace(around=around, deadline_s=time.monotonic() + 60)
    made = LogCheck(service="api", **check)
    return [each.message for each in check_log(made, setting, "log of service 'api'")]


CALM = TextExpect(not_contains=("ERROR",))
FOUND = "contains 'ERROR', which it must not"


def test_one_of_two_streams() -> None:
    """Without a name both are looked at."""
    assert faults(content=CALM, stream="stdout") == []
    assert faults(content=CALM, stream="stderr") == [f"stderr in the log of service 'api' {FOUND}"]
    assert faults(content=CALM) == [f"the log of service 'api' {FOUND}"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_one_of_two_streams_that_are_kept_as_one(stream: str) -> None:
    """Of which each line was cannot be told: neither what must be there nor what must not."""
    told = (
        "this engine keeps stdout and stderr of a container as one text, in which `from` cannot be told apart"
    )
    for content in (CALM, TextExpect(contains=("ready",))):
        with pytest.raises(ContainerError, match=f"^{re.escape(told)}; leave it out to look at both$"):
            faults(merges=True, content=content, stream=stream)
    assert faults(merges=True, content=CALM) == [f"the log of service 'api' {FOUND}"]


def test_a_log_that_may_lack_its_beginning() -> None:
    """What is there is there; what must not have been there, and what is first or counted, is not known."""
    lost = "it is full"
    told = f" (cannot be judged: {lost})"
    about = "the log of service 'api'"
    ready = LinesExpect(regex="ready", number=(Condition(op="eq", value=1),))
    early = LinesExpect(regex="^ERROR: lost$", number=(Condition(op="gte", value=1),))
    for holds in (
        {"content": TextExpect(contains=("ready", "lost"), regex=("(?m)^ERROR",), ends_with="lost")},
        {"count": (early,)},
        {"order": ("ERROR",)},
    ):
        assert faults(lacks=lost, **holds) == []
    for fails, message in (
        ({"content": TextExpect(not_contains=("FATAL",))}, f"{about} must not contain 'FATAL'{told}"),
        ({"content": TextExpect(not_regex=("FATAL",))}, f"{about} must not match 'FATAL'{told}"),
        ({"content": TextExpect(starts_with="ready")}, f"{about} must start with 'ready'{told}"),
        ({"content": TextExpect(regex=("^ready",))}, f"{about} does not match '^ready'{told}"),
        ({"content": TextExpect(contains=("begun",))}, f"{about} does not contain 'begun'{told}"),
        ({"count": (ready,)}, f"the lines of {about} that match 'ready' are to be counted{told}"),
        ({"order": ("begun", "ready")}, f"{about} has no line that matches 'begun'{told}"),
    ):
        assert faults(lacks=lost, **fails) == [message]
    assert faults(content=CALM, stream="stdout", lacks=lost) == [
        f"stdout in {about} must not contain 'ERROR'{told}"
    ]
