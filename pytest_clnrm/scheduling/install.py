"""Registers this room's plugins, by the role of the process: controller, worker, or neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from pytest_clnrm.scheduling.in_process import InProcessReservation, Reserve
from pytest_clnrm.scheduling.tickets import ALWAYS_PARKS, RUN_FOLDER, RefusalReporter

if TYPE_CHECKING:
    from pytest_clnrm.scheduling.autoscale import Autoscale
    from pytest_clnrm.scheduling.controller import GateFactory
    from pytest_clnrm.scheduling.strict import TellQueue
    from pytest_clnrm.scheduling.worker import FactsOf

Scheduler = Literal["strict", "xdist"]


def install(
    config: pytest.Config,
    *,
    scheduler: Scheduler,
    facts_of: FactsOf,
    make_gate: GateFactory,
    reserve: Reserve,
    make_folder: Callable[[], Path],
    autoscale: Autoscale | None = None,
    tell: TellQueue | None = None,
) -> None:
    """Register what this process schedules and reserves with.

    :param scheduler: "xdist" leaves scheduling alone, and each worker reserves for itself.
    :param facts_of: returns an item's facts, in workers.
    :param make_gate: makes the controller's gate.
    :param reserve: reserves in the process that runs the item.
    :param make_folder: returns the run's folder, in the controller.
    :param tell: is told in the controller what waits.
    """
    register = config.pluginmanager.register
    register(RefusalReporter(), "clnrm-refusals")
    handed_down = getattr(config, "workerinput", {})
    folder = handed_down.get(RUN_FOLDER)
    if folder is not None:
        from pytest_clnrm.scheduling.worker import WorkerPlugin

        always_parks = handed_down.get(ALWAYS_PARKS, False)
        register(WorkerPlugin(Path(folder), facts_of, always_parks=always_parks), "clnrm-worker")
    elif is_strict_controller(config, scheduler):
        from pytest_clnrm.scheduling.controller import StrictController

        register(StrictController(make_folder(), make_gate, autoscale, tell), "clnrm-controller")
    else:
        register(InProcessReservation(reserve), "clnrm-local")


def is_strict_controller(config: pytest.Config, scheduler: Scheduler) -> bool:
    """Tell whether this process hands items to workers of its own host from our queue."""
    if scheduler != "strict" or not config.pluginmanager.hasplugin("xdist") or config.option.collectonly:
        return False
    if config.getoption("dist") != "load" or not config.getoption("tx"):
        return False
    return _all_local(config)


def _all_local(config: pytest.Config) -> bool:
    """Tell whether all workers share this host's file system and engine; others reserve on theirs."""
    import execnet
    from xdist.workermanage import parse_tx_spec_config

    specs = [execnet.XSpec(text) for text in parse_tx_spec_config(config)]
    return all(spec.popen and not spec.via for spec in specs)
