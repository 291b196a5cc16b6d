"""The JSON Schema and the loader agree."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest
import tomli
import tomli_w
from clnrm_testing import format_types
from clnrm_testing.schema import SCHEMA_FILE, json_schema, schema_text

from pytest_clnrm.errors import ScenarioFileError

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
STEP = {"run": "true"}


def service(**keys: Any) -> dict[str, Any]:
    """Return a file with one service with these keys."""
    return {"service": {"db": {"image": "x", **keys}}, "step": [STEP]}


def step(**keys: Any) -> dict[str, Any]:
    """Return a file with one step with these keys."""
    return {"step": [{**STEP, **keys}]}


def expect(**keys: Any) -> dict[str, Any]:
    """Return a file with these expectations."""
    return {"step": [STEP], "expect": keys}


GOOD: dict[str, dict[str, Any]] = {
    "least": {"step": [STEP]},
    "checks alone": {"check": [{"file": "/a", "size": {"lt": "64k"}, "content": {"json": {"a": 1}}}]},
    "check of an image": {
        "check": [
            {
                "image": "nginx:1",
                "user": "www",
                "env": {"A": "b", "C": 1, "D": False, "E": {"regex": "x"}},
                "exposed": [80, "53/udp"],
                "layers": {"lt": 9},
                "no_setuid": True,
            }
        ]
    },
    "check of processes": {"check": [{"process": "x", "user": "a", "count": 2}, {"user": "a", "uid": 1}]},
    "checks of logs": {
        "service": {"a": {"image": "x"}},
        "check": [
            {"log": "a", "from": "stderr", "content": {"regex": "x"}},
            {"log": "a", "count": [{"regex": "x", "gte": 1}], "order": ["a", "b"]},
        ],
    },
    "checks of scenarios": {
        "scenario": [{"name": "a", "check": [{"file": "/a"}]}],
        "check": [{"file": "/b", "exists": False, "name": "no b", "retry": {"times": 1}}],
    },
    "step's checks": step(check=[{"file": "/a", "mode": "0644", "owner": "app", "group": 0}]),
    "meta": {
        "meta": {"name": "a", "description": "b", "tags": ["c"], "priority": "high", "timeout": 1.5},
        "step": [STEP],
    },
    "selection": {
        "meta": {
            "marks": ["a", "b"],
            "flaky": 0,
            "group": ["a", "b"],
            "exclusive": True,
            "skip": "a",
            "skip_if": [{"env": "A", "missing_env": ["B"]}, {"when": "{{ 1 < 2 }}"}],
            "xfail": "b",
        },
        "scenario": [
            {
                "name": "a",
                "skip_if": {"platform": ["linux"], "engine": "podman", "reason": "b"},
                "step": [STEP],
            },
            {"name": "b", "skip_if": True, "xfail": {"reason": "a", "strict": False}, "step": [STEP]},
        ],
    },
    "vars": {"vars": {"a": {"value": "b", "secret": True}, "c": [1]}, "step": [STEP]},
    "matrix": {"matrix": {"a": ["b", 1, 2.5, True]}, "step": [STEP]},
    "matrix rules": {
        "matrix": {"a": [1, 2], "include": [{"a": 3, "b": "c"}], "exclude": [{"a": 1}]},
        "parametrize": [{"id": "x", "n": 1}, {"n": 2}],
        "step": [STEP],
    },
    "limits": {"limits": {"memory": 512, "cpu": 2, "pids": 10, "gpus": 0}, "step": [STEP]},
    "size": service(limits={"memory": "1.5GiB"}),
    "argv": step(run=["a", "b"]),
    "service": service(command="x", env={"A": "b", "C": 1}, ports=[80], depends_on=[], ready={"log": "x"}),
    "service apart": service(fresh=True, scratch=["/scratch"], user="0", network="none", workdir="/"),
    "ready http": service(ready={"http": ":80/x", "timeout": "1s"}),
    "ready healthcheck": service(ready={"healthcheck": True}),
    "ready several": service(ready=[{"port": 80}, {"log": "x", "times": 2}, {"span": "up"}]),
    "ready https": service(
        ready={"https": "/x", "verify": True, "status": [200, "3xx"], "headers": {"A": "b"}, "interval": 1}
    ),
    "ready health check": service(
        ready={
            "healthcheck": {"command": ["x"], "interval": "1s", "timeout": 1, "start_period": 0, "retries": 9}
        }
    ),
    "job": {
        "service": {"a": {"image": "x", "ready": {"exit": [0, 3]}}, "b": {"image": "x", "may_end": 0}},
        "step": [{**STEP, "service": "b"}],
    },
    "step": step(timeout="1m", retry={"times": 1, "delay": 0}, workdir="/", stdin=""),
    "exit": step(expect={"exit": 3}),
    "exit not": step(expect={"exit": {"ne": 0}}),
    "exit several": step(expect={"exit": {"one_of": [1, 2]}}),
    "checks of groups and packages": {
        "check": [
            {"group": "app", "gid": 1000},
            {"package": "a", "version": "1"},
            {"package": "a", "installed": False},
            {"package": "a", "version": {"regex": "^1"}},
            {"file": "/a", "executable_by": "any"},
        ]
    },
    "counts of lines": step(
        expect={"stdout": {"count": [{"regex": "a", "gte": 1}]}, "stderr": {"count": {"regex": "b", "eq": 0}}}
    ),
    "lines": step(expect={"stdout": {"line": {"1": "a", "-1": {"regex": "b"}}}}),
    "sha256": {
        "service": {"a": {"image": "x"}},
        "step": [{"http": "GET http://a/", "expect": {"sha256": "0" * 64}}],
    },
    "text": step(expect={"stdout": {"contains": "a", "regex": ["b", "c"]}, "stderr": {"equals": ""}}),
    "json": step(expect={"stdout": {"json": {"a": [1]}}}),
    "jsonpath": step(
        expect={
            "stdout": {
                "jsonpath": {
                    "$.a": 1,
                    "$.b": ["x", 1],
                    "$.c": {"type": ["null", "string"], "length": {"gte": 1}},
                    "$.d[*]": {"each": {"eq": {"a": 1}}, "unique": True, "length": 3},
                }
            }
        }
    ),
    "golden": step(
        expect={"stdout": {"file": "a", "json_file": "b", "redact": [{"regex": "x", "with": ""}]}}
    ),
    "until": step(until={"times": 2, "timeout": "1m", "delay": 0}),
    "ends and amounts": step(
        expect={"stdout": {"starts_with": "a", "ends_with": "b", "lines": 1, "length": {"lt": 9, "gt": 1}}}
    ),
    "capture": step(capture={"row": {"regex": "x", "from": "stderr"}, "id": {"json": "/a", "default": 1}}),
    "template": {"vars": {"t": "3s"}, "step": [{**STEP, "timeout": "{{ t }}"}]},
    "template of a choice": {"vars": {"p": "low"}, "meta": {"priority": "{{ p }}"}, "step": [STEP]},
    "scenario": {"scenario": [{"name": "a", "tags": ["x"], "step": [STEP], "expect": {"span": [{}]}}]},
    "span": expect(span=[{"select": {"name": "GET *"}, "count": {"gte": 2}, "duration": {"lt": "1s"}}]),
    "counts": expect(counts={"spans_total": {"gte": 1}}),
    "graph": expect(graph={"must_include": [["a", "b"]]}),
}
BAD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no steps": {"step": []},
    "steps and scenarios": {"step": [STEP], "scenario": [{"name": "a", "step": [STEP]}]},
    "unknown table": {"stepp": [], "step": [STEP]},
    "unknown key": step(rum="x"),
    "no row": {"parametrize": [], "step": [STEP]},
    "row of lists": {"parametrize": [{"a": [1]}], "step": [STEP]},
    "no run": {"step": [{}]},
    "empty argv": step(run=[]),
    "empty run": step(run=""),
    "run of numbers": step(run=[1]),
    "type": {"meta": {"name": 1}, "step": [STEP]},
    "priority": {"meta": {"priority": "urgent"}, "step": [STEP]},
    "time": step(timeout="1 s"),
    "negative time": step(timeout=-1),
    "size": {"limits": {"memory": "1t"}, "step": [STEP]},
    "cpu": {"limits": {"cpu": 0}, "step": [STEP]},
    "pids": {"limits": {"pids": 0}, "step": [STEP]},
    "boolean number": {"limits": {"pids": True}, "step": [STEP]},
    "empty axis": {"matrix": {"a": []}, "step": [STEP]},
    "axis of lists": {"matrix": {"a": [[]]}, "step": [STEP]},
    "axis's name": {"matrix": {"1a": [1]}, "step": [STEP]},
    "image and build": service(build="."),
    "no image": {"service": {"db": {}}, "step": [STEP]},
    "service's name": {"service": {"a b": {"image": "x"}}, "step": [STEP]},
    "port": service(ports=[0]),
    "large port": service(ports=[65536]),
    "network": service(network="host"),
    "relative folder": service(workdir="a"),
    "scratch": service(scratch=["a"]),
    "env's name": service(env={"A=B": "c"}),
    "env's value": service(env={"A": []}),
    "no condition": service(ready={"timeout": 1}),
    "two conditions": service(ready={"port": 1, "log": "x"}),
    "healthcheck": service(ready={"healthcheck": False}),
    "http": service(ready={"http": "http://x"}),
    "no conditions": service(ready=[]),
    "times": service(ready={"port": 1, "times": 2}),
    "verify": service(ready={"http": "/", "verify": True}),
    "http status": service(ready={"http": "/", "status": "200"}),
    "health check": service(ready={"healthcheck": {"interval": 1}}),
    "exit of a service": service(ready={"exit": -1}),
    "may end": service(may_end=[]),
    "volume": service(volumes=[{"source": "."}]),
    "exit": step(expect={"exit": "0"}),
    "exit code": step(expect={"exit": 256}),
    "exit empty": step(expect={"exit": {}}),
    "exit both": step(expect={"exit": {"ne": 0, "one_of": [1]}}),
    "stdout": step(expect={"stdout": "x"}),
    "jsonpath": step(expect={"stdout": {"jsonpath": {"$.a": {"equals": 1}}}}),
    "json type": step(expect={"stdout": {"jsonpath": {"$.a": {"type": "text"}}}}),
    "json elements": step(expect={"stdout": {"jsonpath": {"$.a": {"each": 1}}}}),
    "tolerance": step(expect={"stdout": {"jsonpath": {"$.a": {"eq": 1, "tolerance": -1}}}}),
    "until": step(until={"delay": "1 sec"}),
    "redact": step(expect={"stdout": {"file": "a", "redact": [{"regex": "x"}]}}),
    "until once": step(until={"times": 1}),
    "lines": step(expect={"stdout": {"lines": -1}}),
    "amount": step(expect={"stdout": {"length": {"ne": -1}}}),
    "capture": step(capture={"row": {}}),
    "capture both": step(capture={"row": {"regex": "x", "json": ""}}),
    "capture's name": step(capture={"a-b": {"regex": "x"}}),
    "pointer": step(capture={"row": {"json": "a"}}),
    "retry": step(retry={"delay": 1}),
    "scenario without steps": {"scenario": [{"name": "a"}]},
    "scenario without name": {"scenario": [{"step": [STEP]}]},
    "check of nothing": {"check": [{"service": "a"}]},
    "no check": {"check": []},
    "check's mode": step(check=[{"file": "/a", "mode": "0999"}]),
    "port of an image": {"check": [{"image": "x", "exposed": ["http"]}]},
    "key of another kind": {"check": [{"file": "/a", "uid": 1}]},
    "order of a check": {"service": {"a": {"image": "x"}}, "check": [{"log": "a", "order": ["x"]}]},
    "check's path": step(check=[{"file": "a"}]),
    "step's check with a name": step(check=[{"file": "/a", "name": "x"}]),
    "check's digest": step(check=[{"file": "/a", "sha256": "abc"}]),
    "span": expect(span=[{"nam": "x"}]),
    "count": expect(counts={"spans_total": {"eq": -1}}),
    "status": expect(status={"all": "fine"}),
}


def test_the_shipped_schema_is_up_to_date() -> None:
    """The file is what the types give; ``schema_text()`` writes it."""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), (
        "write it: cd tests && python -m clnrm_testing.schema"
    )


def test_the_schema_is_a_schema() -> None:
    """It is valid, and knows no null, which TOML lacks."""
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert '{"type": "null"}' not in json.dumps(json_schema())


@pytest.mark.parametrize("name", format_types.tables())
def test_every_key_has_a_description_and_an_example(name: str) -> None:
    """Editors show both; an example is valid where it stands."""
    for key, schema in SCHEMA["$defs"][name]["properties"].items():
        assert schema["description"].endswith("."), f"{name}.{key} needs a description, a sentence"
        assert schema["examples"], f"{name}.{key} needs an example"
        validator = jsonschema.Draft202012Validator({**schema, "$defs": SCHEMA["$defs"]})
        for each in schema["examples"]:
            validator.validate(each)


def test_editors_understand_all_of_it() -> None:
    """Taplo ignores what stands beside a reference; Tombi wants to know which tables may have other keys."""

    def check(schema: Any) -> None:
        if isinstance(schema, dict):
            assert "$ref" not in schema or len(schema) == 1, schema
            assert schema.get("type") != "object" or "additionalProperties" in schema, schema
            schema = [each for key, each in schema.items() if key != "examples"]
        if isinstance(schema, list):
            for each in schema:
                check(each)

    check(SCHEMA["$defs"])


@pytest.mark.parametrize("document", GOOD.values(), ids=GOOD)
def test_both_accept(document: dict[str, Any], project: Any) -> None:
    """What the schema accepts, the loader accepts."""
    text = tomli_w.dumps(document)
    assert VALIDATOR.is_valid(tomli.loads(text))
    assert project.load(text)


@pytest.mark.parametrize("document", BAD.values(), ids=BAD)
def test_both_refuse(document: dict[str, Any], project: Any) -> None:
    """What the schema refuses, the loader refuses."""
    text = tomli_w.dumps(document)
    assert not VALIDATOR.is_valid(tomli.loads(text))
    with pytest.raises(ScenarioFileError):
        project.load(text)


def test_annotations_are_compiled_once_for_all() -> None:
    """They are code, which Python keeps; texts msgspec would compile in each process that reads a file."""
    modules = {format_types.model_of(each).__module__ for each in format_types.tables().values()}
    assert [name for name in modules if hasattr(sys.modules[name], "annotations")] == []


FREES = """
import gc, sys, msgspec
gc.set_threshold(50, 2, 2)
for _ in range(5):
    for name in [name for name in sys.modules if name.startswith("pytest_clnrm")]:
        del sys.modules[name]
    from pytest_clnrm.scenario.format import document
    msgspec.convert({"step": [{"run": "true"}]}, document.FileDoc)
    del document
    gc.collect()
"""


def test_the_types_can_be_freed() -> None:
    """As where they are imported anew: not every union of types outlives that in msgspec."""
    assert subprocess.run([sys.executable, "-c", FREES], check=False).returncode == 0
