"""What a pytest run without scenario files pays for the plugin: no heavy import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clnrm_testing.requirements import skip_without_xdist

HEAVY = {"docker", "requests", "opentelemetry", "jinja2", "msgspec", "rich"}

WAITS = {
    "items",
    "items.fixtures",
    "hookspecs",
    "model",
    "model.priority",
    "model.units",
    "reservation",
    "reservation.markers",
    "session",
    "session.lazy",
    "plugin",
    "scheduling",
    "scheduling.order",
    "settings",
    "settings.declare",
    "settings.loading",
    "settings.options",
    "settings.settings",
    "settings.values",
}

# Imported by the first test of a process, this tells what the process has imported so far.
TELLS = """
import sys

def test_it(tmp_path_factory):
    heavy = {heavy!r} & {{name.partition(".")[0] for name in sys.modules}}
    assert not heavy, f"imported: {{sorted(heavy)}}"
"""


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, with every import noted on stderr."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(TELLS.format(heavy=HEAVY))
    command = [sys.executable, "-X", "importtime", "-m", "pytest", "-p", "no:cacheprovider", *args]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # Other plugins' imports are not ours; clnrm and xdist alone are loaded.
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def modules(text: str) -> set[str]:
    """Return the modules in what ``-X importtime`` says."""
    lines = (line for line in text.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


def imported(text: str) -> set[str]:
    """Return the packages in what ``-X importtime`` says."""
    return {name.partition(".")[0] for name in modules(text)}


@pytest.mark.parametrize("args", [(), ("-p", "xdist", "-n", "2")], ids=["alone", "n2"])
def test_a_run_without_scenarios_imports_nothing_heavy(tmp_path: Path, args: tuple[str, ...]) -> None:
    """Neither the process that the user starts nor a worker imports what only scenarios need."""
    if args:
        skip_without_xdist()
    done = run(tmp_path, "-p", "pytest_clnrm.plugin", *args)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    names = imported(done.stderr)
    assert "pytest_clnrm" in names
    assert not HEAVY & names


def test_a_run_without_scenarios_imports_only_what_waits_for_one(tmp_path: Path) -> None:
    """The parts that run scenarios are neither imported nor made before something needs them."""
    done = run(tmp_path, "-p", "pytest_clnrm.plugin")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    # Some versions do not note the module that -p names.
    ours = {"pytest_clnrm.plugin"} | {n for n in modules(done.stderr) if n.startswith("pytest_clnrm.")}
    assert ours == {f"pytest_clnrm.{name}" for name in WAITS}
