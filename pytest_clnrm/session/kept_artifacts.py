"""Putting the artifacts of a run where they stay, once all of its processes have ended."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from pytest_clnrm.names import ARTIFACTS_FOLDER, ARTIFACTS_MARK

if TYPE_CHECKING:
    from pathlib import Path


def put_artifacts(run_folder: Path, base: Path) -> bool:
    """Move what the run has kept below *base*, in place of what an earlier run has; tell whether it has any.

    :raises OSError: if it cannot be put there, as something else has that name.
    """
    source, target = run_folder / ARTIFACTS_FOLDER, base / ARTIFACTS_FOLDER
    if (target / ARTIFACTS_MARK).is_file():
        shutil.rmtree(target)
    if not source.is_dir():
        return False
    if target.exists() or target.is_symlink():
        raise FileExistsError(0, "is there already, and is none of an earlier run", str(target))
    (source / ARTIFACTS_MARK).write_text(
        "Files of containers. pytest collects nothing here.\n", encoding="utf-8"
    )
    base.mkdir(parents=True, exist_ok=True)
    # To another file system they are copied.
    shutil.move(source, target)
    return True
