"""A shared container as a process sees it that need not have started it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_clnrm.ledger.shared import container_name
from pytest_clnrm.pool.running import RunningContainer
from pytest_clnrm.runner.launch import planned
from pytest_clnrm.telemetry.environment import OF_STEP, SERVICE_NAME

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.ledger.state import Lease
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.runner.sharing.record import SharedRecord
    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace


def as_running(
    runtime: Runtime,
    service: Service,
    image: ImageFacts,
    lease: Lease,
    record: SharedRecord,
    *,
    network: Network | None,
    trace: ScenarioTrace,
) -> RunningContainer:
    """Return a shared container as a process sees it that need not have started it."""
    name = container_name(lease.id, service.name)
    home = runtime.networks().visit(*record.network) if record.network else None
    spec, _ = planned(
        runtime,
        service,
        image,
        name=name,
        labels=runtime.shared_labels(lease.owner),
        network=home,
        trace=trace,
    )
    return RunningContainer(
        id=record.id,
        name=name,
        service=service,
        image=image,
        spec=replace(spec, command=record.command, env=record.env),
        env=env_of_commands(service, network or home, trace),
        created_s=time.monotonic(),
        never_reused="it is shared",
    )


def env_of_commands(service: Service, network: Network | None, trace: ScenarioTrace) -> dict[str, str]:
    """Return the variables by which commands in a shared container send their spans to who runs them."""
    has_one = network is not None and service.network != "none"
    gateway, port = (network.gateway, network.receiver_port) if network is not None and has_one else ("", 0)
    env = trace.environment(service.name, gateway, service.env, port=port)
    given = {key: value for key, value in env.items() if key not in service.env}
    return {**given, SERVICE_NAME: f"{env[SERVICE_NAME]}{OF_STEP}"}
