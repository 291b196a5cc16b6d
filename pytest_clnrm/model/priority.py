"""The priority of an item."""

from __future__ import annotations

import enum


class Priority(enum.IntEnum):
    """The priority of an item; smaller runs first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2

    @classmethod
    def parse(cls, name: str) -> Priority:
        """Return the priority called *name* ("high", "normal", "low").

        :raises KeyError: for any other name.
        """
        return {"high": cls.HIGH, "normal": cls.NORMAL, "low": cls.LOW}[name]

    @property
    def label(self) -> str:
        """Return the name that users write."""
        return self.name.lower()
