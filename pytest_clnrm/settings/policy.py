"""The caps that the settings put on what files and tests may ask for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_clnrm.model.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_clnrm.settings.settings import Settings

_PID_LIMITS = (Path("/proc/sys/kernel/pid_max"), Path("/proc/sys/kernel/threads-max"))

_FIELDS = {
    "memory_bytes": "max_memory_bytes",
    "cpus": "max_cpus",
    "pids": "max_pids",
    "gpus": "max_gpus",
    "timeout_s": "max_timeout_s",
    "containers": "max_scenario_containers",
    "bridge": "allow_bridge",
    "ports": "allow_ports",
    "build": "allow_build",
    "volumes": "allow_volumes",
    "capabilities": "allow_cap_add",
    "new_privileges": "allow_new_privileges",
}
"""Field of the policy -> field of the settings."""


def policy_of(settings: Settings, environ: Mapping[str, str] = os.environ) -> Policy:
    """Return what the settings allow, and what this host can have if the engine is here."""
    caps = {name: getattr(settings, of) for name, of in _FIELDS.items()}
    origins = {name: settings.origin(of) for name, of in _FIELDS.items()}
    return Policy(**caps, host_pids=_host_pids(settings, environ), origins=origins)


def _host_pids(settings: Settings, environ: Mapping[str, str]) -> int | None:
    named = settings.engine if "://" in settings.engine else environ.get("DOCKER_HOST", "")
    if named and not named.startswith("unix://"):
        return None
    found = [int(each.read_text("ascii")) for each in _PID_LIMITS if each.exists()]
    return min(found, default=None)
