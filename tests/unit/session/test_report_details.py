"""What a report tells beside results: lines of files at the places of failures, and of earlier runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_clnrm.session.report_details import MAX_LINE_CHARS, Sources, add_history, add_sources


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


def test_rows_have_the_places_of_all_attempts(project: Path) -> None:
    """Those of failures, also of attempts that were tried again; of what passed or was skipped none."""
    rows: list[dict[str, Any]] = [
        {
            "outcome": "failed",
            "failures": [{"where": "tests/a.toml:3"}, {"where": ""}],
            "earlier": [{"failures": [{"where": "tests/a.toml:9"}]}],
        },
        {"outcome": "skipped", "failures": [{"where": "tests/a.toml:3"}]},
    ]
    add_sources(rows, Sources(str(project), str(project)))
    assert list(rows[0]["sources"]) == ["tests/a.toml:3", "tests/a.toml:9"]
    assert "sources" not in rows[1]


def test_rows_have_what_earlier_runs_have_shown() -> None:
    """An item that no run has shown has nothing."""
    rows: list[dict[str, Any]] = [{"nodeid": "a"}, {"nodeid": "b"}]
    add_history(rows, {"a": ("pf", [0.5, None])})
    assert rows == [
        {"nodeid": "a", "history": {"outcomes": "pf", "durations_s": [0.5, None]}},
        {"nodeid": "b"},
    ]
