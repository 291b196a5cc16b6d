"""The fixtures ``clnrm`` and ``clnrm_factory``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING

import pytest

from pytest_clnrm.reservation.markers import LIMITS_MARKER, priority_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_clnrm.items.containers import Containers
    from pytest_clnrm.items.python_tests import PythonTests
    from pytest_clnrm.model.service import Limits

python_tests_key: pytest.StashKey[Callable[[], PythonTests]] = pytest.StashKey()
"""Where the configuration holds what returns this process's PythonTests, made at the first call."""


@pytest.fixture
def clnrm(request: pytest.FixtureRequest) -> Iterator[Containers]:
    """Containers for this test, under the same limits, ledger, labels and cleanup as those of scenarios.

    ``with clnrm.container("redis:7", ports=[6379], ready={"port": 6379}) as redis: ...`` yields a container
    with ``run(argv)``, ``logs()``, ``url(port)`` and ``address(port)``; ``clnrm.spans(count=1)`` returns what
    programs in the containers have exported. A test has room for one container, or
    for what ``@pytest.mark.clnrm_limits(containers=2, memory="1g")`` reserves, each of one container.
    """
    from pytest_clnrm.items.container_group import ContainerGroup
    from pytest_clnrm.items.containers import Containers
    from pytest_clnrm.reservation import item_demand
    from pytest_clnrm.scheduling.tickets import TICKET
    from pytest_clnrm.telemetry.tracing import slot_attributes

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
        },
    )
    if ticket.waited_s:
        group.trace.add("clnrm.slot.wait", ticket.waited_s, slot_attributes(demand, ticket.position))
    tests.traced(group.trace)
    try:
        yield Containers(group)
    finally:
        group.close(*item_demand.outcome_of(item))


@pytest.fixture(scope="session")
def clnrm_factory(request: pytest.FixtureRequest) -> Iterator[Containers]:
    """Containers for fixtures of a wider scope; each waits for room of its own, and gives it back at its end.

    As ``clnrm``; use that one in tests and in fixtures of function scope.
    """
    from pytest_clnrm.items.container_group import ContainerGroup
    from pytest_clnrm.items.containers import Containers
    from pytest_clnrm.reservation.reserve import reserving_for_fixture

    tests = request.config.stash[python_tests_key]()

    def reserve(limits: Limits, name: str) -> AbstractContextManager[str]:
        return reserving_for_fixture(tests.runtime, limits, name)

    attributes = {"clnrm.scenario.name": "clnrm_factory"}
    with closing(ContainerGroup(tests.runtime, "clnrm_factory", reserve, tests, attributes)) as group:
        yield Containers(group)
