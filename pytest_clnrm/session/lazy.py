"""What every run has of this plugin: the rest is imported and made only for runs that need it.

The order of items. Those of a higher priority come first, else the order is kept. The first sorter is a plain
``pytest_collection_modifyitems`` that :func:`install_order` registers in ``pytest_configure(trylast=True)``:
it runs after fixtures' reordering and pytest-randomly, and before stepwise selects (a later sort would make
``--sw`` skip tests that never ran). Other plugins, such as pytest-order and pytest-random-order, come after
it, so a wrapper sorts again. ``--lf`` and ``--ff`` partition stably after that, so priority holds within each
part. ``--nf`` sorts each part by the files' times, so its parts are sorted again.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_clnrm.imports import no_garbage_collection
from pytest_clnrm.names import (
    ARTIFACTS_FOLDER,
    ARTIFACTS_MARK,
    FACTS_FILE,
    FIXTURES,
    LIMITS_MARKER,
    PRIORITY_ATTRIBUTE,
    PRIORITY_MARKER,
    QUARANTINE_FILE,
    RETRY_MARKER,
    RUN_FOLDER,
    WORKER_INPUT,
    python_tests_key,
    sizes_key,
)
from pytest_clnrm.settings.settings import Settings, is_any_set

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_clnrm.session.experience import Experience
    from pytest_clnrm.session.run_place import RunPlace
    from pytest_clnrm.session.wiring import Wiring

    Sort = Callable[[list[pytest.Item]], None]

_SYSTEM = os.name

WINDOWS = (
    "pytest-clnrm does not run scenarios and tests with containers on Windows itself: run pytest in WSL 2 "
    "(https://learn.microsoft.com/windows/wsl)"
)
"""What whoever needs us there is told."""


def settings_of(config: pytest.Config) -> Settings:
    """Return the settings of this run: without more ado the defaults, where nobody has set anything.

    :raises pytest.UsageError: once, with every wrong value: where it stands and what is allowed.
    """
    if not is_any_set(config):
        return Settings()
    from pytest_clnrm.settings.loading import load_settings

    return load_settings(config)


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
        self._worker_input = getattr(config, "workerinput", None)
        # With an order of its own the controller has to know which items stay together.
        self._is_out_of_order = settings.priority != "normal" or self._by_experience
        self._equals: list[pytest.Item] = []
        self._collecting: ExitStack | None = None
        config.stash[python_tests_key] = lambda: self.wiring().python_tests
        quarantine = config.rootpath / QUARANTINE_FILE
        if quarantine.exists():
            from pytest_clnrm.session.quarantine import Quarantine

            config.pluginmanager.register(Quarantine(config, quarantine), "clnrm-quarantine")
        if settings.shard:
            self._divide(settings.shard)
        if not can_run_here():
            return
        if settings.report_dir or config.option.keepduplicates:
            from pytest_clnrm.session.repeats import Repeats

            config.pluginmanager.register(Repeats(), "clnrm-repeats")
        if settings.right_size:
            config.stash[sizes_key] = lambda: self._sizes
        if self._worker_input is None and (
            self._by_experience or settings.history_file or settings.right_size or settings.shard
        ):
            config.pluginmanager.register(self.experience, "clnrm-experience")
        if settings.autoscale or settings.report_dir or settings.show_workers:
            self.wiring()
        if config.getoption("tx", None):
            from pytest_clnrm.scheduling.install import all_local
            from pytest_clnrm.session.controller import Controller

            if not all_local(config):
                self.wiring()
            controller = Controller(
                config,
                settings,
                self.place,
                self.wiring,
                lambda: self._wiring is not None,
                told=self._told,
            )
            config.pluginmanager.register(controller, "clnrm-xdist-controller")

    @cached_property
    def place(self) -> RunPlace:
        """Return the run that this process belongs to."""
        from pytest_clnrm.session.run_place import RunPlace

        return RunPlace((self._worker_input or {}).get(WORKER_INPUT, {}))

    @property
    def _by_experience(self) -> bool:
        """Tell whether items of one priority are ordered by what earlier runs have shown."""
        return self.settings.enabled and self.settings.order != "fifo"

    @cached_property
    def experience(self) -> Experience:
        """Return what earlier runs have shown, in the controller or the only process."""
        from pytest_clnrm.session.experience import Experience

        return Experience(self._config, self.settings, session=self.place.session, began_s=self._began_s)

    @cached_property
    def _expected(self) -> Mapping[str, float]:
        """Return what the order goes by: node id -> number, alike in all processes of the run."""
        if self._worker_input is None:
            return self.experience.expected()
        found: dict[str, float] = self._handed_down("expected")
        return found

    @cached_property
    def _sizes(self) -> Mapping[str, Mapping[str, int]]:
        """Return how much memory services need, node id -> service -> bytes, alike in all processes."""
        if self._worker_input is None:
            return self.experience.sizes()
        found: dict[str, dict[str, int]] = self._handed_down("sizes")
        return found

    def _divide(self, shard: tuple[int, int]) -> None:
        """Let this process run its machine's part of the items only.

        :raises pytest.UsageError: where that cannot be.
        """
        from pytest_clnrm.session.shard import ShardSelection

        origin = self.settings.origin("shard")
        if not can_run_here():
            raise pytest.UsageError(f"{origin}: {WINDOWS}")
        selection = ShardSelection(self._config, shard, origin=origin, durations_s=self._durations_s)
        self._config.pluginmanager.register(selection, "clnrm-shard")

    @cached_property
    def _durations_s(self) -> Mapping[str, float]:
        """Return what shards are balanced by, alike on all machines: node id -> seconds."""
        if self._worker_input is None:
            return self.experience.durations_of_file() if self.settings.history_file else {}
        found: dict[str, float] = self._handed_down("durations")
        return found

    def _handed_down(self, name: str) -> Any:
        import json

        return json.loads((self._worker_input or {}).get(WORKER_INPUT, {}).get(name, "{}"))

    def _told(self) -> dict[str, str]:
        """Return what workers have to know of earlier runs: texts, as execnet takes long for many values."""
        told = {}
        if self._by_experience:
            told["expected"] = self._expected
        if self.settings.right_size:
            told["sizes"] = self._sizes  # type: ignore[assignment]
        if self.settings.shard:
            told["durations"] = self._durations_s
        import json

        return {name: json.dumps(value) for name, value in told.items()}

    def check_system(self) -> None:
        """Refuse what needs us on Windows, before modules are imported that it lacks.

        :raises pytest.fail.Exception: there.
        """
        if not can_run_here():
            pytest.fail(WINDOWS, pytrace=False)

    def wiring(self) -> Wiring:
        """Return the other parts, made and registered at the first call.

        :raises pytest.UsageError: if they cannot be made as the settings want them.
        :raises pytest.fail.Exception: on Windows.
        """
        self.check_system()
        if self._wiring is None:
            from pytest_clnrm.session.wiring import Wiring

            self._wiring = Wiring(
                self._config,
                self.settings,
                self.place,
                began_s=self._began_s,
                began_monotonic_s=self._began_monotonic_s,
            )
            if self._worker_input is None:
                self.experience.runtime = self._wiring.runtime
            if self._worker_input is None and not self._config.pluginmanager.hasplugin("clnrm-experience"):
                self._config.pluginmanager.register(self.experience, "clnrm-experience")
        return self._wiring

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Collect nothing that a container has left: it would be run on this host."""
        return (
            True
            if collection_path.name == ARTIFACTS_FOLDER and (collection_path / ARTIFACTS_MARK).is_file()
            else None
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        """Let nobody look for garbage from the first scenario file on: items stay, and are thousands."""
        with ExitStack() as stack:
            self._collecting = stack
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self) -> None:
        """Let garbage be looked for again, before others have their say of it."""
        stack, self._collecting = self._collecting, None
        if stack is not None:
            stack.close()

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.File | None:
        """Collect files that match ``clnrm_files``, and TOML files named on the command line."""
        named = file_path.suffix == ".toml" and parent.session.isinitpath(file_path)
        if not named and not self.settings.matches(file_path.name):
            return None
        if not can_run_here():
            return FileOnWindows.from_parent(parent, path=file_path)
        from pytest_clnrm.items.scenario_file import RefusedFile, ScenarioFile, can_be_shown

        if not can_be_shown(file_path, self._config.rootpath):
            return RefusedFile.of(parent, file_path)
        if self._collecting is not None and gc.isenabled():
            self._collecting.enter_context(no_garbage_collection())
        return ScenarioFile.from_parent(parent, path=file_path, runtime=self.wiring().runtime)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Look for tests with containers, and for wrong priorities, once the items are final.

        :raises pytest.UsageError: for a wrong marker.
        """
        if self._wiring is not None or not can_run_here():
            return
        marks = _marks_of(session.items)
        is_worker = self._worker_input is not None
        if (
            not marks.isdisjoint((LIMITS_MARKER, RETRY_MARKER))
            or any(not FIXTURES.isdisjoint(getattr(item, "fixturenames", ())) for item in session.items)
            or (is_worker and self._is_out_of_order)
        ):
            self.wiring().finish_collection(session)
            return
        if self.settings.enabled and PRIORITY_MARKER in marks:
            # Somebody may have added it since they were sorted.
            from pytest_clnrm.scheduling.order import check

            check(session.config, session.items)
        if self._worker_input and RUN_FOLDER in self._worker_input:
            # Where that cannot be done the controller misses the facts, and says so.
            with suppress(OSError):
                Path(self._worker_input[RUN_FOLDER], FACTS_FILE).touch()

    def sort(self, items: list[pytest.Item]) -> None:
        """Sort by priority, in place, if there can be more than one, and as ``--clnrm-order`` says.

        Equals keep their order.

        :raises pytest.UsageError: for a wrong marker; under xdist it is a failed collection instead.
        """
        if items == self._equals:
            return
        if self._by_experience:
            from pytest_clnrm.scheduling.experience import arrange

            arrange(items, self._expected, likely_to_fail=self.settings.order == "likely-to-fail-first")
        if (
            self.settings.priorities
            or PRIORITY_MARKER in _marks_of(items)
            or any(getattr(item, PRIORITY_ATTRIBUTE, None) is not None for item in items)
        ):
            from pytest_clnrm.scheduling.order import sort

            sort(self._config, items, self.priority_of)
        elif not self._by_experience:
            self._equals = list(items)

    def priority_of(self, item: pytest.Item) -> int:
        """Return an item's priority, and note whether it is the usual one: the sorter asks for every item.

        :raises pytest.UsageError: for a wrong marker.
        """
        from pytest_clnrm.model.priority import Priority
        from pytest_clnrm.reservation.priorities import priority_of

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


def _marks_of(items: Sequence[pytest.Item]) -> set[str]:
    """Return the names of all markers of *items* and of what is above them.

    Every run asks; asking each item for one marker would take a thousand of them some milliseconds.
    """
    names: set[str] = set()
    level: Sequence[pytest.Item | pytest.Collector] = items
    while level:
        names.update(mark.name for node in level for mark in node.own_markers)
        level = list({id(above): above for node in level if (above := node.parent) is not None}.values())
    return names


class Sorter:
    """Sorts a session's items before plugins choose among them."""

    def __init__(self, sort: Sort) -> None:
        self._sort = sort

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Sort in place."""
        self._sort(items)


class LastSorter:
    """Sorts once more what plugins have ordered that come after the first sorter, such as pytest-order."""

    def __init__(self, sort: Sort) -> None:
        self._sort = sort

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, None, None]:
        """Sort in place; ``--lf``, ``--ff`` and ``--nf`` wrap around this."""
        yield
        self._sort(items)


class NewFirstSorter:
    """Sorts the two parts that ``--nf`` makes; equals keep the order that ``--nf`` gave them."""

    def __init__(self, sort: Sort) -> None:
        self._sort = sort

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Sort what all others have left, in place."""
        known = set(config.cache.get("cache/nodeids", [])) if config.cache else set()
        yield
        new = [item for item in items if item.nodeid not in known]
        old = [item for item in items if item.nodeid in known]
        for part in (new, old):
            self._sort(part)
        items[:] = [*new, *old]


def install_order(config: pytest.Config, sort: Sort) -> None:
    """Register the sorters; to be called in ``pytest_configure(trylast=True)``.

    :param sort: sorts items in place.
    """
    config.pluginmanager.register(Sorter(sort), "clnrm-order")
    config.pluginmanager.register(LastSorter(sort), "clnrm-order-last")
    if config.getoption("newfirst", default=False):
        config.pluginmanager.register(NewFirstSorter(sort), "clnrm-order-newfirst")
