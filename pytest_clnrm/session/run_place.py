"""Which run a process belongs to, and that run's own folder: what all its processes share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import pytest


class RunPlace:
    """A run, as one of its processes knows it.

    :param handed_down: what a controller told this worker (:meth:`to_hand_down`), empty in other processes.
    """

    def __init__(self, handed_down: Mapping[str, str]) -> None:
        self._folder = Path(handed_down["folder"]) if handed_down else None
        self.is_worker = bool(handed_down)
        self.session = handed_down.get("session") or os.urandom(4).hex()
        self._parent = handed_down.get("parent") if handed_down else os.environ.get("TRACEPARENT")
        self._ids = handed_down.get("ids") or os.urandom(24).hex()

    @cached_property
    def traceparent(self) -> str:
        """Return the span of the whole run, in the form of the header."""
        from pytest_clnrm.telemetry.traceparent import new_traceparent

        return new_traceparent(self._parent, self._ids)

    def to_hand_down(self) -> dict[str, str]:
        """Return what workers are told.

        :raises pytest.UsageError: if the run's folder cannot be made.
        """
        return {
            "session": self.session,
            "folder": str(self.folder()),
            "parent": self._parent or "",
            "ids": self._ids,
        }

    def folder(self) -> Path:
        """Return the run's own folder, made at the controller's first call.

        :raises pytest.UsageError: if it cannot be made.
        """
        if self._folder is None:
            from pytest_clnrm.cleanup import run_folder

            try:
                self._folder = run_folder.make(self.session)
            except OSError as error:
                raise pytest.UsageError(
                    f"the run's folder cannot be made in {tempfile.gettempdir()}: {error.strerror}; where "
                    "the disk is full, make room or set TMPDIR to another folder"
                ) from error
        return self._folder

    def remove_folder(self) -> None:
        """Remove the run's own folder, if this is not a worker."""
        if self._folder is not None and not self.is_worker:
            from pytest_clnrm.cleanup import run_folder

            folder = str(self._folder)
            if not run_folder.remove_unused(folder):
                run_folder.remove(folder, self.session)
