"""What is done to the container of a service: it is stopped, cut off from the network, waited for."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError, NotReadyError
from pytest_clnrm.expect.steps import judge_step
from pytest_clnrm.runner.actions.attempt import Attempt
from pytest_clnrm.runner.launch import await_ready
from pytest_clnrm.runner.service_ends import describe_end, judge_end, state_once_ended
from pytest_clnrm.runner.service_log import read_log
from pytest_clnrm.util.patterns import within

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from pytest_clnrm.engine.api import ContainerState
    from pytest_clnrm.model.fault import Fault, FaultKind
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.actions.attempt import Setting, Surroundings

GRACE_S = 10.0
"""How long a service has to end by itself when it is stopped; the engines' own default."""
_POLL_S = 0.05
_NEEDS: dict[FaultKind, tuple[AbstractSet[str], str]] = {
    "stop": ({"running"}, "start it first"),
    "kill": ({"running", "paused"}, "start it first"),
    "start": ({"ended"}, "stop it first"),
    "restart": ({"running", "ended"}, "unpause it first"),
    "pause": ({"running"}, "it can be paused only while it runs"),
    "unpause": ({"paused"}, "pause it first"),
    "disconnect": ({"running", "paused", "ended"}, ""),
    "reconnect": ({"running", "paused", "ended"}, ""),
}
_STARTS = frozenset({"start", "restart"})
_CONNECTED = {"disconnect": True, "reconnect": False}


def cause_fault(fault: Fault, setting: Setting) -> Attempt:
    """Do what *fault* says to the container of the step's service.

    :raises ClnrmError: if the engine does not do it.
    """
    around, kind, name = setting.around, fault.kind, setting.step.service
    container = around.containers[name]
    why_not = _why_not(kind, container, around)
    if why_not:
        return Attempt(failures=(setting.failure(f"cannot {kind} service {name!r}: {why_not}", "error"),))
    _do(kind, container, setting)
    if kind not in _STARTS:
        return Attempt()
    try:
        await_ready(
            around.runtime,
            container,
            network=around.network,
            trace=around.trace,
            deadline_s=setting.deadline_s,
        )
    except NotReadyError as error:
        failure = setting.failure(str(error))
        return Attempt(failures=(replace(failure, details=around.redactor.end_of_text(error.logs)),))
    return Attempt()


def await_exit(setting: Setting) -> Attempt:
    """Wait until the step's service has ended, and judge its exit code and its log.

    :raises ClnrmError: if the engine does not tell.
    """
    around, name = setting.around, setting.step.service
    container = around.containers[name]
    engine = around.runtime.engine()
    state = state_once_ended(engine, container.id, deadline_s=setting.deadline_s, poll_s=_POLL_S)
    if state.running:
        return Attempt(failures=(setting.cut_off(f"service {name!r} had not ended"),), timed_out=True)
    around.faults.ended.add(name)
    lacks = read_log(setting, container.id, lambda _, data: setting.feed("stdout", data))
    if lacks is None:
        what = f"the log of service {name!r} was not read to its end"
        return Attempt(failures=(setting.cut_off(what),), timed_out=True)
    log = setting.outputs["stdout"]
    with within(setting.deadline_s):
        failures = judge_step(
            setting.step,
            exit_code=state.exit_code,
            stdout=log.text(),
            stderr="",
            where=around.where,
            stdout_omitted_bytes=log.omitted_bytes,
            lacks=lacks,
        )
    return Attempt(failures=failures, exit_code=state.exit_code)


def unpause_all(around: Surroundings) -> None:
    """Let go of what steps have paused: it could neither be stopped nor export its spans."""
    for name in sorted(around.faults.paused):
        with suppress(ClnrmError):
            around.runtime.engine().control(around.containers[name].id, "unpause")
    around.faults.paused.clear()


def _why_not(kind: FaultKind, container: RunningContainer, around: Surroundings) -> str:
    """Return why something cannot be done to a service now, "" if it can."""
    name = container.service.name
    if container.keeps_alive:
        return "it runs no command of its own, and only waits for steps; give it a command"
    faults = around.faults
    seen = None if name in faults.paused else around.runtime.engine().state(container.id)
    state = "paused" if seen is None else "running" if seen.running else "ended"
    needed, remedy = _NEEDS[kind]
    if state not in needed:
        return f"it {'is' if state != 'ended' else 'has'} {state}; {remedy}"
    if seen and not seen.running and kind in _STARTS and name not in faults.ended:
        return _why_not_anew(container, seen)
    if kind in _CONNECTED:
        if around.network is None or not container.spec.networks:
            return "it is on no network of the scenario"
        if (name not in faults.disconnected) is not _CONNECTED[kind]:
            return "it is connected" if kind == "reconnect" else "it is not connected"
    return ""


def _why_not_anew(container: RunningContainer, state: ContainerState) -> str:
    """Return why a service that no step has ended is not started again, "" if it may have ended as it did.

    Nobody would learn of its end any more.
    """
    if judge_end(container.service, state.exit_code) != "wrong":
        return ""
    may_end = state.exit_code is not None and not state.oom_killed
    remedy = f"; if it may end so, write may_end = {state.exit_code}" if may_end else ""
    return f"it has {describe_end(container, state, '')}{remedy}"


def _do(kind: FaultKind, container: RunningContainer, setting: Setting) -> None:
    around, name = setting.around, container.service.name
    engine, faults = around.runtime.engine(), around.faults
    if kind in {"stop", "kill"}:
        faults.ended.add(name)
    if kind == "stop" or (kind == "restart" and name not in faults.ended):
        own_s = container.service.stop_grace_s
        grace_s = GRACE_S if own_s is None else own_s
        engine.stop(container.id, grace_s=min(grace_s, max(0.0, setting.deadline_s - time.monotonic())))
    elif kind in {"kill", "pause", "unpause"}:
        engine.control(container.id, kind)
    elif around.network is not None and kind == "disconnect":
        engine.disconnect(around.network.id, container.id)
        faults.disconnected.add(name)
    elif around.network is not None and kind == "reconnect":
        engine.connect(around.network.id, container.id, container.spec.aliases)
        faults.disconnected.discard(name)
    if kind == "pause":
        faults.paused.add(name)
    elif kind in {"unpause", "kill"}:
        faults.paused.discard(name)
    elif kind in _STARTS:
        engine.start(container.id, deadline_s=setting.deadline_s)
        faults.ended.discard(name)
