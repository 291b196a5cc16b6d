"""The table of docs/coming-from-testcontainers.md: its names are there, and so are ours."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from pytest_clnrm.items.container import Container
from pytest_clnrm.items.container_arguments import ARGUMENTS
from pytest_clnrm.items.containers import Containers
from pytest_clnrm.model.units import parse_size_bytes
from pytest_clnrm.scenario.format.one_service import read_condition
from pytest_clnrm.scenario.presets.library import names, preset
from pytest_clnrm.scenario.presets.users import NO_PRESETS
from pytest_clnrm.settings.settings import Settings

DOCS = Path(__file__).parents[2] / "docs/coming-from-testcontainers.md"
ROWS = [line.split("|")[1:3] for line in DOCS.read_text("utf-8").splitlines() if line.startswith("| `")]
THEIRS = [each for left, _ in ROWS for each in re.findall(r"`(\w+(?:\.\w+)?)`", left) if not each.isupper()]
OURS = [each for _, right in ROWS for each in re.findall(r"`([^`]+)`", right)]
INSTANCE = {"id", "name"}
"""What a container has as plain attributes."""

installed = pytest.mark.skipif(
    find_spec("testcontainers") is None, reason="needs testcontainers: pip install 'pytest-clnrm[benchmark]'"
)


@cache
def their_names() -> frozenset[str]:
    """Return what testcontainers defines, read and not imported: modules of it need what may not be there."""
    spec = find_spec("testcontainers")
    assert spec is not None
    found: set[str] = set()
    for path in (
        each for folder in spec.submodule_search_locations or () for each in Path(folder).rglob("*.py")
    ):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                found.add(node.name)
            if isinstance(node, ast.ClassDef):
                found |= {
                    f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)
                }
    return frozenset(found)


@installed
@pytest.mark.parametrize("name", THEIRS)
def test_what_is_translated_is_there(name: str) -> None:
    """A name that they have given up is no help."""
    assert name in their_names()


@installed
def test_each_method_that_configures_a_container_is_translated() -> None:
    """What people have written with their container has a row."""
    methods = [each for each in their_names() if re.match(r"DockerContainer\.[a-z]", each)]
    assert len(methods) > 20
    assert [each for each in methods if each not in THEIRS] == []


@pytest.mark.parametrize("code", OURS)
def test_what_it_becomes_is_there(code: str) -> None:
    """Each name of ours is one of a fixture, a container or an argument; conditions are valid ones."""
    if found := re.match(r"(clnrm\w*|box)\.(\w+)", code):
        owner = Container if found[1] == "box" else Containers
        assert hasattr(owner, found[2]) or (owner is Container and found[2] in INSTANCE)
    if found := re.match(r"(\w+)=", code):
        assert found[1] in {*ARGUMENTS, "name"}
    if code.startswith(("ready={", "ready=[")):
        given = ast.literal_eval(code.removeprefix("ready="))
        for each in given if isinstance(given, list) else [given]:
            condition, wrong = read_condition(each)
            assert condition is not None, wrong
    known = (
        r"(clnrm|box|@pytest\.mark\.clnrm_limits|\w+=|--|python |redis\.|DOCKER_HOST|postgresql:|"
        r"(name|times|status|headers|with)$)"
    )
    assert re.match(known, code), f"what is {code}?"


PRESETS = [
    (name, right)
    for _, right in ROWS
    for name in re.findall(r"`clnrm\.(\w+)\(\)`", right)
    if name in names(NO_PRESETS)
]


@pytest.mark.parametrize(("name", "right"), PRESETS)
def test_a_preset_that_needs_more_memory_says_so(name: str, right: str) -> None:
    """A Python test has the memory that one container gets by default, unless a mark says more."""
    memory = preset(name, NO_PRESETS).keys["limits"]["memory"]
    needs_more = parse_size_bytes(memory) > Settings().memory_bytes
    assert re.findall(r'clnrm_limits\(memory="(\w+)"\)', right) == ([memory] if needs_more else [])
