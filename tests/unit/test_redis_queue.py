"""A suite that uses testcontainers' Redis becomes one of ours by few lines."""

from __future__ import annotations

import difflib
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "data/redis_queue"
MOST_CHANGED = 10


def test_few_lines_change() -> None:
    """Of the whole suite only its fixtures: at most ten lines, those of its containers."""
    theirs, ours = (
        (FOLDER / f"conftest_{each}.py").read_text("utf-8").splitlines() for each in ("theirs", "ours")
    )
    lines = list(difflib.unified_diff(theirs[2:], ours[2:], n=0, lineterm=""))[2:]
    removed = [each for each in lines if each.startswith("-")]
    added = [each for each in lines if each.startswith("+")]
    assert removed
    assert max(len(removed), len(added)) <= MOST_CHANGED
    assert not any("testcontainers" in line for line in ours)
    rest = [path.read_text("utf-8") for path in FOLDER.glob("*.py") if "conftest" not in path.name]
    assert not any("testcontainers" in text or "clnrm" in text for text in rest)
    assert sum(text.count("\n") for text in rest) > MOST_CHANGED * 10
