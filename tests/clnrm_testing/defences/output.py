"""What workloads write, as it is shown."""

from __future__ import annotations

from clnrm_testing.defences import Defence
from pytest_clnrm.util.readings import Plain

DEFENCES = (
    Defence(
        name="control characters are escaped",
        target="pytest_clnrm.util.terminal_text:escaped",
        without=lambda _: lambda text: text,
        attack="test_output.py::test_output_commands_nobody",
        shows="OBEYED",
    ),
    Defence(
        name="no line is a command to a CI service",
        target="pytest_clnrm.util.terminal_text:without_commands",
        without=lambda _: lambda text: text,
        attack="test_output.py::test_output_commands_nobody",
        shows="OBEYED",
    ),
    Defence(
        name="files whose paths cannot be shown are refused",
        target="pytest_clnrm.items.scenario_file:can_be_shown",
        without=lambda _: lambda path, rootdir: True,
        attack="test_output.py::test_paths_and_mistakes_command_nobody",
        shows="OBEYED",
    ),
    Defence(
        name="secrets are found however they are written",
        target="pytest_clnrm.util.readings:readings",
        without=lambda _: lambda text, forms: [(Plain(text), forms.plain)],
        attack="test_output.py::test_disguised_secret",
        shows="SHOWN",
    ),
)
