"""Budgets, and what fits into them."""

from __future__ import annotations

import re

import pytest

from pytest_clnrm.errors import DemandTooLargeError
from pytest_clnrm.ledger.budget import Budget, check_possible
from pytest_clnrm.model.demand import Cap, Demand, total

MIB = 1024 * 1024


def test_decimal_cpus_fill_their_budget() -> None:
    """0.1 + 0.2 fits into 0.3."""
    budget = Budget(containers=9, memory_bytes=0, cpus=0.3)
    assert budget.exceeded_by(total([Demand(cpus=0.1), Demand(cpus=0.2)])) == ()
    assert budget.exceeded_by(Demand(cpus=0.31)) == ("cpus",)


def test_none_is_no_limit() -> None:
    """Without a limit on CPUs nothing exceeds it."""
    assert Budget(containers=1, memory_bytes=1).exceeded_by(Demand(cpus=99)) == ()


def test_larger_budget_is_taken_by_resource() -> None:
    """Of two budgets the larger limit counts, and no limit is larger than any."""
    small = Budget(containers=1, memory_bytes=9, cpus=1, gpus=0)
    large = Budget(containers=2, memory_bytes=5, cpus=2, gpus=1)
    assert small.larger(large) == Budget(containers=2, memory_bytes=9, cpus=2, gpus=1)
    assert small.larger(Budget(containers=0, memory_bytes=0)).cpus is None
    assert small.larger(small) == small


def test_too_large_demand_names_both_numbers() -> None:
    """The error names what is demanded, what is allowed and the setting, for each resource."""
    budget = Budget(containers=2, memory_bytes=512 * MIB, cpus=1.5, gpus=0)
    demand = Demand(containers=3, memory_bytes=1024 * MIB, cpus=2, gpus=1)
    text = (
        "more is demanded than can ever be granted: "
        "3 containers demanded, 2 containers allowed (--clnrm-max-containers); "
        "1.0 GiB memory demanded, 512.0 MiB memory allowed (--clnrm-memory-budget); "
        "2 CPUs demanded, 1.5 CPUs allowed (--clnrm-cpu-budget); "
        "1 GPU demanded, 0 GPUs allowed (--clnrm-gpus)"
    )
    with pytest.raises(DemandTooLargeError, match=f"^{re.escape(text)}$"):
        check_possible(demand, budget)


def test_what_the_engine_can_never_have() -> None:
    """It is told before anything waits for it, with what to do."""
    budget, cap = Budget(containers=9, memory_bytes=9), Cap(2, "the quota q: raise it")
    text = r"3 containers demanded, 2 containers allowed \(the quota q: raise it\)$"
    with pytest.raises(DemandTooLargeError, match=text):
        check_possible(Demand(containers=3), budget, cap)
    check_possible(Demand(containers=2), budget, cap)


def test_demand_that_fills_the_budget_is_possible() -> None:
    """Exactly the budget is not too much."""
    check_possible(Demand(containers=2, memory_bytes=5), Budget(containers=2, memory_bytes=5))
