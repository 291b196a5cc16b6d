"""Tags of scenario files as pytest's markers and keywords, and the warnings about what a file says."""

from __future__ import annotations

import pytest

from pytest_clnrm.model.selection import NO_MARKS, KnownMarks, Mark
from pytest_clnrm.names import project_markers_key

PLUGINS = {"flaky": "rerunfailures", "order": "pytest_order", "timeout": "timeout"}
"""Marks of plugins that a file may set, and the names by which pytest knows these plugins."""

_tag_markers_key = pytest.StashKey[set[str]]()
"""Names of markers that scenario files have registered."""
_marks_of_tags_key = pytest.StashKey[dict[str, pytest.MarkDecorator]]()
"""The marks of tags that were set before: thousands of scenarios have a handful of tags."""
_known_marks_key = pytest.StashKey[tuple[tuple[int, int], KnownMarks]]()
"""The marks that were known last, for how many markers in all and of scenario files: each file needs them."""


class ScenarioWarning(pytest.PytestWarning):
    """Something in a scenario, or in a test with containers, may not be what its author believes.

    :param message: may come from a file or a program: control characters for a terminal are escaped.
    """

    def __init__(self, message: str) -> None:
        from pytest_clnrm.util.terminal_text import shown

        super().__init__(shown(message))


def marker_name(line: str) -> str:
    """Return the name that a line of the ini option ``markers`` registers, as pytest reads it."""
    return line.split(":", maxsplit=1)[0].split("(", maxsplit=1)[0].strip()


def known_marks(config: pytest.Config) -> KnownMarks:
    """Return the marks that a run knows, but for those of scenario files."""
    markers: list[str] = config.getini("markers")
    ours: set[str] = config.stash.get(_tag_markers_key, set())
    size = len(markers), len(ours)
    known_size, known = config.stash.get(_known_marks_key, (None, NO_MARKS))
    if size != known_size:
        lines: tuple[str, ...] = config.stash.get(project_markers_key, ())
        project = frozenset(map(marker_name, lines))
        has = config.pluginmanager.has_plugin
        known = KnownMarks(
            project=project,
            taken=frozenset(map(marker_name, markers)) - project - ours,
            plugins=frozenset(name for name, plugin in PLUGINS.items() if has(plugin)),
        )
        config.stash[_known_marks_key] = size, known
    return known


def add_tag(item: pytest.Item, tag: str) -> str:
    """Make *tag* a keyword of *item*, and a marker where the name is free.

    A marker of pytest or of another plugin is not set: a tag must not be able to skip a test or to change
    its timeout. One that the project's own configuration registers is meant to be used.

    :return: why it is no marker, "" if it is one.
    """
    item.extra_keyword_matches.add(tag)
    marks = item.config.stash.setdefault(_marks_of_tags_key, {})
    mark = marks.get(tag)
    if mark is not None:
        item.add_marker(mark)
        return ""
    if tag not in item.config.stash.get(_tag_markers_key, ()):
        known = known_marks(item.config)
        if tag in known.taken:
            return f"tag {tag!r} names a marker of pytest or a plugin: it stays a keyword, for -k only"
        if tag not in known.project and (tag != marker_name(tag) or tag.startswith("_")):
            # What the registration of a marker cannot spell stays a keyword.
            return f"tag {tag!r} cannot be the name of a marker: it stays a keyword, for -k only"
    marks[tag] = add_mark(item, Mark(name=tag))
    return ""


def add_mark(item: pytest.Item, mark: Mark) -> pytest.MarkDecorator:
    """Set a mark on *item*; one that nobody has registered is registered, for ``--strict-markers``.

    :return: the mark as pytest has it.
    """
    config = item.config
    ours = config.stash.setdefault(_tag_markers_key, set())
    if mark.name not in ours and mark.name not in map(marker_name, config.getini("markers")):
        ours.add(mark.name)
        config.addinivalue_line("markers", f"{mark.name}: a tag of scenario files")
    made: pytest.MarkDecorator = getattr(pytest.mark, mark.name).with_args(*mark.args, **mark.kwargs)
    item.add_marker(made)
    return made
