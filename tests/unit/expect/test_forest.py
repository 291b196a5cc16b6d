"""What is above and below spans, in long chains and in circles too."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pytest_clnrm.expect.forest import Forest
from pytest_clnrm.expect.spans import judge_spans
from pytest_clnrm.model.span import Span
from pytest_clnrm.scenario.format.expect_document import ExpectDoc

LONG = 2_000


def make(span_id: str, parent: str | None = None, name: str = "", **more: Any) -> Span:
    """Return a span whose name is its id unless said otherwise."""
    return Span(
        trace_id="t", span_id=span_id, parent_id=parent, name=name or span_id, start_ns=1, end_ns=2, **more
    )


CHAIN = [make("0", name="root"), *(make(str(i), str(i - 1), "db") for i in range(1, LONG)), make("other")]


@pytest.mark.parametrize(
    "spans",
    [
        (make("a"), make("b", "a"), make("c", "b"), make("d", "a"), make("e"), make("f", "lost")),
        (make("a", "b"), make("b", "a"), make("c", "b")),
        (make("a", "a"), make("b", "a")),
        (
            make("run", "gone", origin="runner"),
            make("s", "run", "clnrm.step", origin="runner"),
            make("a", "lost", attempt="s"),
            make("b", "a"),
        ),
    ],
    ids=["tree", "circle", "own parent", "step"],
)
def test_below_is_what_has_one_among_its_ancestors(spans: tuple[Span, ...]) -> None:
    """Both ways say the same; what is in a circle is below itself."""
    forest = Forest(spans)
    for upper in spans:
        by_ancestors = {id(span) for span in spans if upper in forest.ancestors(span)}
        assert forest.below([upper]) == by_ancestors
    assert forest.below([]) == set()
    assert forest.below(spans) == {id(span) for span in spans if any(forest.ancestors(span))}


def test_ancestors_end_in_a_circle() -> None:
    """Each is named once."""
    forest = Forest([make("a", "b"), make("b", "a"), make("c", "b")])
    above = {span.name: [each.name for each in forest.ancestors(span)] for span in forest.spans}
    assert above == {"a": ["b", "a"], "b": ["a", "b"], "c": ["b", "a"]}


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ({"graph": {"must_not_cross": [["other", "db"]]}}, ""),
        ({"graph": {"must_not_cross": [["db", "root"]]}}, ""),
        (
            {"graph": {"must_not_cross": [["db", "db"]]}},
            "expect.graph.must_not_cross: 1998 of 1999 spans named db below one named db",
        ),
        ({"edge": [{"parent": "root", "child": "db", "relation": "descendant", "every": True}]}, ""),
        (
            {"edge": [{"parent": "other", "child": "db", "relation": "descendant"}]},
            "expect.edge[other -> db]: 1999 of 1999 spans without such an ancestor",
        ),
        ({"span": [{"select": {"name": "db", "under": "other"}, "count": 0}]}, ""),
        ({"span": [{"select": {"name": "db", "under": {"name": "db", "under": "root"}}, "count": 1998}]}, ""),
        (
            {"span": [{"select": {"name": "db", "under": "other"}}]},
            "expect.span[db]: no span selected, expected at least 1",
        ),
    ],
    ids=str,
)
def test_long_chains_are_walked_in_steps_that_grow_with_the_number_of_spans(
    expect: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with its square: some ten ways to the top for what is shown, and a few looks at each span."""
    steps = 0
    parent = Forest.parent

    def counted(forest: Forest, span: Span) -> Span | None:
        nonlocal steps
        steps += 1
        return parent(forest, span)

    monkeypatch.setattr(Forest, "parent", counted)
    built = msgspec.convert(expect, ExpectDoc).built(lambda *keys: keys)
    found = list(judge_spans(built, CHAIN, where=str))
    assert [each.message for each in found] == ([message] if message else [])
    assert LONG <= steps <= 50 * LONG


def test_a_lost_parent_far_above_is_found_in_few_steps() -> None:
    """What is below it cannot be judged; ten of these are told."""
    spans = [make("0", "lost", "top"), *CHAIN[1:]]
    built = msgspec.convert({"graph": {"must_not_cross": [["other", "db"]]}}, ExpectDoc).built(
        lambda *keys: keys
    )
    (failure,) = judge_spans(built, spans, where=str)
    assert failure.message == (
        "expect.graph.must_not_cross: cannot be judged, as what is above 1999 of 1999 spans named db "
        "never arrived"
    )
    assert failure.details.startswith("db: the parent of top is lost, which never arrived\n")
    assert "... 1989 more spans" in failure.details
