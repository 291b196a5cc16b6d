"""The pytest plugin: options, hooks, and the parts they are handed to. No logic of its own.

Everything that costs (the loader, the engine's client, the report) is imported when the first scenario
file is met: a run without scenarios must not feel this plugin.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_clnrm import fixtures, markers
from pytest_clnrm import settings as settings_
from pytest_clnrm.admissions import Admissions
from pytest_clnrm.collection import Collection
from pytest_clnrm.controller import WORKER_INPUT, Controller
from pytest_clnrm.fixtures import runtime_key
from pytest_clnrm.guarding import RunGuard
from pytest_clnrm.monitoring import ItemNotes, Monitor, WorkerLog
from pytest_clnrm.runtime import Runtime, new_session_id
from pytest_clnrm.telemetry.traceparent import new_traceparent

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import Engine


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare options and ini keys."""
    settings_.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that others may implement."""
    from pytest_clnrm import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Remember which markers the project registers itself, before pytest and plugins add theirs."""
    early_config.stash[markers.project_markers_key] = frozenset(
        markers.marker_name(line) for line in early_config.getini("markers")
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the settings and register the parts."""
    config.addinivalue_line(
        "markers", 'clnrm_priority(level): run this test among those of priority "high", "normal" or "low"'
    )
    config.addinivalue_line(
        "markers",
        f"{fixtures.LIMITS_MARKER}(containers=1, memory=, cpu=, gpus=0): what each of this test's containers "
        "may take, and how many there are at once",
    )
    settings = settings_.load_settings(config)
    handed_down = getattr(config, "workerinput", {}).get(WORKER_INPUT, {})
    runtime = Runtime(
        settings=settings,
        rootdir=config.rootpath,
        session_id=handed_down.get("session") or new_session_id(),
        worker=getattr(config, "workerinput", {}).get("workerid", "master"),
        connect=lambda: _connect(config, runtime),
        traceparent=handed_down.get("traceparent") or new_traceparent(os.environ.get("TRACEPARENT")),
    )
    config.stash[runtime_key] = runtime
    config.pluginmanager.register(Collection(runtime), "clnrm-collection")
    admissions = Admissions(runtime, handed_down.get("folder"))
    runtime.run_folder = admissions.run_folder
    if not hasattr(config, "workerinput"):
        from pytest_clnrm.session import SessionResults

        guard = RunGuard(runtime, admissions.run_folder)
        results = SessionResults(runtime=runtime, guard=guard)
        try:
            results.prepare()
        except OSError as error:
            raise pytest.UsageError(
                f"{settings.origin('report_dir')}: {settings.report_dir} cannot be made: {error.strerror}"
            ) from error
        config.pluginmanager.register(results, "clnrm-results")
        config.pluginmanager.register(guard, "clnrm-guard")
        config.pluginmanager.register(Controller(runtime, results, guard, admissions), "clnrm-xdist")
        runtime.before_ledger = guard.begin
    config.pluginmanager.register(fixtures, "clnrm-fixtures")
    monitor = None if hasattr(config, "workerinput") else Monitor(runtime, config, admissions.run_folder)
    admissions.install(config, monitor.tell_queue if monitor else None)
    config.pluginmanager.register(admissions, "clnrm-admissions")
    if monitor is not None:
        config.pluginmanager.register(monitor, "clnrm-monitor")
        config.pluginmanager.register(WorkerLog(runtime, monitor.worker_of), "clnrm-worker-log")
    # Last, so that it stands around all others' wrappers and sees their waits.
    notes = ItemNotes(
        runtime,
        folder=admissions.run_folder,
        demands=admissions.demands,
        priority_of=admissions.priority_of,
        queue=(lambda: monitor.queue) if monitor else None,
    )
    config.pluginmanager.register(notes, "clnrm-notes")


def _connect(config: pytest.Config, runtime: Runtime) -> Engine:
    """Return another plugin's engine, else the one that ``--clnrm-engine`` names."""
    engine: Engine | None = config.hook.pytest_clnrm_engine(config=config)
    return engine or runtime.connect_own()


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return what ``-n auto`` means where ``.clnrm/config.toml`` names a worker_count; ``logical`` stays.

    It comes before xdist's own answer, but for a number that xdist's environment variable names.
    """
    if config.option.numprocesses != "auto" or os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    return settings_.load_settings(config).worker_count


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what is left, then give up what the run held; what fails here the watchdog does."""
    runtime = config.stash.get(runtime_key, None)
    if runtime is None:
        return
    guard, admissions = map(config.pluginmanager.getplugin, ("clnrm-guard", "clnrm-admissions"))
    if guard is not None:
        guard.sweep()
    if admissions is not None:
        admissions.leave_queue()
    runtime.close()
    if guard is not None:
        guard.finish()
    if admissions is not None:
        admissions.remove_folder()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say under which limits scenarios run."""
    return settings_.header_lines(config.stash[runtime_key].settings)
