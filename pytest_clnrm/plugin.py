"""The pytest plugin: options and hooks, without logic of their own.

The rest of the package is imported when the first scenario file, or Python test with containers, is met.
"""

from __future__ import annotations

import os

import pytest

from pytest_clnrm.items import fixtures
from pytest_clnrm.reservation import markers
from pytest_clnrm.scheduling.order import install_order
from pytest_clnrm.session.lazy import LazyWiring, lazy_key
from pytest_clnrm.settings.loading import load_settings
from pytest_clnrm.settings.options import add_options
from pytest_clnrm.settings.settings import header_lines


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare options and ini keys."""
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that others may implement."""
    from pytest_clnrm import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Remember which markers the project registers itself, before pytest and plugins add theirs."""
    early_config.stash[markers.project_markers_key] = tuple(early_config.getini("markers"))


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the settings, and register the little of this plugin that every run has."""
    config.addinivalue_line(
        "markers", 'clnrm_priority(level): run this test among those of priority "high", "normal" or "low"'
    )
    config.addinivalue_line(
        "markers",
        f"{markers.LIMITS_MARKER}(containers=1, memory=, cpu=, gpus=0): what each of this test's containers "
        "may take, and how many there are at once",
    )
    settings = load_settings(config)
    config.pluginmanager.register(fixtures, "clnrm-fixtures")
    lazy = config.stash[lazy_key] = LazyWiring(config, settings)
    if settings.enabled:
        install_order(config, lazy.priority_of)
    config.pluginmanager.register(lazy, "clnrm-lazy")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return the number of workers of ``-n auto`` if ``.clnrm/config.toml`` has a worker_count.

    ``-n logical``, and a number in xdist's environment variable, stay xdist's.
    """
    if config.option.numprocesses != "auto" or os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    return load_settings(config).worker_count


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what this process has begun."""
    lazy = config.stash.get(lazy_key, None)
    if lazy is not None:
        lazy.close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Tell the engine and the limits of scenarios."""
    return header_lines(config.stash[lazy_key].settings)
