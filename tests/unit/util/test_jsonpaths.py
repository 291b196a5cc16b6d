"""JSONPaths that others wrote: what they select, and that looking it up ends."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from pytest_clnrm.util import jsonpaths
from pytest_clnrm.util.jsonpaths import read_path, select
from pytest_clnrm.util.patterns import within

WIDE = json.dumps([[[row] * 30 for row in range(30)] for _ in range(30)])


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "it must begin with $, the whole document"),
        ("a.b", "it must begin with $, the whole document"),
        ("$.", "expected a shorthand selector"),
        ("$[[0]]", "unexpected token in bracketed selection 'lbracket'"),
        ("$[?nope(@)]", "function 'nope' is not defined"),
        ("$.a =~ /x/", "unexpected token '='"),
        ("$." + "a" * 1000, "it is longer than 1000 characters"),
        ("$[?" + "(" * 100 + "@" + ")" * 100 + "]", "it is nested more than 100 levels deep"),
        ("$['" + "[" * 200 + "\\'" + "(" * 200 + "']", ""),
        ("$..a[?@.b == 'x' && length(@.c) > 2]", ""),
    ],
)
def test_problems(path: str, problem: str) -> None:
    """What is no path of the RFC is told in words; extensions of the library are none."""
    assert read_path(path).problem == problem


def test_which_paths_are_singular() -> None:
    """Names and indices alone select one value at most."""
    singular = ("$", "$.a", "$['a b'][0]", "$[-1].x")
    several = ("$.*", "$..a", "$[0,1]", "$[0:1]", "$[?@.a]")
    assert [read_path(each).is_singular for each in (*singular, *several)] == [True] * 4 + [False] * 5


@pytest.mark.parametrize(
    ("document", "path", "locations", "reached"),
    [
        ({"a": [{"x": 1}, {"x": 2}]}, "$.a[*].x", (("a", 0, "x"), ("a", 1, "x")), ()),
        ({"a": [1, 2]}, "$.a[-1]", (("a", 1),), ()),
        ({"a": {"b": 1}}, "$.a.c.d", (), ("a",)),
        ({"a": [{}, {}]}, "$.a[*].c", (), ("a", 0)),
        ("abc", "$[0]", (), ()),
        ("[1]", "$", ((),), ()),
        (None, "$", ((),), ()),
    ],
)
def test_select(document: Any, path: str, locations: tuple[Any, ...], reached: tuple[Any, ...]) -> None:
    """Places are given as names and indices; of nothing, how far the path leads."""
    (found,) = select(json.dumps(document), [path])
    assert (found.locations, found.reached, found.problem) == (locations, reached, "")


@pytest.mark.parametrize("path", ["$..*..*..*..*..*", "$" + "[*,*,*]" * 12, "$" + "..[*,*]" * 20])
def test_what_takes_too_long_ends(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends at its limit, whatever the path, and the next one is looked up as usual."""
    monkeypatch.setattr(jsonpaths, "LIMIT_S", 0.3)
    (found,) = select(WIDE, [path])
    assert found.problem == "looking it up takes longer than 0.3 s, or too much memory; select less"
    monkeypatch.undo()
    assert select("[1]", ["$[0]"])[0].locations == ((0,),)


def test_too_many_and_too_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    """What selects very much, or a document that is nested without an end, is told."""
    (found,) = select("[" + "0," * 120_000 + "0]", ["$[*]"])
    assert found.problem == "it selects more than 100000 values; select less"
    (deep,) = select("[" * 90 + "]" * 90 + " " * 10, ["$..*"])
    assert len(deep.locations) == 89
    (deeper,) = select("[" * 300 + "]" * 300, ["$..*"])
    assert deeper.problem.startswith("it cannot be looked up: recursion limit exceeded")
    monkeypatch.setattr(jsonpaths, "LIMIT_S", 1)
    with within(time.monotonic() - 10):
        assert select("[1]", ["$"])[0].locations == ((),)
