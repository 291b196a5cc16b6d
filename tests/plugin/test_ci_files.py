"""The files for CI systems in examples/ci: they parse, and their commands do what they are for.

Each job runs in a folder of its own, as on a machine of its own, with the fake engine; what the systems do
with artifacts and caches is done here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from clnrm_testing.project import PYTEST_ADDOPTS
from clnrm_testing.requirements import needs_xdist

from pytest_clnrm.history.records import History, Observed
from pytest_clnrm.history.store import bytes_of, read_history

pytestmark = needs_xdist

TESTS = Path(__file__).parents[1]
CI = TESTS.parent / "examples" / "ci"
INSTALL = "python -m pip install pytest-clnrm"
OURS = ("PYTEST_", "COVERAGE_", "CI_", "GITHUB_", "GITLAB_")
"""How names of variables begin that tell where these tests run themselves."""

MATRIX = '[matrix]\nnumber = [1, 2, 3, 4, 5]\n[[step]]\nname = "work"\nrun = "true"\n'


class Machines:
    """Folders in which jobs run, and what is handed on between them.

    :param folder: where all of it is.
    """

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.artifacts = folder / "artifacts"
        self.cache = folder / "cache"
        self._folder = folder
        self.project.mkdir()
        (self.project / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        for name in "ab":
            (self.project / f"{name}.clnrm.toml").write_text(MATRIX, encoding="utf-8")
            text = "def test_one(): pass\ndef test_two(): pass\n"
            (self.project / f"test_{name}.py").write_text(text, encoding="utf-8")
        # As where the packages are installed: the commands of this environment.
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(OURS)},
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "PYTHONPATH": str(TESTS),
            "PYTEST_ADDOPTS": f"{PYTEST_ADDOPTS} -p clnrm_testing.fake_engine -p no:randomly",
            "XDG_RUNTIME_DIR": str(folder),
        }

    def machine(self, name: str, *, checkout: bool) -> Path:
        """Return the empty folder of a machine, or one with the project in it."""
        place = self._folder / name
        shutil.rmtree(place, ignore_errors=True)
        if checkout:
            shutil.copytree(self.project, place)
        else:
            place.mkdir()
        return place

    def run(self, command: str, place: Path, **environ: str) -> None:
        """Run a command as CI systems do, by a shell that ends at the first error."""
        assert "${{" not in command
        # Workers, of which each takes a second to start, are tried elsewhere.
        command = command.replace("-n auto", "-n 0")
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", command],
            cwd=place,
            env={**self._environ, **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def copy(source: Path, target: Path) -> None:
    """Copy a folder over another one, if it is there."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    """Return machines with a project of 14 tests."""
    return Machines(tmp_path)


def write_history(path: Path) -> None:
    """Write the history of an earlier run of the project."""
    nodeids = [f"{name}.clnrm.toml::{name}[number={number}]" for name in "ab" for number in range(1, 6)]
    nodeids += [f"test_{name}.py::test_{which}" for name in "ab" for which in ("one", "two")]
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes_of(History.of({each: {"r": Observed("passed", 1.0)} for each in nodeids})))


def check(merged: Path, history: Path, *, shards: int) -> None:
    """Look at what the last job has written, and left for the next run."""
    document = json.loads((merged / "report.json").read_text("utf-8"))
    assert len(document["session"]["shards"]) == shards
    assert document["session"]["problems"] == []
    assert document["session"]["counts"] == {"passed": 14}
    assert len(read_history(history / "history.json").runs) == 1 + shards
    assert (merged / "junit.xml").exists()
    assert (merged / "trace.otlp.json").exists()


def known(report: Path) -> int:
    """Return of how many tests a shard knew how long they take."""
    count: int = json.loads((report / "report.json").read_text("utf-8"))["session"]["shard"]["known"]
    return count


def steps_of(job: Mapping[str, Any], values: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the steps of a job of GitHub's, with values in place of what stands in ``${{ }}``."""

    def filled(data: Any) -> Any:
        if isinstance(data, Mapping):
            return {key: filled(value) for key, value in data.items()}
        if isinstance(data, str):
            return re.sub(r"\$\{\{ ([^}!]+) \}\}", lambda match: values[match[1]], data)
        return data

    yield from map(filled, job["steps"])


