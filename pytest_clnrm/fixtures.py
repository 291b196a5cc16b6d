"""The fixtures ``clnrm`` and ``clnrm_factory``, and what Python tests that use them demand."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pytest_clnrm.errors import AdmissionError
from pytest_clnrm.markers import priority_of
from pytest_clnrm.scheduling.tickets import TICKET
from pytest_clnrm.values import container_memory, count, count_or_none, cpus

if TYPE_CHECKING:
    from pytest_clnrm.containers import Containers
    from pytest_clnrm.runtime import Runtime
    from pytest_clnrm.scenario.model import Limits

__all__ = ["LIMITS_MARKER", "clnrm", "clnrm_factory", "demand_of", "runtime_key"]

runtime_key: pytest.StashKey[Runtime] = pytest.StashKey()
"""Where the configuration holds the shared parts of this process."""

_outcome_key: pytest.StashKey[tuple[str, str]] = pytest.StashKey()
"""Where an item holds how its last phase ended: the status of its span, and why it failed."""

LIMITS_MARKER = "clnrm_limits"
_LIMITS = {"containers": count, "memory": container_memory, "cpu": cpus, "gpus": count_or_none}


def demand_of(item: pytest.Item, runtime: Runtime) -> dict[str, Any] | None:
    """Return what a Python test has to reserve before it may start, None if it demands nothing.

    That is its ``clnrm_limits``, or one container of the usual limits if it uses the fixture ``clnrm``.

    :raises pytest.UsageError: if the marker names something unknown or wrong.
    """
    marker = item.get_closest_marker(LIMITS_MARKER)
    if marker is None and "clnrm" not in getattr(item, "fixturenames", ()):
        return None
    given = _limits(item, marker) if marker else {}
    containers = given.get("containers", 1)
    return {
        "containers": containers,
        "memory_bytes": containers * given.get("memory", runtime.settings.memory_bytes),
        "cpus": containers * given.get("cpu", runtime.settings.cpus),
        "gpus": containers * given.get("gpus", 0),
    }


def _limits(item: pytest.Item, marker: pytest.Mark) -> dict[str, Any]:
    allowed = ", ".join(_LIMITS)
    if marker.args or not set(marker.kwargs) <= set(_LIMITS):
        raise pytest.UsageError(
            f"{item.nodeid}: @pytest.mark.{LIMITS_MARKER} takes the keywords {allowed}, each of one container"
        )
    return {name: _parsed(item, name, value) for name, value in marker.kwargs.items()}


def _parsed(item: pytest.Item, name: str, value: object) -> Any:
    try:
        return _LIMITS[name](value)
    except ValueError as error:
        raise pytest.UsageError(
            f"{item.nodeid}: @pytest.mark.{LIMITS_MARKER}({name}=...): {error}"
        ) from error


class _Room:
    """The room that a test has reserved, and how much of it its containers take."""

    def __init__(self, runtime: Runtime, demand: dict[str, Any]) -> None:
        self._runtime = runtime
        self._demand = demand
        self._taken = {"containers": 0, "memory_bytes": 0, "cpus": 0.0, "gpus": 0}

    @contextmanager
    def reserve(self, limits: Limits) -> Iterator[str]:
        """Take room for one more container, under the test's own lease.

        :raises AdmissionError: if the test has not reserved so much.
        """
        settings = self._runtime.settings
        more = {
            "containers": 1,
            "memory_bytes": settings.memory_bytes if limits.memory_bytes is None else limits.memory_bytes,
            "cpus": settings.cpus if limits.cpus is None else limits.cpus,
            "gpus": limits.gpus or 0,
        }
        for name, amount in more.items():
            if self._taken[name] + amount > self._demand[name] + 1e-6:
                raise AdmissionError(
                    f"this test has reserved {_describe(self._demand)}, and one more container would make it "
                    f"more: reserve it with @pytest.mark.{LIMITS_MARKER}(containers=..., memory=..., "
                    f"cpu=..., gpus=...), each of one container"
                )
        for name, amount in more.items():
            self._taken[name] += amount
        try:
            yield ""
        finally:
            for name, amount in more.items():
                self._taken[name] -= amount


def _describe(demand: dict[str, Any]) -> str:
    containers = f"{demand['containers']} container{'' if demand['containers'] == 1 else 's'}"
    memory_mb = demand["memory_bytes"] // (1 << 20)
    return f"{containers}, {memory_mb} MB, {demand['cpus']:g} CPUs, {demand['gpus']} GPUs"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how a test ended, for its span, which ends at the fixture's own end."""
    report = yield
    if "clnrm" in getattr(item, "fixturenames", ()) and call.when != "teardown":
        status = {"passed": "pass", "failed": "fail"}.get(report.outcome, "")
        why = call.excinfo.exconly(tryshort=True) if report.failed and call.excinfo else ""
        item.stash[_outcome_key] = (status, why)
    return report


@pytest.fixture
def clnrm(request: pytest.FixtureRequest) -> Iterator[Containers]:
    """Containers for this test, under the same limits, ledger, labels and cleanup as those of scenarios.

    ``with clnrm.container("redis:7", ports=[6379], ready={"port": 6379}) as redis: ...`` yields a container
    with ``run(argv)``, ``logs()``, ``url(port)`` and ``address(port)``; ``clnrm.spans(count=1)`` returns what
    programs in the containers have exported. A test has room for one container, or
    for what ``@pytest.mark.clnrm_limits(containers=2, memory="1g")`` reserves, each of one container.
    """
    from pytest_clnrm.containers import Containers
    from pytest_clnrm.tracing import slot_attributes

    runtime, item = request.config.stash[runtime_key], request.node
    demand = demand_of(item, runtime)
    assert demand is not None  # noqa: S101 (a test that uses this fixture demands something)
    file, line, _ = item.location
    ticket = item.stash.get(TICKET, None)
    containers = Containers(
        runtime,
        item.nodeid,
        _Room(runtime, demand).reserve,
        attributes={
            "code.file.path": file,
            "code.line.number": None if line is None else line + 1,
            "clnrm.priority": priority_of(item, runtime.settings, runtime.rootdir).label,
            "clnrm.scenario.name": item.name,
        },
        slot_wait_s=ticket.waited_s if ticket else 0.0,
        slot_attributes=slot_attributes(demand, ticket.position if ticket else 0),
    )
    try:
        yield containers
    finally:
        containers.close(*item.stash.get(_outcome_key, ("", "")))


@pytest.fixture(scope="session")
def clnrm_factory(request: pytest.FixtureRequest) -> Iterator[Containers]:
    """Containers for fixtures of a wider scope; each waits for room of its own, and gives it back at its end.

    As ``clnrm``; use that one in tests and in fixtures of function scope.
    """
    from pytest_clnrm.containers import Containers

    runtime = request.config.stash[runtime_key]

    def reserve(limits: Limits) -> AbstractContextManager[str]:
        from pytest_clnrm.admitting import reserving_more

        return reserving_more(runtime, limits)

    attributes = {"clnrm.scenario.name": "clnrm_factory"}
    with closing(Containers(runtime, "clnrm_factory", reserve, attributes=attributes)) as containers:
        yield containers
