"""The dialects in the wild become the canonical form."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomli

from pytest_clnrm.scenario.dialects.commands import argv, split_run
from pytest_clnrm.scenario.dialects.normalise import Normalised, normalise
from pytest_clnrm.scenario.dialects.reader import glob_of_regex, python_regex
from pytest_clnrm.scenario.format.document import FileDoc

WILD = Path(__file__).parents[2] / "data" / "wild"


def wild(name: str) -> Normalised:
    """Return the normalised file *name* of the test data."""
    return normalise(tomli.loads((WILD / f"{name}.toml").read_text(encoding="utf-8")))


def dotted(found: Normalised) -> set[str]:
    """Return the unchecked paths as text."""
    return {".".join(map(str, path)) for path in found.unchecked}


def test_canonical_file_passes_as_it_is() -> None:
    """A canonical file is the same object afterwards in all but expectations, typos included."""
    raw = {"meta": {"nme": "typo"}, "service": {"db": {"imge": "x"}}, "step": [{"run": "true"}]}
    found = normalise(raw)
    assert found.document == raw
    assert (found.unchecked, found.mistakes, found.stdout_spans) == ((), (), False)
    assert found.origin(("service", "db", "imge")) == ("service", "db", "imge")


def test_wild_expectation_in_a_canonical_file() -> None:
    """The wild spelling of a span is understood in a canonical file, whose typos stay for validation."""
    span = {"name": "a", "duration_ms": {"min": 5}, "statsu": "OK"}
    raw = {"expect": {"span": [span], "grph": {}}, "scenario": [{"expect": {"span": [{"name": "b"}]}}, 3]}
    found = normalise(raw)
    assert found.document["expect"] == {
        "span": [{"select": {"name": "a"}, "duration": {"gte": "5ms"}, "statsu": "OK"}],
        "grph": {},
    }
    assert found.document["scenario"] == [{"expect": {"span": [{"select": {"name": "b"}}]}}, 3]
    assert found.origin(("expect", "span", 0, "duration", "gte")) == ("expect", "span", 0, "duration_ms")
    assert found.origin(("scenario", 0, "expect", "span", 0, "select", "name"))[-1] == "name"
    assert not found.unchecked


def test_canonical_expectations_stay() -> None:
    """Expectations in the canonical spelling come out unchanged."""
    expect = {
        "span": [{"select": {"name": "a"}, "count": 2}, {"select": "b"}],
        "edge": [{"parent": "a", "child": "b"}],
        "graph": {"must_include": [["a", "b"]], "single_root": True},
        "counts": {"spans_total": {"gte": 1}, "by_service": {"x": 1}},
        "window": [{"outer": "a", "contains": ["b"], "max_duration": "1s"}],
        "order": {"must_precede": [["a", "b"]], "every": True},
        "status": {"all": "ok"},
        "hermeticity": {"resource_attrs": {"must_match": {"a": "b"}}, "span_attrs": {"forbid_keys": ["c"]}},
        "wait": "1s",
    }
    assert normalise({"expect": expect}).document == {"expect": expect}


def test_services() -> None:
    """Each spelling of a service's parts becomes the canonical one."""
    found = wild("services")
    assert found.document["meta"] == {
        "name": "services", "description": "one of each", "timeout": 90, "tags": ["wild", "services"]
    }  # fmt: skip
    web, db, cache = (found.document["service"][name] for name in ("web", "db", "cache"))
    assert web["env"] == {"MODE": "test", "EMPTY": "", "URL": "http://x/?a=b"}
    assert web["command"] == ["serve", "--port", "80", "--verbose"]
    assert web["ports"] == [80, 81, 82]
    assert web["workdir"] == "/srv"
    assert web["volumes"] == [
        {"source": "./site", "target": "/site", "read_only": True},
        {"source": "/abs", "target": "/abs", "read_only": True},
        {"source": "./out", "target": "/out", "read_only": False},
        {"source": "./both", "target": "/both", "read_only": True},
    ]
    assert web["ready"] == {
        "healthcheck": {"command": ["true"], "interval": "5s", "timeout": "2s", "retries": 4}
    }
    assert web["limits"] == {"memory": "512m", "cpu": 1.5}
    assert web["network"] == "isolated"
    assert db["env"] == {"PORT": "5432", "DEBUG": "true", "EXTRA": "1"}
    assert db["limits"] == {"memory": 64, "cpu": 0.25}
    assert db["ready"] == {"log": r"ready\ \(1\)"}
    assert db["volumes"] == [{"source": "./seed", "target": "/seed", "read_only": True}]
    assert db["command"] == ["sh", "-c", "(\necho ready\n) && exec tail -f /dev/null"]
    assert cache == {
        "image": "cache:1", "network": "bridge",
        "ready": {"healthcheck": {"command": ["sh", "-c", "redis-cli ping | grep PONG"]}}
    }  # fmt: skip
    assert dotted(found) == {
        "services.web.ports.1",
        "services.web.volumes.1",
        "services.web.network.allowed_hosts",
        "services.web.capabilities",
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in WILD.glob("*.toml")))
def test_wild_files_are_valid(name: str) -> None:
    """What comes out of a sensible wild file is a valid canonical document."""
    assert msgspec.convert(wild(name).document, FileDoc)


