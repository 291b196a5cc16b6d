"""The priority that counts for an item."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_clnrm.model.priority import Priority
from pytest_clnrm.scheduling.order import own_priority

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

    from pytest_clnrm.settings.settings import Settings


def priority_of(item: pytest.Item, settings: Settings, rootdir: Path) -> Priority:
    """Return an item's priority: its own, its highest tag's, its nearest folder's, or the default.

    The tags of a Python test are the names of its markers.

    :raises pytest.UsageError: if its marker names no priority.
    """
    own = own_priority(item)
    if own is not None or not settings.priorities:
        # Looking at paths takes ten times as long as the rest.
        return resolve_priority(settings, own, (), ())
    tags = [*item.extra_keyword_matches, *(marker.name for marker in item.iter_markers())]
    folders: list[str] = []
    if item.path.is_relative_to(rootdir):
        folders = [folder.name for folder in item.path.relative_to(rootdir).parents if folder.name]
    return resolve_priority(settings, own, tags, folders)


def resolve_priority(
    settings: Settings, own: Priority | None, tags: Sequence[str], folders: Sequence[str]
) -> Priority:
    """Return an item's priority: its own, else its highest tag's, else its nearest folder's.

    What is left has the priority of ``--clnrm-priority``.

    :param folders: names of the folders around the item's file, nearest first.
    """
    if own is not None:
        return own
    known = settings.priorities
    tagged = [known[tag] for tag in tags if tag in known]
    if tagged:
        return min(tagged)
    named = [known[folder] for folder in folders if folder in known]
    return named[0] if named else Priority.parse(settings.priority)
