"""Where the processes of a run note what they know of shared containers: in the run's own folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runtime.runtime import Runtime

FOLDER = "shared"
"""Where the records are, in the run's own folder."""

USED, WARM = "used", "warm"
"""Marks: somebody may have written to it; an earlier run has started it."""


def mark(runtime: Runtime, running: RunningContainer, what: str) -> Path:
    """Return a file that says, if it is there, that something was done in a shared container."""
    assert runtime.run_folder is not None  # noqa: S101 (it was needed to join it)
    return runtime.run_folder() / FOLDER / f"{running.id}.{what}"


def book_of(runtime: Runtime, name: str) -> Path:
    """Return the file with the spans of the shared container of that name."""
    assert runtime.run_folder is not None  # noqa: S101 (it was needed to reserve it)
    return runtime.run_folder() / FOLDER / f"{name}.spans"