def test_places_in_services() -> None:
    """A canonical path is traced back to what its author wrote."""
    origin = wild("services").origin
    assert origin(("meta", "timeout")) == ("test", "metadata", "timeout_seconds")
    assert origin(("service", "web", "env", "URL")) == ("services", "web", "environment", 2)
    assert origin(("service", "web", "volumes", 1, "source")) == ("services", "web", "volumes", 2)
    assert origin(("service", "db", "volumes", 0, "source")) == ("services", "db", "volumes", 0, "host_path")
    assert origin(("service", "db", "limits", "cpu")) == ("services", "db", "limits", "cpu_millicores")
    assert origin(("service", "web", "image")) == ("services", "web", "image")


def test_steps() -> None:
    """Each spelling of a step's parts becomes the canonical one."""
    found = wild("steps")
    assert found.document["meta"] == {"name": "steps", "timeout": "2m"}
    one, two, three, four = found.document["step"]
    assert one == {
        "name": "argv",
        "run": ["echo", "a|b"],
        "service": "box",
        "workdir": "/work",
        "env": {"LEVEL": "3"},
        "expect": {"exit": 0, "stdout": {"regex": "^a(?i:B)", "not_regex": "error"}},
    }
    assert two["run"] == "sleep 0 && exit 3"
    assert "service" not in two
    assert two["expect"] == {"exit": {"ne": 0}}
    assert two["timeout"] == "1500ms"
    assert two["retry"] == {"times": 2}
    assert three["expect"] == {"stdout": {"contains": "x"}}
    assert three["retry"] == {"times": 4, "delay": "2s"}
    assert three["continue_on_failure"] is True
    assert "retry" not in four
    assert four["expect"] == {"exit": 7}
    assert dotted(found) == {
        "assertions.container_should_have_executed_commands",
        "assertions.execution_should_be_hermetic",
        "cleanup",
        "otel_expectations.minimum_spans",
        "otel_expectations.should_fail",
        "steps.2.depends_on",
        "test.assertions.require_service_health",
        "test.cleanup",
    }
    assert found.origin(("step", 0, "expect", "stdout", "regex")) == ("steps", 0, "expected_output_regex")


