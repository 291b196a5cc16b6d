"""A file of scenarios as its scenarios see it: what it is called, and how to warn of something in it."""

from __future__ import annotations

import os
import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.items.tags import ScenarioWarning
from pytest_clnrm.util.terminal_text import one_line

if TYPE_CHECKING:
    from pytest_clnrm.runtime.runtime import Runtime


class FileNode(pytest.File):
    """A file whose scenarios are items.

    :param runtime: the shared parts of this process.
    :ivar named_secrets: values of the variables of ``clnrm_secrets`` when it was collected.
    """

    def __init__(self, *, runtime: Runtime, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.runtime = runtime
        self._warned: set[str] = set()
        self.named_secrets = tuple(os.environ.get(name, "") for name in runtime.settings.secrets)

    @cached_property
    def real_path(self) -> str:
        """Return the path with its links resolved."""
        return os.path.realpath(self.path)

    def shown_path(self) -> str:
        """Return the path as it is to be shown: relative to the folder pytest was started in."""
        return one_line(os.path.relpath(self.path, self.config.invocation_params.dir))

    def warn_once(self, message: str) -> None:
        """Warn of something in this file, once; every worker collects every file, so one of them does."""
        if self.runtime.worker in {"master", "gw0"} and message not in self._warned:
            self._warned.add(message)
            self.warn_at(1, f"{self.shown_path()}: {message}")

    def warn_at(self, line: int, message: str) -> None:
        """Warn of something in this file, under a file name that does not exist.

        Python would print the line of the warning, which may hold a secret.
        """
        warnings.warn_explicit(
            ScenarioWarning(message), category=None, filename=f"<{self.shown_path()}>", lineno=line
        )
