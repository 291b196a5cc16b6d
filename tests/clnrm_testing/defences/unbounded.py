"""Work without an end: regular expressions, templates, large files, bodies of spans."""

from __future__ import annotations

import pickle
from typing import Any

from clnrm_testing.defences import Defence


def _ask_here(request: Any) -> Any:
    """Look paths up in this process."""
    from pytest_clnrm.util.jsonpaths import answer

    return pickle.loads(answer(pickle.dumps(request)))  # noqa: S301 (our own words)


DEFENCES = (
    Defence(
        name="regular expressions are matched in a process that can be ended",
        target="pytest_clnrm.util.patterns:is_tame",
        without=lambda _: lambda *_: True,
        # One of its three: each takes as long as the pattern does.
        attack="test_unbounded.py::test_regular_expression[expect]",
        shows="IT RAN TO ITS END",
    ),
    Defence(
        name="JSONPaths are looked up in a process that can be ended",
        target="pytest_clnrm.util.jsonpaths:_ask",
        without=lambda _: _ask_here,
        attack="test_unbounded.py::test_json_path",
        shows="IT RAN TO ITS END",
    ),
    Defence(
        name="templates that do more than name things are rendered in a process with limits",
        target="pytest_clnrm.scenario.loading:is_modest",
        without=lambda _: lambda _text: True,
        attack="test_unbounded.py::test_one_call",
        shows="IT RAN TO ITS END",
    ),
    Defence(
        name="the parts of a body are counted before they are made",
        target="pytest_clnrm.telemetry.otlp.parts:count_protobuf",
        without=lambda _: lambda _body, _message: None,
        attack="test_unbounded.py::test_spans_are_counted_before_they_are_made",
        shows="IT WAS TAKEN",
    ),
)
