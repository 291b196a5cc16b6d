"""Captured values in expectations about spans."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_clnrm.model.expectations import Condition
from pytest_clnrm.scenario.templates.binding import bind_expectations
from pytest_clnrm.scenario.templates.render import TemplateError

FILE = """
[vars]
host = "h1"
[[step]]
run = "make"
capture = { id = { regex = "id (.*)" } }
[[expect.span]]
select = { name = "GET /orders/{{ id }}", resource = { "host.name" = "{{ host }}" } }
attrs = { "order.id" = "{{ id }}", "url.full" = { regex = "^http.*/{{ id }}$" } }
events = { all = ["made {{ id }}"] }
[expect.graph]
must_include = [["GET /orders/{{ id }}", "SELECT *"]]
"""
ID = frozenset({"id"})


def test_values_are_put_in_when_the_steps_are_over(project: Any) -> None:
    """In names they stand for themselves, in conditions they are compared as they are."""
    expect = project.one(FILE).expect
    assert expect.spans[0].select.name == "GET /orders/{{ id }}"
    assert expect.spans[0].select.resource["host.name"] == (Condition(op="eq", value="h1"),)
    bound = bind_expectations(expect, {"id": "7[1]", "host": "h1"}, ID)
    (span,) = bound.spans
    assert span.select.name == "GET /orders/7[[]1]"
    assert span.attrs["order.id"] == (Condition(op="eq", value="7[1]"),)
    assert span.attrs["url.full"] == (Condition(op="regex", value="^http.*/7[1]$"),)
    assert span.events_all == ("made 7[[]1]",)
    assert span.at == ("expect", "span", 0)
    assert bound.graph is not None
    assert bound.graph.must_include == (("GET /orders/7[[]1]", "SELECT *"),)
    assert bind_expectations(expect, {}, frozenset()) is expect


def test_what_cannot_be_put_in(project: Any) -> None:
    """A value that no step has captured, or that makes no pattern, is told."""
    expect = project.one(FILE).expect
    with pytest.raises(TemplateError, match="id"):
        bind_expectations(expect, {"host": "h1"}, ID)
    with pytest.raises(TemplateError, match=r"with the captured value, .* is no regular expression"):
        bind_expectations(expect, {"id": "("}, ID)


SCENARIOS = """
[[scenario]]
name = "a"
[[scenario.step]]
run = "true"
capture = { id = { regex = "." } }
[[scenario]]
name = "b"
[[scenario.step]]
run = "true"
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SCENARIOS + '[[scenario.expect.span]]\nselect = "{{ id }}"\n',
            'scenario[1].expect.span[0].select: names "id" which no step captures',
        ),
        (SCENARIOS + '[[expect.span]]\nselect = "{{ id }}"\n', ""),
    ],
)
def test_names_that_no_step_captures(project: Any, text: str, message: str) -> None:
    """A scenario's own expectations name what its own steps capture; the file's, what any of them does."""
    found = [each.partition("\n")[0].partition(": ")[2] for each in project.refuse(text)] if message else []
    assert found == ([message] if message else [])
    if not message:
        assert [each.name for each in project.load(text)] == ["a", "b"]
