"""Looking at files of containers."""

from __future__ import annotations

from clnrm_testing.defences import Defence

DEFENCES = (
    Defence(
        name="a file is read for as long as there is time",
        target="pytest_clnrm.engine.docker.archive:_check_time",
        without=lambda _: lambda deadline_s, doing: None,
        attack="test_looking.py::test_files_without_an_end",
        shows="IT WAS READ TO ITS END",
    ),
    Defence(
        name="what is in memory is not taken for absent",
        target="pytest_clnrm.runner.checks.files:Looking._refuse_memory",
        without=lambda _: lambda self, real: None,
        attack="test_looking.py::test_files_without_an_end",
        shows="IT WAS TAKEN FOR ABSENT",
    ),
)
