"""What a run has of this plugin until something needs the rest: a run without scenarios must not feel it."""

from __future__ import annotations

import time
from collections.abc import Generator
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import pytest

from pytest_clnrm.scheduling.order import MARKER

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.nodes import ScenarioFile
    from pytest_clnrm.parts import Parts
    from pytest_clnrm.settings import Settings

__all__ = ["LIMITS_MARKER", "Standby", "standby_key"]

LIMITS_MARKER = "clnrm_limits"
_MARKERS = {LIMITS_MARKER, MARKER}
_FIXTURES = {"clnrm", "clnrm_factory"}


class Standby:
    """Waits in every process that collects for what needs the other parts, and makes them then.

    That is a scenario file, or a Python test with containers or a priority. Under xdist, and where something
    is to be shown or written in any case, it does not wait.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.settings = settings
        self._config = config
        self._began_s = time.time()
        self._began_monotonic_s = time.monotonic()
        self._parts: Parts | None = None
        if (
            hasattr(config, "workerinput")
            or config.getoption("tx", None)
            or settings.autoscale
            or settings.report_dir
            or settings.show_workers
        ):
            self.parts()

    def parts(self) -> Parts:
        """Return the other parts, made and registered at the first call.

        :raises pytest.UsageError: if they cannot be made as the settings want them.
        """
        if self._parts is None:
            from pytest_clnrm.parts import Parts

            self._parts = Parts(
                self._config,
                self.settings,
                began_s=self._began_s,
                began_monotonic_s=self._began_monotonic_s,
            )
        return self._parts

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
        """Collect files that match ``clnrm_files``, and TOML files named on the command line."""
        named = file_path.suffix == ".toml" and parent.session.isinitpath(file_path)
        if not named and not any(fnmatch(file_path.name, glob) for glob in self.settings.files):
            return None
        from pytest_clnrm.nodes import ScenarioFile

        return ScenarioFile.from_parent(parent, path=file_path, runtime=self.parts().runtime)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, None, None]:
        """Look for tests that concern us once all others have had their say."""
        yield
        if self._parts is None and any(_concerns_us(item) for item in items):
            self.parts()

    def close(self) -> None:
        """End what was begun."""
        if self._parts is not None:
            self._parts.close()


standby_key: pytest.StashKey[Standby] = pytest.StashKey()
"""Where the configuration holds what leads to this process's parts."""


def _concerns_us(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    return not _FIXTURES.isdisjoint(fixtures) or any(mark.name in _MARKERS for mark in item.iter_markers())