def test_scenarios() -> None:
    """``run`` is the first step, or several; the scenario's service is that of its steps."""
    found = wild("scenarios")
    assert found.stdout_spans
    words, several = found.document["scenario"]
    assert words["timeout"] == "5000ms"
    assert words["step"] == [
        {"name": "run", "run": ["sh", "-c", "echo a && echo b"], "service": "box"},
        {"name": "first", "run": ["echo", "x"], "service": "box"},
        {"name": "second", "run": "echo $HOME", "service": "other"},
    ]
    failing = {"exit": {"ne": 0}}
    assert several["step"] == [
        {"name": "run 1", "run": ["false"], "service": "box", "timeout": "1s", "expect": failing},
        {"name": "run 2", "run": "exit 2", "service": "other", "expect": failing},
    ]
    assert found.document["limits"] == {"memory": 128, "cpu": 1.5}
    assert found.document["meta"] == {"name": "scenarios", "timeout": 30}
    assert dotted(found) == {
        "determinism", "limits.max_containers", "otel.sample_ratio", "scenario.0.expect_partial_failure"
    }  # fmt: skip
    assert found.origin(("scenario", 0, "step", 0, "run")) == ("scenario", 0, "run")
    assert found.origin(("scenario", 0, "step", 1, "service")) == ("scenario", 0, "service")
    assert found.origin(("scenario", 1, "step", 0, "timeout")) == ("scenario", 1, "run", 0, "timeout")


@pytest.mark.parametrize(
    "beside",
    [
        {"service": "box", "step": [{"command": ["true"]}]},
        {"service": "box", "step": [{"run": "true", "expected_output": "x"}]},
        {"service": "box", "step": [{"run": "true", "retry": 2}]},
        {"service": "box", "deadline_ms": 5, "step": [{"run": "true"}]},
        {"service": "default", "step": [{"run": "true"}]},
    ],
)
def test_service_of_an_older_scenario(beside: dict[str, Any]) -> None:
    """A scenario's service stands in both forms: what is beside it tells which one a file has."""
    raw = {"service": {"box": {"image": "x"}}, "scenario": [{"name": "a", **beside}]}
    (made,) = normalise(raw).document["scenario"]
    assert made["step"][0].get("service") == ("box" if beside["service"] == "box" else None)
    assert "service" not in made
    ours = {"service": {"box": {"image": "x"}}, "scenario": [{"name": "a", "service": "box", "stp": []}]}
    assert normalise(ours).document == ours


def test_steps_beside_scenarios() -> None:
    """Top-level steps beside scenarios become a scenario of their own."""
    raw = {
        "test": {"metadata": {"name": "both"}},
        "steps": [{"name": "s", "command": ["true"]}],
        "scenario": [{"name": "x", "run": "true"}],
    }
    found = normalise(raw)
    assert [each["name"] for each in found.document["scenario"]] == ["both", "x"]
    assert "step" not in found.document
    assert found.origin(("scenario", 0, "step", 0, "run")) == ("steps", 0, "command")


def test_expectations() -> None:
    """Each wild spelling of an expectation becomes the canonical one; the rest is named."""
    found = wild("expectations")
    expect = found.document["expect"]
    run, clean, kind = expect["span"]
    assert run == {
        "select": {"name": "run"},
        "kind": "internal",
        "status": "ok",
        "parent": {"name": "root*"},
        "attrs": {"result": "pass", "depth": {"gte": 2}},
        "attrs_any": [{"key": "step", "one_of": ["one"]}, {"key": "count", "one_of": ["3", 3]}],
        "events": {"any": ["started"]},
        "duration": {"gte": "1ms", "lte": "2.5ms"},
        "count": {"gte": 1, "lte": 4},
    }
    assert clean == {
        "select": {"name": "clean"},
        "attrs": {"version": {"exists": True}},
        "attrs_any": [{"key": "id", "one_of": ["a", "b"]}, {"key": "size", "eq": 1}],
    }
    assert kind == {"select": {"kind": "internal"}, "count": {"gte": 3}}
    assert expect["graph"] == {"must_include": [["a", "b"]], "acyclic": True, "max_depth": 5}
    assert expect["edge"] == [
        {"parent": {"name": "run.a"}, "child": {"name": "step:*"}},
        {"parent": "a", "child": "c"},
    ]
    assert expect["counts"] == {
        "spans_total": {"gte": 2},
        "by_name": {"run": {"eq": 1}, "step:*": {"gte": 1}},
        "by_service": {"api": {"gte": 2}},
        "errors_total": {"eq": 0},
    }
    assert expect["window"] == [{"outer": "run", "contains": ["clean"], "max_duration": "30000ms"}]
    assert expect["order"] == {"must_precede": [["a", "b"]]}
    assert expect["status"] == {"all": "ok", "by_name": {"run*": "error"}}
    assert expect["hermeticity"] == {
        "no_external_services": True, "resource_attrs": {"must_match": {"service.name": "api"}}
    }  # fmt: skip
    assert dotted(found) == {
        "expect.chaos", "expect.hermeticity.no_network_leakage", "expect.order.labelled",
        "expect.span.1.surprise"
    }  # fmt: skip


