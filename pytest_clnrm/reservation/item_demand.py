"""What Python tests with containers demand, what they have reserved, and how they ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.errors import ReservationError
from pytest_clnrm.model.demand import NOTHING, Demand
from pytest_clnrm.model.limits import Limits
from pytest_clnrm.names import LIMITS_MARKER
from pytest_clnrm.scheduling.tickets import TICKET
from pytest_clnrm.settings.policy import policy_of
from pytest_clnrm.settings.values import container_memory, count, count_or_zero, cpus
from pytest_clnrm.util.counted import counted

if TYPE_CHECKING:
    from pytest_clnrm.model.policy import Policy
    from pytest_clnrm.runtime.runtime import Runtime

_outcome_key: pytest.StashKey[tuple[str, str]] = pytest.StashKey()
"""Where an item holds how its last phase ended: the status of its span, and why it failed."""

_LIMITS = {"containers": count, "memory": container_memory, "cpu": cpus, "gpus": count_or_zero}


def is_scenario(item: pytest.Item) -> bool:
    """Tell whether *item* is a scenario, without importing what only scenarios need."""
    return getattr(item, "clnrm_scenario", False)


def demand_of(item: pytest.Item, runtime: Runtime) -> Demand | None:
    """Return what a Python test has to reserve before it may start, None if it demands nothing.

    That is its ``clnrm_limits``, or one container of the usual limits if it uses the fixture ``clnrm``.

    :raises pytest.UsageError: if the marker names something unknown or wrong.
    """
    marker = item.get_closest_marker(LIMITS_MARKER)
    if marker is None and "clnrm" not in getattr(item, "fixturenames", ()):
        return None
    given = _limits(item, marker) if marker else {}
    _check_caps(item, given, policy_of(runtime.settings))
    containers = given.get("containers", 1)
    return Demand(
        containers=containers,
        memory_bytes=containers * given.get("memory", runtime.settings.memory_bytes),
        cpus=containers * given.get("cpu", runtime.settings.cpus),
        gpus=containers * given.get("gpus", 0),
    )


def _limits(item: pytest.Item, marker: pytest.Mark) -> dict[str, Any]:
    allowed = ", ".join(_LIMITS)
    if marker.args or not set(marker.kwargs) <= set(_LIMITS):
        raise pytest.UsageError(
            f"{item.nodeid}: @pytest.mark.{LIMITS_MARKER} takes the keywords {allowed}, each of one container"
        )
    return {name: _parsed(item, name, value) for name, value in marker.kwargs.items()}


def _check_caps(item: pytest.Item, given: dict[str, Any], policy: Policy) -> None:
    asked = Limits(memory_bytes=given.get("memory"), cpus=given.get("cpu"), gpus=given.get("gpus"))
    refused = dict(policy.refusals(asked))
    containers = given.get("containers", 1)
    if policy.containers is not None and containers > policy.containers:
        refused["containers"] = policy.too_much("containers", containers, policy.containers, " containers")
    for name, message in refused.items():
        raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.{LIMITS_MARKER}({name}=...): {message}")


def _parsed(item: pytest.Item, name: str, value: object) -> Any:
    try:
        return _LIMITS[name](value)
    except ValueError as error:
        raise pytest.UsageError(
            f"{item.nodeid}: @pytest.mark.{LIMITS_MARKER}({name}=...): {error}"
        ) from error


class Allowance:
    """What a test has reserved, and how much of it its containers use.

    What they do not use is lent to a fixture that would have to wait otherwise
    (``reserving_for_fixture`` of reserve.py); a container for which too little is left
    then waits for a reservation of its own.

    :param uses_clnrm: the test uses the fixture ``clnrm``. It is not known what any other test does with its
        reservation, so nothing of that is lent.
    """

    def __init__(self, runtime: Runtime, demand: Demand, *, uses_clnrm: bool) -> None:
        self._runtime = runtime
        self._demand = self._left = demand
        self._all = self._own = NOTHING
        self.uses_clnrm = uses_clnrm

    def unused(self) -> Demand:
        """Return what may be lent."""
        return self._left.minus(self._own) if self.uses_clnrm else NOTHING

    def used(self) -> Demand:
        """Return what is held for good while this test runs."""
        return self._left.minus(self.unused())

    def lend(self, demand: Demand) -> None:
        """Take note that so much of it is no longer the test's."""
        self._left = self._left.minus(demand)

    @contextmanager
    def reserve(self, limits: Limits, name: str) -> Iterator[str]:
        """Count one more container, under the test's own lease or, if too much of that was lent, a new one.

        :raises ReservationError: if the test has not reserved so much, or can never get back what it lent.
        """
        from pytest_clnrm.reservation.reserve import demand_of_one, reserving_for_fixture

        more = demand_of_one(self._runtime, limits)
        if not self._demand.covers(self._all + more):
            raise ReservationError(
                f"this test has reserved {_describe(self._demand)}, and one more container would make it "
                f"more: reserve it with @pytest.mark.{LIMITS_MARKER}(containers=..., memory=..., "
                f"cpu=..., gpus=...), each of one container"
            )
        self._all += more
        try:
            if self._left.covers(self._own + more):
                self._own += more
                try:
                    yield ""
                finally:
                    self._own = self._own.minus(more)
            else:
                with reserving_for_fixture(self._runtime, limits, name) as lease:
                    yield lease
        finally:
            self._all = self._all.minus(more)

    @contextmanager
    def reserve_all(self, demand: Demand, name: str) -> Iterator[str]:
        """Count what a scenario needs under the test's own lease; if that is too small, wait for a new one.

        :raises ReservationError: if it will never be granted.
        """
        from pytest_clnrm.reservation.reserve import reserving_beside

        is_plain = not (demand.groups or demand.exclusive or demand.shares)
        if is_plain and self._left.covers(self._own + demand):
            self._own += demand
            self._all += demand
            try:
                yield ""
            finally:
                self._own = self._own.minus(demand)
                self._all = self._all.minus(demand)
        else:
            with reserving_beside(self._runtime, demand, name) as lease:
                yield lease


def _describe(demand: Demand) -> str:
    containers = counted(demand.containers, "container")
    return f"{containers}, {demand.memory_bytes // (1 << 20)} MB, {demand.cpus:g} CPUs, {demand.gpus} GPUs"


_allowance_key: pytest.StashKey[tuple[str, Allowance]] = pytest.StashKey()
"""Where an item holds its allowance, and the id of the lease that it is part of."""


def allowance_of(item: pytest.Item, runtime: Runtime) -> Allowance | None:
    """Return the allowance of a Python test, None if it has reserved nothing."""
    ticket = item.stash.get(TICKET, None)
    demand = demand_of(item, runtime)
    if ticket is None or demand is None:
        return None
    known, allowance = item.stash.get(_allowance_key, ("", None))
    if allowance is None or known != ticket.lease:
        allowance = Allowance(runtime, demand, uses_clnrm="clnrm" in getattr(item, "fixturenames", ()))
        item.stash[_allowance_key] = (ticket.lease, allowance)
    return allowance


def note_outcome(item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
    """Note how a phase of a test with containers ended: its span ends with the fixture ``clnrm``."""
    if TICKET in item.stash and call.when != "teardown":
        status = {"passed": "pass", "failed": "fail"}.get(report.outcome, "")
        why = call.excinfo.exconly(tryshort=True) if report.failed and call.excinfo else ""
        item.stash[_outcome_key] = (status, why)


def outcome_of(item: pytest.Item) -> tuple[str, str]:
    """Return how the last phase of a test ended: the status of its span, and why it failed."""
    return item.stash.get(_outcome_key, ("", ""))
