"""A container in an asynchronous Python test: what ``async with clnrm.container(...)`` yields."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import closing
from datetime import datetime
from functools import partial, update_wrapper
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from pytest_clnrm.items.container import Container
from pytest_clnrm.items.in_thread import in_thread
from pytest_clnrm.items.plain_errors import called_from, calling_file

_Given = ParamSpec("_Given")
_Returned = TypeVar("_Returned")


class _End:
    """Stands for the end of an iterator."""


_END = _End()


def _nothing() -> None:
    """Wait for work that ends soon."""


def _awaited(
    method: Callable[Concatenate[Container, _Given], _Returned],
) -> Callable[Concatenate[AsyncContainer, _Given], Coroutine[Any, Any, _Returned]]:
    """Return *method* as one that is awaited: it runs in a thread."""

    def call(
        self: AsyncContainer, /, *args: _Given.args, **kwargs: _Given.kwargs
    ) -> Coroutine[Any, Any, _Returned]:
        __tracebackhide__ = True
        work = partial(method, self.container, *args, **kwargs)
        return in_thread(partial(called_from, calling_file(), work))

    update_wrapper(call, method)
    return call


class AsyncContainer:
    """A running container, whose methods are those of :class:`Container`, to be awaited.

    ``AsyncContainer(box)`` is another container, such as a shared one, for asynchronous tests.

    :ivar container: the same for code that is not asynchronous.
    """

    def __init__(self, container: Container) -> None:
        self.container = container
        self.id = container.id
        self.name = container.name

    stop = _awaited(Container.stop)
    kill = _awaited(Container.kill)
    start = _awaited(Container.start)
    restart = _awaited(Container.restart)
    pause = _awaited(Container.pause)
    unpause = _awaited(Container.unpause)
    wait = _awaited(Container.wait)
    wait_for = _awaited(Container.wait_for)
    copy_in = _awaited(Container.copy_in)
    copy_out = _awaited(Container.copy_out)
    read_file = _awaited(Container.read_file)
    spans = _awaited(Container.spans)
    run = _awaited(Container.run)
    exec = run
    """The same, by the name that others have for it."""

    @overload
    def logs(
        self,
        *,
        follow: Literal[False] = False,
        since: datetime | float | None = None,
        timeout: str | float | None = None,
    ) -> Coroutine[Any, Any, str]: ...

    @overload
    def logs(
        self,
        *,
        follow: Literal[True],
        since: datetime | float | None = None,
        timeout: str | float | None = None,
    ) -> AsyncIterator[str]: ...

    def logs(
        self,
        *,
        follow: bool = False,
        since: datetime | float | None = None,
        timeout: str | float | None = None,
    ) -> Coroutine[Any, Any, str] | AsyncIterator[str]:
        """Return the end of its output, to be awaited; or its lines as they come, for ``async for``."""
        if follow:
            return self._lines(since, timeout)
        return in_thread(partial(self.container.logs, since=since, timeout=timeout))

    async def _lines(self, since: datetime | float | None, timeout: str | float | None) -> AsyncIterator[str]:
        __tracebackhide__ = True
        with closing(self.container.follow(since, timeout)) as lines:
            while True:
                line = await in_thread(partial(next, lines, _END), on_cancel=_nothing)
                if isinstance(line, _End):
                    return
                if line is not None:
                    yield line

    @property
    def exit_code(self) -> int | None:
        """Return the exit code of its main process, None while that runs; it is not awaited."""
        return self.container.exit_code

    @property
    def host(self) -> str:
        """Return the name or address under which its published ports are reached; it is not awaited."""
        return self.container.host

    def port(self, port: int | str) -> int:
        """Return the port of :attr:`host` that leads to container port *port*; it is not awaited."""
        __tracebackhide__ = True
        return self.container.port(port)

    def address(self, port: int | str) -> tuple[str, int]:
        """Return host and port at which container port *port* is reached; it is not awaited."""
        __tracebackhide__ = True
        return self.container.address(port)

    def url(
        self,
        port: int | str | None = None,
        scheme: str = "http",
        *,
        user: str | None = None,
        password: str | None = None,
        path: str = "",
    ) -> str:
        """Return a url as :meth:`Container.url` does; it is not awaited."""
        __tracebackhide__ = True
        return self.container.url(port, scheme, user=user, password=password, path=path)