def test_labelled_expectations() -> None:
    """Tables of labelled expectations with patterns become globs, or are named as not checked."""
    expect = {
        "span": {"life": {"name_pattern": "c\\..*", "required_events": ["start"], "description": "d"}},
        "counts": {
            "least": {"total_spans_min": 2, "description": "d"},
            "odd": {"name_pattern": "a|b", "min": 1, "description": "d"},
        },
        "window": {
            "inside": {"container_pattern": "run", "contained_pattern": "step.*"},
            "odd": {"container_pattern": "(", "contained_pattern": "x"},
        },
        "status": {"fine": {"name_pattern": ".*", "expected_status": "OK", "max_errors": 0}},
        "hermeticity": {
            "resource_attributes": {"required_attributes": ["service.name"]},
            "span_attributes": {"name_pattern": "s", "required_attributes": ["a"], "description": "d"},
        },
        "order": {"odd": {"before_pattern": "(", "after_pattern": "x"}},
        "graph": {"odd": {"parent_pattern": "(", "child_pattern": "x"}},
        "count": {"by_kind": {"server": {"min": 1, "max": 2}}},
    }
    found = normalise({"test": {}, "expect": expect})
    assert found.document["expect"] == {
        "span": [
            {"select": {"name": "c.*"}, "events": {"all": ["start"]}},
            {"select": {"kind": "server"}, "count": {"gte": 1, "lte": 2}},
            {"select": {"name": "s"}, "attrs": {"a": {"exists": True}}},
        ],
        "counts": {"spans_total": {"gte": 2}, "errors_total": {"lte": 0}},
        "window": [{"outer": "run", "contains": ["step*"]}],
        "status": {"by_name": {"*": "ok"}},
        "hermeticity": {"resource_attrs": {"must_match": {"service.name": {"exists": True}}}},
    }
    assert dotted(found) == {
        "expect.counts.odd", "expect.window.odd", "expect.order.odd", "expect.graph.odd"
    }  # fmt: skip


def test_otel_validation() -> None:
    """Constraints with a canonical meaning become expectations; the others are named."""
    found = wild("otel_validation")
    expect = found.document["expect"]
    assert expect["span"] == [
        {
            "select": {"name": "POST /chat", "service": "api", "kind": "server", "attrs": {"mode": "child"}},
            "parent": {"name": "root"},
            "duration": {"gte": "10ms"},
            "count": {"eq": 2},
        },
        {"select": {"name": "maybe"}, "attrs": {"a.b": {"exists": True}}, "count": {"gte": 0}},
        {"select": {"name": "a"}},
        {"select": {"name": "b"}},
        {"select": {"name": "a", "service": "api"}, "count": {"eq": 2}},
        {
            "select": {"attrs": {"http.status_code": {"exists": True}}},
            "attrs": {"http.status_code": {"gte": 200, "lte": 299}},
        },
    ]
    assert expect["edge"] == [
        {"parent": {"name": parent}, "child": {"name": child}} for parent, child in ("ab", "bc", "ab", "ac")
    ]
    assert expect["graph"] == {
        "acyclic": True, "no_orphans": True, "max_depth": 3, "must_include": [["a", "b"], ["b", "c"]]
    }  # fmt: skip
    assert expect["order"] == {"must_precede": [["a", "b"]]}
    assert expect["hermeticity"] == {
        "no_external_services": True, "resource_attrs": {"must_match": {"service.version": {"exists": True}}}
    }  # fmt: skip
    base = "otel_validation."
    assert dotted(found) == {
        f"{base}attribute_constraints.0.data_type",
        f"{base}expected_spans.0.is_root",
        f"{base}expected_traces.0.ordered",
        f"{base}expected_traces.0.parent_child.2",
        f"{base}hermeticity_constraints.0.internal_dns_only",
        f"{base}max_overhead_ms",
        f"{base}sibling_constraints.0.execution_order",
        f"{base}temporal_constraints.0.max_gap_ms",
        f"{base}tree_structure",
    }
    origin = found.origin(("expect", "span", 0, "select", "name"))
    assert origin == ("otel_validation", "expected_spans", 0)


