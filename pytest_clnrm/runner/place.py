"""Where a scenario runs: on a network of its own, partly in idle containers that it uses again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_clnrm.runner.launch import fits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace


class Place:
    """The network of one scenario, and the idle containers on it.

    :ivar network: None where no service has one.
    :ivar unused: ids of idle containers that were taken over but are no part of the scenario; to be removed.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.network: Network | None = None
        self.unused: list[str] = []

    def enter(
        self,
        services: Sequence[Service],
        images: Mapping[str, ImageFacts],
        *,
        reuse: Sequence[str],
        trace: ScenarioTrace,
    ) -> dict[str, RunningContainer]:
        """Get the network, and return the idle containers to be used, by the names of services.

        Those that cannot be used are removed first: nothing that is started may reach them.

        :param reuse: ids of the leases whose idle containers are to be used.
        :raises EngineError: with the engine's reason.
        """
        idle: dict[str, RunningContainer] = {}
        if reuse:
            idle, stuck = self._runtime.shelf().take(reuse)
            self.unused = [*stuck, *(each.id for each in idle.values())]
            self.remove(stuck)
        if any(service.network != "none" for service in services):
            networks = self._runtime.networks()
            self.network = networks.lend(self.unused)
            if self.network is None:
                self.remove(self.unused)
                idle = {}
                self.network = networks.lend()
        for service in services:
            found = idle.get(service.name)
            if found is not None and not fits(
                self._runtime, found, service, images[service.name], network=self.network, trace=trace
            ):
                del idle[service.name]
                self.remove([found.id])
        return idle

    def used(self, container: str) -> None:
        """Note that a container is a part of the scenario now."""
        if container in self.unused:
            self.unused.remove(container)

    def remove(self, containers: Sequence[str]) -> None:
        """Remove some of the unused containers.

        :raises EngineError: if one stays.
        """
        if containers:
            self._runtime.remove(containers)
            self.unused = [each for each in self.unused if each not in containers]

    def keep(self) -> tuple[str, ...]:
        """Leave the network to the containers that are kept on it, and return its id, () if there is none."""
        network, self.network = self.network, None
        return () if network is None else (self._runtime.networks().leave(network),)

    def leave(self) -> None:
        """Give the network back."""
        network, self.network = self.network, None
        if network is not None:
            self._runtime.networks().give_back(network)
