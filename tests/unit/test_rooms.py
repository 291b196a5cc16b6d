"""The rules of the rooms: who may import whom, and each third-party package in its one room."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = "pytest_clnrm"
ROOT = Path(__file__).parents[2] / PACKAGE
ROOMS = {"scenario", "scheduling", "admission", "ledger", "engine", "telemetry", "expect", "report"}
VOCABULARY = {
    f"{PACKAGE}.errors",
    f"{PACKAGE}.priority",
    f"{PACKAGE}.result",
    f"{PACKAGE}.span",
    f"{PACKAGE}.units",
    f"{PACKAGE}.scenario.model",
    f"{PACKAGE}.scenario.expectations",
    f"{PACKAGE}.model",
    f"{PACKAGE}.toml",
    f"{PACKAGE}.util",
}
HOMES = {
    "docker": {"engine"},
    "requests": {"engine"},
    "urllib3": {"engine"},
    "filelock": {"admission", "ledger"},
    "opentelemetry": {"telemetry"},
    "google": {"telemetry"},
    "grpc": {"telemetry"},
    "xdist": {"scheduling"},
    "execnet": {"scheduling"},
    "jinja2": {"scenario", "report"},
    "msgspec": {"scenario", "toml", "telemetry", "report"},
    "tomli": {"scenario", "toml", "config_file", "settings"},
    "rich": {"report", "monitor"},
    "pytest": {
        "plugin",
        "admissions",
        "collection",
        "controller",
        "demands",
        "fixtures",
        "markers",
        "monitoring",
        "nodes",
        "options",
        "parts",
        "python_tests",
        "scheduling",
        "settings",
        "standby",
        "reservation",
        "items",
        "session",
    },
    "_pytest": {"nodes", "items", "scheduling"},
    "pluggy": {"hookspecs", "session"},
}
MAX_LINES = 600
MODULES = sorted(path.relative_to(ROOT.parent) for path in ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    """Return the room of a module, or its own name where it is in none."""
    return path.parts[1] if len(path.parts) > 2 else path.stem


def imports_of(path: Path) -> set[str]:
    """Return the names of all modules that a file imports, but for typing alone."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                module = child.module or ""
                assert child.level == 0, f"{path}: relative import"
                found.add(module)
                if module.startswith(PACKAGE):
                    found.update(f"{module}.{alias.name}" for alias in child.names)
            visit(child)

    visit(ast.parse((ROOT.parent / path).read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_rooms_import_only_the_vocabulary_of_others(path: Path) -> None:
    """A room imports nothing of another room but the vocabulary."""
    room = room_of(path)
    if room not in ROOMS:
        return
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != PACKAGE or len(parts) < 2 or parts[1] == room or parts[1] == "__init__":
            continue
        allowed = name in VOCABULARY or any(name.startswith(f"{module}.") for module in VOCABULARY)
        package_itself = name in {f"{PACKAGE}.{part}" for part in ("scenario",)}
        assert allowed or package_itself or name == f"{PACKAGE}.__version__", f"{path} imports {name}"


@pytest.mark.parametrize("path", [each for each in MODULES if room_of(each) == "util"], ids=str)
def test_util_knows_nothing_of_us(path: Path) -> None:
    """What is of use anywhere imports nothing of this package."""
    assert {name for name in imports_of(path) if name.startswith(PACKAGE) and ".util" not in name} == set()


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_third_parties_stay_in_their_rooms(path: Path) -> None:
    """Each third-party package is imported in its one room only, and no other package at all."""
    for name in imports_of(path):
        top = name.split(".")[0]
        if top == PACKAGE or top in sys.stdlib_module_names:
            continue
        assert top in HOMES, f"{path} imports {top}, which has no room"
        assert room_of(path) in HOMES[top], f"{path} imports {top}, which belongs to {HOMES[top]}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_modules_stay_small(path: Path) -> None:
    """No module is longer than 600 lines."""
    lines = (ROOT.parent / path).read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_LINES, f"{path} has {lines} lines"


def test_globs_of_files_are_matched_in_time() -> None:
    """Only globs of settings, which are trusted, and those for short names of files have no limit."""
    others = {"launch.py", "runtime.py", "standby.py", "dockerignore.py", "mounts.py"}
    assert {path.name for path in MODULES if "fnmatch" in imports_of(path)} == {"patterns.py", *others}
