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

    def __reduce_ex__(self, protocol: object) -> tuple[type[Priority], tuple[int]]:
        """Return what pickle makes of it: by its value, in each Python.

        Some, as 3.11.2, take ``getattr`` to look its name up, which
        :mod:`pytest_clnrm.scenario.templates.confined` rightly refuses to call.
        """
        return self.__class__, (self.value,)

    @property
    def label(self) -> str:
        """Return the name that users write."""
        return self.name.lower()