def test_disabled_otel_validation() -> None:
    """``enabled = false`` claims nothing that is checked."""
    found = normalise({"otel_validation": {"enabled": False, "expected_spans": [{"name": "a"}]}})
    assert found.document == {}
    assert found.unchecked == (("otel_validation",),)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"attributes": {"any": {"a": 1}}}, {"attrs_any": [{"key": "a", "eq": 1}]}),
        ({"attributes": {"a": 1}}, {"attrs": {"a": 1}}),
        ({"attrs": {"a": 1}}, {"attrs": {"a": 1}}),
        ({"attrs": {"all": "odd"}}, {"attrs": {"all": "odd"}}),
        ({"attrs": {"all": ["a=1.5", "b=true"]}},
         {"attrs": {"a": {"one_of": ["1.5", 1.5]}, "b": {"one_of": ["true", True]}}}),
        ({"attrs": {"any": {"a": {"gte": 1}}}}, {"attrs_any": [{"gte": 1, "key": "a"}]}),
        ({"duration": {"min": "1s"}, "parent": {"kind": "server"}},
         {"duration": {"gte": "1s"}, "parent": {"kind": "server"}}),
    ],
)  # fmt: skip
def test_span_parts(attributes: dict[str, Any], expected: dict[str, Any]) -> None:
    """Attributes in each grouping, and what is canonical already, come out canonical."""
    found = normalise({"test": {}, "expect": {"span": [{"name": "x", **attributes}]}})
    assert found.document["expect"]["span"] == [{"select": {"name": "x"}, **expected}]
    assert not found.unchecked


def test_expectations_that_are_switched_off() -> None:
    """What a wild table switches off asks for nothing, and is not there."""
    expect = {
        "graph": {"acyclic": False, "must_include": []},
        "counts": {"by_name": {}},
        "status": {"errors_allowed": True},
        "hermeticity": {"no_external_services": False},
    }
    found = normalise({"test": {}, "expect": expect})
    assert found.document["expect"] == {}
    assert not found.unchecked


def test_claims_that_cannot_be_read() -> None:
    """What stands twice, or has an odd form, is named as not checked."""
    expect = {
        "span": [
            {
                "name": "x",
                "name_pattern": "y",
                "attrs": {"a": 1},
                "attributes": {"b": 1},
                "required_attributes": 1,
            }
        ],
        "counts": {"by_kind": 3},
        "status": {"error_count": 1, "errors_allowed": False},
        "hermeticity": {"resource_attributes": 1, "span_attributes": 2, "resource_attrs": {"must_match": {}}},
    }
    validation = {
        "expected_spans": [{"name": "a", "attributes": 1, "required_attributes": 1}],
        "expected_traces": 3,
    }
    service = {"image": "i", "healthcheck": {"command": ["a"]}, "health_check": "b", "wait_log_message": "c"}
    raw = {
        "test": {},
        "expect": expect,
        "otel_validation": validation,
        "services": {"s": service},
        "steps": [
            {"command": ["x"], "should_fail": "maybe", "retry_on_failure": True, "retry": 3},
            {"retry": {"delay": "1s"}},
        ],
    }
    found = normalise(raw)
    assert dotted(found) == {
        "expect.counts.by_kind",
        "expect.hermeticity.resource_attributes",
        "expect.hermeticity.span_attributes",
        "expect.span.0.attributes",
        "expect.span.0.name_pattern",
        "expect.span.0.required_attributes",
        "expect.status.errors_allowed",
        "otel_validation.expected_spans.0.attributes",
        "otel_validation.expected_spans.0.required_attributes",
        "otel_validation.expected_traces",
        "services.s.health_check",
        "services.s.wait_log_message",
        "steps.0.should_fail",
    }
    assert [step["retry"] for step in found.document["step"]] == [{"times": 3}, {"delay": "1s", "times": 1}]
    assert found.document["expect"]["counts"] == {"errors_total": {"eq": 1}}


