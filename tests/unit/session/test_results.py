"""The controller's summary."""

from __future__ import annotations

from argparse import Namespace
from unittest.mock import Mock

from pytest_clnrm.session.results import SessionResults


def test_engines_that_could_not_be_used_stand_below_one_heading() -> None:
    """However many reasons there are, each is told once, with what to do."""
    reporter = Mock()
    reporter.config.option = Namespace(no_summary=False, verbose=0)
    results = SessionResults(
        runtime=Mock(engine_warnings=(), interrupted=()), began_s=0.0, began_monotonic_s=0.0
    )
    results.refused = {"it is gone": [], "no such socket": ["start one"]}
    results.pytest_terminal_summary(reporter)
    reporter.section.assert_called_once_with("clnrm: no container engine", sep="-")
    assert [call.args[0] for call in reporter.line.call_args_list] == [
        "it is gone",
        "no such socket",
        "start one",
    ]