def run_on_github(job: Mapping[str, Any], name: str, machines: Machines, values: Mapping[str, str]) -> Path:
    """Run a job of GitHub's, and return the folder of its machine."""
    place = machines.machine(name, checkout=False)
    for step in steps_of(job, values):
        if step.get("run", INSTALL) != INSTALL:
            machines.run(step["run"], place)
        elif "uses" in step:
            act(step["uses"].partition("@")[0], step.get("with", {}), machines, place)
    return place


def act(action: str, given: Mapping[str, Any], machines: Machines, place: Path) -> None:
    """Do what an action does in the folder of a machine."""
    if action == "actions/checkout":
        copy(machines.project, place)
    elif action == "actions/upload-artifact":
        ignore = None if given.get("include-hidden-files") else shutil.ignore_patterns(".*")
        target = machines.artifacts / given["name"]
        shutil.copytree(place / given["path"], target, ignore=ignore, dirs_exist_ok=given["overwrite"])
    elif action == "actions/download-artifact" and "pattern" in given:
        for each in machines.artifacts.glob(given["pattern"]):
            copy(each, place / given["path"] / each.name)
    elif action == "actions/download-artifact":
        shutil.copytree(machines.artifacts / given["name"], place / given["path"])
    elif action == "actions/cache/restore":
        for each in sorted(machines.cache.glob(f"{given['restore-keys']}*"))[-1:]:
            copy(each, place / given["path"])
    elif action == "actions/cache/save":
        shutil.copytree(place / given["path"], machines.cache / given["key"])
    else:
        assert action == "actions/setup-python"


def test_github(machines: Machines) -> None:
    """Three jobs, divided by what an earlier run has shown, and one that merges, also for the next run."""
    write_history(machines.cache / "clnrm-history-0" / "history.json")
    jobs = yaml.safe_load((CI / "github-actions.yml").read_text("utf-8"))["jobs"]
    assert list(jobs) == ["history", "shard", "report"]
    assert [jobs[name].get("needs") for name in jobs] == [None, "history", "shard"]
    shards = jobs["shard"]["strategy"]["matrix"]["shard"]
    values = {"github.run_id": "1", "github.run_attempt": "1", "strategy.job-total": str(len(shards))}
    run_on_github(jobs["history"], "history", machines, values)
    for number in shards:
        values["matrix.shard"] = str(number)
        place = run_on_github(jobs["shard"], f"shard-{number}", machines, values)
        assert known(place / "clnrm-report") == 14
    place = run_on_github(jobs["report"], "report", machines, values)
    check(place / "merged", machines.cache / "clnrm-history-1-1", shards=len(shards))


def run_on_gitlab(job: Mapping[str, Any], name: str, machines: Machines, keep: str, **environ: str) -> Path:
    """Run a job of GitLab's, and return the folder of its machine.

    :param keep: under which name its artifacts are kept.
    """
    checkout = job.get("variables", {}).get("GIT_STRATEGY") != "none"
    place = machines.machine(name, checkout=checkout)
    cache = job.get("cache", {"policy": "none"})
    if cache["policy"] == "pull":
        copy(machines.cache, place)
    for need in job.get("needs", ()):
        for each in machines.artifacts.glob(f"{need}*"):
            copy(each, place)
    for command in job["script"]:
        if command != INSTALL:
            machines.run(command, place, **environ)
    for path in job["artifacts"]["paths"]:
        shutil.copytree(place / path, machines.artifacts / keep / path, dirs_exist_ok=True)
    if cache["policy"] == "push":
        for path in cache["paths"]:
            shutil.copytree(place / path, machines.cache / path, dirs_exist_ok=True)
    return place


def test_gitlab(machines: Machines) -> None:
    """The same on GitLab, which numbers the jobs itself."""
    jobs = yaml.safe_load((CI / "gitlab-ci.yml").read_text("utf-8"))
    assert [jobs[name]["stage"] for name in ("history", "shard", "report")] == jobs["stages"]
    total = jobs["shard"]["parallel"]
    write_history(machines.cache / "clnrm-history" / "history.json")
    run_on_gitlab(jobs["history"], "history", machines, "history")
    for number in range(1, total + 1):
        variables = {"CI_NODE_INDEX": str(number), "CI_NODE_TOTAL": str(total)}
        place = run_on_gitlab(jobs["shard"], "shard", machines, f"shard-{number}", **variables)
        assert list(place.glob(jobs["shard"]["artifacts"]["reports"]["junit"]))
        assert known(place / "shards" / str(number)) == 14
    place = run_on_gitlab(jobs["report"], "report", machines, "report")
    check(place / "merged", machines.cache / "clnrm-history", shards=total)
