"""How our modules are imported in a process of pytest: as any others.

pytest rewrites the assertions of the modules of installed plugins, which ours do not need. It costs each of
them a finding and a reading of its file in Python, and where nobody could write them down before, as in a new
environment or a read-only one, a compilation in every process.

While they are imported Python does not look for garbage: it would do so again and again, and modules stay.
"""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Let garbage wait for as long as a block takes that makes many objects which stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Loader(SourceFileLoader):
    """Loads a module, and what that imports, before the next search for garbage."""

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module."""
        with no_garbage_collection():
            super().exec_module(module)


class OurModules:
    """A finder of our modules that comes before pytest's, until a session ends.

    With a finder that is written in Python a process takes seven milliseconds more to end.
    """

    @classmethod
    def find(cls) -> None:
        """Find our modules from now on."""
        if cls not in sys.meta_path:
            sys.meta_path.insert(0, cls)

    @classmethod
    def leave(cls) -> None:
        """Leave what is still imported to the others, which find it, too."""
        if cls in sys.meta_path:
            sys.meta_path.remove(cls)

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how a module of ours is loaded, None for all others."""
        if not name.startswith("pytest_clnrm."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


OurModules.find()
