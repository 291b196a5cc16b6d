"""What is released: the wheel in fresh environments, and the steps that publish it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from clnrm_testing.changelog import part_of
from clnrm_testing.fresh import Fresh

ROOT = Path(__file__).parents[2]
TEST = "def test_passes():\n    pass\n"
ALL_PARTS = "import pytest_clnrm as it; print(*map(it.__getattribute__, it.__all__))"


def pythons() -> list[str]:
    """Return an interpreter of each supported version that this machine has."""
    found = (shutil.which(f"python3.{minor}") for minor in range(10, 15))
    # One of pyenv's names may be there for a version that is not selected.
    return [
        each
        for each in found
        if each and subprocess.run([each, "-c", ""], capture_output=True, check=False).returncode == 0
    ]


def import_ms(printed: str, module: str) -> float:
    """Return how long the import of *module* took with all that it imports, of what -X importtime printed."""
    (line,) = (each for each in printed.splitlines() if each.rpartition("|")[2].strip() == module)
    return int(line.split("|")[1]) / 1000


def folder_mb(folder: Path) -> float:
    """Return the size of all files below *folder*, in MB."""
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file()) / 1e6


@pytest.mark.parametrize("python", pythons(), ids=lambda each: Path(each).name)
def test_fresh_environment(
    python: str, fresh: Callable[[str], Fresh], capsys: pytest.CaptureFixture[str]
) -> None:
    """The wheel installs, its parts find each other, and what it costs is printed."""
    user = fresh(python)
    assert "No broken requirements" in user.run("python", "-m", "pip", "check")
    assert user.run("clnrm", "--version").startswith("pytest-clnrm ")
    (user.folder / "test_it.py").write_text(TEST)
    assert "1 passed" in user.run("pytest")
    assert "--clnrm-memory" in user.run("pytest", "--help")
    assert "Result" in user.run("python", "-c", ALL_PARTS)
    times = user.run("python", "-X", "importtime", "-c", "import pytest; import pytest_clnrm.plugin")
    (packages,) = user.bin.parent.glob("lib/*/site-packages")
    with capsys.disabled():
        sys.stdout.write(
            f"\n{Path(python).name}: pytest is imported in {import_ms(times, 'pytest'):.0f} ms, "
            f"the plugin in {import_ms(times, 'pytest_clnrm.plugin'):.0f} ms more; all packages have "
            f"{folder_mb(packages):.0f} MB, ours {folder_mb(packages / 'pytest_clnrm'):.1f} MB\n"
        )


def workflow() -> dict[str, dict[str, Any]]:
    """Return the jobs of the workflow that publishes."""
    jobs: dict[str, dict[str, Any]] = yaml.safe_load(
        (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    )["jobs"]
    return jobs


def test_only_what_was_checked_is_published() -> None:
    """The job that publishes runs nothing of ours, gets what was checked, and alone may publish."""
    jobs = workflow()
    build, publish = jobs["build"], jobs["publish"]
    assert publish["needs"] == "build"
    assert publish["permissions"] == {"id-token": "write"}
    assert [each for each in publish["steps"] if "run" in each] == []
    uploaded = [
        each["with"] for each in build["steps"] if each.get("uses", "").startswith("actions/upload-artifact")
    ]
    (downloaded,) = (
        each["with"]
        for each in publish["steps"]
        if each.get("uses", "").startswith("actions/download-artifact")
    )
    assert {"name": "dist", "path": "dist", "if-no-files-found": "error"} in uploaded
    assert downloaded == {"name": "dist", "path": "dist"}
    assert [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})] == ["publish"]
    assert "tox run -e release" in [each.get("run") for each in build["steps"]]


@pytest.mark.parametrize(
    ("tag", "heading", "status", "said"),
    [
        ("v1.2.3", "[1.2.3] - 2026-01-31", 0, "- It is new."),
        ("v1.2.4", "[1.2.3] - 2026-01-31", 1, "the tag is v1.2.4, but pyproject.toml builds version 1.2.3"),
        ("v1.2.3", "[Unreleased]", 1, 'CHANGELOG.md has nothing below "## [1.2.3] - YYYY-MM-DD"'),
        ("v1.2.3", "[1.2.3]", 1, 'CHANGELOG.md has nothing below "## [1.2.3] - YYYY-MM-DD"'),
    ],
)
def test_step_that_takes_the_notes(tmp_path: Path, tag: str, heading: str, status: int, said: str) -> None:
    """The command of the workflow, run as it stands there."""
    (step,) = (each["run"] for each in workflow()["build"]["steps"] if "changelog" in each.get("run", ""))
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    parts = (
        "# Changelog",
        f"## {heading}",
        "### Added",
        "- It is new.",
        "## [1.2.2] - 2025-01-01",
        "- It is old.",
    )
    (tmp_path / "CHANGELOG.md").write_text("\n\n".join(parts))
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-e", "-c", step],
        cwd=tmp_path,
        env={"PATH": path, "GITHUB_REF_NAME": tag},
        capture_output=True,
        text=True,
        check=False,
    )
    notes = (tmp_path / "notes.md").read_text()
    assert done.returncode == status, done.stderr
    assert said in notes + done.stderr
    assert "It is old" not in notes


def test_part_of_a_version() -> None:
    """It ends at the next heading, or at the links at the end."""
    text = "## [2.0.0] - 2026-01-02\n\n- New.\n\n[2.0.0]: https://example.org/2\n"
    assert part_of(text, "2.0.0") == "- New."
    assert part_of(text, "2x0.0") == ""
