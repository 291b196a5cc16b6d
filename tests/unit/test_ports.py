"""Files of other tools and their ports: each assertion is said, natively, and no shell compares anything."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from clnrm_testing.ports import ALL, PORTS, Port

import pytest_clnrm
from pytest_clnrm.model.scenario import Scenario
from pytest_clnrm.model.step import Command
from pytest_clnrm.scenario.loading import load
from pytest_clnrm.scenario.options import LoadOptions

LEAST_NATIVE = 0.95
COMPARING = {"sh", "bash", "ash", "test", "[", "grep", "cmp", "diff", "expr", "awk", "sed", "jq", "env"}
"""Programs that could judge in place of us."""

DOCS = Path(__file__).parents[2] / "docs/coming-from.md"
SCHEMA = json.loads(
    (Path(pytest_clnrm.__file__).parent / "scenario/format/scenario.schema.json").read_text("utf-8")
)
OTHERS = "\n".join(DOCS.read_text("utf-8").split("## From tools that test")[1:])
ROWS = [
    re.split(r"(?<!\\)\|", line)[1:3]
    for line in OTHERS.split("\n")
    if line.startswith("| ") and not re.match(r"\| ---|\| [^`]*\| here \|", line)
]
KEY = re.compile(r"`([a-z_]+(?:\.(?:[a-z_0-9]+|\*))+)`")

ports = pytest.mark.parametrize("port", ALL, ids=lambda port: port.tool)


def loaded(port: Port) -> tuple[Scenario, ...]:
    """Return the scenarios of a port."""
    return load(str(port.path), LoadOptions(rootdir=str(PORTS)))


@ports
def test_each_assertion_is_counted(port: Port) -> None:
    """What the original asserts has lines here that say so, or a reason; nothing else is said to be."""
    said = port.said + port.said_otherwise
    assert port.asserted - said == {}
    assert set(said) == set(port.asserted)


@ports
def test_each_port_is_read(port: Port) -> None:
    """Without an engine, as at collection."""
    assert loaded(port)


@ports
def test_no_command_compares(port: Port) -> None:
    """Commands are those of what is tested, without a shell: what comes of them is judged here."""
    steps = [step for scenario in loaded(port) for step in scenario.steps]
    commands = [step.action.run for step in steps if isinstance(step.action, Command)]
    assert all(isinstance(each, tuple) for each in commands)
    assert COMPARING.isdisjoint(each[0] for each in commands)


def test_nearly_all_is_native() -> None:
    """Of all assertions of all files."""
    asserted = sum(sum(port.asserted.values()) for port in ALL)
    otherwise = sum(sum(port.said_otherwise.values()) for port in ALL)
    assert asserted > 300
    assert 1 - otherwise / asserted >= LEAST_NATIVE


def _exists(node: dict[str, Any], keys: list[str]) -> bool:
    """Tell whether the schema allows a path of keys, where * is any name that the author chooses."""
    if "$ref" in node:
        node = {**node, **SCHEMA["$defs"][node["$ref"].rpartition("/")[2]]}
    ways = [way for key in ("anyOf", "oneOf", "allOf") for way in node.get(key, ())]
    if isinstance(node.get("items"), dict):
        ways.append(node["items"])
    if not keys or any(_exists(way, keys) for way in ways):
        return True
    first, *rest = keys
    known = node.get("properties", {})
    others = node.get("additionalProperties")
    if first in known:
        return _exists(known[first], rest)
    if first != "*" or known or others is False or node.get("type") != "object":
        return False
    return _exists(others, rest) if isinstance(others, dict) else not rest


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip()[:40])
def test_each_key_of_the_tables_is_one(row: list[str]) -> None:
    """Each row names keys of ours that the schema has, or says that there is none."""
    keys = KEY.findall(row[1])
    missing = [key for key in keys if not _exists(SCHEMA, key.split("."))]
    assert missing == []
    words = ("none", "nothing", "not needed", "`setup`", "`scenario.setup`")
    assert keys or row[1].strip().startswith(words)


def test_each_tool_has_a_table() -> None:
    """With a file that is ported."""
    heads = re.findall(r"^\| (.*) \| here \|$", OTHERS, re.MULTILINE)
    tools = [port.tool.replace("compose-smoke-test", "in the script") for port in ALL]
    assert [head.casefold() for head in heads] == tools


def test_keys_of_the_table_of_compose() -> None:
    """They are keys of a service."""
    text = DOCS.read_text("utf-8").split("## From tools that test")[0]
    named = [span for row in re.findall(r"^\| `.*? \| (.*) \|$", text, re.MULTILINE) for span in _spans(row)]
    keys = [match[0] for each in named if (match := re.match(r"[a-z_]+(?=$| =)", each))]
    assert len(keys) > 10
    missing = {key for key in keys if not _exists(SCHEMA, ["service", "*", key])}
    # A setting, and two words of Compose in explanations.
    assert missing == {"clnrm_env", "service_completed_successfully", "tmpfs"}


def _spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_a_key_that_is_none() -> None:
    """It would be found."""
    for key in ("check.no_such", "step.expect.stdout.contain", "step.expect.body.jsonpath.*.is", "jobs.*"):
        assert not _exists(SCHEMA, key.split("."))
