"""How much a scenario or a test reserves of each resource, its arithmetic and its words."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

GROUP_NAME = "[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"

# Sums of decimal fractions are not exact: 0.1 + 0.2 has to fit into 0.3.
_CPU_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Cap:
    """How many containers there can ever be at the same time, whatever a run asks for.

    :param why: why so, and what to do.
    """

    containers: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group of which only so many scenarios run at the same time, on the whole host.

    :param limit: how many, at least 1.
    """

    name: str
    limit: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One container that several items of a run use, see docs/shared-services.md.

    :param key: hexadecimal digits that are equal for those who use the same.
    :param name: of its service.
    """

    key: str
    name: str
    memory_bytes: int = 0
    cpus: float = 0.0
    gpus: int = 0

    @property
    def demand(self) -> Demand:
        """Return what it counts as, once for all who use it."""
        return Demand(containers=1, memory_bytes=self.memory_bytes, cpus=self.cpus, gpus=self.gpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """How much of each resource is reserved all at once; each amount is zero or more.

    Sums and differences are those of amounts, and keep all else of the left side.

    :param cpus: cores, fractions allowed.
    :param groups: of which it is one.
    :param exclusive: nothing else may be held at the same time.
    :param shares: the shared containers that it uses; they are not part of its amounts.

    :raises ValueError: if an amount is negative or not finite.
    """

    containers: int = 0
    memory_bytes: int = 0
    cpus: float = 0.0
    gpus: int = 0
    groups: tuple[Group, ...] = ()
    exclusive: bool = False
    shares: tuple[Share, ...] = ()

    def __post_init__(self) -> None:
        # Written out, as each reservation takes dozens of these.
        if (
            0 <= self.containers < math.inf
            and 0 <= self.memory_bytes < math.inf
            and 0 <= self.cpus < math.inf
            and 0 <= self.gpus < math.inf
        ):
            return
        for name, value in self.amounts().items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}={value!r}: zero or more is allowed")

    def __add__(self, other: Demand) -> Demand:
        # Most of what each reservation adds up and subtracts is nothing.
        return self if other is NOTHING else self._with(other, operator.add)

    def minus(self, other: Demand) -> Demand:
        """Return what is left after *other* was given back; never below zero."""
        return self if other is NOTHING else self._with(other, lambda mine, its: max(mine - its, 0))

    def larger(self, other: Demand) -> Demand:
        """Return the larger of both, for each resource by itself."""
        return self._with(other, max)

    def smaller(self, other: Demand) -> Demand:
        """Return the smaller of both, for each resource by itself."""
        return self.minus(self.minus(other))

    def covers(self, other: Demand) -> bool:
        """Tell whether it is, of each resource, at least as much as *other*."""
        return not any(exceeds(name, getattr(other, name), getattr(self, name)) for name in _RESOURCES)

    def frees(self, names: Iterable[str]) -> bool:
        """Tell whether giving this back would free some of the resources *names*."""
        return any(getattr(self, name) > 0 for name in names)

    @property
    def whole(self) -> Demand:
        """Return it with all that it shares: what is held if nobody else uses that yet."""
        return self + total(each.demand for each in self.shares)

    def describe(self) -> str:
        """Return it in words: ``2 containers, 512.0 MiB memory``; zero amounts are left out."""
        told = [describe_amount(name, amount) for name, amount in self.amounts().items() if amount]
        told += [f"group {each.name!r}" for each in self.groups]
        told += [f"shared service {each.name!r}" for each in self.shares]
        told += ["nothing else beside it"] if self.exclusive else []
        return ", ".join(told) or "nothing"

    def amounts(self) -> dict[str, Any]:
        """Return how much it is of each resource."""
        return {name: getattr(self, name) for name in _RESOURCES}

    def to_data(self) -> dict[str, Any]:
        """Return it as plain builtins, for another process."""
        # Written out: there are thousands of them, and asdict() takes ten times as long.
        return {
            **self.amounts(),
            "groups": [asdict(each) for each in self.groups],
            "exclusive": self.exclusive,
            "shares": [asdict(each) for each in self.shares],
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Demand:
        """Return what :meth:`to_data` gave."""
        groups = tuple(Group(**each) for each in data.get("groups", ()))
        shares = tuple(Share(**each) for each in data.get("shares", ()))
        return cls(**{**data, "groups": groups, "shares": shares})

    def _with(self, other: Demand, of: Callable[[Any, Any], Any]) -> Demand:
        """Return what *of* makes of both amounts of each resource."""
        # Written out, as each reservation takes dozens of these.
        return Demand(
            containers=of(self.containers, other.containers),
            memory_bytes=of(self.memory_bytes, other.memory_bytes),
            cpus=of(self.cpus, other.cpus),
            gpus=of(self.gpus, other.gpus),
            groups=self.groups,
            exclusive=self.exclusive,
            shares=self.shares,
        )


_RESOURCES = ("containers", "memory_bytes", "cpus", "gpus")
NOTHING = Demand()


def total(demands: Iterable[Demand]) -> Demand:
    """Return the sum of *demands*."""
    # Not one by one: each reservation adds up all that is held.
    containers, memory_bytes, cpus, gpus = 0, 0, 0.0, 0
    for each in demands:
        containers += each.containers
        memory_bytes += each.memory_bytes
        cpus += each.cpus
        gpus += each.gpus
    if not (containers or memory_bytes or cpus or gpus):
        return NOTHING
    return Demand(containers=containers, memory_bytes=memory_bytes, cpus=cpus, gpus=gpus)


def exceeds(name: str, amount: float, limit: float) -> bool:
    """Tell whether *amount* of the resource *name* is more than *limit*."""
    return amount > limit + (_CPU_TOLERANCE if name == "cpus" else 0)


def describe_bytes(count: int) -> str:
    """Return *count* bytes in the largest binary unit that keeps it at 1 or more."""
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:  # noqa: PLR2004 (the step between binary units)
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def describe_amount(name: str, value: float) -> str:
    """Return *value* of the resource *name* in words."""
    if name == "memory_bytes":
        return f"{describe_bytes(int(value))} memory"
    if name == "cpus":
        return f"{value:g} CPUs"
    noun = {"containers": "container", "gpus": "GPU"}[name]
    return f"{int(value)} {noun}{'' if value == 1 else 's'}"
