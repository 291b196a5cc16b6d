"""The block of a Python test in which a container is there."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError
from pytest_clnrm.items.container import Container
from pytest_clnrm.items.plain_errors import plain
from pytest_clnrm.runner.launch import get_image, launch

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_clnrm.items.container_group import ContainerGroup, OpenContainer
    from pytest_clnrm.items.python_tests import Live
    from pytest_clnrm.model.scenario import Service
    from pytest_clnrm.pool.running import RunningContainer
    from pytest_clnrm.runtime.network import Network


class ContainerBlock(AbstractContextManager[Container]):
    """The block in which a container is there. Its errors show the line of the test, and no frame of ours."""

    def __init__(self, group: ContainerGroup, service: Service) -> None:
        self._group = group
        self._runtime = group.runtime
        self._service = service
        self._stack = ExitStack()
        self._lease = ""
        self._created: list[RunningContainer] = []
        self._live: Live | None = None
        self._opened: OpenContainer | None = None

    def __enter__(self) -> Container:
        """Reserve, create, start and wait."""
        __tracebackhide__ = True
        try:
            # What an earlier block left for a look, should its test fail, goes: the test has gone on.
            self._group.tests.settle()
            return self._start()
        except ClnrmError as error:
            problem = plain(self._group.told(error))
            # What cannot be removed besides is noted where it counts.
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
        elif error is None and self._opened is not None:
            try:
                self._group.judge_end(self._opened)
            except ClnrmError as found:
                problem = plain(found)
        try:
            self._end(error or problem)
        except ClnrmError as found:
            problem = problem or plain(found)
        if problem is not None:
            raise problem

    def _start(self) -> Container:
        group, runtime, service = self._group, self._runtime, self._service
        self._lease = self._stack.enter_context(group.reserve(service.limits))
        network: Network | None = None
        if service.network != "none":
            network = self._stack.enter_context(runtime.networks().of_fixtures(service.name))
        launch(
            runtime,
            service,
            get_image(runtime, service, group.trace),
            name=f"{runtime.next_name()}-{service.name}",
            labels=runtime.labels(group.label, self._lease),
            deadline_s=time.monotonic() + runtime.settings.timeout_s,
            on_created=self._note,
            trace=group.trace,
            network=network,
            cancelled=group.in_vain,
        )
        self._opened = group.started(self._created[0])
        return Container(group, self._opened)

    def _note(self, running: RunningContainer) -> None:
        """Take note of the container; one without a shell is replaced by another."""
        self._created[:] = [running]
        if self._live is not None:
            self._group.tests.gone(self._live)
        self._live = self._group.tests.opened(
            running, logs=lambda: self._group.last_logs(running.id), redactor=self._group.redactor
        )

    def _end(self, error: BaseException | None) -> None:
        """End the block because of *error*; whether its test fails with it may have to be waited for."""
        if self._live is None:
            self._stack.close()
            return
        self._group.ended(self._created[0])
        wrong = self._group.tests.ending(self._live, error)
        keeps = self._runtime.settings.keep == "failed"
        if keeps and wrong and not self._live.failed:
            self._group.tests.postpone(self._finish)
        else:
            self._finish(failed=keeps and self._live.failed)

    def _finish(self, *, failed: bool) -> None:
        """Remove the container, or keep it with its network, and give back what was reserved."""
        runtime, running, live = self._runtime, self._created[0], self._live
        try:
            running.sources.close()
            if failed:
                runtime.keep([running.id, *runtime.networks().keep(running.id)], self._lease)
                self._group.tests.was_kept(running.name, own_lease=bool(self._lease))
            else:
                runtime.remove_all([running.id], self._lease)
        finally:
            if live is not None:
                self._group.tests.gone(live)
            runtime.board.count(-1, -running.spec.memory_bytes)
            self._stack.close()
