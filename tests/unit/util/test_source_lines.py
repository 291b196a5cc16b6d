"""Lines of files at the places of failures: those of the project, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_clnrm.util.source_lines import MAX_LINE_CHARS, Sources


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project's folder with a file of 20 lines."""
    (tmp_path / "project" / "tests").mkdir(parents=True)
    text = "".join(f"line {number}\n" for number in range(1, 21))
    (tmp_path / "project" / "tests" / "a.toml").write_text(text)
    return tmp_path / "project"


def test_lines_around_a_place(project: Path) -> None:
    """Five before and five after, as far as there are any; relative to rootdir or to where pytest began."""
    sources = Sources(str(project), str(project / "tests"))
    found = sources.around("tests/a.toml:10")
    assert found is not None
    assert (found["first"], found["lines"][0], found["lines"][-1]) == (5, "line 5", "line 15")
    assert sources.around("a.toml:10") == found
    assert sources.around(f"{project}/tests/a.toml:10") == found
    first = sources.around("tests/a.toml:1")
    assert first is not None
    assert (first["first"], len(first["lines"])) == (1, 6)


@pytest.mark.parametrize(
    "where",
    ["", "tests/a.toml", "tests/a.toml:0", "tests/a.toml:99", "tests/gone.toml:1", "tests:1", "a.toml:x",
     "../outside.txt:1", "/etc/passwd:1", "tests/link.toml:1", "tests/binary:1", "a\x00b:1", ":1"],
)  # fmt: skip
def test_no_lines_of_anything_else(project: Path, where: str) -> None:
    """What is no place, no text, or outside of the project has no lines: a program may have named it."""
    (project.parent / "outside.txt").write_text("secret\n")
    (project / "tests" / "link.toml").symlink_to(project.parent / "outside.txt")
    (project / "tests" / "binary").write_bytes(b"\xff\xfe\n")
    assert Sources(str(project), str(project)).around(where) is None


def test_long_lines_are_cut(project: Path) -> None:
    """A minified line does not fill the report."""
    (project / "long.py").write_text("x" * 9000)
    found = Sources(str(project), str(project)).around("long.py:1")
    assert found == {"first": 1, "lines": ["x" * MAX_LINE_CHARS + "..."]}
