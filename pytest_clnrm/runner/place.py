"""Where a scenario runs: on a network of its own, partly in idle containers that it uses again."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.runner.launch import fits

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace


class Place:
    """The network of one scenario, and the idle containers on it.

    :ivar volumes: of the scenario: name in its file -> the engine's.
    :ivar network: None where no service has one.
    :ivar unused: ids of idle containers that were taken over but are no part of the scenario; to be removed.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.network: Network | None = None
        self.unused: list[str] = []
        self.volumes: dict[str, str] = {}

    def enter(
        self,
        services: Sequence[Service],
        images: Mapping[str, ImageFacts],
        *,
        stem: str,
        labels: Mapping[str, str],
        reuse: Sequence[str],
        trace: ScenarioTrace,
        with_others: bool = False,
        guests: Collection[str] = (),
    ) -> dict[str, RunningContainer]:
        """Get network and volumes, and return the idle containers to be used, by the names of services.

        Those that cannot be used are removed first: nothing that is started may reach them.

        :param stem: with which the names of the volumes begin.
        :param labels: of the volumes.
        :param reuse: ids of the leases whose idle containers are to be used.
        :param with_others: other containers than those of *services* are on the network too.
        :param guests: ids of the shared containers that the scenario uses: no others stay on the network.
        :raises EngineError: with the engine's reason.
        """
        idle: dict[str, RunningContainer] = {}
        if reuse:
            idle, stuck = self._runtime.shelf().take(reuse)
            if self._runtime.keeps_warm:
                from pytest_clnrm.runner.idle_warm import take_up

                taken, unusable = take_up(self._runtime, reuse, services, images, trace=trace)
                idle, stuck = {**idle, **taken}, (*stuck, *unusable)
            self.unused = [*stuck, *(each.id for each in idle.values())]
            self.remove(stuck)
        if with_others or any(service.network != "none" for service in services):
            networks = self._runtime.networks()
            engine = self._runtime.engine()
            self.network = networks.lend(
                self.unused,
                connected=bool(idle)
                and all(engine.is_connected_as(each.id, each.fingerprint) for each in idle.values()),
            )
            if self.network is None:
                self.remove(self.unused)
                idle = {}
                self.network = networks.lend()
            if self.network is not None:
                networks.expel(self.network, guests)
        for name in dict.fromkeys(each.name for service in services for each in service.shared_volumes):
            self.volumes[name] = f"{stem}-{name}"
            self._runtime.engine().create_volume(self.volumes[name], labels=labels)
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
        """Leave network and volumes to the containers that are kept with them, and return their ids."""
        network, self.network = self.network, None
        volumes, self.volumes = self.volumes, {}
        return (
            *(() if network is None else (self._runtime.networks().leave(network),)),
            *volumes.values(),
        )

    def leave(self) -> None:
        """Give the network back, and remove the volumes; their containers are gone."""
        volumes, self.volumes = self.volumes, {}
        for volume in volumes.values():
            # What cannot be removed now is swept at the end of the run.
            with suppress(ClnrmError):
                self._runtime.engine().remove_volume(volume)
        network, self.network = self.network, None
        if network is not None:
            self._runtime.networks().give_back(network)
