"""No claim of an older dialect vanishes: it is a part of what is expected, or named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.scenario.dialects.normalise import Normalised, normalise


def dotted_path(path: KeyPath) -> str:
    """Return the keys of a path with points between them."""
    return ".".join(map(str, path))


def dotted(found: Normalised) -> set[str]:
    """Return the unchecked paths as text."""
    return set(map(dotted_path, found.unchecked))


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
            "counts": {"errors_total": {"eq": 0}},
            "span": [{"select": {"kind": "client", "from": "runner"}, "count": 0}],
        },
        set(),
    ),
    "errors of others than those that are counted": (
        {"counts": {"from": "runner", "spans_total": 3}, "status": {"errors_allowed": False}},
        {"counts": {"from": "runner", "spans_total": 3}},
        {"status.errors_allowed"},
    ),
    "errors of other spans": (
        {"status": {"errors_allowed": False, "from": "any"}},
        {"counts": {"from": "any", "errors_total": {"eq": 0}}},
        set(),
    ),
    "errors of some names": (
        {"status": {"x": {"name_pattern": "pay.*", "expected_status": "OK", **MAX_5}, "from": "any"}},
        {
            "status": {"by_name": {"pay*": "ok"}, "from": "any"},
            "span": [{"select": {"name": "pay*", "status": "error", "from": "any"}, "count": {"lte": 5}}],
        },
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
    "whose edges": (
        {
            "graph": {
                "from": "runner",
                "acyclic": True,
                "edges": [{"parent": "a", "child": {"name": "b", "from": "any"}, "every": True}],
                "l": {"parent_pattern": "c", "child_pattern": "d.*"},
            },
        },
        {
            "graph": {"from": "runner", "acyclic": True},
            "edge": [
                {"parent": {"name": "c", "from": "runner"}, "child": {"name": "d*", "from": "runner"}},
                {
                    "parent": {"name": "a", "from": "runner"},
                    "child": {"name": "b", "from": "any"},
                    "every": True,
                },
            ],
        },
        set(),
    ),
    "edges that say whose they are": (
        {"graph": {"from": "runner", "edges": [{"parent": {"from": "any"}, "child": {"from": "any"}}]}},
        {"edge": [{"parent": {"from": "any"}, "child": {"from": "any"}}]},
        {"graph.from"},
    ),
    "whose errors, twice": (
        {
            "counts": {"from": "any", "by_kind": {"client": 1}},
            "status": {"from": "any", "errors_allowed": False},
        },
        {
            "counts": {"from": "any", "errors_total": {"eq": 0}},
            "span": [{"select": {"kind": "client", "from": "any"}, "count": 1}],
        },
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
        {
            "span": [
                {"name_pattern": "a|b", "kind": "SERVER", "count": {"max": 0}},
                {"name": "c", "name_pattern": "c|d", "kind": "CLIENT"},
            ],
            "status": {"x": {"name_pattern": "(", "expected_status": "ok", **MAX_5}},
            "hermeticity": {"span_attributes": {"name_pattern": "a|b", "required_attributes": ["x"]}},
            "counts": {"l": {"name_pattern": "a|b", "min": 1, "description": "d"}},
            "graph": {"l": {"parent_pattern": "a", "child_pattern": "b|c"}},
            "order": {"l": {"before_pattern": "a|b", "after_pattern": "c"}},
            "window": {"l": {"container_pattern": "a"}},
        },
        {"span": [{"select": {"name": "c"}, "kind": "client"}]},
        {
            "span.0", "span.1.name_pattern", "status.x", "hermeticity.span_attributes", "counts.l", "graph.l",
            "order.l", "window.l",
        },
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
    # Of a table it is told at the key that is at fault.
    told = {
        each
        for each in lost
        for path, _ in ours.mistakes
        if f"{dotted_path(path[1:])}.".startswith(f"{each}.")
    }
    assert len(told) == len(ours.mistakes)
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
    ("expect", "path", "message"),
    [
        (
            {"span": [{"name": "x", "attrs": {"a": 1}, "attributes": {"b": 1}}]},
            "span.0.attributes",
            "expect.span[0].attrs is set already, so this would not be checked: write one of them",
        ),
        (
            {"counts": {"from": "any", "errors_total": 1}, "status": {"all": "ok", "errors_allowed": False}},
            "status.errors_allowed",
            "expect.counts is of other spans, by its `from`: this would not be checked",
        ),
        (
            {"span": [{"name_pattern": "a|b"}]},
            "span.0.name_pattern",
            "no name with * and ? means the same as this pattern, so it would not be checked: write a name",
        ),
        (
            {"window": {"x": {"container_pattern": "a.*"}}},
            "window.x.container_pattern",
            "contained_pattern is missing, so this would not be checked: write it too",
        ),
        (
            {"graph": {"x": {"child_pattern": "a", "parent_pattern": "b|c"}}},
            "graph.x.parent_pattern",
            "no name with * and ? means the same as this pattern, so it would not be checked: write a name",
        ),
        (
            {"graph": {"from": "runner", "x": {"child_pattern": "a", "parent_pattern": "b|c"}}},
            "graph.x.parent_pattern",
            "no name with * and ? means the same as this pattern, so it would not be checked: write a name",
        ),
        (
            {"graph": {"from": "any", "edges": [{"parent": {"from": "any"}, "child": {"from": "any"}}]}},
            "graph.from",
            "all in this table says itself whose spans are meant, so this holds for nothing: remove it",
        ),
        (
            {"status": {"all": "ok", "all_ok": "yes"}},
            "status.all_ok",
            (
                "this form is not known, so it would not be checked: "
                "docs/scenario-format.md has those of [expect]"
            ),
        ),
    ],
)
def test_why_a_claim_of_ours_is_a_mistake(expect: dict[str, Any], path: str, message: str) -> None:
    """In a file of the canonical form, which may spell expectations as older ones do."""
    (mistake,) = normalise({"expect": expect}).mistakes
    assert mistake == (("expect", *(int(key) if key.isdigit() else key for key in path.split("."))), message)


@pytest.mark.parametrize(
    ("expect", "made"),
    [
        ({"status": {"errors_allowed": False}}, {"counts": {"errors_total": {"eq": 0}}}),
        (
            {"status": {"from": "any", "error_count": {"max": 2}}},
            {"counts": {"from": "any", "errors_total": {"lte": 2}}},
        ),
        ({"counts": {"by_kind": {"server": 1}}}, {"span": [{"select": {"kind": "server"}, "count": 1}]}),
        (
            {"counts": {"errors_total": 0}, "status": {"errors_allowed": False}},
            {"counts": {"errors_total": {"eq": 0}}},
        ),
        (
            {"hermeticity": {"span_attributes": {"name": "a", "required_attributes": ["x"]}}},
            {"span": [{"select": {"name": "a"}, "attrs": {"x": {"exists": True}}}]},
        ),
        (
            {"hermeticity": {"from": "any", "span_attributes": {"name": "a", "required_attributes": ["x"]}}},
            {"span": [{"select": {"name": "a", "from": "any"}, "attrs": {"x": {"exists": True}}}]},
        ),
        (
            {"hermeticity": {"from": "any", "span_attributes": {"required_attributes": ["x"]}}},
            {"span": [{"select": {"from": "any"}, "attrs": {"x": {"exists": True}}}]},
        ),
        (
            {"graph": {"from": "any", "edges": [{"parent": "a", "child": "b"}]}},
            {"edge": [{"parent": {"name": "a", "from": "any"}, "child": {"name": "b", "from": "any"}}]},
        ),
        ({"status": {"from": "workload", "error_count": 1}}, {"counts": {"errors_total": {"eq": 1}}}),
    ],
)
def test_tables_that_are_read_into_others(expect: dict[str, Any], made: dict[str, Any]) -> None:
    """Nothing is left of them, in a file of ours too."""
    assert normalise({"expect": expect}).document["expect"] == made


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ("[status]\nfrom = 'any'", "all, by_name"),
        ("[status]\nerrors_allowed = true", "all, by_name"),
        ("[counts]\nby_kind = {}", "spans_total, events_total, errors_total, by_name, by_service"),
    ],
)
def test_tables_that_say_nothing(project: Any, table: str, keys: str) -> None:
    """They are mistakes."""
    (told,) = project.refuse(f"[[step]]\nrun = 'true'\n{table.replace('[', '[expect.')}\n")
    name = table[1:].partition("]")[0]
    assert told.startswith(f"FILE:3:1: expect.{name}: this checks nothing; set at least one of {keys}\n")


def test_where_what_is_added_is_wrong(project: Any) -> None:
    """It is told where it stands, though it went to the bounds of another table."""
    status = "[expect.status]\nerror_count = { max = 'x' }\n"
    text = f"[[step]]\nrun = 'true'\n{status}[expect.counts]\nerrors_total = 3\n"
    (told,) = project.refuse(text)
    assert told.startswith('FILE:4:1: expect.status.error_count: expected a whole number, found "x"\n')


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        ("graph", "edges = [{ parent = { name = 'a' }, child = 'b' }]"),
        ("graph", "l = { parent_pattern = 'a', child_pattern = 'b' }"),
        ("hermeticity", "span_attributes = { name = 'a', required_attributes = ['x'] }"),
        ("status", "errors_allowed = false"),
        ("counts", "by_kind = { client = 1 }"),
    ],
)
@pytest.mark.parametrize(
    "steps", ["[[step]]\nrun = 'true'\n\n", "[[steps]]\nname = 's'\ncommand = ['true']\n"]
)
def test_where_a_misspelt_from_is(project: Any, steps: str, name: str, rest: str) -> None:
    """It is told once, at the table that has it, though all else of that went to others."""
    (told,) = project.refuse(f"{steps}[expect.{name}]\nfrom = 'runer'\n{rest}\n")
    assert told.startswith(f'FILE:5:1: expect.{name}.from: "runer" is not "any", "runner" or "workload" (did')


def test_whose_patterns_are_given_up() -> None:
    """What only says whose spans a claim is of is named with that claim."""
    claim = {"before_pattern": "a|b", "after_pattern": "c"}
    found = normalise({"test": {}, "expect": {"order": {"from": "runer", "l": claim}}})
    assert dotted(found) == {"expect.order.l", "expect.order.from"}
    assert not found.document["expect"]
