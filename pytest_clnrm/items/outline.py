"""What pytest has to know of a scenario before it runs: the rest is fetched by the process that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_clnrm.model.demand import Demand, Group

if TYPE_CHECKING:
    from pytest_clnrm.model.priority import Priority
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.model.selection import Selection
    from pytest_clnrm.runtime.runtime import Runtime


class Outline(NamedTuple):
    """A scenario as it is collected; fields without a word here are those of the scenario.

    A tuple: each worker unpickles those of all scenarios.

    :param unchecked: the paths of claims that are not checked.
    :param names_files: True if it names files or folders of this host.
    :param shares_in_file: True if it shares a container with other scenarios of its file alone.
    :param demand: what has to be reserved before it may start.
    :param specification: equal for scenarios that may share containers, None if it shares none.
    """

    name: str
    line: int
    tags: tuple[str, ...]
    priority: Priority | None
    selection: Selection
    secrets: frozenset[str]
    unchecked: tuple[str, ...]
    names_files: bool
    shares_in_file: bool
    demand: Demand
    specification: str | None


def outline_of(runtime: Runtime, scenario: Scenario) -> Outline:
    """Return the outline of a scenario."""
    # What only a process needs that loads scenarios itself.
    from pytest_clnrm.pool.proof import specification_of
    from pytest_clnrm.runner.volumes import named_files

    return Outline(
        name=scenario.name,
        line=scenario.line,
        tags=scenario.tags,
        priority=scenario.priority,
        selection=scenario.selection,
        secrets=scenario.secrets,
        unchecked=tuple(each.path for each in scenario.unchecked),
        names_files=any(True for _ in named_files(scenario)),
        shares_in_file=any(each.scope in {"file", "module"} for each in scenario.services),
        demand=_demand_of(runtime, scenario),
        specification=specification_of(runtime.settings, scenario),
    )


def _demand_of(runtime: Runtime, scenario: Scenario) -> Demand:
    from pytest_clnrm.model.scenario import service_of
    from pytest_clnrm.runner.launch import effective_limits
    from pytest_clnrm.runner.sharing.share import share_of, turn_of

    settings, services, selection = runtime.settings, scenario.services, scenario.selection
    limits = [effective_limits(settings, each) for each in services if not each.is_shared]
    if runs := scenario.image_runs:
        # Their containers run one after the other, and all have the limits of the file.
        limits.append(effective_limits(settings, service_of(runs[0])))
    most = dict(reversed(settings.groups))
    shared = [each for each in services if each.is_shared]
    shares = [share_of(settings, each, scenario.file, services) for each in shared]
    # Between two users it is reset: they take turns.
    turns = [
        turn_of(runtime.session_id, share) for each, share in zip(shared, shares, strict=True) if each.reset
    ]
    return Demand(
        containers=len(limits),
        memory_bytes=sum(each.memory_bytes or 0 for each in limits),
        cpus=sum(each.cpus or 0.0 for each in limits),
        gpus=sum(each.gpus or 0 for each in limits),
        groups=(*(Group(name=name, limit=most.get(name, 1)) for name in selection.groups), *turns),
        exclusive=selection.exclusive,
        shares=tuple(shares),
    )
