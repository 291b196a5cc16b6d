"""Shared containers in Python tests: what ``clnrm.shared(...)`` returns.

A process uses a shared container from the first of its tests and fixtures that asks for it to the last that
ends. Meanwhile the container is on the network on which those of this process's fixtures reach one another.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.items.container import Container
from pytest_clnrm.items.plain_errors import plain
from pytest_clnrm.reservation.reserve import using_shared
from pytest_clnrm.runner.sharing.part import SharedPart, follow_spans
from pytest_clnrm.runner.sharing.seen import env_of_commands
from pytest_clnrm.runner.sharing.share import share_of, turn_of
from pytest_clnrm.runner.sharing.start import check_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_clnrm.items.container_group import ContainerGroup
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.runner.actions.attempt import Surroundings
    from pytest_clnrm.runtime.network import Network


@dataclass(kw_only=True, eq=False)
class Held:
    """A shared container that this process uses.

    :param network: on which it is for those of this process; None if it has none.
    :param users: how many of its tests and fixtures do.
    """

    part: SharedPart
    stack: ExitStack
    network: Network | None
    users: int = 0


def use_shared(group: ContainerGroup, service: Service, file: str) -> tuple[Container, Callable[[], None]]:
    """Return a shared container, ready, and what ends its use.

    :param file: within which it is shared, if not within the whole run.
    :raises ClnrmError: if it cannot be had.
    """
    __tracebackhide__ = True
    group.tests.settle()
    all_held: dict[str, Held] = group.tests.shared
    key = share_of(group.runtime.settings, service, file).key
    try:
        held = all_held.get(key) or _begin(group, service, file)
        if held.users:
            check_runs(group.runtime, held.part.containers[service.name])
    except ClnrmError as error:
        raise plain(group.told(error)) from None
    all_held[key] = held
    held.users += 1
    running = held.part.containers[service.name]
    # Whoever was the first here may have ended: spans of commands go to who runs them.
    running = replace(running, env=env_of_commands(service, held.network, group.trace))
    follow_spans(group.shared_spans, group.runtime, running)
    live = group.tests.opened(
        running,
        logs=lambda: group.redactor.end_of_text(held.part.logs(running)),
        spans=lambda since_ns: group.redactor.text(group.shared_spans.text(service.name, since_ns)),
        redactor=group.redactor,
    )
    group.add(live)

    def end() -> None:
        __tracebackhide__ = True
        try:
            group.judge_end(live)
        except ClnrmError as error:
            raise plain(error) from None
        finally:
            group.drop(live)
            group.tests.gone(live)
            held.users -= 1
            if not held.users:
                del all_held[key]
                held.stack.close()

    return Container(group, live, held.network), end


def _begin(group: ContainerGroup, service: Service, file: str) -> Held:
    """Reserve, join, and start it if nobody has."""
    runtime = group.runtime
    room = group.room(group.in_vain)
    with ExitStack() as stack:
        share = share_of(runtime.settings, service, file)
        turn = turn_of(runtime.session_id, share) if service.reset else None
        lease = stack.enter_context(using_shared(runtime, share, turn))
        image = group.image_of(service, lease)
        network: Network | None = None
        if service.network != "none":
            network = stack.enter_context(runtime.networks().of_fixtures(service.name, *service.aliases))
        part = SharedPart(runtime, file, group.trace, lease)
        stack.callback(part.leave)
        deadline_s = time.monotonic() + runtime.settings.timeout_s

        def join(_: str) -> None:
            part.join(
                service,
                image,
                network,
                room,
                around=partial(
                    _surroundings, group, part, service, file, network=network, deadline_s=deadline_s
                ),
                deadline_s=deadline_s,
                cancelled=group.in_vain,
            )

        group.start_in(room, part.stem, join, part.leave)
        return Held(part=part, stack=stack.pop_all(), network=network)


def _surroundings(
    group: ContainerGroup,
    part: SharedPart,
    service: Service,
    file: str,
    *,
    network: Network | None,
    deadline_s: float,
) -> Surroundings:
    """Return what steps that reset a shared container have."""
    # What tests without scenarios need only here.
    from pytest_clnrm.model.scenario import Scenario
    from pytest_clnrm.runner.actions.attempt import Surroundings
    from pytest_clnrm.toml.positions import show_path

    return Surroundings(
        runtime=group.runtime,
        scenario=Scenario(name=group.label, file=file, services=(service,)),
        containers={},
        network=network,
        deadline_s=deadline_s,
        where=show_path,
        trace=group.trace,
        redactor=group.redactor,
        users=part.users,
    )
