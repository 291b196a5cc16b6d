"""What a scenario asks for at once, what a run may hold, and their arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

from pytest_clnrm.errors import DemandTooLargeError

# Sums of decimal fractions are not exact: 0.1 + 0.2 has to fit into 0.3.
_CPU_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is reserved all at once; each field is zero or more.

    :param cpus: cores, fractions allowed.

    :raises ValueError: if a field is negative or not finite.
    """

    containers: int = 0
    memory_bytes: int = 0
    cpus: float = 0.0
    gpus: int = 0
    networks: int = 0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{each.name}={value!r}: zero or more is allowed")

    def __add__(self, other: Demand) -> Demand:
        return Demand(
            containers=self.containers + other.containers,
            memory_bytes=self.memory_bytes + other.memory_bytes,
            cpus=self.cpus + other.cpus,
            gpus=self.gpus + other.gpus,
            networks=self.networks + other.networks,
        )

    def minus(self, other: Demand) -> Demand:
        """Return what is left after *other* was given back; never below zero."""
        return Demand(
            containers=max(self.containers - other.containers, 0),
            memory_bytes=max(self.memory_bytes - other.memory_bytes, 0),
            cpus=max(self.cpus - other.cpus, 0.0),
            gpus=max(self.gpus - other.gpus, 0),
            networks=max(self.networks - other.networks, 0),
        )

    def larger(self, other: Demand) -> Demand:
        """Return the larger of both, for each resource by itself."""
        return Demand(
            containers=max(self.containers, other.containers),
            memory_bytes=max(self.memory_bytes, other.memory_bytes),
            cpus=max(self.cpus, other.cpus),
            gpus=max(self.gpus, other.gpus),
            networks=max(self.networks, other.networks),
        )

    def smaller(self, other: Demand) -> Demand:
        """Return the smaller of both, for each resource by itself."""
        return self.minus(self.minus(other))

    def covers(self, other: Demand) -> bool:
        """Tell whether it is, of each resource, at least as much as *other*."""
        for each in fields(self):
            tolerance = _CPU_TOLERANCE if each.name == "cpus" else 0
            if getattr(other, each.name) > getattr(self, each.name) + tolerance:
                return False
        return True

    def shares(self, names: Iterable[str]) -> bool:
        """Return True if giving this back would free some of the resources *names*."""
        return any(getattr(self, name) > 0 for name in names)

    def describe(self) -> str:
        """Return it in words: ``2 containers, 512.0 MiB memory``; zero fields are left out."""
        parts = [
            _amount(each.name, getattr(self, each.name)) for each in fields(self) if getattr(self, each.name)
        ]
        return ", ".join(parts) or "nothing"


NOTHING = Demand()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may be held at the same time; None is no limit.

    :param containers: ``--clnrm-max-containers``.
    :param memory_bytes: ``--clnrm-memory-budget``.
    :param gpus: ``--clnrm-gpus``.
    """

    containers: int
    memory_bytes: int
    cpus: float | None = None
    gpus: int = 0
    networks: int | None = None

    def exceeded_by(self, demand: Demand) -> tuple[str, ...]:
        """Return the names of the resources of which *demand* has more than this allows."""
        names = []
        for each in fields(self):
            limit = getattr(self, each.name)
            tolerance = _CPU_TOLERANCE if each.name == "cpus" else 0
            if limit is not None and getattr(demand, each.name) > limit + tolerance:
                names.append(each.name)
        return tuple(names)

    def larger(self, other: Budget) -> Budget:
        """Return the larger limit of both, for each resource by itself."""
        return Budget(
            containers=max(self.containers, other.containers),
            memory_bytes=max(self.memory_bytes, other.memory_bytes),
            cpus=None if self.cpus is None or other.cpus is None else max(self.cpus, other.cpus),
            gpus=max(self.gpus, other.gpus),
            networks=(
                None
                if self.networks is None or other.networks is None
                else max(self.networks, other.networks)
            ),
        )

    def describe(self, names: Iterable[str]) -> str:
        """Return the limits of *names* in words."""
        return ", ".join(_amount(name, getattr(self, name)) for name in names)


_SETTINGS = {
    "containers": "--clnrm-max-containers",
    "memory_bytes": "--clnrm-memory-budget",
    "cpus": "--clnrm-cpu-budget",
    "gpus": "--clnrm-gpus",
    "networks": "the engine's networks",
}


def total(demands: Iterable[Demand]) -> Demand:
    """Return the sum of *demands*."""
    return sum(demands, NOTHING)


def check_possible(demand: Demand, budget: Budget) -> None:
    """Check that *demand* fits into the empty *budget*.

    :raises DemandTooLargeError: naming the demand and the limit for each resource that is too small.
    """
    names = budget.exceeded_by(demand)
    if names:
        raise DemandTooLargeError(
            "more is demanded than can ever be granted: "
            + "; ".join(
                f"{_amount(name, getattr(demand, name))} demanded, "
                f"{_amount(name, getattr(budget, name))} allowed ({_SETTINGS[name]})"
                for name in names
            )
        )


def describe_bytes(count: int) -> str:
    """Return *count* bytes in the largest binary unit that keeps it at 1 or more."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:  # noqa: PLR2004 (the step between binary units)
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def _amount(name: str, value: float) -> str:
    if name == "memory_bytes":
        return f"{describe_bytes(int(value))} memory"
    if name == "cpus":
        return f"{value:g} CPUs"
    noun = {"containers": "container", "gpus": "GPU", "networks": "network"}[name]
    return f"{int(value)} {noun}{'' if value == 1 else 's'}"
