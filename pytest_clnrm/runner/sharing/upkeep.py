"""What is run in a service before it is used: ``prepare``."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_clnrm.engine.api import ExecSpec
from pytest_clnrm.errors import ContainerError, ScenarioTimeoutError, ServiceError
from pytest_clnrm.runner.service_ends import LOG_TAIL_BYTES, describe_end, state_once_ended
from pytest_clnrm.scenario.templates.confined import bind
from pytest_clnrm.scenario.templates.places import SERVICE, USERS, places_in
from pytest_clnrm.scenario.templates.render import TemplateError, bind_texts
from pytest_clnrm.util.output import BoundedOutput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_clnrm.model.service import Service
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.running_services import Running
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace

_RENDER_S = 5.0


def users_of(worker: str, stem: str, run: str = "") -> dict[str, str]:
    """Return what ``{{ worker }}`` and ``{{ scenario_id }}`` are for one run of a scenario.

    :param stem: with which the names of its containers begin; it ends with the scenario's number here.
    :param run: in which they are to be other ones than in any other run, "" if that does not matter.
    """
    who = f"{worker}_{run}" if run else worker
    return dict(zip(USERS, (who, f"{who}_{stem.rpartition('-')[2]}"), strict=True))


def with_values(service: Service, users: Mapping[str, str], running: Running) -> Service:
    """Return a service of a scenario with its variables as they are for this run.

    :param users: what ``{{ worker }}`` and ``{{ scenario_id }}`` are.
    :param running: the services that it depends on are among these.
    :raises ContainerError: if a template cannot be rendered.
    """
    if service.is_shared or not any("{" in each for each in service.env.values()):
        return service
    try:
        places = list(places_in(list(service.env.values())))
        values = {**users, SERVICE: running.by(places)} if places else users
        env = bind(bind_texts, service.env, values, (*service.at, "env"), wall_s=_RENDER_S)
    except TemplateError as error:
        raise ContainerError(f"service {service.name!r}: env: {error}") from None
    return replace(service, env=env)


def run_prepare(
    runtime: Runtime,
    running: RunningContainer,
    command: tuple[str, ...],
    *,
    users: Mapping[str, str],
    trace: ScenarioTrace,
    deadline_s: float,
    alone: bool = False,
) -> str:
    """Run a command in a service before it is used, and return in words what was done.

    :param users: what its templates may name.
    :param deadline_s: ``time.monotonic()`` moment at which the time is over.
    :param alone: it is run for nobody yet: nothing of a scenario is in its environment.
    :raises ServiceError: if it does not exit with 0, with its output.
    :raises ScenarioTimeoutError: if the time is over first.
    """
    began_s = time.monotonic()
    name = running.service.name
    noun = "shared service" if running.service.is_shared else "service"
    texts = {str(index): each for index, each in enumerate(command)}
    try:
        argv = tuple(
            bind(bind_texts, texts, users, (*running.service.at, "prepare"), wall_s=_RENDER_S).values()
        )
    except TemplateError as error:
        raise ContainerError(f"service {name!r}: prepare: {error}") from None
    output = BoundedOutput(kept_bytes=LOG_TAIL_BYTES)
    with trace.span("clnrm.container.prepare", running.attributes) as span:
        outcome = runtime.engine().exec(
            running.id,
            ExecSpec(argv=argv, env={} if alone else trace.probe_environment(running.spec.env, running.env)),
            on_output=lambda _, data: output.feed(data),
            deadline_s=deadline_s,
        )
        span.set("process.exit.code", outcome.exit_code)
        if outcome.timed_out:
            raise ScenarioTimeoutError(f"prepare of the {noun} {name!r} was running")
        if outcome.container_lost:
            state = state_once_ended(runtime.engine(), running.id)
            how = describe_end(running, state, "")
            raise ServiceError(f"the {noun} {name!r} {how} during its prepare", name, output.text())
        if outcome.exit_code != 0:
            how = "ran out of memory" if outcome.oom else f"exited with exit code {outcome.exit_code}"
            told = shlex.join(argv)
            raise ServiceError(f"prepare of the {noun} {name!r} {how}: {told}", name, output.text())
    return f"prepared in {time.monotonic() - began_s:.2f} s"
