"""No claim of an older dialect vanishes: it is a part of what is expected, or named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_clnrm.scenario.dialects.normalise import Normalised, normalise


def dotted(found: Normalised) -> set[str]:
    """Return the unchecked paths as text."""
    return {".".join(map(str, path)) for path in found.unchecked}


COUNTS = {"errors_total": {"max": 5}}
MAX_5 = {"max_errors": 5}
ATTRS: dict[str, Any] = {"a": 1, "b": {"exists": False}, "c": {"gte": 1}}
CLAIMS: dict[str, tuple[dict[str, Any], dict[str, Any], set[str]]] = {
    "bounds that go together": (
        {"counts": COUNTS, "status": {"errors_allowed": False, "x": {"expected_status": "OK", **MAX_5}}},
        {"counts": {"errors_total": {"lte": 5, "eq": 0}}, "status": {"by_name": {"*": "ok"}}},
        set(),
    ),
    "bounds that do not": (
        {"counts": COUNTS, "status": {"error_count": {"max": 4}, "all": "UNSET", "all_ok": True}},
        {"counts": {"errors_total": {"lte": 5}}, "status": {"all": "unset"}},
        {"status.error_count", "status.all_ok"},
    ),
    "one claim twice": (
        {"counts": {"errors_total": 0}, "status": {"errors_allowed": False, "all": "ok", "all_ok": True}},
        {"counts": {"errors_total": {"eq": 0}}, "status": {"all": "ok"}},
        set(),
    ),
    "numbers of other spans": (
        {"counts": {"from": "runner", "by_kind": {"CLIENT": 0}}, "status": {"errors_allowed": False}},
        {
            "counts": {"from": "runner"},
            "span": [{"select": {"kind": "client", "from": "runner"}, "count": 0}],
        },
        {"status.errors_allowed"},
    ),
    "errors of other spans": (
        {"status": {"errors_allowed": False, "from": "any"}},
        {"counts": {"from": "any", "errors_total": {"eq": 0}}, "status": {"from": "any"}},
        set(),
    ),
    "no flags": (
        {"counts": COUNTS, "status": {"errors_allowed": "no", "all_ok": 1}},
        {"counts": {"errors_total": {"lte": 5}}},
        {"status.errors_allowed", "status.all_ok"},
    ),
    "names of a status": (
        {"status": {"by_name": {"pay*": "ok"}, "x": {"name_pattern": "pay.*", "expected_status": "ERROR"}}},
        {"status": {"by_name": {"pay*": "ok"}}},
        {"status.x"},
    ),
    "attributes that are required": (
        {"span": [{"name": "x", "attrs": ATTRS, "required_attributes": ["a", "b", "c", "d"]}]},
        {"span": [{"select": {"name": "x"}, "attrs": {**ATTRS, "d": {"exists": True}}}]},
        {"span.0.required_attributes.1"},
    ),
    "events": (
        {"span": [{"name": "x", "events": {"any": ["a"]}, "required_events": ["b"]}]},
        {"span": [{"select": {"name": "x"}, "events": {"any": ["a"], "all": ["b"]}}]},
        set(),
    ),
    "edges in two places": (
        {"edge": [{"parent": "a", "child": "b"}], "graph": {"edges": [{"parent": "c", "child": "d"}]}},
        {"edge": [{"parent": "a", "child": "b"}, {"parent": "c", "child": "d"}]},
        set(),
    ),
    "more in a labelled table": (
        {
            "counts": {"l": {"name_pattern": "a", "min": 1, "rate": 2, "description": "d"}},
            "graph": {"l": {"parent_pattern": "a", "child_pattern": "b", "edge_type": "c"}},
            "order": {"l": {"before_pattern": "a", "after_pattern": "b", "max_gap_ms": 3}},
            "status": {"l": {"expected_status": "ok", "at_least": 4}},
            "window": {
                "l": {"container_pattern": "a", "contained_pattern": "b", "max_duration_ms": 5, "x": 6},
            },
            "hermeticity": {"resource_attributes": {"required_attributes": ["a"], "values": 7}},
        },
        {
            "counts": {"by_name": {"a": {"gte": 1}}},
            "edge": [{"parent": {"name": "a"}, "child": {"name": "b"}}],
            "order": {"must_precede": [["a", "b"]]},
            "status": {"by_name": {"*": "ok"}},
            "window": [{"outer": "a", "contains": ["b"], "max_duration": "5ms"}],
            "hermeticity": {"resource_attrs": {"must_match": {"a": {"exists": True}}}},
        },
        {
            "counts.l.rate", "graph.l.edge_type", "order.l.max_gap_ms", "status.l.at_least", "window.l.x",
            "hermeticity.resource_attributes.values",
        },
    ),
    "patterns that are no names": (
        {"span": [{"name_pattern": "a|b"}], "status": {"x": {"name_pattern": "(", "expected_status": "ok"}}},
        {"span": [{}]},
        {"span.0.name_pattern", "status.x"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("expect", "made", "lost"), CLAIMS.values(), ids=CLAIMS)
def test_no_claim_vanishes(expect: dict[str, Any], made: dict[str, Any], lost: set[str]) -> None:
    """Each is a part of what is expected, or named: in a wild file as not checked, else as a mistake."""
    found = normalise({"test": {}, "expect": expect})
    assert found.document["expect"] == made
    assert dotted(found) == {f"expect.{each}" for each in lost}
    assert not found.mistakes
    ours = normalise({"expect": expect})
    assert not ours.unchecked
    told = {".".join(map(str, path[1:])) for path, _ in ours.mistakes}
    assert told <= lost
    for each in lost - told:
        # What has no meaning at all stays, as a key that validation does not know.
        assert f'"{each.rpartition(".")[2]}": ' in json.dumps(ours.document["expect"])


VALIDATION: dict[str, tuple[dict[str, Any], set[str]]] = {
    "what is no table": ({"expected_spans": [{"name": "a"}, 3]}, {"expected_spans.1"}),
    "no flag": (
        {"graph_topology_constraints": [{"no_cycles": 1}]},
        {"graph_topology_constraints.0.no_cycles"},
    ),
    "no truth value": (
        {"hermeticity_constraints": [{"no_external_network": "yes"}]},
        {"hermeticity_constraints.0.no_external_network"},
    ),
    "two names of one thing": (
        {"span_count_constraints": [{"span_name": "a", "count": 2, "exact_count": 3}]},
        {"span_count_constraints.0.exact_count"},
    ),
    "tests of no attribute": ({"attribute_constraints": [{"pattern": "x"}]}, {"attribute_constraints.0"}),
    "siblings of nobody": ({"sibling_constraints": [{"span_a": "a"}]}, {"sibling_constraints.0.span_a"}),
    "a resource that need not be so": (
        {
            "resource_attributes": [
                {"attributes": {"a": {"eq": 1, "required": False}, "b": {"required": False}}}
            ]
        },
        {"resource_attributes.0.attributes.a"},
    ),
    "a resource that is so already": (
        {"resource_attributes": [{"attributes": {"a": 1}}, {"attributes": {"a": 2}, "required": True}]},
        {"resource_attributes.1.attributes.a"},
    ),
    "a span that may be there": ({"expected_spans": [{"name": "a", "required": False}]}, set()),
}


@pytest.mark.parametrize(("validation", "lost"), VALIDATION.values(), ids=VALIDATION)
def test_no_constraint_vanishes(validation: dict[str, Any], lost: set[str]) -> None:
    """What cannot become an expectation is named."""
    assert dotted(normalise({"otel_validation": validation})) == {f"otel_validation.{each}" for each in lost}


def test_steps_that_are_to_fail() -> None:
    """That a step fails is given up where it says that it succeeds, and implied by another exit code."""
    exits = ({"should_fail": True, "expected_exit_code": code} for code in (0, 7))
    steps = [{"command": ["x"], **each} for each in exits]
    assert dotted(normalise({"test": {}, "steps": steps})) == {"steps.0.should_fail"}
    for code, lost in ((0, {"scenario.0.expect_failure"}), (7, set())):
        step = {"name": "x", "run": "x", "expect": {"exit": code}}
        made = normalise({"scenario": [{"name": "a", "expect_failure": True, "steps": [step]}]})
        assert dotted(made) == lost
    made = normalise({"scenario": [{"name": "a", "expect_failure": "maybe", "run": "x"}]})
    assert dotted(made) == {"scenario.0.expect_failure"}


def test_what_stands_twice() -> None:
    """Values of one thing that differ, and tables that are none, are named."""
    found = normalise({
        "test": {},
        "assertions": "all is well",
        "otel_expectations": 3,
        "steps": [
            {"command": ["x"], "env": {"A": "1", "B": "1"}, "environment": {"A": "2", "B": "1"}},
            {"command": ["x"], "retry": 3, "max_retries": 4},
            {"command": ["x"], "max_retries": "many"},
        ],
    })  # fmt: skip
    assert dotted(found) == {
        "assertions", "otel_expectations", "steps.0.environment.A", "steps.1.max_retries",
        "steps.2.max_retries",
    }  # fmt: skip
    assert normalise({"expect": 5, "otel_validation": {"max_depth": 3}}).document["expect"] == 5


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        (
            {"span": [{"name": "x", "attrs": {"a": 1}, "attributes": {"b": 1}}]},
            "expect.span[0].attrs is set already, so this would not be checked: write one of them",
        ),
        (
            {"counts": {"from": "any", "errors_total": 1}, "status": {"all": "ok", "errors_allowed": False}},
            "expect.counts is of other spans, by its `from`: this would not be checked",
        ),
        (
            {"span": [{"name_pattern": "a|b"}]},
            "no name with * and ? means the same as this pattern, so it would not be checked: write a name",
        ),
        (
            {"status": {"all": "ok", "all_ok": "yes"}},
            (
                "this form is not known, so it would not be checked: "
                "docs/scenario-format.md has those of [expect]"
            ),
        ),
    ],
)
def test_why_a_claim_of_ours_is_a_mistake(expect: dict[str, Any], message: str) -> None:
    """In a file of the canonical form, which may spell expectations as older ones do."""
    assert [told for _, told in normalise({"expect": expect}).mistakes] == [message]
