"""Results cross process borders as plain builtins."""

from __future__ import annotations

import json

import pytest

from pytest_clnrm.model.result import ContainerFacts, Failure, Result, StepResult, clean_text, tail


class Text(str):
    """A subclass of str, as some libraries return."""

    __slots__ = ()


FULL = Result(
    nodeid="a.toml::x",
    name="x",
    file="a.toml",
    line=3,
    tags=("one", "two"),
    priority="high",
    outcome="failed",
    containers=(ContainerFacts(id="1", name="n", service="s", image="i", memory_bytes=1, cpus=0.5),),
    steps=(StepResult(name="s", service="s", outcome="failed", failures=(Failure(message="m"),)),),
    failures=(Failure(message="m", where="a.toml:3"),),
    unchecked=("assertions.x",),
)


def test_there_and_back() -> None:
    """from_data is the inverse of to_data, through JSON too."""
    assert Result.from_data(FULL.to_data()) == FULL
    assert Result.from_data(json.loads(json.dumps(FULL.to_data()))) == FULL


def test_data_holds_exact_builtins() -> None:
    """No subclass of str and no lone surrogate gets into the data: xdist would refuse the report."""
    data = Result(nodeid=Text("n"), name="a\ud800b", file="f", line=True, duration_s=1).to_data()
    assert type(data["nodeid"]) is str
    assert data["name"] == "a\ufffd\ufffd\ufffdb"
    data["name"].encode()


def test_another_format_is_refused() -> None:
    """Data of another version is an error that names both versions."""
    with pytest.raises(ValueError, match=r"a result of format 99; this version reads 1"):
        Result.from_data({**FULL.to_data(), "format": 99})


def test_tail_says_what_is_left_out() -> None:
    """A text within the limit stays; a longer one is cut to its end, with a note."""
    assert tail("abc", 3) == "abc"
    assert tail("abcdef", 2) == "[... 4 characters left out ...]\nef"


def test_clean_text_keeps_good_text() -> None:
    """Text without surrogates is not changed."""
    assert clean_text("ünïcode ✅") == "ünïcode ✅"
