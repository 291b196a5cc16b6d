"""Judging what a service has printed: each check holds, and fails with what was expected and got."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.expect.checks.logs import judge_log
from pytest_clnrm.expect.texts import Output
from pytest_clnrm.model.check import LogCheck
from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.model.text import LinesExpect, TextExpect

TEXT = "starting\r\nGET /a\nGET /b\nready"


def wrong(text: str, omitted: int = 0, **check: Any) -> list[tuple[str, Any, str]]:
    """Return message, key and details of each check that does not hold."""
    made = LogCheck(service="api", at=("check", 0), **check)
    faults = judge_log(made, Output("the log", text, omitted))
    return [(fault.message, fault.at[2:], fault.details.partition("the log")[0].strip()) for fault in faults]


def lines(pattern: str, **bounds: int) -> dict[str, Any]:
    """Return how many lines must match."""
    number = tuple(Condition(op=op, value=value) for op, value in bounds.items())  # type: ignore[arg-type]
    return {"count": (LinesExpect(regex=pattern, number=number, at=("check", 0, "count")),)}


@pytest.mark.parametrize(
    ("holds", "fails", "message", "key"),
    [
        (
            {"content": TextExpect(contains=("ready",))},
            {"content": TextExpect(contains=("bye",), at=("check", 0, "content"))},
            f"the log does not contain 'bye', got {TEXT!r}",
            ("content", "contains", 0),
        ),
        (
            lines("GET", eq=2),
            lines("GET", gte=3),
            "the log has 2 lines that match 'GET', expected at least 3",
            ("count",),
        ),
        (
            lines("g$", lt=2),
            lines("^GET /a$", ne=1),
            "the log has 1 line that matches '^GET /a$', expected any but 1",
            ("count",),
        ),
        (
            lines("nothing", eq=0),
            lines("nothing", gt=0),
            "the log has no line that matches 'nothing', expected more than 0",
            ("count",),
        ),
        (
            {"order": ("start", "GET", "GET", "ready$")},
            {"order": ("GET", "bye")},
            "the log has no line that matches 'bye' after line 2, 'GET /a'",
            ("order", 1),
        ),
        (
            {"order": ("start", "GET /b")},
            {"order": ("x", "y")},
            "the log has no line that matches 'x'",
            ("order", 0),
        ),
    ],
)
def test_each_check_holds_or_says_why_not(
    holds: dict[str, Any], fails: dict[str, Any], message: str, key: Any
) -> None:
    """The message has what was expected and what is there, and its place is the key."""
    assert wrong(TEXT, **holds) == []
    assert wrong(TEXT, **fails) == [(message, key, "")]


def test_what_comes_in_another_order_is_told_where_it_is() -> None:
    """The nearest miss of an order is the line that matches before."""
    told = "the log has no line that matches 'start' after line 4, 'ready'"
    assert wrong(TEXT, order=("ready", "start")) == [
        (told, ("order", 1), "it matches before that: line 1: 'starting'")
    ]


def test_an_empty_log_holds_nothing() -> None:
    """Not even a line that matches everything."""
    assert wrong("", **lines("", eq=0)) == []
    assert wrong("", order=("", "")) == [("the log has no line that matches ''", ("order", 0), "")]


def test_a_log_that_was_cut_proves_only_what_is_found() -> None:
    """What was left out could change a number, but not what is there; the first line is no whole one."""
    assert wrong(TEXT, 9, **lines("GET", gte=2)) == []
    cut = "(cannot be judged: its first 9 bytes were left out)"
    told = f"the lines of the log that match {{}} are to be counted {cut}"
    assert wrong(TEXT, 9, **lines("GET", eq=2)) == [(told.format("'GET'"), ("count",), "")]
    assert wrong(TEXT, 9, **lines("starting", gte=1)) == [(told.format("'starting'"), ("count",), "")]
    assert wrong(TEXT, 9, order=("GET", "ready")) == []
    assert wrong(TEXT, 9, order=("no", "ready")) == [
        (f"the log has no line that matches 'no' {cut}", ("order", 0), "")
    ]


def test_a_pattern_that_a_captured_value_breaks_is_a_fault() -> None:
    """It is no error of ours."""
    ((message, _, _),) = wrong(TEXT, order=("(", "x"))
    assert message.startswith("the log could not be searched: missing )")
