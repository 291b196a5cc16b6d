"""Scenario files as pytest collects them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.errors import ScenarioFileError
from pytest_clnrm.items.checked_files import NO_VALUES, checked_files
from pytest_clnrm.items.file_node import FileNode
from pytest_clnrm.items.scenario_item import ScenarioItem
from pytest_clnrm.util.redaction import Redactor
from pytest_clnrm.util.terminal_text import is_plain, one_line, shown

if TYPE_CHECKING:
    from pytest_clnrm.items.outline import Outline

UNCHECKED_SHOWN = 100


BAD_PATH = (
    "the path of a scenario file must not hold '::' or control characters such as newlines, as it is part of "
    "node ids; rename the file or its folder"
)
UNCHECKED_REMEDY = "clnrm_strict = true makes this an error"


def can_be_shown(path: Path, rootdir: Path | str) -> bool:
    """Tell whether the path of a file can be part of node ids, which are shown everywhere."""
    return _is_showable(path.name) and _folder_can_be_shown(os.path.dirname(path), rootdir)  # noqa: PTH120


@lru_cache(maxsize=1024)
def _folder_can_be_shown(folder: str, rootdir: Path | str) -> bool:
    """Tell it of a folder: nothing that may not be shown goes over the edge between it and a name."""
    return _is_showable(os.path.relpath(folder, rootdir))


def _is_showable(path: str) -> bool:
    # A command to a CI service has one of both in it, and few paths do.
    return "::" not in path and is_plain(path) and ("##" not in path or one_line(path) == path)


class RefusedFile(pytest.File):
    """A file of scenarios whose path cannot be part of node ids."""

    @classmethod
    def of(cls, parent: pytest.Collector, path: Path) -> RefusedFile:
        """Return the node that refuses the file at *path*, under a path that can be shown."""
        named = Path(one_line(str(path)).replace("::", r"\x3a:"))
        refused: RefusedFile = cls.from_parent(parent, path=named)
        return refused

    def collect(self) -> Iterable[pytest.Item]:
        """Refuse it.

        :raises pytest.Collector.CollectError: always.
        """
        raise self.CollectError(f"{self.nodeid}: {BAD_PATH}")


class ScenarioFile(FileNode):
    """A file of scenarios.

    :param variables: values in place of those that the file's own variables have.
    """

    def __init__(self, *, variables: Mapping[str, object] = NO_VALUES, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._variables = variables
        self._checked_files = checked_files(self.config, self.runtime)
        if not variables:
            self._checked_files.expect(self.path, self.session)

    def collect(self) -> Iterable[ScenarioItem]:
        """Yield an item for each scenario and combination of its matrix.

        :raises pytest.Collector.CollectError: with all mistakes of the file.
        """
        try:
            checked = self._checked_files.get(str(self.path), self._variables)
        except ScenarioFileError as error:
            message = Redactor({*error.secrets, *self.named_secrets}).text(error.render(self.shown_path()))
            raise self.CollectError(shown(message)) from None
        self._warn_unchecked(checked.outlines)
        for index, outline in enumerate(checked.outlines):
            fetch = partial(checked.scenario, index)
            yield ScenarioItem.from_parent(self, name=outline.name, outline=outline, fetch=fetch)

    def _warn_unchecked(self, outlines: Iterable[Outline]) -> None:
        unchecked = dict.fromkeys(path for outline in outlines for path in outline.unchecked)
        if unchecked:
            shown = ", ".join(list(unchecked)[:UNCHECKED_SHOWN])
            more = f" and {len(unchecked) - UNCHECKED_SHOWN} more" if len(unchecked) > UNCHECKED_SHOWN else ""
            self.warn_once(f"not checked: {shown}{more} ({UNCHECKED_REMEDY})")
