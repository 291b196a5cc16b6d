"""What templates of steps name of running services: ``{{ service.web.address }}`` and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.scenario.templates.places import SERVICE, places_in
from pytest_clnrm.scenario.templates.render import BOUND, TemplateError

if TYPE_CHECKING:
    from pytest_clnrm.model.step import Step
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.actions.attempt import Surroundings


def running_services(step: Step, around: Surroundings) -> dict[str, Any]:
    """Return what ``service`` is in the templates of *step*, as the engine has it now.

    A service that was started again may have another address, and other published ports.

    :raises TemplateError: if the step names one that has none at the moment.
    """
    places = list(places_in([getattr(step, name) for name in BOUND]))
    named = {str(place[0]) for place in places if place}
    told: dict[str, Any] = {}
    for name, container in around.containers.items():
        if name in named or not all(places):
            try:
                told[name] = _of(container, around)
            except (ClnrmError, OSError) as error:
                if name in named:
                    raise TemplateError(f"{{{{ {SERVICE}.{name} }}}} is not known: {error}") from None
    for name, what in ((str(place[0]), place[1]) for place in places if len(place) > 1):
        if name in told and not told[name].get(what):
            raise TemplateError(
                f"{{{{ {SERVICE}.{name}.{what} }}}} is not known: "
                f"{_why_not(around.containers[name], what, around)}"
            )
    return told


def _of(container: RunningContainer, around: Surroundings) -> dict[str, Any]:
    state = around.runtime.engine().state(container.id)
    published = around.runtime.networks().published
    name = "" if around.network is None else around.network.name
    return {
        "address": state.addresses.get(name, ""),
        "ports": {
            **{port: published(state, port)[1] for port in state.ports},
            **{f"{port}/udp": place[1] for port, place in state.udp_ports.items()},
        },
        "url": container.service.own_url,
    }


def _why_not(container: RunningContainer, what: str | int, around: Surroundings) -> str:
    """Return why a service has no address, or publishes no port, at the moment."""
    name = container.service.name
    state = around.runtime.engine().state(container.id)
    if not state.running:
        return f"the service {name!r} does not run ({state.describe_end()})"
    if name in around.faults.disconnected:
        return f"the service {name!r} was taken off the network (disconnect)"
    return f"the service {name!r} has no {what}"
