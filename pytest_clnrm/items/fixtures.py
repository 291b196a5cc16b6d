"""What the fixtures ``clnrm`` and ``clnrm_factory`` do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytest_clnrm.items.container_group import ContainerGroup
from pytest_clnrm.items.containers import Containers
from pytest_clnrm.items.load_options import load_options
from pytest_clnrm.names import LIMITS_MARKER, python_tests_key
from pytest_clnrm.reservation import item_demand
from pytest_clnrm.reservation.priorities import priority_of
from pytest_clnrm.reservation.reserve import reserving_beside, reserving_for_fixture
from pytest_clnrm.scheduling.tickets import TICKET
from pytest_clnrm.telemetry.tracing import slot_attributes

if TYPE_CHECKING:
    from pytest_clnrm.items.container import Container
    from pytest_clnrm.items.scenario_calls import ReserveAll, ScenarioCalls
    from pytest_clnrm.model.limits import Limits


def containers_of_test(request: pytest.FixtureRequest) -> Iterator[Containers]:
    """Yield the containers of a test, and give back their room when it has ended."""
    tests, item = request.config.stash[python_tests_key](), request.node
    runtime = tests.runtime
    demand, ticket = item_demand.demand_of(item, runtime), item.stash.get(TICKET, None)
    allowance = item_demand.allowance_of(item, runtime)
    if demand is None or ticket is None or allowance is None:
        pytest.fail(
            "this test has reserved no container, as it was not known when it was collected that it uses the "
            "fixture clnrm: name clnrm among its arguments or in @pytest.mark.usefixtures, "
            f"or reserve with @pytest.mark.{LIMITS_MARKER}()",
            pytrace=False,
        )
    allowance.uses_clnrm = True
    file, line, _ = item.location
    group = ContainerGroup(
        runtime,
        item.nodeid,
        allowance.reserve,
        tests,
        {
            "code.file.path": file,
            "code.line.number": None if line is None else line + 1,
            "clnrm.priority": priority_of(item, runtime.settings, runtime.rootdir).label,
            "clnrm.scenario.name": item.name,
            **({"clnrm.attempt": tests.attempt} if tests.attempt > 1 else {}),
        },
        is_of_test=True,
    )
    if ticket.waited_s:
        group.trace.add("clnrm.slot.wait", ticket.waited_s, slot_attributes(demand, ticket.position))
    tests.traced(group.trace)
    try:
        calls = partial(_calls, group, request.session, allowance.reserve_all)
        yield Containers(group, load_options(runtime, request.config), calls)
    finally:
        group.close(*item_demand.outcome_of(item))


def containers_of_session(request: pytest.FixtureRequest) -> Iterator[Containers]:
    """Yield the containers of fixtures of a wider scope, each with room of its own."""
    with _of_session(request, "clnrm_factory") as containers:
        yield containers


def shared_of_session(request: pytest.FixtureRequest) -> Iterator[Callable[..., Container]]:
    """Yield what returns shared containers, which are used until the session ends."""
    with _of_session(request, "clnrm_shared") as containers:
        yield containers.shared


@contextmanager
def _of_session(request: pytest.FixtureRequest, fixture: str) -> Iterator[Containers]:
    tests = request.config.stash[python_tests_key]()

    def reserve(limits: Limits, name: str) -> AbstractContextManager[str]:
        return reserving_for_fixture(tests.runtime, limits, name)

    attributes = {"clnrm.scenario.name": fixture}
    with closing(ContainerGroup(tests.runtime, fixture, reserve, tests, attributes)) as group:
        calls = partial(_calls, group, request.session, partial(reserving_beside, tests.runtime))
        yield Containers(group, load_options(tests.runtime, request.config), calls)


def _calls(group: ContainerGroup, session: pytest.Session, reserve: ReserveAll) -> ScenarioCalls:
    from pytest_clnrm.items.scenario_calls import ScenarioCalls

    return ScenarioCalls(group, session, reserve)
