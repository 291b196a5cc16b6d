"""What a pytest run without scenario files pays for the plugin: no heavy import."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from clnrm_testing.project import Project
from clnrm_testing.requirements import skip_without_xdist

import pytest_clnrm
from pytest_clnrm.imports import OurModules

HEAVY = {"click", "docker", "requests", "opentelemetry", "jinja2", "msgspec", "rich"}

WAITS = {
    "hookspecs",
    "imports",
    "names",
    "plugin",
    "session",
    "session.lazy",
    "settings",
    "settings.declare",
    "settings.settings",
    "settings.values",
}
"""What waits for the first scenario file, in every process. Each costs every run the finding of its file."""

CONTROLS = WAITS | {
    "cleanup",
    "cleanup.run_folder",
    "scheduling",
    "scheduling.choice",
    "scheduling.controller",
    "scheduling.install",
    "session.controller",
    "session.run_place",
}
"""What a controller of xdist has besides: its workers may find scenarios."""

# At its very end each process tells what it has imported of ours.
CONFTEST = """
import os, sys
from pathlib import Path
import pytest

@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    ours = (name.partition(".")[2] for name in sys.modules if name.startswith("pytest_clnrm."))
    who = os.environ.get("PYTEST_XDIST_WORKER", "process")
    Path(config.rootpath, who).write_text(" ".join(ours))
"""

REWRITTEN = """
import sys
from pathlib import Path

def pytest_unconfigure(config):
    ours = (name for name in sorted(sys.modules) if name.partition(".")[0] == "pytest_clnrm")
    rewritten = (name for name in ours if "Rewriting" in type(sys.modules[name].__loader__).__name__)
    Path(config.rootpath, "rewritten").write_text(" ".join(rewritten))
"""

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


# Two sessions in one process: whether we find modules in each, and after it.
TWICE = """
import sys
import pytest

def finds():
    with open("finders", "a") as file:
        print(any(getattr(each, "__name__", "") == "OurModules" for each in sys.meta_path), file=file)

class Plugin:
    def pytest_sessionstart(self):
        finds()

for _ in range(2):
    pytest.main(["-p", "pytest_clnrm.plugin", "-p", "no:cacheprovider"], plugins=[Plugin()])
    finds()
"""


def imported(text: str) -> set[str]:
    """Return the packages in what ``-X importtime`` says."""
    lines = (line for line in text.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


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


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), {"process": WAITS}),
        (("-p", "xdist", "-n", "2"), {"process": CONTROLS, "gw0": WAITS, "gw1": WAITS}),
    ],
    ids=["alone", "n2"],
)
def test_a_run_without_scenarios_imports_only_what_waits_for_one(
    tmp_path: Path, args: tuple[str, ...], expected: dict[str, set[str]]
) -> None:
    """The parts that run scenarios are neither imported nor made before something needs them."""
    if args:
        skip_without_xdist()
    (tmp_path / "conftest.py").write_text(CONFTEST)
    done = run(tmp_path, "-p", "pytest_clnrm.plugin", *args)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert {who: set((tmp_path / who).read_text().split()) for who in expected} == expected


def test_our_modules_are_imported_as_any_others(tmp_path: Path) -> None:
    """Those of installed plugins are rewritten by pytest: ours need it not, and would be read in Python."""
    (tmp_path / "conftest.py").write_text(REWRITTEN)
    # Named as a plugin the package is marked to be rewritten, as the packages of all installed plugins are.
    done = run(tmp_path, "-p", "pytest_clnrm", "-p", "pytest_clnrm.plugin")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    first = ["pytest_clnrm", "pytest_clnrm.imports", "pytest_clnrm.plugin"]
    assert (tmp_path / "rewritten").read_text().split() == first


@pytest.mark.parametrize(
    ("ini", "expected"),
    [("", ["True", "False"] * 2), ("clnrm_cpu = much\n", ["False"] * 2)],
    ids=["run", "refused"],
)
def test_nothing_of_ours_finds_modules_when_a_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ini: str, expected: list[str]
) -> None:
    """It would take longer to end; a session that comes then begins anew."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{ini}")
    (tmp_path / "twice.py").write_text(TWICE)
    done = subprocess.run([sys.executable, "twice.py"], cwd=tmp_path, capture_output=True, check=False)
    assert (tmp_path / "finders").read_text().split() == expected, done.stderr


@pytest.mark.parametrize("was_on", [True, False])
def test_no_garbage_is_looked_for_while_our_modules_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, was_on: bool
) -> None:
    """There is none, and each search takes longer than the last; whoever has switched it off keeps it off."""
    (tmp_path / "seen_outer.py").write_text("import gc, pytest_clnrm.seen_inner\nis_on = gc.isenabled()\n")
    (tmp_path / "seen_inner.py").write_text("import gc\nis_on = gc.isenabled()\n")
    monkeypatch.setattr(pytest_clnrm, "__path__", [*pytest_clnrm.__path__, str(tmp_path)])
    # Sessions that other tests have run in this process have ended.
    monkeypatch.setattr(sys, "meta_path", [OurModules, *sys.meta_path])
    (gc.enable if was_on else gc.disable)()
    try:
        outer = importlib.import_module("pytest_clnrm.seen_outer")
        is_on_again = gc.isenabled()
    finally:
        gc.enable()
        del sys.modules["pytest_clnrm.seen_outer"]
        inner = sys.modules.pop("pytest_clnrm.seen_inner")
    assert (outer.is_on, inner.is_on, is_on_again) == (False, False, was_on)


def test_tests_with_containers_import_nothing_that_runs_scenarios(
    make_project: Callable[[str], Project],
) -> None:
    """Every worker of a suite of Python tests would pay for it."""
    project = make_project("n2")
    project.write("conftest.py", CONFTEST)
    tests = """
        def test_it(clnrm, clnrm_shared):
            clnrm_shared("db", "service")
            with clnrm.container("a") as box:
                assert box.run(["echo", "a"]).stdout == "a\\n"
    """
    project.write("test_it.py", textwrap.dedent(tests))
    project.run().assert_outcomes(passed=1)
    workers = [set((project.pytester.path / who).read_text().split()) for who in ("gw0", "gw1")]
    ours = max(workers, key=len)
    assert "runner.sharing.start" in ours
    assert not {each for each in ours if each.startswith(("expect", "runner.actions", "scenario.dialects"))}
    assert not ours & {
        "engine.embedded.join",
        "model.expectations",
        "model.scenario",
        "model.step",
        "runner.scenario_run",
        "runner.steps",
        "session.run_guard",
    }
