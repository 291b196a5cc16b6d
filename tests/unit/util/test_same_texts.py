"""Equal short texts are kept once, and nothing else changes."""

from __future__ import annotations

import json

from pytest_clnrm.util.same_texts import with_same_texts

DATA = {"steps": [{"name": "one", "exit_code": 0, "stdout": "x" * 100}], "file": "a.toml", "none": None}


def test_equal_texts_of_two_results_are_one() -> None:
    """Keys and names of the second take no memory; what was a list or a tuple stays one."""
    one, other = (with_same_texts(json.loads(json.dumps(DATA))) for _ in range(2))
    assert one == other == DATA
    assert all(mine is theirs for mine, theirs in zip(one, other, strict=True))
    assert one["file"] is other["file"]
    assert next(iter(one["steps"][0])) is next(iter(other["steps"][0]))
    assert one["steps"][0]["name"] is other["steps"][0]["name"]
    assert one["steps"][0]["stdout"] is not other["steps"][0]["stdout"]
    assert with_same_texts(("a", ["b"], {"c": ("d",)})) == ("a", ["b"], {"c": ("d",)})


def test_other_values_are_left_alone() -> None:
    """A text of another type may mean more, and an object is nobody's data."""
    text = type("Text", (str,), {})("a")
    thing = object()
    assert with_same_texts([text, thing])[0] is text
    assert with_same_texts([text, thing])[1] is thing
