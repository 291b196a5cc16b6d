"""Installs a neighbour, runs the suite beside it, and tells how that differs from what was declared."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from clnrm_testing.neighbours.declared import Neighbour
from clnrm_testing.neighbours.seen import Run
from clnrm_testing.neighbours.stub import Stub
from clnrm_testing.neighbours.suite import write_suite

TESTS = Path(__file__).parents[2]
LIMIT_S = 300
_OWN = ("clnrm", "xdist", "clnrm_testing.fake_engine", "clnrm_testing.neighbours.watch")
_ENTRY_POINTS = """
import sys
from importlib.metadata import PackageNotFoundError, distribution
from packaging.requirements import Requirement

seen, names, left = {"pytest", "pytest-xdist", "pytest-clnrm"}, [], sys.argv[1:]
while left:
    package = left.pop().lower().replace("_", "-")
    if package in seen:
        continue
    seen.add(package)
    try:
        found = distribution(package)
    except PackageNotFoundError:
        continue
    names += [each.name for each in found.entry_points if each.group == "pytest11"]
    needed = [Requirement(each) for each in found.requires or ()]
    left += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
print(*sorted(names))
"""
"""Prints the names of the plugins that a package and those that it needs bring."""


def environment_of(neighbour: Neighbour, root: Path) -> str:
    """Return an interpreter that has the neighbour and all that this one has: it, or one made below *root*.

    :raises subprocess.CalledProcessError: if the neighbour cannot be installed.
    """
    if not neighbour.beside and _installed(neighbour.package) == neighbour.version:
        return sys.executable
    folder = root / neighbour.name
    python = folder / "bin" / "python"
    wanted = "\n".join((sys.executable, *neighbour.requirements))
    done = folder / "installed"
    if done.exists() and done.read_text("utf-8") == wanted:
        return str(python)
    _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)])
    (site,) = folder.glob("lib/python*/site-packages")
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (site / "ours.pth").write_text(line, encoding="utf-8")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run([*pip, *neighbour.requirements])
    done.write_text(wanted, encoding="utf-8")
    return str(python)


def _installed(package: str) -> str:
    if not package:
        return ""
    try:
        return distribution(package).version
    except PackageNotFoundError:
        return ""


def _run(argv: list[str]) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def run_beside(neighbour: Neighbour, python: str, folder: Path, *, workers: int) -> Run:
    """Run the suite in *folder*, which is made, in one process or with *workers*."""
    folder.mkdir(mode=0o700)
    write_suite(folder, neighbour.files)
    names = _run([python, "-c", _ENTRY_POINTS, neighbour.package]).split() if neighbour.package else []
    plugins = [word for name in (*_OWN, *names) for word in ("-p", name)]
    with ExitStack() as until_end:
        stub = until_end.enter_context(Stub()) if neighbour.has_server else None
        url = stub.url if stub else ""
        options = [each.format(url=url) for each in neighbour.options]
        more = {key: value.format(url=url) for key, value in neighbour.environ.items()}
        argv = [python, "-m", "pytest", *plugins, "--junitxml=junit.xml", "--clnrm-report=out", *options]
        if workers:
            argv += ["-n", str(workers)]
        ended = subprocess.run(
            argv,
            cwd=folder,
            env={**_environ(folder), **more},
            timeout=LIMIT_S,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(
            folder=folder,
            workers=workers,
            exit_code=ended.returncode,
            output=ended.stdout,
            requests=tuple(stub.requests) if stub else (),
        )


def _environ(folder: Path) -> dict[str, str]:
    left_out = ("PYTEST_", "COV_", "COVERAGE_", "OTEL_", "CLNRM_", "TOX_", "GITHUB_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {
        **kept,
        "PYTHONPATH": str(TESTS),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "XDG_RUNTIME_DIR": str(folder),
    }


def problems(neighbour: Neighbour, run: Run) -> Iterator[str]:
    """Yield in words how a run differs from what was declared."""
    if run.exit_code != 1:
        yield f"exit code {run.exit_code}, not 1"
    for sign in ("INTERNALERROR", "/pytest_clnrm/", "Traceback (most recent call last)"):
        if sign in run.output and sign not in neighbour.may_print:
            yield f"{sign} is in its output"
    if "main" not in run.processes:
        yield "nothing was written down of it"
        return
    expected = neighbour.outcomes(workers=run.workers)
    yield from _differences("outcomes", expected, run.outcomes())
    yield from _differences("report.json", expected, run.reported())
    yield from _attempts(neighbour, run)
    yield from _items(neighbour, run, Counter(expected.keys()))
    yield from _torn_down(neighbour, run)
    yield from _junit(neighbour, run, expected)
    if neighbour.check is not None:
        yield from neighbour.check(run, expected)


def _differences(what: str, expected: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    for nodeid in sorted({*expected, *found}):
        if expected.get(nodeid) != found.get(nodeid):
            yield f"{what}: {nodeid}: {found.get(nodeid, 'missing')}, not {expected.get(nodeid, 'there')}"


def _attempts(neighbour: Neighbour, run: Run) -> Iterator[str]:
    for row in run.rows():
        expected = neighbour.attempts.get(row["nodeid"], 1)
        if row["attempts"] != expected:
            yield f"report.json: {row['nodeid']}: {row['attempts']} attempts, not {expected}"


def _items(neighbour: Neighbour, run: Run, expected: Counter[str]) -> Iterator[str]:
    """Look at what any plugin sees in the processes that run items: the tests, each of them once."""
    ran: Counter[str] = Counter()
    for name, process in run.processes.items():
        if run.workers and name == "main":
            continue
        for when, items in (("collected", process.collected), ("at the end", process.at_end)):
            found = Counter(items)
            if found != expected:
                yield f"{name}: items {when}: {sorted((found - expected) + (expected - found))}"
        ran.update(process.ran)
        for nodeid, real in zip(process.ran, [*process.ran[1:], None], strict=False):
            told = process.nexts.get(nodeid)
            if told != real and not neighbour.in_children:
                yield f"{name}: nextitem of {nodeid} was {told}, and then came {real}"
    if ran != expected:
        yield f"not run once: {sorted((ran - expected) + (expected - ran))}"


def _torn_down(neighbour: Neighbour, run: Run) -> Iterator[str]:
    if neighbour.in_children:
        return
    marks = run.folder / "torn-down"
    count = len(marks.read_text("utf-8").split()) if marks.exists() else 0
    if not 1 <= count <= max(1, run.workers):
        yield f"the module's fixture was torn down {count} times"


_JUNIT = {"failed": "failure", "xfailed": "skipped"}


def _junit(neighbour: Neighbour, run: Run, expected: Mapping[str, str]) -> Iterator[str]:
    """Look into pytest's own report: each test once, as what it was."""
    path = run.folder / "junit.xml"
    if not path.exists():
        yield "junit.xml: missing"
        return
    found: dict[tuple[str, str], str] = {}
    for case in ET.parse(path).iter("testcase"):  # noqa: S314 - of our own making
        key = case.get("classname", ""), case.get("name", "")
        # What fails in its teardown has a case of its own for that.
        if key in found and case.find("error") is None and not neighbour.junit_has_reruns:
            yield f"junit.xml: {key} is there twice"
        found[key] = next(
            (each.tag for each in case if each.tag in {"failure", "error", "skipped"}), "passed"
        )
    wanted = Counter(_JUNIT.get(outcome, outcome) for outcome in expected.values())
    if Counter(found.values()) != wanted:
        yield f"junit.xml: {dict(Counter(found.values()))}, not {dict(wanted)}"
