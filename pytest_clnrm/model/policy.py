"""What files and tests may ask for at most, as whoever runs them has set it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pytest_clnrm.model.limits import Limits

_ONE = {" CPUs": " CPU", " GPUs": " GPU", " processes": " process", " containers": " container"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Caps on what one container or one scenario may ask for; None is no cap.

    :param containers: of one scenario.
    :param bridge: whether a service or a build may have a way out.
    :param capabilities: those that a service may add.
    :param new_privileges: whether a service's programs may gain privileges.
    :param host_pids: how many processes the engine's host can have at all, None where that is not known.
    :param origins: field -> what has set it, for messages.
    """

    memory_bytes: int | None = None
    cpus: float | None = None
    pids: int | None = None
    gpus: int | None = None
    timeout_s: float | None = None
    containers: int | None = None
    bridge: bool = True
    ports: bool = True
    build: bool = True
    volumes: bool = True
    capabilities: tuple[str, ...] = ()
    new_privileges: bool = False
    host_pids: int | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    def refusals(self, limits: Limits) -> Iterator[tuple[str, str]]:
        """Yield the name of each limit that is more than a container may have, and why it is refused."""
        asked_mb = (limits.memory_bytes or 0) / 2**20
        if self.memory_bytes is not None and (limits.memory_bytes or 0) > self.memory_bytes:
            yield "memory", self.too_much("memory_bytes", asked_mb, self.memory_bytes / 2**20, " MB")
        if self.cpus is not None and (limits.cpus or 0) > self.cpus:
            yield "cpu", self.too_much("cpus", limits.cpus or 0, self.cpus, " CPUs")
        pids = limits.pids or 0
        if self.pids is not None and pids > self.pids:
            yield "pids", self.too_much("pids", pids, self.pids, " processes")
        elif self.host_pids is not None and pids > self.host_pids:
            yield "pids", f"{pids} processes are more than this host can have: at most {self.host_pids}"
        if self.gpus is not None and (limits.gpus or 0) > self.gpus:
            yield "gpus", self.too_much("gpus", limits.gpus or 0, self.gpus, " GPUs")

    def too_much(self, name: str, asked: float, cap: float, unit: str) -> str:
        """Return why *asked* is refused, with both values and what has set the cap."""
        return (
            f"{_amount(asked, unit)} is more than may be asked for: at most {_amount(cap, unit)} "
            f"({self.origins.get(name, 'default')})"
        )

    def not_allowed(self, name: str, what: str) -> str:
        """Return why *what* is refused."""
        return f"{what} is not allowed ({self.origins.get(name, 'default')})"


def _amount(value: float, unit: str) -> str:
    return f"{value:.10g}{_ONE.get(unit, unit) if value == 1 else unit}"
