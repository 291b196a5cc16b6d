"""Registers this room's plugins, by the role of the process: controller, worker, or neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from pytest_clnrm.names import ALWAYS_PARKS, RUN_FOLDER, WORKER_INPUT

if TYPE_CHECKING:
    from pytest_clnrm.scheduling.autoscale import Autoscale
    from pytest_clnrm.scheduling.controller import GateFactory
    from pytest_clnrm.scheduling.in_process import Reserve
    from pytest_clnrm.scheduling.strict import TellQueue
    from pytest_clnrm.scheduling.worker import FactsOf

Scheduler = Literal["strict", "xdist"]


def install(config: pytest.Config, *, scheduler: Scheduler, facts_of: FactsOf, reserve: Reserve) -> None:
    """Register what a process schedules and reserves with that runs items.

    :param scheduler: "xdist" leaves scheduling alone, and each worker reserves for itself.
    :param facts_of: returns an item's facts, in workers.
    :param reserve: reserves in the process that runs the item.
    """
    from pytest_clnrm.scheduling.tickets import RefusalReporter

    register = config.pluginmanager.register
    register(RefusalReporter(), "clnrm-refusals")
    handed_down = getattr(config, "workerinput", {})
    if WORKER_INPUT in handed_down:
        from pytest_clnrm.scheduling.packed_reports import PackingWorker

        register(PackingWorker(), "clnrm-packing-worker")
    folder = handed_down.get(RUN_FOLDER)
    if folder is not None:
        from pytest_clnrm.scheduling.worker import WorkerPlugin

        always_parks = handed_down.get(ALWAYS_PARKS, False)
        register(WorkerPlugin(Path(folder), facts_of, always_parks=always_parks), "clnrm-worker")
    elif not is_strict_controller(config, scheduler):
        from pytest_clnrm.scheduling.in_process import InProcessReservation

        register(InProcessReservation(reserve), "clnrm-local")


def install_controller(
    config: pytest.Config,
    *,
    scheduler: Scheduler,
    make_gate: GateFactory,
    make_folder: Callable[[], Path],
    autoscale: Autoscale | None = None,
    tell: TellQueue | None = None,
) -> None:
    """Register what a controller schedules with, if it schedules.

    :param make_gate: makes the gate, called once something is out of the ordinary.
    :param make_folder: returns the run's folder.
    :param tell: is told what waits.
    """
    if is_strict_controller(config, scheduler):
        from pytest_clnrm.scheduling.controller import StrictController

        plugin = StrictController(make_folder(), make_gate, autoscale, tell)
        config.pluginmanager.register(plugin, "clnrm-controller")


def is_strict_controller(config: pytest.Config, scheduler: Scheduler) -> bool:
    """Tell whether this process hands items to workers of its own host from our queue."""
    if scheduler != "strict" or not config.pluginmanager.hasplugin("xdist") or config.option.collectonly:
        return False
    if config.getoption("dist") != "load" or not config.getoption("tx"):
        return False
    return all_local(config)


def all_local(config: pytest.Config) -> bool:
    """Tell whether all workers share this host's file system and engine; others reserve on theirs."""
    import execnet
    from xdist.workermanage import parse_tx_spec_config

    specs = [execnet.XSpec(text) for text in parse_tx_spec_config(config)]
    return all(spec.popen and not spec.via for spec in specs)
