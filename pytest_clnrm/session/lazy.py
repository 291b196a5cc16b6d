"""What every run has of this plugin: the rest is imported and made only for runs that need it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from pytest_clnrm.items.fixtures import python_tests_key
from pytest_clnrm.reservation.markers import LIMITS_MARKER
from pytest_clnrm.scheduling.order import own_priority

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.session.wiring import Wiring
    from pytest_clnrm.settings.settings import Settings

_FIXTURES = {"clnrm", "clnrm_factory"}


class LazyWiring:
    """Makes the other parts when the first scenario file, or Python test with containers, is met.

    Under xdist, and where something is shown or written in any case, it makes them at once.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.settings = settings
        self._config = config
        self._began_s = time.time()
        self._began_monotonic_s = time.monotonic()
        self._wiring: Wiring | None = None
        config.stash[python_tests_key] = lambda: self.wiring().python_tests
        if (
            hasattr(config, "workerinput")
            or config.getoption("tx", None)
            or settings.autoscale
            or settings.report_dir
            or settings.show_workers
        ):
            self.wiring()

    def wiring(self) -> Wiring:
        """Return the other parts, made and registered at the first call.

        :raises pytest.UsageError: if they cannot be made as the settings want them.
        """
        if self._wiring is None:
            from pytest_clnrm.session.wiring import Wiring

            self._wiring = Wiring(
                self._config,
                self.settings,
                began_s=self._began_s,
                began_monotonic_s=self._began_monotonic_s,
            )
        return self._wiring

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.File | None:
        """Collect files that match ``clnrm_files``, and TOML files named on the command line."""
        named = file_path.suffix == ".toml" and parent.session.isinitpath(file_path)
        if not named and not self.settings.matches(file_path.name):
            return None
        from pytest_clnrm.items.nodes import RefusedFile, ScenarioFile, can_be_shown

        if not can_be_shown(os.path.relpath(file_path, self._config.rootpath)):
            return RefusedFile.of(parent, file_path)
        return ScenarioFile.from_parent(parent, path=file_path, runtime=self.wiring().runtime)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Look for tests with containers, and for wrong priorities, once the items are final.

        :raises pytest.UsageError: for a wrong marker.
        """
        if self._wiring is not None:
            return
        if any(_has_containers(item) for item in session.items):
            # What is registered during a hook is not called for it any more.
            self.wiring().reservations.pytest_collection_finish(session)
        elif self.settings.enabled:
            for item in session.items:
                own_priority(item)

    def close(self) -> None:
        """End what was begun."""
        if self._wiring is not None:
            self._wiring.close()


lazy_key: pytest.StashKey[LazyWiring] = pytest.StashKey()
"""Where the configuration holds its LazyWiring."""


def _has_containers(item: pytest.Item) -> bool:
    return item.get_closest_marker(LIMITS_MARKER) is not None or not _FIXTURES.isdisjoint(
        getattr(item, "fixturenames", ())
    )
