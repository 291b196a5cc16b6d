"""What templates name of running services: ``{{ service.web.address }}`` and the like.

Steps and checks do, and variables of services that start after those.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.scenario.templates.places import SERVICE, places_in
from pytest_clnrm.scenario.templates.render import BOUND, TemplateError

if TYPE_CHECKING:
    from pytest_clnrm.model.step import Step
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.actions.attempt import Surroundings
    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.scenario.templates.places import Place


def running_services(step: Step, around: Surroundings) -> dict[str, Any]:
    """Return what ``service`` is in the templates of *step*, as the engine has it now.

    A service that was started again may have another address, and other published ports.

    :raises TemplateError: if the step names one that has none at the moment.
    """
    named = Running(around.runtime, around.containers, around.network, around.faults.disconnected)
    return named.by(list(places_in([getattr(step, name) for name in BOUND])))


@dataclass(frozen=True)
class Running:
    """The containers of a scenario that run.

    :param containers: by the names of services.
    :param network: of the scenario, None if it has none.
    :param disconnected: services that were taken off it.
    """

    runtime: Runtime
    containers: Mapping[str, RunningContainer]
    network: Network | None
    disconnected: Collection[str] = ()

    def by(self, places: Sequence[Place]) -> dict[str, Any]:
        """Return what ``service`` is where *places* are named.

        :raises TemplateError: if one of them has none at the moment.
        """
        named = {str(place[0]) for place in places if place}
        told: dict[str, Any] = {}
        for name, container in self.containers.items():
            if name in named or not all(places):
                try:
                    told[name] = self._of(container)
                except (ClnrmError, OSError) as error:
                    if name in named:
                        raise TemplateError(f"{{{{ {SERVICE}.{name} }}}} is not known: {error}") from None
        for name, what in ((str(place[0]), place[1]) for place in places if len(place) > 1):
            if name in told and not told[name].get(what):
                raise TemplateError(
                    f"{{{{ {SERVICE}.{name}.{what} }}}} is not known: "
                    f"{self._why_not(self.containers[name], what)}"
                )
        return told

    def _of(self, container: RunningContainer) -> dict[str, Any]:
        state = self.runtime.engine().state(container.id)
        published = self.runtime.networks().published
        name = "" if self.network is None else self.network.name
        return {
            "address": state.addresses.get(name, ""),
            "ports": {
                **{port: published(state, port)[1] for port in state.ports},
                **{f"{port}/udp": place[1] for port, place in state.udp_ports.items()},
            },
            "url": container.service.own_url,
        }

    def _why_not(self, container: RunningContainer, what: str | int) -> str:
        """Return why a service has no address, or publishes no port, at the moment."""
        name = container.service.name
        state = self.runtime.engine().state(container.id)
        if not state.running:
            return f"the service {name!r} does not run ({state.describe_end()})"
        if name in self.disconnected:
            return f"the service {name!r} was taken off the network (disconnect)"
        return f"the service {name!r} has no {what}"
