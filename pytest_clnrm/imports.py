"""How our modules are imported in a process of pytest: as any others.

pytest rewrites the assertions of the modules of installed plugins, which ours do not need. It costs each of
them a finding and a reading of its file in Python, and where nobody could write them down before, as in a new
environment or a read-only one, a compilation in every process.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType


class OurModules:
    """A finder of our modules that comes before pytest's."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how a module of ours is loaded, None for all others."""
        return PathFinder.find_spec(name, path, target) if name.startswith("pytest_clnrm.") else None


sys.meta_path.insert(0, OurModules)