@pytest.mark.parametrize(
    ("service", "ready"),
    [
        ({"health_check": "curl x || exit 1"}, {"command": ["sh", "-c", "curl x || exit 1"]}),
        (
            {"healthcheck": {"test": ["CMD-SHELL", "a | b"]}},
            {"healthcheck": {"command": ["sh", "-c", "a | b"]}},
        ),
        (
            {"healthcheck": {"command": ["a"], "timeout": "9s", "retries": 2, "start_period": 3}},
            {"healthcheck": {"command": ["a"], "timeout": "9s", "retries": 2, "start_period": 3}},
        ),
        (
            {"healthcheck": {"command": ["a"], "retries": 2, "interval": "x"}},
            {"healthcheck": {"command": ["a"], "retries": 2, "interval": "x"}},
        ),
        ({"healthcheck": True}, {"healthcheck": True}),
        ({"wait_log_message": "up"}, {"log": "up"}),
        ({"ready": {"port": 80}}, {"port": 80}),
    ],
)
def test_readiness(service: dict[str, Any], ready: dict[str, Any]) -> None:
    """Each spelling of a health check becomes a readiness."""
    found = normalise({"services": {"s": {"image": "i", **service}}})
    assert found.document["service"]["s"]["ready"] == ready
    assert not found.unchecked


def test_a_health_check_beside_readiness() -> None:
    """What the file says of readiness itself counts; a health check beside it is named as unchecked."""
    ready = [{"port": 80}, {"log": "up"}]
    raw = {"services": {"s": {"image": "i", "ready": ready, "healthcheck": {"command": ["a"]}}}}
    found = normalise(raw)
    assert found.document["service"]["s"]["ready"] == ready
    assert dotted(found) == {"services.s.healthcheck"}


@pytest.mark.parametrize("test", ["NONE", ["NONE"]])
def test_a_health_check_that_is_switched_off(test: object) -> None:
    """Nothing is waited for."""
    found = normalise({"services": {"s": {"image": "i", "healthcheck": {"test": test}}}})
    assert "ready" not in found.document["service"]["s"]


@pytest.mark.parametrize("name", ["", "  "])
def test_empty_name(name: str) -> None:
    """An empty name is a mistake, at its place."""
    found = normalise({"test": {"metadata": {"name": name}}})
    assert found.mistakes == ((("test", "metadata", "name"), "the name must not be empty"),)
    assert "name" not in found.document["meta"]


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ({"plugin": "ollama", "endpoint": "http://x"}, r"the plugin 'ollama' is not supported"),
        ({"type": "generic_container"}, r"a service needs an image: give image"),
    ],
)
def test_service_without_image(service: dict[str, str], message: str) -> None:
    """A plugin that is no container is a mistake that says what to give."""
    found = normalise({"services": {"x": service}})
    [(path, text)] = found.mistakes
    assert path == ("services", "x")
    assert message in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo 'a b' c", ["echo", "a b", "c"]),
        ("sh -lc 'echo \"x\"; exit 0'", ["sh", "-lc", 'echo "x"; exit 0']),
        ("echo '$HOME' a#b a~b", ["echo", "$HOME", "a#b", "a~b"]),
        ("\n sh -c '\n x\n '\n", ["sh", "-c", "\n x\n "]),
        (r"echo \; \"", ["echo", ";", '"']),
        ('echo "a \\" b"', ["echo", 'a " b']),
        ("exiting now", ["exiting", "now"]),
    ],
)
def test_split_run(text: str, words: list[str]) -> None:
    """A line without shell syntax is split as a shell splits it."""
    assert split_run(text) == words


