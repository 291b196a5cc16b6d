"""Whether a container is as it was: the proof that the next scenario may use it.

Only containers whose one process is our own that waits are looked at: what a service holds in its memory
cannot be seen.
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
    from pytest_clnrm.model.scenario import Scenario, Service
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.settings.settings import Settings

MAX_AGE_S = 900.0
"""A container older than this is not kept: what cannot be seen (its kernel's counters and caches) adds up."""

UNOBSERVABLE = "it cannot be looked at from outside"
"""How the reason begins why containers are not used again where this process may not look at them."""

OWN_PROCESSES = 2
"""Of a container that only waits: the engine's init, or our shell's parent in its place, and our own."""


def why_not_reusable(service: Service, image: ImageFacts, spec: ContainerSpec) -> str:
    """Return why a container of *spec* is never used again, "" if it may be."""
    reasons = {
        "fresh = true": service.fresh,
        "it runs a service, whose memory cannot be looked at": spec.command not in WAITING,
        "it can write to a volume": any(not mount.read_only for mount in spec.mounts),
        "its image has volumes": bool(image.volumes),
        "it publishes ports": bool(spec.ports),
        "it has a GPU": bool(spec.gpus),
        "its image has a health check": image.healthcheck_s > 0,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return what a scenario has left behind, what tells most of it, in words; "" if there is nothing.

    More processes than there should be are left behind too, as those that an entrypoint has started: their
    memory cannot be seen.
    """
    found = [
        *(f"{_how(value)}: {name}" for name, value in after.items() if name not in before),
        *(f"changed: {name}" for name, value in after.items() if before.get(name, value) != value),
        *(f"gone: {name}" for name in before if name not in after),
    ]
    running = processes_in(after)
    if len(running) > OWN_PROCESSES:
        found.append(f"left behind: {running[-1]}")
    # Where a file differs, so do its folder and often that one's: the deepest says where to look.
    return min(found, key=lambda each: ("folder /" in each, -each.rstrip("/").count("/")), default="")


def processes_in(seen: Iterable[str]) -> list[str]:
    """Return the processes among the things that can be seen of a container."""
    return [name for name in seen if name.startswith("process ")]


def _how(value: str) -> str:
    """Return what became of something that was not told of before; its value may begin with that."""
    how = value.partition("|")[0]
    return {"changed": "changed", "removed": "gone"}.get(how, "left behind")


def why_changed(engine: Engine, container: RunningContainer) -> str:
    """Return why a container cannot be used by another scenario, "" if it is as it was when it was new."""
    if time.monotonic() - container.created_s > MAX_AGE_S:
        return f"it is older than {MAX_AGE_S:g} s"
    try:
        after = engine.observe(container.id, scratch=container.spec.tmpfs, before=container.fingerprint)
    except ClnrmError as error:
        return str(error)
    return difference(container.fingerprint, after)


def specification_of(settings: Settings, scenario: Scenario) -> str | None:
    """Return a hash of all that makes the containers of *scenario* what they are, None if it uses none again.

    Whether a container really is as it should be is looked at once more before it is used.
    """
    if settings.pool == "off" or all(service.fresh for service in scenario.services):
        return None
    return sha256(repr(scenario.services).encode("utf-8", "surrogatepass")).hexdigest()[:16]
