"""The pytest plugin: options, fixtures and hooks, without logic of their own.

The rest of the package is imported when the first scenario file, or Python test with containers, is met. What
a module that every run imports costs is the finding of its file, whatever is in it: there are few of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_clnrm.imports import OurModules  # before all others of ours
from pytest_clnrm.names import LIMITS_MARKER, PRIORITY_MARKER, RETRY_MARKER, project_markers_key
from pytest_clnrm.session.lazy import LazyWiring, install_order, lazy_key, settings_of
from pytest_clnrm.settings.declare import add_options
from pytest_clnrm.settings.settings import SETTINGS, header_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_clnrm.items.container import Container
    from pytest_clnrm.items.containers import Containers


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare options and ini keys."""
    add_options(parser, SETTINGS)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that others may implement."""
    from pytest_clnrm import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Remember which markers the project registers itself, before pytest and plugins add theirs."""
    early_config.stash[project_markers_key] = tuple(early_config.getini("markers"))


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the settings, and register the little of this plugin that every run has."""
    OurModules.find()
    config.addinivalue_line(
        "markers",
        f'{PRIORITY_MARKER}(level): run this test among those of priority "high", "normal" or "low"',
    )
    config.addinivalue_line(
        "markers",
        f"{LIMITS_MARKER}(containers=1, memory=, cpu=, gpus=0): what each of this test's containers "
        "may take, and how many there are at once",
    )
    config.addinivalue_line(
        "markers",
        f"{RETRY_MARKER}(times): try this test again when it fails, up to so many times, in new containers",
    )
    settings = settings_of(config)
    lazy = config.stash[lazy_key] = LazyWiring(config, settings)
    if settings.enabled:
        install_order(config, lazy.sort)
    config.pluginmanager.register(lazy, "clnrm-lazy")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return the number of workers of ``-n auto`` if ``.clnrm/config.toml`` has a worker_count.

    ``-n logical``, and a number in xdist's environment variable, stay xdist's.
    """
    if config.option.numprocesses != "auto" or os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    return settings_of(config).worker_count


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what this process has begun."""
    lazy = config.stash.get(lazy_key, None)
    if lazy is not None:
        lazy.close()
    OurModules.leave()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Tell the engine and the limits of scenarios."""
    return header_lines(config.stash[lazy_key].settings)


@pytest.fixture
def clnrm(request: pytest.FixtureRequest) -> Iterator[Containers]:
    """Containers for this test, under the same limits, ledger, labels and cleanup as those of scenarios.

    ``with clnrm.container("redis:7", ports=[6379], ready={"port": 6379}) as redis: ...`` yields a container
    with ``run(argv)``, ``logs()``, ``port(6379)``, ``wait_for(log=...)``, ``copy_in(...)`` and more;
    ``clnrm.scenario("x.clnrm.toml")`` runs a scenario, ``clnrm.spans(count=1)`` returns what programs in the
    containers have exported. A test has room for one container, or
    for what ``@pytest.mark.clnrm_limits(containers=2, memory="1g")`` reserves, each of one container.
    """
    request.config.stash[lazy_key].check_system()
    from pytest_clnrm.items.fixtures import containers_of_test

    yield from containers_of_test(request)


@pytest.fixture(scope="session")
def clnrm_factory(request: pytest.FixtureRequest) -> Iterator[Containers]:
    """Containers for fixtures of a wider scope; each waits for room of its own, and gives it back at its end.

    As ``clnrm``; use that one in tests and in fixtures of function scope.
    """
    request.config.stash[lazy_key].check_system()
    from pytest_clnrm.items.fixtures import containers_of_session

    yield from containers_of_session(request)


@pytest.fixture(scope="session")
def clnrm_shared(request: pytest.FixtureRequest) -> Iterator[Callable[..., Container]]:
    """One container for all workers: ``clnrm_shared("db", "postgres:16", ...)``, as ``clnrm.shared(...)``.

    For tests and fixtures of any scope; this worker uses it until its session ends.
    """
    request.config.stash[lazy_key].check_system()
    from pytest_clnrm.items.fixtures import shared_of_session

    yield from shared_of_session(request)
