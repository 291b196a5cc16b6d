"""Tags of scenario files as pytest's markers and keywords, and the warnings about what a file says."""

from __future__ import annotations

import pytest

from pytest_clnrm.reservation.markers import project_markers_key

_tag_markers_key = pytest.StashKey[set[str]]()
"""Names of markers that tags have registered."""


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


def add_tag(item: pytest.Item, tag: str) -> str:
    """Make *tag* a keyword of *item*, and a marker where the name is free.

    A marker of pytest or of another plugin is not set: a file must not be able to skip a test or to change
    its timeout. One that the project's own configuration registers is meant to be used.

    :return: why it is no marker, "" if it is one.
    """
    item.extra_keyword_matches.add(tag)
    stash = item.config.stash
    ours = stash.setdefault(_tag_markers_key, set())
    of_the_project: tuple[str, ...] = stash.get(project_markers_key, ())
    if tag not in ours and tag not in map(marker_name, of_the_project):
        if tag in {marker_name(line) for line in item.config.getini("markers")}:
            return f"tag {tag!r} names a marker of pytest or a plugin: it stays a keyword, for -k only"
        if tag != marker_name(tag) or tag.startswith("_"):
            # What the registration of a marker cannot spell stays a keyword.
            return f"tag {tag!r} cannot be the name of a marker: it stays a keyword, for -k only"
        ours.add(tag)
        item.config.addinivalue_line("markers", f"{tag}: a tag of scenario files")
    item.add_marker(getattr(pytest.mark, tag))
    return ""
