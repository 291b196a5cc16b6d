"""The controller's summary."""

from __future__ import annotations

from argparse import Namespace
from unittest.mock import Mock

from pytest_clnrm.session.results import SessionResults, open_ports_lines


def test_engines_that_could_not_be_used_stand_below_one_heading() -> None:
    """However many reasons there are, each is told once, with what to do."""
    reporter = Mock()
    reporter.config.option = Namespace(no_summary=False, verbose=0)
    results = SessionResults(
        runtime=Mock(engine_warnings=(), interrupted=(), open_ports=set()), began_s=0.0, began_monotonic_s=0.0
    )
    results.refused = {"it is gone": [], "no such socket": ["start one"]}
    results.pytest_terminal_summary(reporter)
    reporter.section.assert_called_once_with("clnrm: no container engine", sep="-")
    assert [call.args[0] for call in reporter.line.call_args_list] == [
        "it is gone",
        "no such socket",
        "start one",
    ]


def test_many_open_ports_are_counted() -> None:
    """Ten are named, and how many more there are; a single one, and none, in words of their own."""
    (line,) = open_ports_lines({("there", "web", port) for port in range(80, 92)})
    assert line.startswith("ports 80 of service 'web', 81 of ")
    assert ", 89 of service 'web' and 2 more were published on all addresses of " in line
    (line,) = open_ports_lines({("there", "db", 5432)})
    assert line.startswith("port 5432 of service 'db' was published on ")
    assert "whoever reaches there reaches" in line
    assert open_ports_lines(set()) == []
