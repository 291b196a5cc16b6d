"""Demands, budgets and their arithmetic."""

from __future__ import annotations

import re

import pytest

from pytest_clnrm.errors import DemandTooLargeError
from pytest_clnrm.ledger.budget import NOTHING, Budget, Demand, check_possible, describe_bytes, total

MIB = 1024 * 1024


def test_total_adds_each_resource() -> None:
    """Each resource is summed by itself."""
    one = Demand(containers=1, memory_bytes=2, cpus=0.5, gpus=1, networks=1)
    assert total([one, one]) == Demand(containers=2, memory_bytes=4, cpus=1.0, gpus=2, networks=2)
    assert total([]) == NOTHING


def test_minus_never_goes_below_zero() -> None:
    """What is given back twice is not room."""
    assert Demand(containers=1, cpus=0.1).minus(Demand(containers=2, cpus=0.2, gpus=1)) == NOTHING


@pytest.mark.parametrize("field", ["containers", "memory_bytes", "cpus", "gpus", "networks"])
def test_negative_demand_is_refused(field: str) -> None:
    """No field may be below zero."""
    with pytest.raises(ValueError, match=rf"^{field}=-1: zero or more is allowed$"):
        Demand(**{field: -1})


def test_cpus_have_to_be_finite() -> None:
    """Nothing could ever be compared with a cpus that is no number."""
    with pytest.raises(ValueError, match="cpus=nan"):
        Demand(cpus=float("nan"))


def test_decimal_cpus_fill_their_budget() -> None:
    """0.1 + 0.2 fits into 0.3."""
    budget = Budget(containers=9, memory_bytes=0, cpus=0.3)
    assert budget.exceeded_by(total([Demand(cpus=0.1), Demand(cpus=0.2)])) == ()
    assert budget.exceeded_by(Demand(cpus=0.31)) == ("cpus",)


def test_none_is_no_limit() -> None:
    """Without a limit on CPUs and networks nothing exceeds it."""
    assert Budget(containers=1, memory_bytes=1).exceeded_by(Demand(cpus=99, networks=99)) == ()


def test_larger_budget_is_taken_by_resource() -> None:
    """Of two budgets the larger limit counts, and no limit is larger than any."""
    small = Budget(containers=1, memory_bytes=9, cpus=1, gpus=0, networks=3)
    large = Budget(containers=2, memory_bytes=5, cpus=2, gpus=1, networks=None)
    assert small.larger(large) == Budget(containers=2, memory_bytes=9, cpus=2, gpus=1, networks=None)
    assert small.larger(Budget(containers=0, memory_bytes=0)).cpus is None
    assert small.larger(small) == small


def test_too_large_demand_names_both_numbers() -> None:
    """The error names what is demanded, what is allowed and the setting, for each resource."""
    budget = Budget(containers=2, memory_bytes=512 * MIB, cpus=1.5, gpus=0, networks=1)
    demand = Demand(containers=3, memory_bytes=1024 * MIB, cpus=2, gpus=1, networks=2)
    text = (
        "more is demanded than can ever be granted: "
        "3 containers demanded, 2 containers allowed (--clnrm-max-containers); "
        "1.0 GiB memory demanded, 512.0 MiB memory allowed (--clnrm-memory-budget); "
        "2 CPUs demanded, 1.5 CPUs allowed (--clnrm-cpu-budget); "
        "1 GPU demanded, 0 GPUs allowed (--clnrm-gpus); "
        "2 networks demanded, 1 network allowed (the engine's networks)"
    )
    with pytest.raises(DemandTooLargeError, match=f"^{re.escape(text)}$"):
        check_possible(demand, budget)


def test_demand_that_fills_the_budget_is_possible() -> None:
    """Exactly the budget is not too much."""
    check_possible(Demand(containers=2, memory_bytes=5), Budget(containers=2, memory_bytes=5))


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
