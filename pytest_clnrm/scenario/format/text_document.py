"""The checks of a text, see :mod:`pytest_clnrm.scenario.format.document`."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from pytest_clnrm.model.key_path import KeyPath
from pytest_clnrm.model.text import TextExpect
from pytest_clnrm.scenario.format.parts import Patterns, Table, several


class TextDoc(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a text must be; everything that is set must hold."""

    contains: Patterns | None = None
    not_contains: Patterns | None = None
    regex: Patterns | None = None
    not_regex: Patterns | None = None
    equals: str | None = None
    json: Any | UnsetType = UNSET

    def built(self, at: KeyPath) -> TextExpect:
        """Return the expectation."""
        return TextExpect(
            contains=tuple(several(self.contains)),
            not_contains=tuple(several(self.not_contains)),
            regex=tuple(several(self.regex)),
            not_regex=tuple(several(self.not_regex)),
            equals=self.equals,
            json=None if self.json is UNSET else self.json,
            has_json=self.json is not UNSET,
            at=at,
        )
