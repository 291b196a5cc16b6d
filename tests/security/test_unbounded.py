"""A file or a program asks for work without an end, or for all memory."""

from __future__ import annotations

import pytest
from clnrm_testing.end_to_end import EndToEnd

SLOW = "(a+)+$"
"""On 27 a's and another letter: several seconds; on 40: a day."""
PRINTS = f'"printf {"a" * 27}b"'


@pytest.mark.engine
@pytest.mark.parametrize(
    "what",
    [
        f'[[step]]\nrun = {PRINTS}\ntimeout = "1s"\nexpect = {{ stdout = {{ not_regex = "{SLOW}" }} }}\n',
        f'[[step]]\nrun = {PRINTS}\ntimeout = "1s"\ncapture = {{ x = {{ regex = "{SLOW}" }} }}\n',
        (
            f'command = ["sh", "-c", {PRINTS[:-1]}; exec sleep 60"]\n'
            f'ready = {{ log = "{SLOW}", timeout = "3s" }}\n[[step]]\nrun = "true"\n'
        ),
    ],
    ids=["expect", "capture", "ready.log"],
)
def test_regular_expression(project: EndToEnd, what: str) -> None:
    """It ends in the time of its step or service, with a failure that says which one took too long."""
    project.write("a.clnrm.toml", f'[service.box]\nimage = "busybox"\n{what}')
    run = project.run()
    assert f"the regular expression '{SLOW}' took longer than" in run.text, f"IT RAN TO ITS END\n{run.text}"
    assert run.outcomes() in ({"a": "failed"}, {"a": "error"})
