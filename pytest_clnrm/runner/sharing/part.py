"""The shared containers of one scenario, or of one test: joined, looked at, and left to the others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_clnrm.runner.service_ends import LOG_TAIL_BYTES, last_logs
from pytest_clnrm.runner.sharing.share import share_of
from pytest_clnrm.runner.sharing.start import join, logs_since, part
from pytest_clnrm.util.output import BoundedOutput

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace

_LOGS_S = 5.0


class SharedPart:
    """What one user has of shared containers, from :meth:`join` to :meth:`leave`.

    :param file: in which they stand.
    :param trace: of the scenario or test.
    :param user: id of the lease that uses them; "" for that of the item that runs.
    :ivar containers: by the names of their services.
    """

    def __init__(self, runtime: Runtime, file: str, trace: ScenarioTrace, user: str = "") -> None:
        self._runtime = runtime
        self._file = file
        self._trace = trace
        self._user = user
        self._network: Network | None = None
        self._since_s = 0.0
        self.containers: dict[str, RunningContainer] = {}

    def join(
        self,
        service: Service,
        image: ImageFacts,
        network: Network | None,
        *,
        deadline_s: float,
        cancelled: Callable[[], bool],
    ) -> None:
        """Join the container of *service*, which is ready then, and let it join *network*.

        :param deadline_s: ``time.monotonic()`` moment at which the time is over.
        :param cancelled: tells that waiting makes no sense any more.
        :raises ClnrmError: if it cannot be had.
        """
        self._network = network
        self._since_s = self._since_s or self._runtime.engine().clock_s()
        self.containers[service.name] = join(
            self._runtime,
            service,
            image,
            share=share_of(self._runtime.settings, service, self._file),
            user=self._user or self._runtime.holdings.lease(),
            network=network,
            trace=self._trace,
            deadline_s=deadline_s,
            cancelled=cancelled,
        )

    def logs(self, container: RunningContainer) -> str:
        """Return what it has printed since the first was joined, or the end of its log if that is nothing."""
        output = BoundedOutput(kept_bytes=LOG_TAIL_BYTES)
        for piece in logs_since(self._runtime, container.id, self._since_s, time.monotonic() + _LOGS_S):
            output.feed(piece)
        return output.text() or last_logs(self._runtime.engine(), container.id)

    def leave(self) -> None:
        """Leave them to the others: they leave the network."""
        containers, self.containers = self.containers, {}
        for each in containers.values():
            part(self._runtime, each, self._network)
