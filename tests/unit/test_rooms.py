"""The rules of the rooms: every import runs down, and each third-party package has its one room."""

from __future__ import annotations

import ast
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "pytest_clnrm"
ROOT = Path(__file__).parents[2] / PACKAGE
FLOORS = {
    "__main__": 9,
    "plugin": 9,
    "cli": 8,
    "session": 8,
    "doctor": 7,
    "items": 7,
    "reservation": 6,
    "runner": 6,
    "compose": 4,
    "runtime": 5,
    "monitor": 4,
    "pool": 4,
    "cleanup": 3,
    "hookspecs": 3,
    "scenario": 3,
    "settings": 3,
    "engine": 2,
    "expect": 2,
    "history": 2,
    "ledger": 2,
    "report": 2,
    "scheduling": 2,
    "telemetry": 2,
    "toml": 2,
    "errors": 1,
    "imports": 1,
    "model": 1,
    "names": 1,
    "status": 1,
    "util": 1,
    "__init__": 0,
}
"""A folder or file directly in the package -> its floor. Imports go to lower floors, or stay in the room.

The package's own ``__init__`` hands names on to users, see tests/unit/test_public_names.py.
"""

CHAMBERS = {
    "engine": {
        "connect": 4,
        "docker": 3,
        "embedded": 3,
        "kubernetes": 3,
        "exec": 2,
        "relay": 2,
        "api": 1,
        "plain_errors": 1,
        "tool": 1,
    },
    "runner": {
        "scenario_run": 3,
        "steps": 2,
    },
    "scenario": {
        "loading": 5,
        "presets": 4,
        "typed_templates": 4,
        "format": 3,
        "locating": 3,
        "dialects": 2,
        "reading": 2,
        "templates": 2,
        "matrix": 1,
    },
    "telemetry": {
        "tracing": 3,
        "receive": 2,
        "record": 2,
        "merge": 2,
        "otlp": 1,
    },
}
"""The same within the rooms that have chambers; what is not named may be imported by all of the room."""

HOMES = {
    "click": {"cli"},
    "docker": {"engine"},
    "jsonpath": {"util"},
    "requests": {"engine", "runner"},
    "urllib3": {"engine", "runner"},
    "filelock": {"ledger"},
    "opentelemetry": {"telemetry"},
    "google": {"telemetry"},
    "grpc": {"telemetry"},
    "xdist": {"scheduling"},
    "execnet": {"scheduling"},
    "jinja2": {"scenario", "report"},
    "msgspec": {"ledger", "scenario", "telemetry", "toml", "report", "history"},
    "yaml": {"compose", "engine"},
    "websocket": {"engine"},
    "tomli": {"scenario", "toml", "settings"},
    "rich": {"report", "monitor"},
    "pytest": {"cli", "plugin", "session", "items", "reservation", "scheduling", "settings", "names"},
    "_pytest": {"items", "scheduling"},
    "pluggy": {"hookspecs", "session"},
}
"""A third-party package -> the rooms that may import it."""

MAX_LINES = 600
MAX_LOOSE = 8
MODULES = sorted(path.relative_to(ROOT.parent) for path in ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    """Return a module's name."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


@cache
def imports_of(path: Path, *, typing: bool = True) -> set[str]:
    """Return the names of all modules that a file imports, in functions too.

    :param typing: those under ``TYPE_CHECKING`` too.
    """
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse((ROOT.parent / path).read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if not typing and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        todo.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            found.update({f"{module}.{alias.name}" for alias in node.names} & NAMES.keys() or {module})
    return found


def part(name: str, depth: int) -> str:
    """Return the part of a module's name at *depth*: 1 is its room, 2 its chamber."""
    parts = name.split(".")
    return parts[depth] if len(parts) > depth else "__init__"


def runs_down(name: str, other: str) -> bool:
    """Return whether module *name* may import module *other* of the package."""
    room = part(name, 1)
    if part(other, 1) != room:
        return FLOORS[part(other, 1)] < FLOORS[room]
    if room not in CHAMBERS or part(other, 2) == part(name, 2):
        return True
    floors = CHAMBERS[room]
    return floors.get(part(other, 2), 0) < floors.get(part(name, 2), 9)


def test_every_import_runs_down() -> None:
    """A room imports only rooms of lower floors, and a chamber only lower chambers of its room."""
    ours = [
        (name, other)
        for name in sorted(NAMES.keys() - {PACKAGE})
        for other in imports_of(NAMES[name])
        if other.startswith(PACKAGE)
    ]
    assert ours
    assert [f"{name} imports {other}" for name, other in ours if not runs_down(name, other)] == []


def test_no_circle() -> None:
    """No two modules import each other, by whatever way."""
    graph = {
        name: set() if name == PACKAGE else imports_of(path) & NAMES.keys() - {name}
        for name, path in NAMES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_nobody_inside_imports_through_the_package() -> None:
    """``pytest_clnrm`` itself hands names of all rooms on to users; inside, only its version is its own."""
    modules = {name.removeprefix(f"{PACKAGE}.") for name in NAMES}
    for path in MODULES:
        for node in ast.walk(ast.parse((ROOT.parent / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert PACKAGE not in {alias.name for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
                assert {alias.name for alias in node.names} <= modules | {"__version__"}, path


def test_few_lie_at_the_top() -> None:
    """What lies directly in the package, beside the rooms, is found at a glance."""
    loose = {path.name for path in ROOT.iterdir() if path.is_file()}
    assert len(loose) <= MAX_LOOSE, sorted(loose)
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms | {Path(name).stem for name in loose if name.endswith(".py")} == set(FLOORS)


def test_third_parties_stay_in_their_rooms() -> None:
    """Each third-party package is imported in its one room only, but for types, and no other at all."""
    for path in MODULES:
        for name in imports_of(path, typing=False):
            top = name.split(".")[0]
            if top == PACKAGE or top in sys.stdlib_module_names:
                continue
            assert top in HOMES, f"{path} imports {top}, which has no room"
            assert part(name_of(path), 1) in HOMES[top], f"{path} imports {top}, of {HOMES[top]}"


def test_modules_stay_small() -> None:
    """No module is longer than 600 lines."""
    lines = {path: (ROOT.parent / path).read_text(encoding="utf-8").count("\n") for path in MODULES}
    assert {path: number for path, number in lines.items() if number > MAX_LINES} == {}


def test_globs_of_files_are_matched_in_time() -> None:
    """Only globs of the project's own lists, which are trusted, and of short names of files have no limit."""
    others = {
        "launch.py",
        "settings.py",
        "quarantine_file.py",
        "dockerignore.py",
        "mounts.py",
        "path_globs.py",
    }
    assert {path.name for path in MODULES if "fnmatch" in imports_of(path)} == {"patterns.py", *others}
