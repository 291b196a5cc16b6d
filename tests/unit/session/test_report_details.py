"""What a report tells beside results: lines of files at the places of failures, and of earlier runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_clnrm.session.report_details import add_history, add_sources
from pytest_clnrm.util.source_lines import Sources


def test_rows_of_python_tests_have_their_lines(tmp_path: Path) -> None:
    """Of what failed, and of Python files alone: what a scenario file says may be a secret of its own."""
    (tmp_path / "test_a.py").write_text("one\ntwo\n")
    rows: list[dict[str, Any]] = [
        {
            "outcome": "failed",
            "file": "test_a.py",
            "failures": [{"where": "test_a.py:2"}, {"where": "tests/a.toml:3"}],
        },
        {"outcome": "passed", "file": "test_a.py", "failures": [{"where": "test_a.py:2"}]},
        {"outcome": "error", "file": "tests/a.toml", "failures": [{"where": "tests/a.toml:3"}]},
    ]
    add_sources(rows, Sources(str(tmp_path), str(tmp_path)))
    assert rows[0]["sources"] == {"test_a.py:2": {"first": 1, "lines": ["one", "two", ""]}}
    assert "sources" not in rows[1]
    assert "sources" not in rows[2]


def test_rows_have_what_earlier_runs_have_shown() -> None:
    """An item that no run has shown has nothing."""
    rows: list[dict[str, Any]] = [{"nodeid": "a"}, {"nodeid": "b"}]
    add_history(rows, {"a": ("pf", [0.5, None])})
    assert rows == [
        {"nodeid": "a", "history": {"outcomes": "pf", "durations_s": [0.5, None]}},
        {"nodeid": "b"},
    ]