@pytest.mark.parametrize(
    "text",
    [
        "echo $HOME", 'echo "$HOME"', 'echo "a\\$b"', "a | b", "a && b", "A=1 b", "echo it's",
        "exit 1", "cd /srv",
        "echo #b", "ls ~", "ls *.x", "ls [ab]", "a\nb", "a > b", "`a`", "echo a\\", "", "  ", 3, ["echo"],
    ],
)  # fmt: skip
def test_run_for_a_shell(text: Any) -> None:
    """A line with shell syntax, and what is no line, stays as it is."""
    assert split_run(text) == text


def test_argv_of_a_line() -> None:
    """A line where an argv is needed runs in a shell if it needs one."""
    assert argv("a b") == ["a", "b"]
    assert argv("a | b") == ["sh", "-c", "a | b"]


@pytest.mark.parametrize(
    ("pattern", "glob"),
    [
        (r"clnrm\.run", "clnrm.run"), (r"^step:.*$", "step:*"), (".+", "?*"), ("a.c", "a?c"),
        (r"a\*", "a[*]"),
        ("a|b", None), ("", None), (3, None),
    ],
)  # fmt: skip
def test_glob_of_regex(pattern: Any, glob: str | None) -> None:
    """A simple pattern has a glob; another has none."""
    assert glob_of_regex(pattern) == glob


@pytest.mark.parametrize(
    ("rust", "python"),
    [
        ("a(?i)b", "a(?i:b)"), ("(a(?i)b)c", "(a(?i:b))c"), ("(?i)a", "(?i)a"), ("a(?i)b|c", "a(?i)b|c"),
        (r"\d\z", r"\d\Z"), (r"\\z", r"\\z"), ("(?<n>a)(?<=b)", "(?P<n>a)(?<=b)"),
        ("[[:alpha:]]", "[a-zA-Z]"),
        (r"\x{41}\u{2603}", "A☃"), (r"\x{FFFFFF}", r"\x{FFFFFF}"), ("[[:odd:]]", "[[:odd:]]"), (3, 3),
    ],
)  # fmt: skip
def test_python_regex(rust: Any, python: Any) -> None:
    """Rust's spellings become Python's where they have one."""
    assert python_regex(rust) == python


ODD: list[Any] = [
    "",
    "x",
    "K=V",
    0,
    -1,
    10**30,
    1.5,
    float("nan"),
    True,
    [],
    ["a"],
    [["a", "b"]],
    [{}],
    {},
    {"a": 1},
]


def _replaced(value: Any, rng: random.Random) -> Any:
    """Return *value* with some of what is in it replaced by odd shapes."""
    if rng.random() < 0.08:
        return copy.deepcopy(rng.choice(ODD))
    if isinstance(value, dict):
        return {key: _replaced(each, rng) for key, each in value.items()}
    return [_replaced(each, rng) for each in value] if isinstance(value, list) else value


def _resolve(raw: Any, path: tuple[str | int, ...]) -> None:
    for key in path:
        raw = raw[key]


def _walk(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, each in items for inner in _walk(each, (*path, key)))]


@pytest.mark.parametrize("name", ["services", "steps", "scenarios", "expectations", "otel_validation"])
def test_odd_shapes_never_raise(name: str) -> None:
    """Whatever stands where, it is passed on; every place can be found in the file, which is not changed."""
    raw = tomli.loads((WILD / f"{name}.toml").read_text(encoding="utf-8"))
    rng = random.Random(name)  # noqa: S311 a seeded choice of shapes
    for _ in range(150):
        odd = _replaced(raw, rng)
        if not isinstance(odd, dict):
            continue
        before = repr(odd)
        found = normalise(odd)
        assert repr(odd) == before
        for path in _walk(found.document):
            _resolve(odd, found.origin(path))
        for path in (*found.unchecked, *(path for path, _ in found.mistakes)):
            _resolve(odd, path[:-1])
