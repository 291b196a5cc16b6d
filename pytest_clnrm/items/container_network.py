"""A network that a Python test makes for some of its containers."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from pytest_clnrm.errors import ClnrmError, ContainerError
from pytest_clnrm.items.in_thread import in_thread
from pytest_clnrm.items.plain_errors import plain

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from pytest_clnrm.runtime.network import Network
    from pytest_clnrm.runtime.runtime import Runtime


class ContainerNetwork(
    AbstractContextManager["ContainerNetwork"], AbstractAsyncContextManager["ContainerNetwork"]
):
    """The block in which a network is there; containers that name it reach one another, and no others."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._network: Network | None = None

    def __enter__(self) -> Self:
        """Take one that is empty, or make it."""
        __tracebackhide__ = True
        try:
            self._network = self._runtime.networks().lend()
        except ClnrmError as error:
            raise plain(error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        network, self._network = self._network, None
        if network is not None:
            self._runtime.networks().give_back(network)

    async def __aenter__(self) -> Self:
        """Do the same in a thread."""
        __tracebackhide__ = True
        try:
            return await in_thread(self.__enter__, _nothing)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do the same in a thread, whether or not the test is cancelled."""
        await in_thread(partial(self.__exit__, kind, error, trace), _nothing)

    def there(self) -> Network:
        """Return the network.

        :raises ContainerError: outside of its block.
        """
        if self._network is None:
            raise ContainerError(
                "this network is not there: name it within its block, with clnrm.network() as net"
            )
        return self._network


def _nothing() -> None:
    """Wait for work that ends soon."""
