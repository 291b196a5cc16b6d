"""The shared containers of one scenario, or of one test: joined, looked at, and left to the others."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pytest_clnrm.model.span import Loss
from pytest_clnrm.runner.service_ends import LOG_TAIL_BYTES, last_logs
from pytest_clnrm.runner.sharing.places import USED, WARM, book_of, mark
from pytest_clnrm.runner.sharing.share import share_of
from pytest_clnrm.runner.sharing.spans import SharedSpans
from pytest_clnrm.runner.sharing.start import join, logs_since, part, ready_ones, why_unseen
from pytest_clnrm.runner.sharing.upkeep import run_prepare, users_of
from pytest_clnrm.util.output import BoundedOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_clnrm.engine.api import ImageFacts
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runner.actions.attempt import Surroundings
    from pytest_clnrm.runner.room import Room
    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime
    from pytest_clnrm.telemetry.tracing import ScenarioTrace

_LOGS_S = 5.0


def follow_spans(spans: SharedSpans, runtime: Runtime, running: RunningContainer) -> None:
    """Let *spans* have those of a shared container from now on, if it can send any."""
    if running.service.network != "none":
        now_ns = int(runtime.engine().clock_s() * 1e9)
        spans.begin(running.service.name, book_of(runtime, running.name), now_ns)


class SharedPart:
    """What one user has of shared containers, from :meth:`join` to :meth:`leave`.

    :param file: in which they stand.
    :param trace: of the scenario or test.
    :param user: id of the lease that uses them; "" for that of the item that runs.
    :param services: of the scenario, all of them.
    :ivar containers: by the names of their services.
    :ivar stem: with which the names of the user's own containers begin.
    :ivar users: what ``{{ worker }}`` and ``{{ scenario_id }}`` are for it.
    :ivar told: what was done in them before they were used, by the same names.
    :ivar spans: what they have sent since.
    """

    def __init__(
        self,
        runtime: Runtime,
        file: str,
        trace: ScenarioTrace,
        user: str = "",
        services: Sequence[Service] = (),
    ) -> None:
        self._runtime = runtime
        self._services = services
        self._file = file
        self._trace = trace
        self._user = user
        self.stem = runtime.next_name()
        # What an earlier run has made in a service that outlives runs is still there.
        self.users = users_of(runtime.worker, self.stem, runtime.session_id if runtime.asks_warm else "")
        self._network: Network | None = None
        self._uses = ExitStack()
        self._since_s = 0.0
        self.containers: dict[str, RunningContainer] = {}
        self.told: dict[str, str] = {}
        self.spans = SharedSpans(trace, runtime.spans_folder())

    def join(
        self,
        service: Service,
        image: ImageFacts,
        network: Network | None,
        room: Room | None,
        *,
        around: Callable[[], Surroundings],
        deadline_s: float,
        cancelled: Callable[[], bool],
    ) -> None:
        """Join the container of *service*, which is ready then, and let it join *network*.

        :param room: of the scenario, where the engine has its room for others too.
        :param around: returns what steps that reset it have.
        :param deadline_s: ``time.monotonic()`` moment at which the time is over.
        :param cancelled: tells that waiting makes no sense any more.
        :raises ClnrmError: if it cannot be had.
        """
        self._network = network
        self._since_s = self._since_s or self._runtime.engine().clock_s()
        running = self.containers[service.name] = join(
            self._runtime,
            service,
            image,
            share=share_of(self._runtime.settings, service, self._file, self._services),
            needs=[self.containers[each] for each in service.depends_on],
            user=self._user or self._runtime.holdings.lease(),
            network=network,
            trace=self._trace,
            file=self._file,
            deadline_s=deadline_s,
            uses=self._uses,
            room=room,
            cancelled=cancelled,
        )
        if room is not None:
            # Whoever has started it.
            room.has_room(running.id)
            deadline_s += room.waited_s
        told = "shared since an earlier run" if mark(self._runtime, running, WARM).exists() else "shared"
        self.told[service.name] = ", ".join([told, *self._made_fit(running, around, deadline_s)])
        follow_spans(self.spans, self._runtime, running)

    def _made_fit(
        self, running: RunningContainer, around: Callable[[], Surroundings], deadline_s: float
    ) -> Iterator[str]:
        """Do what has to be done before this user may use it, and yield what that was.

        What is to be done once leaves a mark in the run's own folder when it is done.
        """
        service, prepare = running.service, running.service.prepare

        def run(command: tuple[str, ...]) -> str:
            return run_prepare(
                self._runtime, running, command,
                users=self.users, trace=self._trace, deadline_s=deadline_s,
            )  # fmt: skip

        if service.reset:
            # Its users take turns. The last one may have been killed, so it is not he who cleans up.
            used = mark(self._runtime, running, USED)
            if used.exists():
                # Few services have one, and it needs much.
                from pytest_clnrm.runner.sharing.reset import reset

                yield from reset(running, around())
            used.touch()
        if prepare is not None and prepare.each == "worker":
            done = mark(self._runtime, running, self._runtime.worker)
            if not done.exists():
                yield f"{run(prepare.command)} for {self._runtime.worker}"
                done.touch()
        if prepare is not None and prepare.each == "scenario":
            yield run(prepare.command)

    def logs(self, container: RunningContainer) -> str:
        """Return what it has printed since the first was joined, or the end of its log if that is nothing."""
        output = BoundedOutput(kept_bytes=LOG_TAIL_BYTES)
        for piece in logs_since(self._runtime, container.id, self._since_s, time.monotonic() + _LOGS_S):
            output.feed(piece)
        return output.text() or last_logs(self._runtime.engine(), container.id)

    def ready_ones(self) -> frozenset[str]:
        """Return the ids of those that need only be joined."""
        return frozenset(ready_ones(self._runtime, self._user or self._runtime.holdings.lease()))

    def unseen(self) -> tuple[Loss, ...]:
        """Return of which of them spans may be missing: nothing can be said of what is not there then."""
        user = self._user or self._runtime.holdings.lease()
        found = (why_unseen(self._runtime, each, user) for each in self.containers.values())
        gone = (Loss(what="shared service", why=why) for why in found if why)
        return (*gone, *self.spans.losses())

    def leave(self, *, at_once: bool = True) -> None:
        """Leave them to the others: they leave the network.

        :param at_once: not only when another scenario gets the network that does not use them.
        """
        containers, self.containers = self.containers, {}
        for each in containers.values():
            part(self._runtime, each, self._network, at_once=at_once)
        self._uses.close()
