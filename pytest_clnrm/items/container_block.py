"""The block of a Python test in which a container is there."""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError, ContainerError
from pytest_clnrm.items.async_container import AsyncContainer
from pytest_clnrm.items.container import Container
from pytest_clnrm.items.in_thread import in_thread
from pytest_clnrm.items.plain_errors import plain
from pytest_clnrm.runner.launch import launch
from pytest_clnrm.runner.services import with_commands
from pytest_clnrm.runner.volumes import problems_left

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_clnrm.items.container_group import ContainerGroup
    from pytest_clnrm.items.container_network import ContainerNetwork
    from pytest_clnrm.items.python_tests import LiveContainer
    from pytest_clnrm.model.service import Service
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runtime.network import Network


class ContainerBlock(AbstractContextManager[Container], AbstractAsyncContextManager[AsyncContainer]):
    """The block in which a container is there. Its errors show the line of the test, and no frame of ours."""

    def __init__(
        self, group: ContainerGroup, service: Service, apart: ContainerNetwork | None = None
    ) -> None:
        self._group = group
        self._runtime = group.runtime
        self._service = service
        self._stack = ExitStack()
        self._lease = ""
        self._live: LiveContainer | None = None
        self._apart = apart
        self._network: Network | None = None
        self._is_ready = False
        self._given_up = False

    @property
    def service(self) -> Service:
        """Return what the container is made of."""
        return self._service

    def __enter__(self) -> Container:
        """Reserve, create, start and wait."""
        __tracebackhide__ = True
        try:
            # The test goes on, so it has caught the exception that has ended an earlier block.
            self._group.tests.settle()
            return self._start()
        except ClnrmError as error:
            problem = plain(self._group.told(error))
            # A container that cannot be removed is noted with its lease.
            with suppress(ClnrmError):
                self._end(problem)
            raise problem from None
        except BaseException as error:
            with suppress(ClnrmError):
                self._end(error)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Judge how the container has ended, and remove it, or keep it where its test has failed."""
        __tracebackhide__ = True
        problem: ClnrmError | None = None
        if isinstance(error, Exception):
            self._group.explain(error)
        elif error is None and self._live is not None and self._is_ready:
            try:
                self._group.judge_end(self._live)
                self._check_volumes(self._live)
            except ClnrmError as found:
                problem = plain(found)
        try:
            self._end(error or problem)
        except ClnrmError as found:
            problem = problem or plain(found)
        if problem is not None:
            raise problem

    async def __aenter__(self) -> AsyncContainer:
        """Do the same in a thread; if the test is cancelled meanwhile, nothing is left of it."""
        __tracebackhide__ = True
        try:
            return AsyncContainer(await in_thread(self.__enter__, self._give_up))
        except BaseException as error:
            if self._is_ready:
                # It was cancelled at the last moment.
                with suppress(ClnrmError):
                    await in_thread(partial(self._end, error), self._give_up)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do the same in a thread, whether or not the test is cancelled."""
        __tracebackhide__ = True
        await in_thread(partial(self.__exit__, kind, error, trace), self._give_up)

    def _give_up(self) -> None:
        self._given_up = True

    def _in_vain(self) -> bool:
        """Tell whether nobody waits for the container any more.

        :raises ServiceEndedError: if a container of this test has ended that should run.
        """
        return self._given_up or self._group.in_vain()

    def _start(self) -> Container:
        group, runtime, service = self._group, self._runtime, self._service
        room = group.room(self._in_vain)
        self._lease = self._stack.enter_context(group.reserve(service.limits, service.name))
        image = group.image_of(service, self._lease)
        service = with_commands(service, image)
        if service.network != "none":
            names = (service.name, *service.aliases)
            self._network = self._stack.enter_context(
                runtime.networks().of_fixtures(*names, apart=self._apart.there() if self._apart else None)
            )
        group.share(service, self._lease)
        deadline_s = time.monotonic() + runtime.settings.timeout_s

        def start(stem: str) -> None:
            launch(
                runtime,
                service,
                image,
                name=f"{stem}-{service.name}",
                labels=runtime.labels(group.label, self._lease),
                deadline_s=deadline_s,
                on_created=self._note,
                trace=group.trace,
                network=self._network,
                volumes=group.volumes,
                cancelled=self._in_vain,
                room=room,
            )

        group.start_in(room, runtime.next_name(), start, self._undo)
        assert self._live is not None  # noqa: S101 (launch has called _note)
        self._is_ready = True
        group.add(self._live)
        return Container(group, self._live, self._network)

    def _undo(self) -> None:
        """Remove the container, which has no room, as if it had not been made."""
        if self._live is not None:
            running = self._live.running
            running.sources.close()
            self._runtime.remove([running.id])
            self._runtime.board.count(-1, -running.spec.memory_bytes)
            self._group.tests.gone(self._live)
            self._live = None

    def _check_volumes(self, live: LiveContainer) -> None:
        """Look at what it has left in writable folders of the host, once it can write there no more.

        :raises ContainerError: if something there is dangerous.
        """
        for failure in problems_left(self._runtime, [live.running], failed=False):
            raise ContainerError(failure.message)

    def _note(self, running: RunningContainer) -> None:
        """Note the container; one that turned out to have no shell was replaced by another."""
        if self._live is not None:
            self._group.tests.gone(self._live)
        self._live = self._group.tests.opened(
            running, logs=lambda: self._group.last_logs(running.id), redactor=self._group.redactor
        )

    def _end(self, error: BaseException | None) -> None:
        """End the block because of *error*, or wait with that until it is known whether the test fails."""
        if self._live is None:
            self._stack.close()
            return
        self._group.drop(self._live)
        is_failure = self._group.tests.ending(self._live, error)
        keeps = self._runtime.settings.keep == "failed"
        if keeps and is_failure and not self._live.failed:
            self._group.tests.postpone(partial(self._finish, self._live))
        else:
            self._finish(self._live, failed=keeps and self._live.failed)

    def _finish(self, live: LiveContainer, *, failed: bool) -> None:
        """Remove the container, or keep it with its network, and give back what was reserved."""
        runtime, running = self._runtime, live.running
        try:
            running.sources.close()
            if live.paused:
                with suppress(ClnrmError):
                    runtime.engine().control(running.id, "unpause")
            if failed:
                volumes = [self._group.volumes[each.name] for each in self._service.shared_volumes]
                kept = [running.id, *runtime.networks().keep(running.id), *volumes]
                runtime.keep(kept, self._lease)
                self._group.tests.was_kept(running.name, own_lease=bool(self._lease))
            else:
                runtime.remove_all([running.id], self._lease)
        finally:
            self._group.tests.gone(live)
            runtime.board.count(-1, -running.spec.memory_bytes)
            self._stack.close()
