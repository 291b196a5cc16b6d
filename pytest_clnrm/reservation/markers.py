"""The marker by which a test reserves containers, and the priority that counts for an item."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_clnrm.scheduling.order import own_priority
from pytest_clnrm.settings.settings import resolve_priority

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.model.priority import Priority
    from pytest_clnrm.settings.settings import Settings

LIMITS_MARKER = "clnrm_limits"
"""The marker by which a Python test reserves containers."""

project_markers_key = pytest.StashKey[tuple[str, ...]]()
"""The markers that the project's own configuration registers, line by line. A tag may be one of them."""


def priority_of(item: pytest.Item, settings: Settings, rootdir: Path) -> Priority:
    """Return an item's priority: its own, its highest tag's, its nearest folder's, or the default.

    The tags of a Python test are the names of its markers.

    :raises pytest.UsageError: if its marker names no priority.
    """
    own = own_priority(item)
    if own is not None or not settings.priorities:
        # Every item of every run comes here, and looking at paths takes ten times as long as the rest.
        return settings.priority if own is None else own
    tags = [*item.extra_keyword_matches, *(marker.name for marker in item.iter_markers())]
    folders: list[str] = []
    if item.path.is_relative_to(rootdir):
        folders = [folder.name for folder in item.path.relative_to(rootdir).parents if folder.name]
    return resolve_priority(settings, own, tags, folders)
