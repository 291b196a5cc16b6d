"""What every run has of this plugin: the rest is imported and made only for runs that need it."""

from __future__ import annotations

import os
import time
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

import pytest

from pytest_clnrm.items.fixtures import python_tests_key
from pytest_clnrm.model.kept import FOLDER, MARK
from pytest_clnrm.model.priority import Priority
from pytest_clnrm.reservation.markers import LIMITS_MARKER, priority_of
from pytest_clnrm.scheduling.order import own_priority, refuse

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_clnrm.session.run_place import RunPlace
    from pytest_clnrm.session.wiring import Wiring
    from pytest_clnrm.settings.settings import Settings

_FIXTURES = {"clnrm", "clnrm_factory"}
_SYSTEM = os.name

WINDOWS = (
    "pytest-clnrm does not run scenarios and tests with containers on Windows itself: run pytest in WSL 2 "
    "(https://learn.microsoft.com/windows/wsl)"
)
"""What whoever needs us there is told."""


class LazyWiring:
    """Makes the other parts when the first scenario file, or Python test with containers, is met.

    Under xdist each worker does, and the controller once one of them has. Where something is shown or
    written in any case, and where workers run on other hosts, they are made at once.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.settings = settings
        self._config = config
        self._began_s = time.time()
        self._began_monotonic_s = time.monotonic()
        self._wiring: Wiring | None = None
        self._is_worker = hasattr(config, "workerinput")
        # Without the sorter all items have the priority of the settings.
        self._is_out_of_order = not settings.enabled and settings.priority != Priority.NORMAL
        config.stash[python_tests_key] = lambda: self.wiring().python_tests
        if not can_run_here():
            return
        if settings.report_dir or config.option.keepduplicates:
            from pytest_clnrm.session.repeats import Repeats

            config.pluginmanager.register(Repeats(), "clnrm-repeats")
        if settings.autoscale or settings.report_dir or settings.show_workers:
            self.wiring()
        if config.getoption("tx", None):
            from pytest_clnrm.scheduling.install import all_local
            from pytest_clnrm.session.controller import Controller

            if not all_local(config):
                self.wiring()
            controller = Controller(
                config, settings, self.place, self.wiring, lambda: self._wiring is not None
            )
            config.pluginmanager.register(controller, "clnrm-xdist-controller")

    @cached_property
    def place(self) -> RunPlace:
        """Return the run that this process belongs to."""
        from pytest_clnrm.session.run_place import WORKER_INPUT, RunPlace

        return RunPlace(getattr(self._config, "workerinput", {}).get(WORKER_INPUT, {}))

    def wiring(self) -> Wiring:
        """Return the other parts, made and registered at the first call.

        :raises pytest.UsageError: if they cannot be made as the settings want them.
        :raises pytest.fail.Exception: on Windows.
        """
        if not can_run_here():
            pytest.fail(WINDOWS, pytrace=False)
        if self._wiring is None:
            from pytest_clnrm.session.wiring import Wiring

            self._wiring = Wiring(
                self._config,
                self.settings,
                self.place,
                began_s=self._began_s,
                began_monotonic_s=self._began_monotonic_s,
            )
        return self._wiring

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Collect nothing that a container has left: it would be run on this host."""
        return True if collection_path.name == FOLDER and (collection_path / MARK).is_file() else None

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.File | None:
        """Collect files that match ``clnrm_files``, and TOML files named on the command line."""
        named = file_path.suffix == ".toml" and parent.session.isinitpath(file_path)
        if not named and not self.settings.matches(file_path.name):
            return None
        if not can_run_here():
            return FileOnWindows.from_parent(parent, path=file_path)
        from pytest_clnrm.items.nodes import RefusedFile, ScenarioFile, can_be_shown

        if not can_be_shown(os.path.relpath(file_path, self._config.rootpath)):
            return RefusedFile.of(parent, file_path)
        return ScenarioFile.from_parent(parent, path=file_path, runtime=self.wiring().runtime)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Look for tests with containers, and for wrong priorities, once the items are final.

        :raises pytest.UsageError: for a wrong marker.
        """
        if self._wiring is not None or not can_run_here():
            return
        if any(_has_containers(item) for item in session.items) or (
            self._is_worker and self._is_out_of_order
        ):
            self.wiring().finish_collection(session)
            return
        if self.settings.enabled:
            # Somebody may have added markers since they were sorted.
            try:
                for item in session.items:
                    own_priority(item)
            except pytest.UsageError as error:
                refuse(session.config, session.items, error)
        if self._is_worker:
            from pytest_clnrm.scheduling.facts import leave_ordinary_facts

            leave_ordinary_facts(self.place.folder(), len(session.items))

    def priority_of(self, item: pytest.Item) -> int:
        """Return an item's priority, and note whether it is the usual one: the sorter asks for every item.

        :raises pytest.UsageError: for a wrong marker.
        """
        priority = priority_of(item, self.settings, self._config.rootpath)
        if priority != Priority.NORMAL:
            self._is_out_of_order = True
        return int(priority)

    def close(self) -> None:
        """End what was begun."""
        if self._wiring is not None:
            self._wiring.close()
        if "place" in vars(self):
            self.place.remove_folder()


class FileOnWindows(pytest.File):
    """A scenario file where none can be run."""

    def collect(self) -> NoReturn:
        """Say so.

        :raises pytest.Collector.CollectError: always.
        """
        raise self.CollectError(WINDOWS)


def can_run_here() -> bool:
    """Tell whether this system has locks, signals and sockets as we need them; Windows has not."""
    return _SYSTEM != "nt"


lazy_key: pytest.StashKey[LazyWiring] = pytest.StashKey()
"""Where the configuration holds its LazyWiring."""


def _has_containers(item: pytest.Item) -> bool:
    return item.get_closest_marker(LIMITS_MARKER) is not None or not _FIXTURES.isdisjoint(
        getattr(item, "fixturenames", ())
    )
