"""How much a run may hold at the same time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_clnrm.errors import DemandTooLargeError
from pytest_clnrm.model.demand import Cap, Demand, describe_amount, exceeds

_SETTINGS = {
    "containers": "--clnrm-max-containers",
    "memory_bytes": "--clnrm-memory-budget",
    "cpus": "--clnrm-cpu-budget",
    "gpus": "--clnrm-gpus",
}
"""Each resource, and the option that limits it."""


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

    def exceeded_by(self, demand: Demand) -> tuple[str, ...]:
        """Return the names of the resources of which *demand* has more than this allows."""
        limits = (
            ("containers", demand.containers, self.containers),
            ("memory_bytes", demand.memory_bytes, self.memory_bytes),
            ("cpus", demand.cpus, self.cpus),
            ("gpus", demand.gpus, self.gpus),
        )
        return tuple(
            [name for name, amount, limit in limits if limit is not None and exceeds(name, amount, limit)]
        )

    def larger(self, other: Budget) -> Budget:
        """Return the larger limit of both, for each resource by itself."""
        return Budget(
            containers=max(self.containers, other.containers),
            memory_bytes=max(self.memory_bytes, other.memory_bytes),
            cpus=None if self.cpus is None or other.cpus is None else max(self.cpus, other.cpus),
            gpus=max(self.gpus, other.gpus),
        )

    def describe(self, names: Iterable[str]) -> str:
        """Return the limits of *names* in words."""
        return ", ".join(describe_amount(name, getattr(self, name)) for name in names)


def check_possible(demand: Demand, budget: Budget, cap: Cap | None = None) -> None:
    """Check that *demand* fits into the empty *budget*, and into what the engine can have.

    :raises DemandTooLargeError: naming the demand and the limit for each resource that is too small.
    """
    limits = [(name, getattr(budget, name), _SETTINGS[name]) for name in budget.exceeded_by(demand)]
    if cap is not None and demand.containers > cap.containers:
        limits = [("containers", cap.containers, cap.why), *limits]
    if limits:
        raise DemandTooLargeError(
            "more is demanded than can ever be granted: "
            + "; ".join(
                f"{describe_amount(name, getattr(demand, name))} demanded, "
                f"{describe_amount(name, limit)} allowed ({why})"
                for name, limit, why in limits
            )
        )
