"""Where the log of a service is read, and what is said where it cannot be judged."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_clnrm.errors import ContainerError
from pytest_clnrm.model.check import LogCheck
from pytest_clnrm.model.text import TextExpect
from pytest_clnrm.runner.checks.logs import check_log

Pieces = list[tuple[str, bytes]]
PRINTED: Pieces = [("stdout", b"ready\n"), ("stderr", b"ERROR: lost\n")]


class Log:
    """An output that gives these pieces at once."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces

    def receive(self, _: float) -> Pieces:
        """Return them once."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def close(self) -> None:
        """Do nothing."""


def faults(*, merges: bool = False, **check: Any) -> list[str]:
    """Return what is wrong with a log of both streams, on an engine that keeps them as one or not."""
    pieces = [("stdout", data) for _, data in PRINTED] if merges else PRINTED
    engine = SimpleNamespace(
        facts=SimpleNamespace(merges_streams=merges),
        follow_log=lambda _, *, until_now, since_s: Log(pieces) if until_now and since_s is None else None,
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
