"""What some engines cannot do, and why: tests that need it are skipped there with that reason.

docs/engines.md tells users the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from pytest_clnrm.engine.api import EngineFacts

Capability = Literal[
    "names on internal networks",
    "networks apart",
    "out of memory in the state",
    "refusing too many CPUs and GPUs",
    "ports beside an internal network",
    "a registry without TLS",
    "a shell as main process",
    "health checks",
    "images of prepared services",
]
Needs = Callable[[Capability], None]


def lack(needed: Capability, facts: EngineFacts) -> str:
    """Return why an engine cannot do something, "" if it can."""
    if needed == "a registry without TLS" and facts.remote:
        return "the tests' registry is on this machine, and the engine is not"
    if facts.kind != "podman":
        return ""
    if needed == "health checks":
        systemd = Path("/run/systemd/system").is_dir()
        return "" if systemd else "Podman has systemd run health checks, and there is none"
    if needed in _PODMAN:
        return _PODMAN[needed]
    return _PODMAN_4[needed] if facts.version.startswith("4.") else ""


_PODMAN: dict[Capability, str] = {
    "refusing too many CPUs and GPUs": "Podman ignores what it cannot give",
    "a shell as main process": "Podman gives a main process other variables and capabilities than execs",
    "images of prepared services": "Podman does not tell whose the files of a volume are",
    "a registry without TLS": "Podman talks plain HTTP only to registries of its own configuration",
}
_PODMAN_4: dict[Capability, str] = {
    "names on internal networks": "Podman 4 over CNI has no names on internal networks",
    "networks apart": "Podman 4 over CNI keeps its networks together on the host",
    "out of memory in the state": "Podman 4 sees only its first process, the init process, run out of memory",
    "ports beside an internal network": "Podman 4 over CNI publishes on both networks, and then the internal "
    "one may be taken",
}


def needing(facts: EngineFacts) -> Needs:
    """Return a function that skips the test that calls it if the engine cannot do what it names."""

    def needs(capability: Capability) -> None:
        if reason := lack(capability, facts):
            pytest.skip(reason)

    return needs
