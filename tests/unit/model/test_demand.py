"""Demands, their arithmetic and their words."""

from __future__ import annotations

import json

import pytest

from pytest_clnrm.model.demand import NOTHING, Demand, Group, describe_bytes, total

MIB = 1024 * 1024


def test_total_adds_each_resource() -> None:
    """Each resource is summed by itself."""
    one = Demand(containers=1, memory_bytes=2, cpus=0.5, gpus=1)
    assert total([one, one]) == Demand(containers=2, memory_bytes=4, cpus=1.0, gpus=2)
    assert total([]) == NOTHING


def test_minus_never_goes_below_zero() -> None:
    """What is given back twice is not room."""
    assert Demand(containers=1, cpus=0.1).minus(Demand(containers=2, cpus=0.2, gpus=1)) == NOTHING


@pytest.mark.parametrize("field", ["containers", "memory_bytes", "cpus", "gpus"])
def test_negative_demand_is_refused(field: str) -> None:
    """No field may be below zero."""
    with pytest.raises(ValueError, match=rf"^{field}=-1: zero or more is allowed$"):
        Demand.from_data({field: -1})


def test_cpus_have_to_be_finite() -> None:
    """Nothing could ever be compared with a cpus that is no number."""
    with pytest.raises(ValueError, match="cpus=nan"):
        Demand(cpus=float("nan"))


def test_demand_describes_itself() -> None:
    """Words leave out what is zero."""
    assert Demand(containers=1, memory_bytes=512 * MIB, cpus=0.5).describe() == (
        "1 container, 512.0 MiB memory, 0.5 CPUs"
    )
    assert NOTHING.describe() == "nothing"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (MIB, "1.0 MiB"), (3 * 1024 * MIB, "3.0 GiB")],
)
def test_bytes_in_words(count: int, text: str) -> None:
    """The unit is the largest that keeps the number at one or more."""
    assert describe_bytes(count) == text


def test_a_demand_crosses_processes() -> None:
    """Its data are JSON, and become the same demand again."""
    demand = Demand(containers=2, memory_bytes=3, cpus=0.5, gpus=1)
    assert Demand.from_data(json.loads(json.dumps(demand.to_data()))) == demand


def test_groups_and_exclusiveness() -> None:
    """They are told, kept by arithmetic of amounts, and cross process borders."""
    demand = Demand(containers=2, groups=(Group(name="db", limit=3),), exclusive=True)
    assert demand.describe() == "2 containers, group 'db', nothing else beside it"
    assert Demand.from_data(json.loads(json.dumps(demand.to_data()))) == demand
    less = demand.minus(Demand(containers=1))
    assert (less.containers, less.groups, less.exclusive) == (1, demand.groups, True)
    assert NOTHING + demand == Demand(containers=2)
