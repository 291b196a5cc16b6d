"""The proof that a container is unchanged, so that the next scenario may use it (docs/design/proof.md).

Only containers that run nothing but our own waiting process are candidates: what a service holds in its
memory cannot be looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING

from pytest_clnrm.engine.exec.waiting import WAITING
from pytest_clnrm.errors import ClnrmError

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import ContainerSpec, Engine, ImageFacts
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.settings.settings import Settings

MAX_AGE_S = 900.0
"""Older containers are not kept: what the proof cannot see (the kernel's counters and caches) adds up."""

UNOBSERVABLE = "it cannot be looked at from outside"
"""How the reason for not reusing a container begins where this process may not look at it."""

OWN_PROCESSES = 2
"""Of a container that only waits: the engine's init, or our shell's parent in its place, and our own."""


def why_not_reusable(service: Service, image: ImageFacts, spec: ContainerSpec) -> str:
    """Return why a container made by *spec* must serve one scenario only, "" if it may be reused."""
    reasons = {
        "fresh = true": service.fresh,
        "its prepare command ran in it": service.is_prepared
        and bool(service.prepare and service.prepare.command)
        and not image.prepared,
        "it runs a service, whose memory cannot be looked at": spec.command not in WAITING,
        "it can write to a volume": any(not mount.read_only for mount in spec.mounts),
        "its image has volumes": bool(image.volumes),
        "it shares a volume of its scenario": bool(spec.volumes),
        "it has a volume of its own": bool(spec.own_volumes),
        "it may do what other containers may not": bool(spec.cap_add) or spec.new_privileges,
        "it publishes ports": bool(spec.ports or spec.udp_ports),
        "it has a GPU": bool(spec.gpus),
        "its image has a health check": image.healthcheck_s > 0,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Describe the most telling thing a scenario left behind, "" if it left nothing.

    Other processes than our own count even if they are not new (an entrypoint's): their memory is not
    compared.
    """
    running = processes_in(after)
    if before == after and len(running) <= OWN_PROCESSES:
        return ""
    found = [
        *(f"{_how(value)}: {name}" for name, value in after.items() if name not in before),
        *(f"changed: {name}" for name, value in after.items() if before.get(name, value) != value),
        *(f"gone: {name}" for name in before if name not in after),
    ]
    if len(running) > OWN_PROCESSES:
        found.append(f"left behind: {running[-1]}")
    # With a file its folders differ as well: the deepest path says where to look.
    return min(found, key=lambda each: ("folder /" in each, -each.rstrip("/").count("/")), default="")


def processes_in(seen: Iterable[str]) -> list[str]:
    """Return the processes among the things that can be seen of a container."""
    return [name for name in seen if name.startswith("process ")]


def _how(value: str) -> str:
    """Return what happened to a thing that is new in the list: its value may begin with a word for that."""
    how = value.partition("|")[0]
    return {"changed": "changed", "removed": "gone"}.get(how, "left behind")


def why_changed(engine: Engine, container: RunningContainer) -> str:
    """Return why a container is not as it was when it was new, "" if it is."""
    if time.monotonic() - container.created_s > MAX_AGE_S:
        return f"it is older than {MAX_AGE_S:g} s"
    try:
        after = engine.observe(container.id, scratch=container.spec.tmpfs, before=container.fingerprint)
    except ClnrmError as error:
        return str(error)
    return difference(container.fingerprint, after)


def specification_of(settings: Settings, scenario: Scenario) -> str | None:
    """Return a hash by which scenarios find each other's containers, None if *scenario* cannot reuse any.

    It is known without an engine. Before a container is used, it is compared with what the scenario needs.
    """
    if settings.pool == "off" or all(service.fresh for service in scenario.services):
        return None
    return sha256(repr(scenario.services).encode("utf-8", "surrogatepass")).hexdigest()[:16]
